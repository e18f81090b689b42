"""What of Dagster is used that it does not promise: where, and what breaks when it goes.

After an upgrade a failure here says what to mend; `uv.lock` pins the version that it was written for.
"""

from __future__ import annotations

import importlib
import inspect
import tomllib

import dagster as dg
import pytest
import yaml

from pipelines.dagster.instance import LOCATION, OF_LOCATION, REPOSITORY, place_in_history
from tests.support import PROJECT
from tests.support.architecture import modules

PARTS = {
    "dagster._core.instance.ref.InstanceRef": "instance(): OpenEventLog is put in the place of Dagster's event log",
    "dagster._core.storage.event_log.SqliteEventLogStorage": "OpenEventLog: each event opens and closes a file again",
    "dagster._core.storage.event_log.sqlite.sqlite_event_log.INDEX_SHARD_NAME": "OpenEventLog: the file of all runs",
    "dagster._core.storage.sqlite.SQLITE_BUSY_TIMEOUT_SECONDS": "OpenEventLog: how long a writer waits for another",
    "dagster._core.remote_origin.RegisteredCodeLocationOrigin": "place_in_history(): the command on the timeline",
    "dagster._core.remote_origin.RemoteJobOrigin": "place_in_history(): the command on the timeline",
    "dagster._core.remote_origin.RemoteRepositoryOrigin": "place_in_history(): the command on the timeline",
    "dagster._core.errors.DagsterUserCodeUnreachableError": "WatchedLauncher: a code server that does not answer",
    "dagster._core.launcher.CheckRunHealthResult": "WatchedLauncher: its answer",
    "dagster._core.launcher.WorkerStatus": "WatchedLauncher: its answer",
    "dagster._core.launcher.LaunchRunContext": "TidyLauncher: the run that is launched",
    "dagster._grpc.types.CanCancelExecutionRequest": "WatchedLauncher: whether a code server knows a run",
    "dagster._grpc.types.CanCancelExecutionResult": "WatchedLauncher: whether a code server knows a run",
}
"""By what is used, who uses it and for what."""
USERS = {f"pipelines.dagster.{name}" for name in ("event_log", "in_containers", "in_place", "instance")}


@pytest.mark.slow
def test_they_are_used_in_few_modules_and_are_all_named_here() -> None:
    used = {module.name: {name for name in module.imports() if name.startswith("dagster._")} for module in modules()}
    assert {name for name, parts in used.items() if parts} == USERS
    assert {part.rpartition(".")[0] for part in PARTS} == set().union(*used.values())


@pytest.mark.parametrize(("part", "what_breaks"), PARTS.items())
def test_each_is_where_it_was(part: str, what_breaks: str) -> None:
    module, _, name = part.rpartition(".")
    assert hasattr(importlib.import_module(module), name), what_breaks


def test_they_are_called_as_before() -> None:
    from dagster._core.instance.ref import InstanceRef
    from dagster._core.storage.event_log import SqliteEventLogStorage
    from dagster._core.storage.runs import RunStorage

    assert "overrides" in inspect.signature(InstanceRef.from_dir).parameters
    for method in (
        "run_connection",
        "index_connection",
        "conn_string_for_shard",
        "dispose",
    ):
        assert callable(getattr(SqliteEventLogStorage, method))
    assert callable(dg.DefaultRunLauncher._get_grpc_client_for_termination)
    assert list(inspect.signature(RunStorage.replace_job_origin).parameters) == ["self", "run", "job_origin"]
    assert isinstance(inspect.getattr_static(dg.DagsterInstance, "run_storage"), property)


def test_a_run_of_the_command_stands_where_dagsters_own_do() -> None:
    """The web server draws on its timeline the runs whose origin it knows, and lists a job's by the tag."""

    @dg.asset
    def made() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([made], instance=instance, tags=OF_LOCATION)
        place_in_history(instance, done.dagster_run)
        (run,) = instance.get_runs(dg.RunsFilter(tags=OF_LOCATION))
        assert run.remote_job_origin is not None
        assert run.remote_job_origin.repository_origin.get_label() == f"{REPOSITORY}@{LOCATION}"
        assert run.status is dg.DagsterRunStatus.SUCCESS


def test_the_location_is_called_as_the_workspace_calls_it() -> None:
    (entry,) = yaml.safe_load((PROJECT / "workspace.yaml").read_text())["load_from"]
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]
    assert entry["python_module"]["location_name"] == LOCATION
    assert project["dagster"]["code_location_name"] == LOCATION
    assert project["dg"]["project"]["code_location_name"] == LOCATION
