"""Assets of the release: charged measurements, the bundle and the analyst database.

They have no retry policy and no automation condition, and a run must name the release version: nothing but a person's
decision spends budget. A repeated run finds the stored measurement and charges nothing.
"""

import dagster as dg

from assets.installation import Installation
from assets.linkage_assets import CONFIDENTIAL
from assets.partitions import COHORTS
from assets.plain_words import speaks_plainly
from assets.release import begin_release, measure_family, publish_bundle, publish_database
from assets.sent import stated_missing
from ndl_export.missing import short
from ndl_export.tables import FAMILIES
from sources.extract.landed import taking_part

RELEASE = "release"
BUNDLE = dg.AssetKey([RELEASE, "bundle"])
DATABASE = dg.AssetKey([RELEASE, "analyst_database"])


class ReleaseConfig(dg.Config):
    """Which release a run makes."""

    version: str
    allow_missing: bool = False
    share: float | None = None


def _measurement(family: str) -> dg.AssetsDefinition:
    tables = ", ".join(f"`{table.name}`" for table in FAMILIES[family].tables)

    @dg.asset(
        key=dg.AssetKey([RELEASE, f"{family}_measurement"]),
        deps=[CONFIDENTIAL[family]],
        partitions_def=COHORTS,
        group_name=RELEASE,
        kinds={"opendp"},
        owners=["team:privacy"],
        tags={"zone": RELEASE, "spends_budget": "true"},
        description=(
            f"Noisy counts behind {tables}: charged to the ledger, drawn once from OpenDP's discrete Gaussian, stored."
            " The same release is read back, never drawn again."
        ),
    )
    @speaks_plainly
    def measurement(
        context: dg.AssetExecutionContext, config: ReleaseConfig, installation: Installation
    ) -> dg.MaterializeResult:
        home, councils = installation.home_folder, taking_part(installation.landing_folder)
        begin_release(
            home,
            context.partition_key,
            config.version,
            councils,
            allow_missing=config.allow_missing,
            share=config.share,
        )
        made = measure_family(home, installation.key_ring(), family, context.partition_key, config.version, councils)
        return dg.MaterializeResult(
            metadata={"release": config.version, "rho": made.rho, "plan_sha256": made.plan_sha256}
        )

    return measurement


measurements = [_measurement(family) for family in FAMILIES]


@dg.asset(
    key=BUNDLE,
    deps=measurements,
    partitions_def=COHORTS,
    group_name=RELEASE,
    kinds={"parquet", "csv"},
    owners=["team:publishing"],
    tags={"zone": RELEASE},
    description=(
        "The signed release bundle: tables as Parquet and CSV, metadata, privacy statement, checksums. Made from the"
        " stored measurements alone."
    ),
)
@speaks_plainly
def bundle(
    context: dg.AssetExecutionContext, config: ReleaseConfig, installation: Installation
) -> dg.MaterializeResult:
    home, councils = installation.home_folder, taking_part(installation.landing_folder)
    folder = publish_bundle(home, installation.key_ring(), context.partition_key, config.version, councils)
    missing = short(stated_missing(home, context.partition_key, config.version))
    for entry in missing:
        context.log.info(f"stated in the bundle: {entry}")
    return dg.MaterializeResult(
        metadata={"release": config.version, "path": dg.MetadataValue.path(str(folder)), "missing": missing}
    )


@dg.asset(
    key=DATABASE,
    deps=[BUNDLE],
    group_name=RELEASE,
    kinds={"duckdb"},
    owners=["team:publishing"],
    tags={"zone": RELEASE},
    description="`readiness.duckdb`: the tables of every release, views of the latest, comments, worked queries.",
)
@speaks_plainly
def analyst_database(installation: Installation) -> dg.MaterializeResult:
    path = publish_database(installation.home_folder)
    return dg.MaterializeResult(metadata={"path": dg.MetadataValue.path(str(path))})
