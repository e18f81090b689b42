"""However a run is killed, no charge is lost or drawn twice, nothing is free, and the next run completes."""

import os
import signal
from itertools import groupby
from pathlib import Path

import pytest

from tests.support.release import crash

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("READINESS_AUDIT_KILLS", "100"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> crash.Scene:
    if request.param == "sqlite":
        return crash.Scene.create(tmp_path / "home")
    return crash.Scene.create(tmp_path / "home", request.getfixturevalue("database_server").empty())


def test_a_kill_at_every_step_of_a_measurement(scene: crash.Scene) -> None:
    names = crash.list_steps(scene, "whole")
    assert names.count("after draw") == 1
    assert names.count("after commit") == 2
    assert names.count("after replace") == 2
    releases = [f"step{number}" for number in range(len(names))]
    ends = []
    for number, release in enumerate(releases):
        assert crash.kill_at(scene, release, number) == -signal.SIGKILL, names[number]
        ends.append(crash.finish(scene, release))
    assert [end for end, _ in groupby(ends)] == ["measured", "found"]
    reserved, committed = (at for at, name in enumerate(names) if name == "after commit")
    assert ends == ["measured"] * committed + ["found"] * (len(names) - committed)
    assert crash.check_evidence(scene, [crash.FIRST, "whole", *releases])["VOID"] == committed - reserved


@pytest.mark.parametrize("left", ["nothing", "a draw", "a commit"])
def test_a_kill_at_every_step_of_picking_up_after_a_kill(scene: crash.Scene, left: str) -> None:
    """Wherever the second run is killed, the third ends as the second would have."""
    names = crash.list_steps(scene, "whole")
    commits = [at for at, name in enumerate(names) if name == "after commit"]
    first = {"nothing": names.index("before draw"), "a draw": names.index("after replace"), "a commit": commits[1]}[
        left
    ]
    assert crash.kill_at(scene, "again", first) == -signal.SIGKILL
    picking_up = crash.list_steps(scene, "again")
    assert ("after draw" in picking_up) == (left != "a commit")
    releases = [f"step{number}" for number in range(len(picking_up))]
    for number, release in enumerate(releases):
        assert crash.kill_at(scene, release, first) == -signal.SIGKILL
        assert crash.kill_at(scene, release, number) == -signal.SIGKILL, picking_up[number]
        redrawn = left != "a commit" and number < len(picking_up) - picking_up[::-1].index("after commit") - 1
        assert crash.finish(scene, release) == ("measured" if redrawn else "found")
    crash.check_evidence(scene, [crash.FIRST, "whole", "again", *releases])


@pytest.mark.timeout(3600)
def test_kills_at_random_moments() -> None:
    with crash.make_quick_folder() as folder:
        ends = crash.kill_at_random(folder, KILLS, seed=0)
    assert ends["killed"] >= KILLS
    assert ends["measured"]
    assert ends["given back"]
    assert ends["found"]
