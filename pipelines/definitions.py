"""The one place where assets, jobs, schedules, sensors and resources meet."""

from __future__ import annotations

import warnings

import dagster as dg

warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

from assets.installation import Installation  # noqa: E402
from assets.intake_assets import landed_extracts, postcode_directory, pseudonymised_extracts  # noqa: E402
from assets.linkage_assets import confidential_tables, links  # noqa: E402
from assets.release_assets import analyst_database, bundle, measurements  # noqa: E402
from pipelines import settings  # noqa: E402
from pipelines.jobs import JOBS  # noqa: E402
from pipelines.progress import progress_logger  # noqa: E402
from pipelines.schedules import monthly_linkage  # noqa: E402
from pipelines.sensors import landing_sensor  # noqa: E402


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
        ],
        jobs=JOBS,
        schedules=[monthly_linkage],
        sensors=[landing_sensor],
        resources={"installation": installation or settings.installation()},
        loggers={"console": progress_logger},
        executor=dg.in_process_executor,
    )


defs = build_definitions()
