"""`readiness run`: materialise the same assets through the same jobs, in order, with progress."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import dagster as dg

from assets.catalogue.runs import Installation, note_councils, one_run, started_by_command
from assets.home.errors import Damaged, StepFailed, in_plain_words, plainly
from assets.home.paths import Home
from assets.home.retention_policy import CohortExpired, InvalidRetention, check_may_be_held
from assets.release import anchors
from assets.release.anchors import published_charges
from assets.release.assets import BUNDLE, MEASUREMENTS, WAITS
from assets.release.begin import Asked, SeriesRefused, measured_now, series_for
from assets.release.expected_accuracy import NotAccurateEnough
from ndl_export.bundle.release_directory import versions
from ndl_export.facts.release_facts import InvalidVersion, Version
from pipelines.dagster.arriving import still_arriving
from pipelines.dagster.instance import OF_LOCATION, place_in_history, working_instance
from pipelines.dagster.jobs import run_of_release
from pipelines.definitions import build_definitions
from privacy.keys import RELEASE as KEYS_OF_RELEASE
from privacy.linkage import backends
from privacy.release.approval import SignOffs, note_people
from privacy.release.ledger import BudgetExceeded, BudgetNotApproved, Ledger, LedgerCorrupt, ReleaseConflict
from privacy.release.ledger_storage import LedgerUnavailable
from privacy.release.policy import PolicyError, Stage, load_policy
from privacy.release.session import settle
from privacy.release.store import StoreError as MeasurementLost
from sources.extract.landed import anything_arrived, not_read, taking_part, unknown_folders
from sources.reference.cohorts import Cohort, InvalidCohort


class Ending(IntEnum):
    """Why a run ended before its release was complete, as the command's exit status (2 is that of a wrong option)."""

    INPUT = 1
    BUDGET = 3
    HOLD = 4
    FAULT = 5


class RunStopped(Exception):
    """The run cannot go on; the message says why and what to do."""

    def __init__(self, message: str, ending: Ending = Ending.INPUT) -> None:
        super().__init__(message)
        self.ending = ending


_ENDINGS = {
    Ending.BUDGET: (BudgetExceeded, BudgetNotApproved, NotAccurateEnough),
    Ending.FAULT: (
        *(StepFailed, Damaged, LedgerCorrupt, LedgerUnavailable, MeasurementLost),
        *(anchors.SignedByAnother, anchors.UnreadableAnchor),
    ),
}
"""Errors by how a run ends with them; every other is about what was sent or asked."""


def _ending(error: str) -> Ending:
    """How a run ends that was stopped by an error of the class of this name."""
    found = (ending for ending, kinds in _ENDINGS.items() if error in {kind.__name__ for kind in kinds})
    return next(found, Ending.INPUT)


_REFUSALS = (
    SeriesRefused,
    ReleaseConflict,
    InvalidVersion,
    InvalidCohort,
    PolicyError,
    *anchors.REFUSALS,
    CohortExpired,
    InvalidRetention,
    backends.BackendUnavailable,
    StepFailed,
)
"""Errors whose message is all that a person must know."""


@contextmanager
def _stopping_plainly() -> Iterator[None]:
    """Raise `RunStopped` if a run cannot begin, or if the system or Dagster's storage stops it between steps."""
    try:
        with plainly():
            yield
    except _REFUSALS as error:
        raise RunStopped(str(error), _ending(type(error).__name__)) from None
    except dg.DagsterError as error:
        raise RunStopped(in_plain_words(error), Ending.FAULT) from None


@dataclass(frozen=True)
class _Stage:
    """A job of a run, its title on the console, and its arguments."""

    job: str
    title: str
    given: dict[str, Any] = field(default_factory=dict)


@_stopping_plainly()
def run_cohort(
    installation: Installation,
    cohort: Cohort,
    version: str | None,
    allow_missing: bool,
    say: Callable[[str], None],
    share: float | None = None,
    with_cohorts: Sequence[Cohort] = (),
    reuse: bool = False,
    until: str | None = None,
) -> Path:
    """Landing to bundle and database, or `until` the job of that name; returns the bundle's folder.

    Raises `RunStopped`, also where the release is held, or waits for people to sign it.

    `share` is what the release spends of the policy's split. `with_cohorts` stand beside the cohort as a time series:
    from what an earlier release drew for them, or taken in and measured like the cohort itself. With `reuse` nothing is
    measured.
    """
    home, others = installation.home_folder, [each.code for each in with_cohorts]
    backends.backend(installation.linkage_backend)  # refused here, before the intake takes its time
    note_people(Ledger(home.ledger), load_policy().sign_off)
    release = version or release_of(home, cohort)
    series = series_for(home, cohort.code, release, Asked(share=share, others=others, reuse=reuse))
    measured = [Cohort(code) for code in measured_now(series, release)]
    _check_ledger(installation, cohort, release, measured)
    for each in measured:
        check_may_be_held(each, dt.date.today())
        _check_landing(installation.landing_folder, home, each)
    for sentence in not_read(installation.landing_folder):
        say(f"! {sentence}")
    for code, origin in series.items():
        if origin != release:
            say(f"Cohort {code}: the noisy counts of release {origin}, used again; nothing is spent")
    asked = Asked(allow_missing, share, others, reuse)
    definitions = build_definitions(installation)
    with working_instance(home) as (dagster_instance, of_this_process):
        known = note_councils(dagster_instance, taking_part(installation.landing_folder))
        stages = list(_stages(installation, cohort, release, measured, asked, known))
        if until is not None:
            stages = stages[: max(number for number, stage in enumerate(stages, 1) if stage.job == until)]
        for number, stage in enumerate(stages, 1):
            say(f"[{number}/{len(stages)}] {stage.title}")
            started = time.monotonic()
            _run(definitions, stage.job, dagster_instance, of_this_process, stage.given)
            say(f"      done in {time.monotonic() - started:.1f} s")
    return home.release / release


def _check_ledger(installation: Installation, cohort: Cohort, release: str, measured: Sequence[Cohort]) -> None:
    """Where something is to be charged, raise what `settle` does now, and not after intake and linkage."""
    home, ledger = installation.home_folder, Ledger(installation.home_folder.ledger)
    if {each.code for each in measured} - ledger.cohorts_charged(release):
        keys = installation.key_ring(KEYS_OF_RELEASE)
        settle(ledger, home.restricted, cohort.code, lambda: published_charges(home, keys))


def _stages(
    installation: Installation,
    cohort: Cohort,
    release: str,
    measured: Sequence[Cohort],
    asked: Asked,
    known: Sequence[str],
) -> Iterator[_Stage]:
    """The jobs of a run: intake and linkage of every cohort that is measured, then the release and its database."""
    councils = taking_part(installation.landing_folder)
    for each in measured:
        about = f" of {each.code}" if len(measured) > 1 else ""
        tags = {"tags": one_run(councils, each.code, known)}
        yield _Stage("intake", f"Intake{about}: read, check, pseudonymise", tags)
        yield _Stage("linkage", f"Linkage{about}: who is who, without names", {"partition_key": each.code})
    spends = "charge the budget, add noise, write the bundle" if measured else "write the bundle"
    before_database = {"asset_selection": [*MEASUREMENTS.values(), BUNDLE]}
    given = run_of_release(cohort.code, release, asked) | before_database
    yield _Stage("release", f"Release {release}: {spends}", given)
    yield _Stage("analyst_database", "Analyst database")


def run_returns(installation: Installation, cohort: Cohort) -> None:
    """Make the returns of a cohort; raises `RunStopped`."""
    with working_instance(installation.home_folder) as (dagster_instance, of_this_process):
        given = {"partition_key": cohort.code}
        _run(build_definitions(installation), "returns", dagster_instance, of_this_process, given)


def release_of(home: Home, cohort: Cohort) -> str:
    """The version a run makes when none is named: the one that people have signed for the cohort and that is not
    measured yet, or the cohort's newest release, or the first free one of this month.

    So that a repeated run repeats the release and never spends again by default; a revision names its version.
    """
    ledger = Ledger(home.ledger)
    signed = [each.approval for each in SignOffs(ledger).approvals if each.approval.cohort == cohort.code]
    asked = [each.request["release"] for each in signed if each.request["stage"] == Stage.MEASUREMENT]
    if asked and not ledger.cohorts_charged(asked[-1]):
        return str(asked[-1])
    if earlier := [Version.parse(version) for version in ledger.releases_charged(cohort.code)]:
        return str(max(earlier))
    today = dt.date.today()
    published = {str(version) for version in versions(home.release)}
    number = 0
    while (version := f"{today.year}.{today.month:02d}.{number}") in published or ledger.cohorts_charged(version):
        number += 1
    return version


def _check_landing(landing: Path, home: Home, cohort: Cohort) -> None:
    """Raises `RunStopped` if the extracts of a cohort cannot be taken in."""
    if not landing.is_dir():
        raise RunStopped(f"landing folder {landing} does not exist")
    if unknown_folders(landing):
        raise RunStopped(f"{'; '.join(not_read(landing))}. Names of councils are those of sources/reference/places.csv")
    if not taking_part(landing):
        raise RunStopped(f"{landing} has no council's folder; extracts lie in <council>/<source>/<cohort>.csv")
    if not anything_arrived(landing, cohort.code) and not home.any_taken(cohort.code):
        raise RunStopped(f"{landing} has no extract of cohort {cohort.code}")
    if moving := still_arriving(landing, cohort.code):
        raise RunStopped(f"{', '.join(moving)}: still being written; run again when it has arrived whole")


def _run(
    definitions: dg.Definitions,
    job: str,
    dagster_instance: dg.DagsterInstance,
    tags: Mapping[str, str],
    given: dict[str, Any],
) -> None:
    options = given | {
        "tags": started_by_command("readiness run") | OF_LOCATION | dict(tags) | given.get("tags", {}),
        "run_config": {"loggers": {"console": {"config": {}}}} | given.get("run_config", {}),
    }
    result = definitions.resolve_job_def(job).execute_in_process(
        instance=dagster_instance, raise_on_error=False, **options
    )
    place_in_history(dagster_instance, result.dagster_run)
    waiting = [
        check for check in result.get_asset_check_evaluations() if check.check_name == WAITS and not check.passed
    ]
    if waiting:
        raise RunStopped(waiting[0].description or "", Ending.HOLD)
    if not result.success:
        raise _stopped(result)


_OWN_CLASS = re.compile(r"^(?:assets|ndl_export|pipelines|privacy|sources)\.[\w.]+: ")
"""The class name before the message of one of the project's own errors, whose message is enough."""


def _stopped(result: dg.ExecuteInProcessResult) -> RunStopped:
    """The messages of failed checks, or of the error that stopped a step."""
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
            ending = _ending((error.cls_name or "").rpartition(".")[2])
            return RunStopped(f"{event.step_key}: {_OWN_CLASS.sub('', error.message.strip())}", ending)
    return RunStopped("the run failed; its events are in the Dagster instance of the home folder", Ending.FAULT)
