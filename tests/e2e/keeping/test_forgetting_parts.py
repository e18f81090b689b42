"""A child whose rows came in parts is removed from every part, and no part brings it back."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.intake import deliveries
from assets.intake.parts import PartStore
from assets.keeping.forgetting import CannotForget, find_rows, forget
from assets.keeping.retention import find_shreddable, shred_taken
from assets.linkage.link import derive_confidential_tables, link_cohort
from assets.linkage.row_numbers import write_linked_rows
from privacy.keys import KeyRing
from privacy.row_keys import parse_row_number
from tests.support.extracts import COHORT, text
from tests.support.intake.in_parts import child, take
from tests.support.intake.numbered import numbered

pytestmark = pytest.mark.slow

KEY = ("eyfsp", COHORT, "leeds")


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Home, KeyRing]:
    keys = KeyRing.create(tmp_path / "keys")
    landing, home = tmp_path / "landing", Home(tmp_path / "home")
    send(landing, "2026-01", [child(1), child(2), child(3)])
    send(landing, "2026-02", [child(2, sex="M"), child(4)])
    send(landing, "2026-03", [child(2, sex="M"), child(5)])
    return landing, home, keys


def send(landing: Path, part: str, rows: list[dict[str, str]]) -> None:
    folder = landing / "leeds" / "eyfsp" / COHORT
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}.csv").write_text(text(rows))


def records(home: Home, keys: KeyRing) -> set[int]:
    marks = PartStore(home, KEY).marks(keys, PartStore(home, KEY).held())
    return {record for table in marks.values() for record in table["record"].to_pylist()}


def test_every_row_of_the_record_goes_from_every_part_and_stays_away(place: tuple[Path, Home, KeyRing]) -> None:
    landing, home, keys = place
    store = home.cohort(COHORT)
    take(landing, home, keys)
    link_cohort(store, ["leeds"], keys)
    derive_confidential_tables(store, ["leeds"], keys)
    with pytest.raises(CannotForget, match="has no row 2:3: a row of a part is named 3:17"):
        find_rows(home.extract("eyfsp", COHORT, "leeds"), [parse_row_number("2:3") or 0], keys, linked=True)
    rows = numbered(home, keys, "eyfsp", "leeds")
    of_child = rows.filter(pc.equal(rows["sex"], "M"))
    assert of_child["source_row"].to_pylist() == [parse_row_number("2:1")]
    held = records(home, keys)
    found = find_rows(home.extract("eyfsp", COHORT, "leeds"), [parse_row_number("2:1") or 0], keys, linked=True)
    forget(home, found, keys)
    assert len(held - records(home, keys)) == 1
    assert numbered(home, keys, "eyfsp", "leeds")["sex"].to_pylist() == ["F"] * 4
    listed = deliveries.read(home.extract(*KEY).quality)
    assert listed
    assert (listed.rows_kept, listed.rows_rejected) == (4, 1)
    assert pq.read_table(store.confidential("pupil")).num_rows == 4
    gone = {token for name in of_child.column_names if name.startswith("t_") for token in of_child[name].to_pylist()}
    for stem in {part.kept_in for part in PartStore(home, KEY).held()}:
        assert not gone & set(pq.read_table(PartStore(home, KEY).files(stem).payload)["row_key"].to_pylist())
    send(landing, "2026-04", [child(6)])
    assert take(landing, home, keys).rows_kept == 5
    again = Home(home.root.with_name("again"))
    again.prepare()
    (home.restricted / "forgotten").rename(again.restricted / "forgotten")
    assert take(landing, again, keys).rows_kept == 5


def test_an_objection_keeps_the_child_out_of_later_parts(place: tuple[Path, Home, KeyRing]) -> None:
    landing, home, keys = place
    take(landing, home, keys)
    found = find_rows(home.extract("eyfsp", COHORT, "leeds"), [parse_row_number("2:1") or 0], keys, linked=False)
    forget(home, found, keys, objection=True)
    send(landing, "2026-04", [child(2), child(7)])
    assert take(landing, home, keys).rows_kept == 5
    assert "M" not in numbered(home, keys, "eyfsp", "leeds")["sex"].to_pylist()


def test_parts_are_shredded_and_stay_in_force_and_links_name_part_and_row(
    place: tuple[Path, Home, KeyRing], tmp_path: Path
) -> None:
    landing, home, keys = place
    take(landing, home, keys)
    send(landing, "2026-04", [child(6)])
    assert len(find_shreddable(landing, home, keys).ready) == 3
    shred_taken(landing, home, keys)
    assert take(landing, home, keys).rows_kept == 6
    shred_taken(landing, home, keys)
    assert not (landing / "leeds" / "eyfsp" / COHORT).exists()
    link_cohort(home.cohort(COHORT), ["leeds"], keys)
    write_linked_rows(home.cohort(COHORT), tmp_path / "links.parquet", keys)
    links = pq.read_table(tmp_path / "links.parquet")
    rows = [tuple(row.values()) for row in links.select(["part", "source_row"]).to_pylist()]
    assert rows == [(1, 1), (1, 3), (2, 1), (2, 2), (3, 2), (4, 1)]


def test_a_further_part_leaves_the_ids_of_children_that_it_does_not_speak_of(
    place: tuple[Path, Home, KeyRing], tmp_path: Path
) -> None:
    landing, home, keys = place

    def ids() -> dict[tuple[int, int], str]:
        take(landing, home, keys)
        link_cohort(home.cohort(COHORT), ["leeds"], keys)
        out = tmp_path / "links.parquet"
        write_linked_rows(home.cohort(COHORT), out, keys)
        links = pq.read_table(out).to_pylist()
        out.unlink()
        return {(row["part"], row["source_row"]): row["child_id"] for row in links}

    before = ids()
    send(landing, "2026-04", [child(1, sex="M"), child(6)])
    after = ids()
    of_others = {row: before[row] for row in before if row != (1, 1)}
    assert len(of_others) == 4
    assert of_others == {row: after[row] for row in of_others}
    assert {*after} - {*before} == {(4, 1), (4, 2)}
