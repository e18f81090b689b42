"""The Dagster definitions: the one module that combines assets, jobs, schedules, sensors and resources.

Commands execute jobs in their own process (`open_jobs`), recorded in the history that Dagster shows.

`defs` contains everything, for one machine. If intake and release run separately, each code location loads its own
attribute of this module, `restricted` or `release`, and has its own keys.

The configuration of a run is limited to decisions that people make: cohort, version, share and so on. Folders, keys,
executor and loggers cannot be configured (`tests/integration/dagster/test_launches.py` checks all definitions).
"""

import getpass
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, TextIO

import dagster as dg

from assets.catalogue.runs import BY, STOPPED, WAITING, WHY, note_councils, tag_partition_range
from assets.home import errors, software
from assets.home.installation import Installation
from assets.home.paths import Home
from assets.intake.assets import EXTRACTS, landed_extracts, postcode_directory, pseudonymised_extracts
from assets.keeping.withdrawing import open_home
from assets.linkage.assets import confidential_tables, links
from assets.release.assets import WAITS, analyst_database, bundle, measurements
from assets.release.fix_release import ReleaseOptions
from assets.returns.assets import returns
from assets.synthetic_children.assets import synthetic_children
from pipelines.commands.console import Ending, RunStopped, find_ending_by_name
from pipelines.dagster import jobs
from pipelines.dagster.instance import OF_LOCATION, open_working_instance, place_in_history

_OF_THE_ENGINE = ("Dependencies for step", "Skipping step", "op '")


class _PlainLines(logging.StreamHandler[TextIO]):
    """Prints one line for each message of an asset or description of what it materialised, and none from the engine."""

    def filter(self, record: logging.LogRecord) -> bool:
        return _is_from_asset(record)

    def format(self, record: logging.LogRecord) -> str:
        return f"  {'! ' if record.levelno >= logging.ERROR else ''}{_get_message(record)}"


def _build_logger(_: dg.InitLoggerContext) -> logging.Logger:
    # not from `getLogger`, where each run of a process would add one more handler
    logger = logging.Logger("readiness", logging.DEBUG)
    logger.addHandler(_PlainLines(sys.stdout))
    return logger


def _is_from_asset(record: logging.LogRecord) -> bool:
    """Check whether a record comes from an asset. Why it stopped or waits is left to the end of the command."""
    event = getattr(record, "dagster_meta", {}).get("dagster_event")
    if event is not None:
        if not event.is_step_materialization:
            return False
        # the intake reports on all its materialisations together, in messages
        made = event.step_materialization_data.materialization
        return bool(made.description) and made.asset_key not in EXTRACTS.values()
    return record.levelno >= logging.INFO and not _get_message(record).startswith((STOPPED, WAITING, *_OF_THE_ENGINE))


def _get_message(record: logging.LogRecord) -> str:
    return str(getattr(record, "dagster_meta", {}).get("orig_message", record.getMessage()))


_PROGRESS = dg.LoggerDefinition(
    _build_logger, config_schema={}, description="One plain line for each message of an asset"
)


class CodeLocation(StrEnum):
    """The parts of the definitions that a code location can contain."""

    ALL = "all"
    RESTRICTED = "restricted"
    RELEASE = "release"


class OpenedInstallation(Installation):
    """The installation as passed to steps: opening its home folder first finishes an interrupted removal."""

    @property
    def home_folder(self) -> Home:
        return open_home(super().home_folder, self.keys)


def build_definitions(
    installation: Installation | None = None, part: CodeLocation = CodeLocation.ALL
) -> dg.Definitions:
    """Return the definitions, or a part of them, for one installation; tests and commands pass their own."""
    fixed = installation or Installation.build()
    opening = OpenedInstallation(fixed.landing, fixed.home, fixed.keys, fixed.agreements)
    has_intake, has_release = part is not CodeLocation.RELEASE, part is not CodeLocation.RESTRICTED
    assets, all_jobs, schedules, sensors = list[Any](), list[Any](), list[Any](), list[Any]()
    if has_intake:
        assets += [postcode_directory, *landed_extracts, pseudonymised_extracts, links, confidential_tables]
        all_jobs += jobs.RESTRICTED_JOBS
        schedules += [jobs.nightly_intake, jobs.termly_linkage, jobs.daily_retention]
        sensors += [jobs.landing_sensor, jobs.restricted_automation]
    if has_release:
        assets += [measurements, bundle, analyst_database, synthetic_children]
        all_jobs += jobs.RELEASE_JOBS
        schedules += [jobs.release_calendar]
        # one location sends the alerts for all, because people do not read duplicates
        sensors += [jobs.approved_releases, jobs.failed_runs]
    if has_intake and has_release:
        # returns need the keys of both parts, so they are made only where one location holds everything
        assets += [returns]
        all_jobs += [jobs.returns_job]
        schedules += [jobs.nightly_returns]
    return dg.Definitions(
        assets=assets,
        jobs=all_jobs,
        schedules=schedules,
        sensors=sensors,
        resources={
            "installation": dg.ResourceDefinition(lambda _: opening, config_schema={}),
            "io_manager": dg.IOManagerDefinition(lambda _: dg.InMemoryIOManager(), config_schema={}),
        },
        loggers={"console": _PROGRESS},
        metadata={"readiness": software.get_software_version()},
        # no retries: nothing that spends budget may start again by itself
        executor=dg.in_process_executor.configured(lambda _: {"retries": {"disabled": {}}}, config_schema={}),
    )


defs = build_definitions()


def restricted() -> dg.Definitions:
    """Return the code location of intake, linkage and retention. Its key set needs no signing key."""
    return build_definitions(part=CodeLocation.RESTRICTED)


def release() -> dg.Definitions:
    """Return the code location of measurement and publication. Its key set is `input-mac.key` and `signing.pem`."""
    return build_definitions(part=CodeLocation.RELEASE)


class Jobs:
    """The jobs of an installation. Methods raise `RunStopped` if the job does not complete."""

    def __init__(self, folders: Installation, instance: dg.DagsterInstance, tags: dict[str, str]) -> None:
        self._definitions = build_definitions(folders)
        self._instance, self._tags = instance, tags

    def run_intake(self, councils: Sequence[str], cohort: str) -> None:
        known = note_councils(self._instance, councils)
        self.execute("intake", {"tags": tag_partition_range(councils, cohort, known)})

    def run_release(self, cohort: str, version: str, options: ReleaseOptions) -> None:
        self.execute("release", jobs.build_release_run(cohort, version, options))

    def execute(self, job: str, run: dict[str, Any]) -> None:
        """Execute a job in this process; `run` has partition, tags and configuration."""
        options = run | {
            "tags": {BY: getpass.getuser(), WHY: "readiness run"} | OF_LOCATION | self._tags | run.get("tags", {}),
            "run_config": {"loggers": {"console": {"config": {}}}} | run.get("run_config", {}),
        }
        # errors are not raised, because the events name the step and hold its error message
        result = self._definitions.resolve_job_def(job).execute_in_process(
            instance=self._instance, raise_on_error=False, **options
        )
        place_in_history(self._instance, result.dagster_run)
        checks = result.get_asset_check_evaluations()
        # the run of a release that waits succeeds: its step ends with this check and draws nothing
        if waiting := [check for check in checks if check.check_name == WAITS and not check.passed]:
            raise RunStopped(waiting[0].description or "", Ending.HOLD)
        if not result.success:
            raise _build_run_stopped(result)


@contextmanager
def open_jobs(folders: Installation) -> Iterator[Jobs]:
    """Yield the jobs of an installation, with Dagster's storage of its home folder open.

    Raises `RunStopped` if the storage cannot be used or Dagster refuses a job.
    """
    try:
        with open_working_instance(folders.home) as (instance, of_this_process):
            yield Jobs(folders, instance, of_this_process)
    except dg.DagsterError as error:
        raise RunStopped(errors.describe_unexpected_error(error), Ending.FAULT) from None


_OWN_CLASS = re.compile(r"^(?:assets|ndl_export|pipelines|privacy|sources)\.[\w.]+: ")
"""The class name in front of a project error's message, which is shown without it."""


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
            kind, message = jobs.find_error(event)
            return RunStopped(f"{event.step_key}: {_OWN_CLASS.sub('', message.strip())}", find_ending_by_name(kind))
    return RunStopped("the run failed; its events are in the Dagster instance of the home folder", Ending.FAULT)
