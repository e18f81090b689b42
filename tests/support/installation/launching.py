"""Dagster's GraphQL in this process, with the rights of anyone who can open the UI, for a test's own installation."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.origin import DEFAULT_DAGSTER_ENTRY_POINT
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster_graphql.schema import create_schema

from pipelines.dagster.instance import OpenEventLog

LOCATION = Path(__file__).with_name("location.py")
WHERE = {"repositoryName": "__repository__", "repositoryLocationName": "readiness"}
_AT_ONCE = {
    "run_launcher": {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    },
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
}
_SCHEMA = create_schema()


@dataclass(frozen=True)
class Desk:
    """A person at the UI."""

    process: WorkspaceProcessContext

    @property
    def instance(self) -> dg.DagsterInstance:
        return self.process.instance

    def ask(self, query: str, **variables: Any) -> Any:
        request = self.process.create_request_context()
        answer = asyncio.run(_SCHEMA.execute_async(query, context_value=request, variable_values=variables))
        assert not answer.errors, answer.errors
        return answer.data

    def try_out(self, what: str, name: str, **options: Any) -> dict[str, Any]:
        """Return the result of testing a `sensor` or `schedule` in the UI."""
        kind = what.capitalize()
        typed = "$cursor: String" if what == "sensor" else "$timestamp: Float"
        option = "cursor" if what == "sensor" else "timestamp"
        query = f"""mutation D($selector: {kind}Selector!, {typed}) {{
          found: {what}DryRun(selectorData: $selector, {option}: ${option}) {{ ... on DryRunInstigationTick {{
            evaluationResult {{ cursor skipReason error {{ message }}
              runRequests {{ runKey jobName tags {{ key value }} runConfigYaml }} }} }} }} }}"""
        variables = {"selector": WHERE | {f"{what}Name": name}, option: None} | options
        request = self.process.create_request_context()
        answer = _SCHEMA.execute(query, context_value=request, variable_values=variables)  # conditions have a loop, too
        assert not answer.errors, answer.errors
        return dict(answer.data["found"]["evaluationResult"])

    def launch(
        self,
        job: str,
        tags: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
        parent: str | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        written = {"tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]}
        params = {
            "selector": WHERE | {"jobName": job} | more,
            "runConfigData": dict(config or {}),
            "executionMetadata": written | ({"parentRunId": parent, "rootRunId": parent} if parent else {}),
        }
        mutation = "launchRunReexecution" if parent else "launchRun"
        query = f"""mutation L($params: ExecutionParams!) {{ found: {mutation}(executionParams: $params) {{ __typename
          ... on LaunchRunSuccess {{ run {{ runId status }} }} ... on PythonError {{ message }}
          ... on RunConfigValidationInvalid {{ errors {{ message }} }} }} }}"""
        return dict(self.ask(query, params=params)["found"])

    def explain_failure(self, run: str) -> str:
        events = [log.dagster_event for log in self.instance.all_logs(run) if log.dagster_event]
        (error,) = (each.step_failure_data.error for each in events if each.is_step_failure)
        while error.cause:
            error = error.cause
        return str(error.cls_name).rpartition(".")[2]


def make_executing_instance(folder: Path) -> dg.DagsterInstance:
    """Return an instance in which a run ends before the response to its launch."""
    log = {
        "module": OpenEventLog.__module__,
        "class": OpenEventLog.__name__,
        "config": {"base_dir": str(folder / "history" / "runs")},
    }
    return dg.DagsterInstance.local_temp(str(folder), overrides=_AT_ONCE | {"event_log_storage": log})


@contextmanager
def open_desk(instance: dg.DagsterInstance) -> Iterator[Desk]:
    target = LoadableTargetOrigin(executable_path=sys.executable, python_file=str(LOCATION), attribute="defs")
    origin = InProcessCodeLocationOrigin(target, entry_point=DEFAULT_DAGSTER_ENTRY_POINT, location_name="readiness")
    with instance, WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget([origin])) as process:
        yield Desk(process)
