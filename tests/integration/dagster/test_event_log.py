"""The event log whose files stay open writes what Dagster's own reads."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.home.paths import Home
from pipelines.dagster.instance import open_instance
from privacy.doors.environment import build_child_environment

pytestmark = pytest.mark.slow


@dg.asset
def counted(context: dg.AssetExecutionContext) -> None:
    context.log.info("counting")
    for number in range(3):
        context.log_event(dg.AssetMaterialization("counted", metadata={"number": number}))


def test_both_logs_write_and_read_the_same_files(tmp_path: Path) -> None:
    ours = open_instance(Home(tmp_path))
    dagsters = dg.DagsterInstance.from_config(str(tmp_path / "dagster"))
    runs = [dg.materialize([counted], instance=each).run_id for each in (ours, dagsters, ours)]
    assert {run.run_id for run in ours.get_runs()} == {run.run_id for run in dagsters.get_runs()} == set(runs)
    assert all(ours.all_logs(run) == dagsters.all_logs(run) for run in runs)
    assert len(dagsters.fetch_materializations(counted.key, limit=100).records) == len(runs) * 4
    assert {run.status for run in dagsters.get_runs()} == {dg.DagsterRunStatus.SUCCESS}
    dagsters.dispose()
    assert len(_open_below(tmp_path)) == 2  # that of all runs, and that of the latest
    ours.dispose()
    assert not _open_below(tmp_path)


def _open_below(folder: Path) -> set[str]:
    """Return the databases of events that this process has open."""
    files = (path.resolve() for path in Path("/proc/self/fd").iterdir())
    below = folder / "dagster" / "history" / "runs"
    return {path.name for path in files if below in path.parents and path.suffix == ".db"}


def test_the_death_of_a_process_loses_no_event(tmp_path: Path) -> None:
    dies = (
        "import os, signal; from pathlib import Path; import dagster as dg; from assets.home.paths import Home;"
        " from pipelines.dagster.instance import open_instance; ours = open_instance(Home(Path.cwd()));"
        " [ours.report_runless_asset_event(dg.AssetMaterialization('counted')) for _ in range(20)];"
        " os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = build_child_environment(PYTHONPATH=os.pathsep.join(sys.path))
    died = subprocess.run([sys.executable, "-W", "ignore", "-c", dies], cwd=tmp_path, env=environment)
    assert died.returncode == -signal.SIGKILL
    with open_instance(Home(tmp_path)) as ours:
        assert len(ours.fetch_materializations(counted.key, limit=100).records) == 20
