"""The Dagster definitions: the one module that combines assets, jobs, schedules, sensors and resources.

`defs` contains everything, for one machine. If intake and release run separately, each loads its own part
(`restricted_definitions`, `release_definitions`) and has its own keys.

The configuration of a run is limited to decisions that people make: cohort, version, share and so on. Folders, keys,
executor and loggers cannot be configured (`tests/integration/dagster/test_launches.py` checks all definitions).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import dagster as dg

from assets.home.installation import Installation
from assets.home.paths import Home
from assets.home.software import software
from assets.intake.assets import landed_extracts, postcode_directory, pseudonymised_extracts
from assets.linkage.assets import confidential_tables, links
from assets.release.assets import analyst_database, bundle, measurements, synthetic_children
from assets.returns.assets import returns
from pipelines.dagster.console_progress import progress_logger
from pipelines.dagster.jobs import RELEASE_JOBS, RESTRICTED_JOBS, returns_job
from pipelines.dagster.schedules import (
    daily_retention,
    nightly_intake,
    nightly_returns,
    release_calendar,
    termly_linkage,
)
from pipelines.dagster.sensors import approved_releases, failed_runs, landing_sensor, restricted_automation
from pipelines.opening import opened


class Part(StrEnum):
    """The parts of the definitions that a code location can contain."""

    ALL = "all"
    RESTRICTED = "restricted"
    RELEASE = "release"


class OpenedInstallation(Installation):
    """The installation as passed to steps: opening its home folder first finishes an interrupted removal."""

    def open_home(self) -> Home:
        return opened(self.home_folder, self.keys)


_Assets: TypeAlias = tuple[dg.AssetsDefinition | dg.AssetSpec, ...]
_RESTRICTED_ASSETS: _Assets = (
    postcode_directory,
    *landed_extracts,
    pseudonymised_extracts,
    links,
    confidential_tables,
)
_RELEASE_ASSETS: _Assets = (measurements, bundle, analyst_database, synthetic_children)


def build_definitions(installation: Installation | None = None, part: Part = Part.ALL) -> dg.Definitions:
    """Return the definitions, or a part of them, for one installation; tests and commands pass their own."""
    fixed = installation or Installation.at()
    opening = OpenedInstallation(fixed.landing, fixed.home, fixed.keys, fixed.agreements)
    restricted, release = part is not Part.RELEASE, part is not Part.RESTRICTED
    return dg.Definitions(
        assets=[
            *(_RESTRICTED_ASSETS if restricted else ()),
            *(_RELEASE_ASSETS if release else ()),
            # returns need the keys of both parts, so they are made only where one location holds everything
            *((returns,) if restricted and release else ()),
        ],
        jobs=[
            *(RESTRICTED_JOBS if restricted else ()),
            *(RELEASE_JOBS if release else ()),
            *((returns_job,) if restricted and release else ()),
        ],
        schedules=[
            *((nightly_intake, termly_linkage, daily_retention) if restricted else ()),
            *((nightly_returns,) if restricted and release else ()),
            *((release_calendar,) if release else ()),
        ],
        sensors=[
            *((landing_sensor, restricted_automation) if restricted else ()),
            *((approved_releases,) if release else ()),
            *((failed_runs,) if release else ()),  # one location alerts for all: duplicate alerts are not read
        ],
        resources={
            "installation": dg.ResourceDefinition(lambda _: opening, config_schema={}),
            "io_manager": dg.IOManagerDefinition(lambda _: dg.InMemoryIOManager(), config_schema={}),
        },
        loggers={"console": progress_logger},
        metadata={"readiness": software()},
        # no retries: nothing that spends budget may start again by itself
        executor=dg.in_process_executor.configured(lambda _: {"retries": {"disabled": {}}}, config_schema={}),
    )


defs = build_definitions()
