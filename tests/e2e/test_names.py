"""A child's name in any place of a delivery is not repeated: not by the console, the event log, a tag or a log."""

import re
from pathlib import Path

import pytest

from sources.reference.places import load_places
from tests.support.extracts import COHORT
from tests.support.installation.commands import run_readiness
from tests.support.intake.corpus import PLANTED
from tests.support.intake.plants import iter_plants

pytestmark = pytest.mark.slow

SENDERS_OWN = ("reports", "stopped", "quality", "history")
"""Folders of the restricted zone in which a sender's report, and what it is made of, hold its headings."""
LANGUAGE = re.compile(r"(?<![A-Za-z])QWYJ(?![A-Za-z])", re.IGNORECASE)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("names")
    for council, (source, put) in zip(load_places(), iter_plants(), strict=False):
        put(root / "landing" / council / source)
    (root / "landing" / "Qwyjibo Zorblax").mkdir()
    return root


def test_no_name_is_repeated(root: Path) -> None:
    assert 64 <= len(list(iter_plants())) <= len(load_places())
    said = [run_readiness(root, "run", "--cohort", COHORT, "--create-keys")]
    (root / "landing" / "Qwyjibo Zorblax").rmdir()
    for command in ("run --cohort", "status --cohort", "status --json --cohort"):
        said.append(run_readiness(root, *command.split(), COHORT))
    said += [run_readiness(root, "doctor"), run_readiness(root, "log")]
    for each in said:
        assert not PLANTED.search(each.stdout + each.stderr)
        assert "Traceback" not in each.stdout + each.stderr
    looked_at = 0
    for path in (path for path in (root / "home").rglob("*") if path.is_file()):
        own = path.relative_to(root / "home").parts[:2]
        if own[0] == "restricted" and own[1] in SENDERS_OWN:
            continue
        content = path.read_bytes().decode("latin-1")
        assert not PLANTED.search(content), path
        assert path.suffix != ".parquet" or not LANGUAGE.search(content), path
        looked_at += 1
    assert looked_at > 10
