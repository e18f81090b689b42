"""Jobs: one for each stage that a person or a schedule starts."""

from __future__ import annotations

import dagster as dg

from assets.intake_assets import pseudonymised_extracts
from assets.linkage_assets import confidential_tables, links
from assets.release_assets import analyst_database, bundle, measurements
from assets.returns_assets import returns

intake_job = dg.define_asset_job(
    "intake",
    selection=dg.AssetSelection.assets(*pseudonymised_extracts),
    description="Take in what has landed, for one council and cohort or, as a backfill, for all councils in one run.",
)
linkage_job = dg.define_asset_job(
    "linkage",
    selection=dg.AssetSelection.assets(links, confidential_tables),
    description="Link a cohort and derive its confidential tables. Spends nothing.",
)
release_job = dg.define_asset_job(
    "release",
    selection=dg.AssetSelection.assets(*measurements, bundle),
    tags={"spends_budget": "true"},
    description="Charge the privacy budget and publish a cohort. The run must name the release version.",
)
database_job = dg.define_asset_job(
    "analyst_database",
    selection=dg.AssetSelection.assets(analyst_database),
    description="Rebuild readiness.duckdb from the bundles.",
)
returns_job = dg.define_asset_job(
    "returns",
    selection=dg.AssetSelection.assets(returns),
    description="Make the returns of a linked cohort that sharing agreements allow. Part of no other job.",
)
JOBS = (intake_job, linkage_job, release_job, database_job, returns_job)
