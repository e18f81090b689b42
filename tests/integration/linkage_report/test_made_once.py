"""Links and confidential tables are made once: again only where what they are made of, or what makes them, changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.linkage import inputs
from assets.linkage.inputs import councils_in, is_current, tables_are_current
from assets.linkage.link import derive_confidential_tables, link_cohort
from privacy.keys import KeyRing
from tests.support.daily import first
from tests.support.linkage.linked_home import COHORT

Made = dict[str, tuple[bytes, int]]


@pytest.fixture
def linked(home: Home, keys: KeyRing, tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    shutil.copytree(home.root, made.root)
    derive_confidential_tables(made, COHORT, councils_in(made, COHORT), keys)
    return made


def made(home: Home) -> Made:
    """Content and time of change of every file of a home folder but locks."""
    files = (path for path in home.root.rglob("*") if path.is_file() and "lock" not in path.name)
    return {str(path.relative_to(home.root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def changed(before: Made, after: Made) -> set[str]:
    return {Path(name).name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def run(home: Home, keys: KeyRing) -> None:
    councils = councils_in(home, COHORT)
    link_cohort(home, COHORT, councils, keys)
    derive_confidential_tables(home, COHORT, councils, keys)


def test_again_with_nothing_changed_no_byte_and_no_time_changes(linked: Home, keys: KeyRing) -> None:
    before = made(linked)
    run(linked, keys)
    assert changed(before, made(linked)) == set()


@pytest.mark.parametrize("lost", first(1, ["doubts.parquet", "linkage.html"]))
def test_what_is_lost_is_made_again_and_children_keep_their_ids(linked: Home, keys: KeyRing, lost: str) -> None:
    before = pq.read_table(linked.links(COHORT))
    (linked.linked(COHORT) / lost).unlink()
    run(linked, keys)
    assert (linked.linked(COHORT) / lost).exists()
    assert pq.read_table(linked.links(COHORT)) == before


def test_a_table_with_other_bytes_is_made_again(linked: Home, keys: KeyRing) -> None:
    table = linked.confidential("pupil", COHORT)
    before = table.read_bytes()
    for other in (before[:-1], before[:100], before[:-1] + bytes([before[-1] ^ 1]), b""):
        table.write_bytes(other)
        assert not tables_are_current(linked, COHORT, councils_in(linked, COHORT))
        run(linked, keys)
        assert table.read_bytes() == before


def test_another_program_or_other_parameters_make_all_again(linked: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    councils = councils_in(linked, COHORT)
    assert is_current(linked, COHORT, councils)
    for what in ("program", "parameters_sha256"):
        with monkeypatch.context() as patch:
            patch.setattr(inputs, what, lambda: "another")
            assert not is_current(linked, COHORT, councils)
    assert not is_current(linked, COHORT, [*councils, "wirral", "kent"])
    assert not tables_are_current(linked, COHORT, councils[:-1])


@pytest.mark.slow
def test_links_made_anew_take_their_tables_with_them(linked: Home, keys: KeyRing) -> None:
    linked.links(COHORT).unlink()
    run(linked, keys)
    ids = set(pq.read_table(linked.links(COHORT))["child_id"].to_pylist())
    assert set(pq.read_table(linked.confidential("pupil", COHORT))["child_id"].to_pylist()) <= ids
