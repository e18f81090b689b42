"""The one place where assets, jobs, schedules, sensors and resources meet."""

from __future__ import annotations

import dagster as dg

from assets.installation import Installation
from assets.intake_assets import landed_extracts, postcode_directory, pseudonymised_extracts
from assets.linkage_assets import confidential_tables, links
from assets.release_assets import analyst_database, bundle, measurements
from assets.returns_assets import returns
from pipelines import settings
from pipelines.jobs import JOBS
from pipelines.progress import progress_logger
from pipelines.schedules import monthly_linkage
from pipelines.sensors import landing_sensor


def build_definitions(installation: Installation | None = None) -> dg.Definitions:
    """The project's definitions over one installation; tests and the command line pass their own."""
    return dg.Definitions(
        assets=[
            postcode_directory,
            *landed_extracts,
            *pseudonymised_extracts,
            links,
            confidential_tables,
            *measurements,
            bundle,
            analyst_database,
            returns,
        ],
        jobs=JOBS,
        schedules=[monthly_linkage],
        sensors=[landing_sensor],
        resources={"installation": installation or settings.installation()},
        loggers={"console": progress_logger},
        executor=dg.in_process_executor,
    )


defs = build_definitions()
