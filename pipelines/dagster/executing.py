"""Jobs that a command executes in its own process, recorded in the history that Dagster shows."""

import getpass
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from assets.catalogue.runs import BY, WHY, note_councils, tag_partition_range
from assets.home.errors import describe_unexpected_error
from assets.home.installation import Installation
from assets.release.assets import WAITS
from assets.release.fix_release import ReleaseOptions
from pipelines.dagster.instance import OF_LOCATION, open_working_instance, place_in_history
from pipelines.dagster.jobs import build_release_run
from pipelines.definitions import build_definitions
from pipelines.ending import Ending, RunStopped, find_ending_by_name


class Jobs:
    """The jobs of an installation: each method executes the job of its name.

    Methods raise `RunStopped` if the job does not complete.
    """

    def __init__(self, folders: Installation, instance: dg.DagsterInstance, tags: dict[str, str]) -> None:
        self._definitions = build_definitions(folders)
        self._instance, self._tags = instance, tags

    def intake(self, councils: Sequence[str], cohort: str) -> None:
        known = note_councils(self._instance, councils)
        self._execute("intake", {"tags": tag_partition_range(councils, cohort, known)})

    def run_linkage(self, cohort: str) -> None:
        self._execute("linkage", {"partition_key": cohort})

    def release(self, cohort: str, version: str, options: ReleaseOptions) -> None:
        self._execute("release", build_release_run(cohort, version, options))

    def run_returns(self, cohort: str) -> None:
        self._execute("returns", {"partition_key": cohort})

    def _execute(self, job: str, run: dict[str, Any]) -> None:
        options = run | {
            "tags": {BY: getpass.getuser(), WHY: "readiness run"} | OF_LOCATION | self._tags | run.get("tags", {}),
            "run_config": {"loggers": {"console": {"config": {}}}} | run.get("run_config", {}),
        }
        try:
            # not raised, because the events name the step and hold the sentence of its error
            result = self._definitions.resolve_job_def(job).execute_in_process(
                instance=self._instance, raise_on_error=False, **options
            )
        except dg.DagsterError as error:
            raise RunStopped(describe_unexpected_error(error), Ending.FAULT) from None
        place_in_history(self._instance, result.dagster_run)
        checks = result.get_asset_check_evaluations()
        # a release that waits is a run that succeeded: its step ends with this check and draws nothing
        if waiting := [check for check in checks if check.check_name == WAITS and not check.passed]:
            raise RunStopped(waiting[0].description or "", Ending.HOLD)
        if not result.success:
            raise _build_run_stopped(result)


@contextmanager
def open_jobs(folders: Installation) -> Iterator[Jobs]:
    """Yield the jobs of an installation, with Dagster's storage of its home folder open.

    Raises `RunStopped` if the storage cannot be used.
    """
    try:
        with open_working_instance(folders.home) as (instance, of_this_process):
            yield Jobs(folders, instance, of_this_process)
    except dg.DagsterError as error:
        raise RunStopped(describe_unexpected_error(error), Ending.FAULT) from None


_OWN_CLASS = re.compile(r"^(?:assets|ndl_export|pipelines|privacy|sources)\.[\w.]+: ")
"""The class name in front of the message of a project error, which needs only its message."""


def _build_run_stopped(result: dg.ExecuteInProcessResult) -> RunStopped:
    """Return an error with the messages of failed checks, or of the error that stopped a step."""
    failed = [
        check.description or ""
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    ]
    if failed:
        return RunStopped("; ".join(failed))
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            error = event.step_failure_data.error
            while error.cause:
                error = error.cause
            ending = find_ending_by_name((error.cls_name or "").rpartition(".")[2])
            return RunStopped(f"{event.step_key}: {_OWN_CLASS.sub('', error.message.strip())}", ending)
    return RunStopped("the run failed; its events are in the Dagster instance of the home folder", Ending.FAULT)
