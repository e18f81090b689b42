"""`readiness run`: materialise the same assets through the same jobs, in order, with progress."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from assets.catalogue.runs import Installation, of_release, one_run, started_by_command
from assets.home.errors import StepFailed, in_plain_words, plainly
from assets.home.paths import Home
from assets.home.retention_policy import CohortExpired, InvalidRetention, check_may_be_held
from assets.intake.assets import pseudonymised_extracts
from assets.release.anchors import SignedByAnother, published_charges
from assets.release.begin import Asked, SeriesRefused, measured_now, series_for
from ndl_export.bundle.anchors import UnreadableAnchor
from ndl_export.bundle.release_directory import versions
from ndl_export.facts.release_facts import InvalidVersion, Version
from ndl_export.files.stores import StoreError
from pipelines.dagster.arriving import still_arriving
from pipelines.dagster.instance import working_instance
from pipelines.definitions import build_definitions
from privacy.keys import RELEASE as KEYS_OF_RELEASE
from privacy.linkage import backends
from privacy.release.ledger import Ledger, ReleaseConflict
from privacy.release.policy import PolicyError
from privacy.release.session import settle
from sources.extract.landed import anything_arrived, check_extract_name, not_read, taking_part, unknown_folders
from sources.reference.cohorts import Cohort, InvalidCohort


class RunStopped(Exception):
    """The run cannot go on; the message says why and what to do."""


_REFUSALS = (
    SeriesRefused,
    ReleaseConflict,
    InvalidVersion,
    InvalidCohort,
    PolicyError,
    SignedByAnother,
    UnreadableAnchor,
    StoreError,
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
        raise RunStopped(str(error)) from None
    except dg.DagsterError as error:
        raise RunStopped(in_plain_words(error)) from None


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
    accept_fewer: Sequence[str],
    say: Callable[[str], None],
    share: float | None = None,
    with_cohorts: Sequence[Cohort] = (),
    reuse: bool = False,
) -> Path:
    """Landing to bundle and database; returns the bundle's folder. Raises `RunStopped`.

    `accept_fewer` names extracts (`council/source`) that may have far fewer rows than the last delivery; `share` is
    what the release spends of the policy's split. `with_cohorts` stand beside the cohort as a time series: from what an
    earlier release drew for them, or taken in and measured like the cohort itself. With `reuse` nothing is measured.
    """
    home, others = installation.home_folder, [each.code for each in with_cohorts]
    backends.backend(installation.linkage_backend)  # refused here, before the intake takes its time
    release = version or release_of(home, cohort)
    series = series_for(home, cohort.code, release, Asked(share=share, others=others, reuse=reuse))
    measured = [Cohort(code) for code in measured_now(series, release)]
    if {each.code for each in measured} - (ledger := Ledger(home.ledger)).cohorts_charged(release):
        keys = installation.key_ring(KEYS_OF_RELEASE)
        settle(ledger, home.restricted, cohort.code, lambda: published_charges(home, keys))
    for each in measured:
        check_may_be_held(each, dt.date.today())
        _check_landing(installation.landing_folder, home, each)
    for sentence in not_read(installation.landing_folder):
        say(f"! {sentence}")
    for code, origin in series.items():
        if origin != release:
            say(f"Cohort {code}: the noisy counts of release {origin}, used again; nothing is spent")
    measurement = {
        "version": release,
        "allow_missing": allow_missing,
        "share": share,
        "with_cohorts": others,
        "reuse": reuse,
    }
    spends = "charge the budget, add noise, write the bundle" if measured else "write the bundle"
    stages = [
        *(stage for each in measured for stage in _made_ready(installation, each, accept_fewer, len(measured) > 1)),
        _Stage("release", f"Release {release}: {spends}", _of_release(cohort, measurement)),
        _Stage("analyst_database", "Analyst database"),
    ]
    definitions = build_definitions(installation)
    with working_instance(home) as (dagster_instance, of_this_process):
        for number, stage in enumerate(stages, 1):
            say(f"[{number}/{len(stages)}] {stage.title}")
            started = time.monotonic()
            _run(definitions, stage.job, dagster_instance, of_this_process, stage.given)
            say(f"      done in {time.monotonic() - started:.1f} s")
    return home.release / release


def _made_ready(
    installation: Installation, cohort: Cohort, accept_fewer: Sequence[str], several: bool
) -> Iterator[_Stage]:
    """Intake and linkage of a cohort."""
    councils, about = taking_part(installation.landing_folder), f" of {cohort.code}" if several else ""
    yield _Stage("intake", f"Intake{about}: read, check, pseudonymise", _of_intake(councils, cohort, accept_fewer))
    yield _Stage("linkage", f"Linkage{about}: who is who, without names", {"partition_key": cohort.code})


def _of_release(cohort: Cohort, measurement: dict[str, Any]) -> dict[str, Any]:
    return {
        "partition_key": cohort.code,
        "tags": of_release(measurement["version"], measurement["share"]),
        "run_config": {"ops": {"release__measurements": {"config": measurement}}},
    }


def run_returns(installation: Installation, cohort: Cohort) -> None:
    """Make the returns of a cohort; raises `RunStopped`."""
    with working_instance(installation.home_folder) as (dagster_instance, of_this_process):
        given = {"partition_key": cohort.code}
        _run(build_definitions(installation), "returns", dagster_instance, of_this_process, given)


def release_of(home: Home, cohort: Cohort) -> str:
    """The version a run makes when none is named: the cohort's newest release, or the first free one of this month.

    So that a repeated run repeats the release and never spends again by default; a revision names its version.
    """
    ledger = Ledger(home.ledger)
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


def _of_intake(councils: list[str], cohort: Cohort, accept_fewer: Sequence[str]) -> dict[str, Any]:
    """Tags and configuration of the intake of a cohort; raises `RunStopped` for a name that is no extract's."""
    try:
        for name in accept_fewer:
            check_extract_name(name)
    except ValueError as error:
        raise RunStopped(f"--accept-fewer: {error}") from None
    config = {"config": {"accept_fewer": list(accept_fewer)}}
    ops = {"__".join(asset.key.path): config for asset in pseudonymised_extracts}
    return {"tags": one_run(councils, cohort.code), "run_config": {"ops": ops}}


def _run(
    definitions: dg.Definitions,
    job: str,
    dagster_instance: dg.DagsterInstance,
    tags: Mapping[str, str],
    given: dict[str, Any],
) -> None:
    options = given | {
        "tags": started_by_command("readiness run") | dict(tags) | given.get("tags", {}),
        "run_config": {"loggers": {"console": {"config": {}}}} | given.get("run_config", {}),
    }
    result = definitions.resolve_job_def(job).execute_in_process(
        instance=dagster_instance, raise_on_error=False, **options
    )
    if not result.success:
        raise RunStopped(_reason(result))


_OWN_CLASS = re.compile(r"^(?:assets|ndl_export|pipelines|privacy|sources)\.[\w.]+: ")
"""The class name before the message of one of the project's own errors, whose message is enough."""


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """The messages of failed checks, or of the error that stopped a step."""
    failed = [
        check.description or ""
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    ]
    if failed:
        return "; ".join(failed)
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            error = event.step_failure_data.error
            while error.cause:
                error = error.cause
            return f"{event.step_key}: {_OWN_CLASS.sub('', error.message.strip())}"
    return "the run failed; its events are in the Dagster instance of the home folder"
