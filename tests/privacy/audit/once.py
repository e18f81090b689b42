"""F. A run that is killed between draw and store and then repeated draws once for one charge."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.support.release.crash import FIRST, Scene, evidence, killed_at, outcome, steps_of


def check_once(folder: Path) -> None:
    """Raise AssertionError for two draws for one charge, a draw without a charge, or a charge left open."""
    scene = Scene.made(folder / "home")
    names = steps_of(scene, "whole")
    assert killed_at(scene, "killed", names.index("after draw")) == -signal.SIGKILL
    outcome(scene, "killed")
    evidence(scene, [FIRST, "whole", "killed"])
