"""`readiness run`: materialise the same assets through the same jobs, in order, with progress."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from assets.home import Home
from assets.installation import Installation
from assets.intake_assets import pseudonymised_extracts
from assets.partitions import one_run
from ndl_export.release_directory import versions
from ndl_export.release_facts import Version
from pipelines.arriving import still_arriving
from pipelines.definitions import build_definitions
from privacy.linkage import backends
from privacy.release import Ledger
from sources.extract.landed import anything_arrived, check_extract_name, not_read, taking_part, unknown_folders
from sources.reference.cohorts import Cohort

INSTANCE_SETTINGS = Path(__file__).parent / "dagster.yaml"


class RunStopped(Exception):
    """The run cannot go on; the message says why and what to do."""


def run_cohort(
    installation: Installation,
    cohort: Cohort,
    version: str | None,
    allow_missing: bool,
    accept_fewer: Sequence[str],
    say: Callable[[str], None],
    share: float | None = None,
) -> Path:
    """Landing to bundle and database; returns the bundle's folder. Raises `RunStopped`.

    `accept_fewer` names extracts (`council/source`) that may have far fewer rows than the last delivery; `share` is
    what the release spends of the policy's split.
    """
    home = installation.home_folder
    _check_backend(installation.linkage_backend)
    councils = _councils(installation.landing_folder, cohort)
    _check_whole(installation.landing_folder, cohort)
    for sentence in not_read(installation.landing_folder):
        say(f"! {sentence}")
    release = version or release_of(home, cohort)
    definitions = build_definitions(installation)
    config = {"config": {"version": release, "allow_missing": allow_missing, "share": share}}
    steps = ("pupil_measurement", "health_measurement", "parents_measurement", "bundle")
    stages: list[tuple[str, str, dict[str, Any]]] = [
        ("intake", "Intake: read, check, pseudonymise", _intake(councils, cohort, accept_fewer)),
        ("linkage", "Linkage: who is who, without names", {"partition_key": cohort.code}),
        (
            "release",
            f"Release {release}: charge the budget, add noise, write the bundle",
            {
                "partition_key": cohort.code,
                "run_config": {"ops": {f"release__{step}": config for step in steps}},
            },
        ),
        ("analyst_database", "Analyst database", {}),
    ]
    with instance(home) as dagster_instance:
        for number, (job, title, options) in enumerate(stages, 1):
            say(f"[{number}/{len(stages)}] {title}")
            started = time.monotonic()
            _run(definitions, job, dagster_instance, options)
            say(f"      done in {time.monotonic() - started:.1f} s")
    return home.release / release


def run_returns(installation: Installation, cohort: Cohort) -> None:
    """Make the returns of a cohort; raises `RunStopped`."""
    with instance(installation.home_folder) as dagster_instance:
        _run(build_definitions(installation), "returns", dagster_instance, {"partition_key": cohort.code})


def instance(home: Home) -> dg.DagsterInstance:
    """The Dagster instance of a home folder, with the project's settings."""
    folder = home.root / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(INSTANCE_SETTINGS, folder / INSTANCE_SETTINGS.name)
    return dg.DagsterInstance.from_config(str(folder))


def release_of(home: Home, cohort: Cohort) -> str:
    """The version a run makes when none is named: the cohort's newest release, or the first free one of this month.

    So that a repeated run repeats the release and never spends again by default; a revision names its version.
    """
    earlier = {
        entry.release for entry in Ledger(home.ledger).entries() if entry.cohort == cohort.code and entry.release
    }
    if earlier:
        return str(max(Version.parse(version) for version in earlier))
    today = dt.date.today()
    charged = {entry.release for entry in Ledger(home.ledger).entries() if entry.release}
    taken = {*(str(version) for version in versions(home.release)), *charged}
    number = 0
    while (version := f"{today.year}.{today.month:02d}.{number}") in taken:
        number += 1
    return version


def _councils(landing: Path, cohort: Cohort) -> list[str]:
    """The councils that take part; raises `RunStopped` where landing cannot be used."""
    if not landing.is_dir():
        raise RunStopped(f"landing folder {landing} does not exist")
    if unknown_folders(landing):
        raise RunStopped(f"{'; '.join(not_read(landing))}. Names of councils are those of sources/reference/places.csv")
    councils = taking_part(landing)
    if not councils:
        raise RunStopped(f"{landing} has no council's folder; extracts lie in <council>/<source>/<cohort>.csv")
    if not anything_arrived(landing, cohort.code):
        raise RunStopped(f"{landing} has no extract of cohort {cohort.code}")
    return councils


def _check_backend(name: str) -> None:
    """Raises `RunStopped` where the linkage could not use it, before the intake takes its time."""
    try:
        backends.backend(name)
    except backends.BackendUnavailable as error:
        raise RunStopped(str(error)) from None


def _check_whole(landing: Path, cohort: Cohort) -> None:
    """Raises `RunStopped` where an extract is still being written."""
    if moving := still_arriving(landing, cohort.code):
        raise RunStopped(f"{', '.join(moving)}: still being written; run again when it has arrived whole")


def _intake(councils: list[str], cohort: Cohort, accept_fewer: Sequence[str]) -> dict[str, Any]:
    """Tags and configuration of the intake of a cohort; raises `RunStopped` for names of no extract."""
    try:
        for name in accept_fewer:
            check_extract_name(name)
    except ValueError as error:
        raise RunStopped(f"--accept-fewer: {error}") from None
    config = {"config": {"accept_fewer": list(accept_fewer)}}
    ops = {"__".join(asset.key.path): config for asset in pseudonymised_extracts}
    return {"tags": one_run(councils, cohort.code), "run_config": {"ops": ops}}


def _run(definitions: dg.Definitions, job: str, dagster_instance: dg.DagsterInstance, options: dict[str, Any]) -> None:
    options["run_config"] = {"loggers": {"console": {"config": {}}}} | options.get("run_config", {})
    result = definitions.resolve_job_def(job).execute_in_process(
        instance=dagster_instance, raise_on_error=False, **options
    )
    if not result.success:
        raise RunStopped(_reason(result))


_OWN_CLASS = re.compile(r"^(?:assets|ndl_export|pipelines|privacy|sources)\.[\w.]+: ")
"""The class of an error of the project's own, whose sentence says it all."""


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """The sentences of failed checks, else of the error that stopped a step."""
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
