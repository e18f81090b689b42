"""The event log whose files stay open writes what Dagster's own reads."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy

from assets.home.paths import Home
from pipelines.dagster.instance import OpenEventLog, open_instance
from privacy.doors.environment import build_child_environment

pytestmark = pytest.mark.slow


@dg.asset
def counted(context: dg.AssetExecutionContext) -> None:
    context.log.info("counting")
    for number in range(3):
        context.log_event(dg.AssetMaterialization("counted", metadata={"number": number}))


def _run(of: dg.DagsterInstance) -> str:
    return dg.materialize([counted], instance=of).run_id


def test_dagster_reads_the_same_events(tmp_path: Path) -> None:
    ours = open_instance(Home(tmp_path))
    runs = [_run(ours), _run(ours)]
    written = [ours.all_logs(run) for run in runs]
    ours.dispose()
    dagsters = dg.DagsterInstance.from_config(str(tmp_path / "dagster"))
    assert [dagsters.all_logs(run) for run in runs] == written
    assert len(dagsters.fetch_materializations(counted.key, limit=100).records) == len(runs) * 4
    assert {run.status for run in dagsters.get_runs()} == {dg.DagsterRunStatus.SUCCESS}


def test_dagster_and_it_write_side_by_side(tmp_path: Path) -> None:
    ours = open_instance(Home(tmp_path))
    dagsters = dg.DagsterInstance.from_config(str(tmp_path / "dagster"))
    runs = [_run(of) for of in (ours, dagsters, ours)]
    assert {run.run_id for run in ours.get_runs()} == {run.run_id for run in dagsters.get_runs()} == set(runs)
    assert all(ours.all_logs(run) == dagsters.all_logs(run) for run in runs)


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


def test_no_file_waits_for_the_disk_not_even_while_its_tables_are_made(tmp_path: Path) -> None:
    with open_instance(Home(tmp_path)), sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'new.db'}").connect() as new:
        assert new.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert new.exec_driver_sql("PRAGMA synchronous").scalar() == 1


def test_no_more_than_two_files_stay_open(tmp_path: Path) -> None:
    ours = open_instance(Home(tmp_path))
    for _ in range(3):
        _run(ours)
    assert isinstance(ours.event_log_storage, OpenEventLog)
    assert len(_open_below(tmp_path / "dagster" / "history" / "runs")) == 2
    ours.dispose()
    assert not _open_below(tmp_path / "dagster" / "history" / "runs")


def _open_below(folder: Path) -> set[str]:
    """Databases below a folder that this process has open."""
    files = (path.resolve() for path in Path("/proc/self/fd").iterdir())
    return {path.name for path in files if folder in path.parents and path.suffix == ".db"}
