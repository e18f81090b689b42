"""The intake of a part of an extract is killed at a write: the next intake does the rest."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.intake import deliveries
from assets.intake.ingest import Intake
from tests.support.extracts import COHORT
from tests.support.installation.steps import kill_at_steps
from tests.support.intake.in_parts import Parts, build_child

pytestmark = pytest.mark.slow


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
