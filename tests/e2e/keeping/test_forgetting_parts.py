"""A child whose rows came in parts is removed from every part, and no part brings it back."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.intake import deliveries
from assets.intake.ingest import Intake
from assets.intake.parts import PartStore
from assets.keeping.forgetting import CannotForget, Forgotten, find_rows, forget
from assets.keeping.retention import find_shreddable, shred_taken
from assets.linkage.link import link_cohort
from assets.linkage.row_numbers import write_linked_rows
from privacy.row_keys import parse_row_number
from sources.extract.landed import find
from tests.support.extracts import COHORT
from tests.support.intake.in_parts import Parts, child
from tests.support.intake.numbered import numbered

pytestmark = pytest.mark.slow


@pytest.fixture
def taken(tmp_path: Path) -> Parts:
    """Three parts, in the last two of which the second child has another sex."""
    made = Parts(tmp_path)
    made.send("2026-01", *map(child, (1, 2, 3)))
    made.send("2026-02", child(2, sex="M"), child(4))
    made.send("2026-03", child(2, sex="M"), child(5))
    made.take()
    return made


def find_row(taken: Parts, number: str, *, linked: bool) -> Forgotten:
    return find_rows(taken.store, [parse_row_number(number) or 0], taken.keys, linked=linked)


def records(taken: Parts) -> set[int]:
    parts = PartStore(taken.store)
    return {
        record for table in parts.marks(taken.keys, parts.held()).values() for record in table["record"].to_pylist()
    }


def read_links(taken: Parts, *columns: str) -> list[tuple[object, ...]]:
    """Link the cohort, and return columns of the list of linked rows."""
    link_cohort(taken.store.cohort_store, ["leeds"], taken.keys)
    out = taken.root / "links.parquet"
    write_linked_rows(taken.store.cohort_store, out, taken.keys)
    found = [tuple(row.values()) for row in pq.read_table(out).select(columns).to_pylist()]
    out.unlink()
    return found


def test_every_row_of_the_record_goes_from_every_part_and_stays_away(taken: Parts) -> None:
    taken.link()
    with pytest.raises(CannotForget, match="has no row 2:3: a row of a part is named 3:17"):
        find_row(taken, "2:3", linked=True)
    rows = numbered(taken.home, taken.keys, "eyfsp", "leeds")
    of_child = rows.filter(pc.equal(rows["sex"], "M"))
    assert of_child["source_row"].to_pylist() == [parse_row_number("2:1")]
    held = records(taken)
    forget(taken.home, find_row(taken, "2:1", linked=True), taken.keys)
    assert len(held - records(taken)) == 1
    assert taken.sexes == ["F"] * 4
    listed = deliveries.read(taken.store.quality)
    assert listed
    assert (listed.rows_kept, listed.rows_rejected) == (4, 1)
    assert pq.read_table(taken.store.cohort_store.confidential("pupil")).num_rows == 4
    gone = {token for name in of_child.column_names if name.startswith("t_") for token in of_child[name].to_pylist()}
    for stem in {part.kept_in for part in PartStore(taken.store).held()}:
        assert not gone & set(pq.read_table(PartStore(taken.store).files(stem).payload)["row_key"].to_pylist())
    taken.send("2026-04", child(6))
    assert taken.take().rows_kept == 5
    again, landed = Home(taken.root / "again"), find(taken.landing, "leeds", "eyfsp", COHORT)
    again.prepare()
    (taken.home.restricted / "forgotten").rename(again.restricted / "forgotten")
    assert landed
    assert Intake(taken.landing, again, taken.keys).ingest(landed).rows_kept == 5


def test_an_objection_keeps_the_child_out_of_later_parts(taken: Parts) -> None:
    forget(taken.home, find_row(taken, "2:1", linked=False), taken.keys, objection=True)
    taken.send("2026-04", child(2), child(7))
    assert taken.take().rows_kept == 5
    assert "M" not in taken.sexes


def test_parts_are_shredded_and_stay_in_force_and_links_name_part_and_row(taken: Parts) -> None:
    taken.send("2026-04", child(6))
    assert len(find_shreddable(taken.landing, taken.home, taken.keys).ready) == 3
    for _ in range(2):
        shred_taken(taken.landing, taken.home, taken.keys)
        if (taken.landing / "leeds" / "eyfsp" / COHORT).exists():
            assert taken.take().rows_kept == 6
    assert not (taken.landing / "leeds" / "eyfsp" / COHORT).exists()
    assert read_links(taken, "part", "source_row") == [(1, 1), (1, 3), (2, 1), (2, 2), (3, 2), (4, 1)]


def test_a_further_part_leaves_the_ids_of_children_that_it_does_not_speak_of(taken: Parts) -> None:
    def ids() -> dict[tuple[object, ...], object]:
        return {row[:2]: row[2] for row in read_links(taken, "part", "source_row", "child_id")}

    before = ids()
    taken.send("2026-04", child(1, sex="M"), child(6))
    taken.take()
    after = ids()
    of_others = {row: before[row] for row in before if row != (1, 1)}
    assert len(of_others) == 4
    assert of_others == {row: after[row] for row in of_others}
    assert {*after} - {*before} == {(4, 1), (4, 2)}
