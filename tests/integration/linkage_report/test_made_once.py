"""Links and confidential tables: made again only if what they are made from changes, and checked before counting."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.intake.ingest import Intake
from assets.linkage import children, inputs, link, tokens
from ndl_export.tables import FAMILIES
from privacy.keys import KeyRing
from privacy.release.child_table import UNIT_COLUMN
from sources.contracts import CONTRACTS
from sources.extract.landing import find
from tests.support.daily import mark_slow_after
from tests.support.independent import write_extracts
from tests.support.linkage.linked_home import COHORT

Made = dict[str, tuple[bytes, int]]


@pytest.fixture
def linked(home: Home, keys: KeyRing, tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    shutil.copytree(home.root, made.root)
    link.derive_confidential_tables(made.get_cohort(COHORT), inputs.list_councils(made.get_cohort(COHORT)), keys)
    return made


def made(home: Home) -> Made:
    """Content and time of change of every file of a home folder but locks."""
    files = (path for path in home.root.rglob("*") if path.is_file() and "lock" not in path.name)
    return {str(path.relative_to(home.root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def run(home: Home, keys: KeyRing) -> None:
    store = home.get_cohort(COHORT)
    councils = inputs.list_councils(store)
    link.link_cohort(store, councils, keys)
    link.derive_confidential_tables(store, councils, keys)


def test_again_with_nothing_changed_no_byte_and_no_time_changes(linked: Home, keys: KeyRing) -> None:
    before = made(linked)
    run(linked, keys)
    after = made(linked)
    assert not [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]


@pytest.mark.parametrize("lost", mark_slow_after(1, ["agreement.parquet", "linkage.html", "links.parquet"]))
def test_what_is_lost_is_made_again_and_children_keep_their_ids(linked: Home, keys: KeyRing, lost: str) -> None:
    """Without the links the ids are lost, and the tables get the new ones."""
    store = linked.get_cohort(COHORT)
    before = pq.read_table(store.links)
    (store.linked / lost).unlink()
    run(linked, keys)
    assert (store.linked / lost).exists()
    now = pq.read_table(store.links)
    assert (now == before) == (lost != "links.parquet")
    pupils = pq.read_table(store.get_confidential_path("pupil"))["child_id"].to_pylist()
    assert set(pupils) <= set(now["child_id"].to_pylist())


def test_a_table_with_other_bytes_is_made_again(linked: Home, keys: KeyRing) -> None:
    store = linked.get_cohort(COHORT)
    table = store.get_confidential_path("pupil")
    before = table.read_bytes()
    for other in (before[:-1], before[:100], before[:-1] + bytes([before[-1] ^ 1]), b""):
        table.write_bytes(other)
        assert not inputs.are_tables_current(store, inputs.list_councils(store))
        run(linked, keys)
        assert table.read_bytes() == before


def test_another_program_or_other_parameters_make_all_again(linked: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    store = linked.get_cohort(COHORT)
    councils = inputs.list_councils(store)
    assert inputs.is_current(store, councils)
    for what in ("hash_program", "hash_parameters"):
        with monkeypatch.context() as patch:
            patch.setattr(inputs, what, lambda: "another")
            assert not inputs.is_current(store, councils)
    assert not inputs.is_current(store, [*councils, "wirral", "kent"])
    assert not inputs.are_tables_current(store, councils[:-1])


def table(path: Path, family: str, units: list[str], **columns: list[str | None]) -> list[int]:
    """The check of a table in which every unit is of the first category of every attribute, but for `columns`."""
    every = {each.name: [each.categories[0]] * len(units) for each in FAMILIES[family].attributes}
    schema = pa.schema([(name, pa.string()) for name in (UNIT_COLUMN, *every)])
    pq.write_table(pa.table({UNIT_COLUMN: units} | every | columns, schema=schema), path / "table.parquet")
    return list(children.check_table(path / "table.parquet", family).values())


def test_a_value_outside_its_domain_one_that_is_missing_and_a_unit_twice_are_counted(tmp_path: Path) -> None:
    for family in FAMILIES:
        for units in ([], ["a", "b"]):
            assert table(tmp_path, family, units) == [0, 0]
    assert table(tmp_path, "pupil", ["a", "b", "c"], gld=["Yes", "Maybe", None]) == [2, 0]
    assert table(tmp_path, "pupil", ["a", "b", "a"]) == [0, 1]


COUNCILS = ("leeds", "halton")


def ingest(landing: Path, home: Home, keys: KeyRing, councils: tuple[str, ...] = COUNCILS) -> None:
    for source in CONTRACTS:
        found = [landed for council in councils if (landed := find(landing, council, source, COHORT))]
        assert not [
            outcome for outcome in Intake(landing, home, keys).ingest_all(found) if isinstance(outcome, Exception)
        ]


@pytest.mark.slow
def test_extracts_of_two_epochs_are_not_linked_and_ids_outlive_a_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = tmp_path / "landing"
    write_extracts(landing, children=80, councils=COUNCILS)
    home, old = Home(tmp_path / "home"), KeyRing.create(tmp_path / "keys")
    store = home.get_cohort(COHORT)
    ingest(landing, home, old)
    link.link_cohort(store, COUNCILS, old)
    before = pq.read_table(store.links)
    new = old.rotate(tmp_path / "next")
    ingest(landing, home, new, ("halton",))
    with pytest.raises(tokens.TokensUnusable, match=r"(leeds|halton)/eyfsp.* take them in again"):
        link.link_cohort(store, COUNCILS, new)
    assert pq.read_table(store.links).equals(before)
    ingest(landing, home, new)
    link.link_cohort(store, COUNCILS, new)
    assert pq.read_table(store.links).equals(before)
    monkeypatch.setattr("privacy.pseudonyms.PSEUDONYM_VERSION", "next")
    with pytest.raises(tokens.TokensUnusable, match="and others have tokens made with different keys, pseudonyms"):
        link.link_cohort(store, COUNCILS, new)
