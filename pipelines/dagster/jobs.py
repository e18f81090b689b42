"""Jobs: one for each stage that a person or a schedule starts."""

from typing import Any

import dagster as dg

from assets.catalogue.runs import RELEASE, SPENDS_BUDGET, redact_errors, tag_release
from assets.home.installation import Installation
from assets.intake.assets import pseudonymised_extracts
from assets.linkage.assets import confidential_tables, links
from assets.release.assets import analyst_database, bundle, measurements, synthetic_children
from assets.release.fix_release import ReleaseOptions
from assets.returns.assets import returns
from pipelines.dagster.instance import expire_all
from pipelines.release_calendar import NotPublished, publish_release
from privacy.doors.environment import PUBLISH_TO, get_settings
from privacy.keys import RESTRICTED as KEYS_OF_INTAKE

intake_job = dg.define_asset_job(
    "intake",
    selection=dg.AssetSelection.assets(pseudonymised_extracts),
    description="Take in what has landed, for one council and cohort or, as a backfill, for all councils in one run.",
)
linkage_job = dg.define_asset_job(
    "linkage",
    selection=dg.AssetSelection.assets(links, confidential_tables),
    description="Link a cohort and derive its confidential tables. Spends nothing.",
)
release_job = dg.define_asset_job(
    "release",
    selection=dg.AssetSelection.assets(measurements, bundle, analyst_database),
    tags={SPENDS_BUDGET: "true"},
    description=(
        "Charge the privacy budget, draw the noise, write the bundle of a cohort and rebuild the analyst database. The"
        " run must name the release version, once. Refused before anything is drawn where the budget does not allow the"
        " whole release, where a table would not be worth it, where a council is missing, or where a published bundle"
        " is not in the ledger. It is held, and draws nothing, until people have accepted what was delivered and signed"
        " it, and the bundle is held until they have signed again. A release that was made is found again, and spends"
        " nothing."
    ),
)
republish_job = dg.define_asset_job(
    "republish",
    selection=dg.AssetSelection.assets(bundle, analyst_database),
    description=(
        "Write the bundle of a release again from its stored measurements, then its page, catalogue, feed and analyst"
        " database. The run must name the release version. It cannot draw, and spends nothing."
    ),
)
database_job = dg.define_asset_job(
    "analyst_database",
    selection=dg.AssetSelection.assets(analyst_database),
    description="Rebuild readiness.duckdb from the bundles.",
)

synthetic_job = dg.define_asset_job(
    "synthetic_children",
    selection=dg.AssetSelection.assets(synthetic_children),
    description=(
        "Make synthetic children of a published release, and put them beside it. Spends nothing, and is part of no"
        " other job."
    ),
)


def build_release_run(cohort: str, version: str, options: ReleaseOptions) -> dict[str, Any]:
    """Return partition, tags and configuration for a run of the job `release`."""
    config = {
        "version": version,
        "allow_missing": options.allow_missing,
        "share": options.share,
        "with_cohorts": list(options.others),
        "reuse": options.reuse,
        "requests": list(options.requests),
    }
    return {
        "partition_key": cohort,
        "tags": tag_release(version, options.share),
        "run_config": {"ops": {"release__measurements": {"config": config}}},
    }


def build_publication_run(cohort: str, version: str) -> dict[str, Any]:
    """Return the same for the job `republish`, which publishes a bundle that was held."""
    return {
        "partition_key": cohort,
        "tags": {RELEASE: version},
        "run_config": {"ops": {"release__bundle": {"config": {"version": version}}}},
    }


@dg.op(config_schema={}, description="Remove what the retention policy says has been kept long enough.")
@redact_errors
def expire_op(context: dg.OpExecutionContext, installation: dg.ResourceParam[Installation]) -> None:
    ring = installation.load_keys(KEYS_OF_INTAKE)
    for sentence in expire_all(installation.home_folder, installation.landing, ring, storage=context.instance):
        context.log.info(f"removed: {sentence}")


@dg.job(name="retention", description="Remove what has been kept as long as it may be. Releases and ledger stay.")
def retention_job() -> None:
    expire_op()


@dg.op(
    config_schema={"version": dg.Field(str, description="A release that was made before.")},
    description="Put a release that was made before at the place where readers get it.",
)
@redact_errors
def publish_op(context: dg.OpExecutionContext, installation: dg.ResourceParam[Installation]) -> None:
    url, version = get_settings().publish_to, context.op_config["version"]
    if url is None:
        raise NotPublished(f"there is no place to publish to: set {PUBLISH_TO} to a folder or a URL")
    publish_release(installation.home_folder, version, url, None, context.log.info)


@dg.job(
    name="publication",
    description=(
        "Publish a release that was made and approved, at the place of READINESS_PUBLISH_TO. Checks its signature,"
        " sends what is missing, and spends nothing. Refused before the moment that the release calendar announces."
    ),
)
def publication_job() -> None:
    publish_op()


returns_job = dg.define_asset_job(
    "returns",
    selection=dg.AssetSelection.assets(returns),
    description="Make the returns of a linked cohort that sharing agreements allow. Part of no other job.",
)


RESTRICTED_JOBS = (intake_job, linkage_job, retention_job)
RELEASE_JOBS = (release_job, republish_job, database_job, synthetic_job, publication_job)
