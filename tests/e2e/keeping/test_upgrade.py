"""A home folder on which a later version has worked is refused before anything in it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.home import paths
from assets.home.paths import MadeByLater
from pipelines.ending import Ending
from tests.support.extracts import COHORT
from tests.support.installation.backups import Safe
from tests.support.installation.traces import hashes


def test_a_home_that_a_later_version_has_worked_on_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    safe = Safe.small(tmp_path)
    before = hashes(safe.home.root)
    monkeypatch.setattr(paths, "software", lambda: "0.0.9")
    with pytest.raises(MadeByLater, match=r"last worked on by readiness 0\.1\.0, and this is 0\.0\.9: install that"):
        safe.home.prepare()
    refused = safe.command("run", "--cohort", COHORT)
    assert (refused.exit_code, "was last worked on by readiness 0.1.0" in refused.stderr) == (Ending.INPUT, True)
    after = hashes(safe.home.root)
    assert {name: of for name, of in after.items() if name in before} == before
