"""A part of an extract that is taken in or withdrawn by a process that is killed at a step: what comes next does the
rest."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.home.processing_log import Processing, read_entries
from assets.intake import deliveries
from assets.intake.ingest import Intake
from assets.intake.parts import PartStore
from assets.keeping.withdrawing import withdraw
from assets.linkage.link import derive_confidential_tables, link_cohort
from pipelines.opening import open_home
from privacy.keys import KeyRing
from tests.support.extracts import COHORT, text
from tests.support.installation.steps import killed_at_steps
from tests.support.intake.in_parts import child, take
from tests.support.intake.numbered import numbered

pytestmark = pytest.mark.slow

KEY = ("eyfsp", COHORT, "leeds")
REASON = "It is of Bradford."


def _home(root: Path) -> Home:
    return Home(root / "home")


def _keys(root: Path) -> KeyRing:
    return KeyRing.load(root / "keys")


def withdraw_second(root: Path) -> int:
    withdraw(root / "landing", _home(root), _keys(root), KEY, 2, REASON)
    return 0


def ingest(root: Path) -> int:
    take(root / "landing", _home(root), _keys(root))
    return 0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty children in January; in February three of them again, with another sex, and ten of another council."""
    root = tmp_path_factory.mktemp("parts")
    keys, landing = KeyRing.create(root / "keys"), root / "landing"
    folder = landing / "leeds" / "eyfsp" / COHORT
    folder.mkdir(parents=True)
    (folder / "2026-01.csv").write_text(text([child(n) for n in range(30)]))
    again = [child(n, sex="M") for n in range(3)]
    (folder / "2026-02.csv").write_text(text([*again, *(child(n) for n in range(100, 110))]))
    take(landing, _home(root), keys)
    link_cohort(_home(root).cohort(COHORT), ["leeds"], keys)
    derive_confidential_tables(_home(root).cohort(COHORT), ["leeds"], keys)
    return root


def links(home: Home) -> dict[int, str]:
    """The id of the child of each row."""
    found = pq.read_table(home.cohort(COHORT).links, partitioning=None)
    return dict(zip(found["row_key"].to_pylist(), found["child_id"].to_pylist(), strict=True))


def linked(home: Home, before: dict[int, str]) -> dict[str, object]:
    """What is linked, with the ids of children that were linked before, and the files of the restricted zone."""
    files = Counter(path.suffix for path in home.restricted.rglob("*") if path.is_file())
    return {
        "links": {row: before.get(row) and child for row, child in links(home).items()},
        "pupil": pq.read_table(home.cohort(COHORT).confidential("pupil")).num_rows,
        "files": files,
    }


def test_whatever_comes_next_finishes_it(made: Path, tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(made, tmp_path / name, symlinks=True))

    clean = copy("clean")
    withdraw_second(clean)
    before = links(_home(made))
    wanted = linked(_home(clean), before)
    begun = 0

    def check(root: Path) -> None:
        nonlocal begun
        home, keys = _home(root), _keys(root)
        if home.is_removal_unfinished:
            begun += 1
        open_home(home, root / "keys")
        assert not home.is_removal_unfinished
        if not PartStore(home, KEY).withdrawn():
            assert {part.number for part in PartStore(home, KEY).held()} == {1, 2}
            assert links(home) == before
            withdraw_second(root)
        assert linked(home, before) == wanted
        assert numbered(home, keys, "eyfsp", "leeds")["sex"].to_pylist() == ["F"] * 30
        rows = [pq.read_metadata(path).num_rows for path in home.restricted.rglob("*.payload.parquet")]
        assert rows == [30]
        assert not list(home.restricted.glob("staging-*"))
        said = [entry for entry in read_entries(home) if entry.what == Processing.WITHDRAWAL]
        assert {entry.note for entry in said} == {"part 2"}

    killed_at_steps(copy, withdraw_second, check, furthest=60)
    assert begun > 3


@pytest.mark.parametrize("whole", [False, True], ids=["a further part", "a whole file in place of parts"])
def test_what_arrives_is_ingested_and_reported(made: Path, tmp_path: Path, whole: bool) -> None:
    """Two children corrected, one new, and one row that cannot be kept."""
    rows = [child(0, sex="M"), child(20, sex="M"), child(200), child(201, sex="X")]

    def copy(name: str) -> Path:
        root = Path(shutil.copytree(made, tmp_path / name, symlinks=True))
        folder = root / "landing" / "leeds" / "eyfsp"
        if whole:
            shutil.rmtree(folder / COHORT)
            (folder / f"{COHORT}.csv").write_text(text([*rows, *(child(n) for n in range(21, 60))]))
        else:
            (folder / COHORT / "2026-03.csv").write_text(text(rows))
        return root

    def outcome(root: Path) -> dict[str, object]:
        home, quality = _home(root), deliveries.read_current(_home(root).extract(*KEY))
        assert quality
        report = json.loads((home.cohort(COHORT).reports("leeds") / "eyfsp.json").read_text())
        return {
            "sexes": sorted(numbered(home, _keys(root), "eyfsp", "leeds")["sex"].to_pylist()),
            "parts": quality.parts and [(part.number, part.in_force, part.rows_read) for part in quality.parts.parts],
            "reported": [report[name] for name in ("outcome", "rows_read", "rows_kept", "rows_rejected")],
            "history": sorted(path.name for path in home.extract(*KEY).history.glob("*.json")),
            "files": Counter(path.suffix for path in home.restricted.rglob("*") if path.is_file()),
        }

    clean = copy("clean")
    ingest(clean)
    wanted = outcome(clean)

    def check(root: Path) -> None:
        home = _home(root)
        home.clear_half_made()
        if Intake(root / "landing", home, _keys(root)).list_needing_intake(COHORT, ["leeds"]):
            ingest(root)
        assert outcome(root) == wanted

    killed_at_steps(copy, ingest, check, furthest=40)
