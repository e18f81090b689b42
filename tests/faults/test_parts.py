"""Taking in or withdrawing a part of an extract is killed at a step: what comes next does the rest."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.home.processing_log import Processing, read_entries
from assets.intake import deliveries
from assets.intake.ingest import Intake
from assets.intake.parts import PartStore
from assets.keeping.withdrawing import open_home
from tests.support.extracts import COHORT
from tests.support.installation.steps import kill_at_steps
from tests.support.intake.in_parts import Parts, build_child

pytestmark = pytest.mark.slow


def withdraw_second(root: Path) -> int:
    Parts(root).withdraw(2)
    return 0


def ingest(root: Path) -> int:
    Parts(root).take()
    return 0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sent = Parts(tmp_path_factory.mktemp("parts"))
    sent.send_thirty_and_ten()
    sent.take()
    sent.link()
    return sent.root


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(made, tmp_path / name, symlinks=True))


def links(home: Home) -> dict[int, str]:
    """The id of the child of each row."""
    found = pq.read_table(home.get_cohort(COHORT).links, partitioning=None)
    return dict(zip(found["row_key"].to_pylist(), found["child_id"].to_pylist(), strict=True))


def linked(home: Home, before: dict[int, str]) -> dict[str, object]:
    """What is linked, with the ids of children that were linked before, and the files of the restricted zone."""
    files = Counter(path.suffix for path in home.restricted.rglob("*") if path.is_file())
    return {
        "links": {row: before.get(row) and child for row, child in links(home).items()},
        "pupil": pq.read_table(home.get_cohort(COHORT).get_confidential_path("pupil")).num_rows,
        "files": files,
    }


def test_whatever_comes_next_finishes_it(made: Path, copy: Callable[[str], Path]) -> None:
    clean, before = copy("clean"), links(Parts(made).home)
    withdraw_second(clean)
    wanted = linked(Parts(clean).home, before)
    begun = 0

    def check(root: Path) -> None:
        nonlocal begun
        parts, home = Parts(root), Parts(root).home
        begun += home.is_removal_unfinished
        open_home(home, root / "keys")
        assert not home.is_removal_unfinished
        if not any(part.withdrawn for part in PartStore(parts.store).list_all()):
            assert parts.numbers == [1, 2]
            assert links(home) == before
            withdraw_second(root)
        assert linked(home, before) == wanted
        assert parts.sexes == ["F"] * 30
        assert [pq.read_metadata(path).num_rows for path in home.restricted.rglob("*.payload.parquet")] == [30]
        assert not list(home.restricted.glob("staging-*"))
        said = [entry for entry in read_entries(home) if entry.what == Processing.WITHDRAWAL]
        assert {entry.note for entry in said} == {"part 2"}

    kill_at_steps(copy, withdraw_second, check, furthest=60)
    assert begun > 3


@pytest.mark.parametrize("whole", [False, True], ids=["a further part", "a whole file in place of parts"])
def test_what_arrives_is_ingested_and_reported(copy: Callable[[str], Path], whole: bool) -> None:
    """Two children corrected, one new, and one row that cannot be kept."""
    rows = [build_child(0, sex="M"), build_child(20, sex="M"), build_child(200), build_child(201, sex="X")]

    def sent(name: str) -> Path:
        parts = Parts(copy(name))
        if whole:
            shutil.rmtree(parts.landing / "leeds" / "eyfsp" / COHORT)
            parts.send(COHORT, *rows, *map(build_child, range(21, 60)), folder="")
        else:
            parts.send("2026-03", *rows)
        return parts.root

    def outcome(root: Path) -> dict[str, object]:
        parts = Parts(root)
        quality = deliveries.read_current(parts.store)
        assert quality
        report = json.loads((parts.store.cohort_store.get_reports_folder("leeds") / "eyfsp.json").read_text())
        return {
            "sexes": parts.sexes,
            "parts": quality.parts and [(part.number, part.in_force, part.rows_read) for part in quality.parts.parts],
            "reported": [report[name] for name in ("outcome", "rows_read", "rows_kept", "rows_rejected")],
            "history": sorted(path.name for path in parts.store.history.glob("*.json")),
            "files": Counter(path.suffix for path in parts.home.restricted.rglob("*") if path.is_file()),
        }

    clean = sent("clean")
    ingest(clean)
    wanted = outcome(clean)

    def check(root: Path) -> None:
        parts = Parts(root)
        parts.home.clear_half_made()
        if Intake(parts.landing, parts.home, parts.keys).list_needing_intake(COHORT, ["leeds"]):
            ingest(root)
        assert outcome(root) == wanted

    kill_at_steps(sent, ingest, check, furthest=40)
