"""Assets of the release: charged measurements, the bundle and the analyst database.

A run is of the cohort of its partition; its configuration names earlier ones that stand beside it. They have no retry
policy and no automation condition, and a run must name the release version: nothing but a person's decision spends
budget. A repeated run finds the stored measurement and charges nothing.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import dagster as dg
from pydantic import Field

from assets.catalogue import descriptions
from assets.catalogue.runs import COHORTS, Installation, of_release, speaks_plainly
from assets.catalogue.runs import RELEASE as RELEASE_TAG
from assets.home.paths import Home
from assets.linkage.assets import CONFIDENTIAL
from assets.linkage.inputs import read_record
from assets.release.begin import Asked
from assets.release.measure import measure_release, publish_bundle
from ndl_export.analyst_db import build_database, made_from
from ndl_export.bundle.make import DATAPACKAGE_FILE, sums_of
from ndl_export.facts.missing import read_missing, short
from ndl_export.tables import FAMILIES, TABLES
from privacy.keys import RELEASE as KEYS_OF_RELEASE
from privacy.release.approval import SignOffs, WaitsForApproval
from privacy.release.ledger import Ledger
from privacy.release.policy import Stage
from sources.extract.landed import taking_part

RELEASE = "release"
BUNDLE = dg.AssetKey([RELEASE, "bundle"])
_MEASURING, _BUNDLING = f"{RELEASE}__measurements", "__".join(BUNDLE.path)
"""Ops, as the configuration of a run names them."""
DATABASE = dg.AssetKey([RELEASE, "analyst_database"])
_TABLES = "\n".join(f"- `{name}`: {table.title}" for name, table in TABLES.items())
MEASUREMENTS = {family: dg.AssetKey([RELEASE, f"{family}_measurement"]) for family in FAMILIES}


class ReleaseConfig(dg.Config):
    """What release a run makes."""

    version: str = Field(
        description="Such as 2026.11.0. A version that was released is repeated and spends nothing; a new one spends."
    )
    allow_missing: bool = Field(False, description="Release without the councils that have sent no EYFS Profile.")
    share: float | None = Field(
        None, description="Share of the policy's split that the release spends, as 0.2 for a revision; 1 by default."
    )
    with_cohorts: list[str] = Field(
        [], description="Earlier cohorts that stand beside the partition's, as a time series."
    )
    reuse: bool = Field(False, description="Measure nothing: publish what earlier releases drew.")


class BundleConfig(dg.Config):
    """Which release a run writes again, where it does not measure."""

    version: str | None = Field(
        None,
        description="Only to write the bundle of a release again, which was begun before. A run that measures names the"
        " version once, at the measurements.",
    )


class VersionUnclear(Exception):
    """A run that names no release, or two; the message says where to name it."""


WAITS = "approval"
"""Name of the check that says whether a release waits for people."""


def _measurement(family: str) -> dg.AssetSpec:
    tables = ", ".join(f"`{table.name}`" for table in FAMILIES[family].tables)
    return dg.AssetSpec(
        MEASUREMENTS[family],
        deps=[CONFIDENTIAL[family]],
        partitions_def=COHORTS,
        group_name=RELEASE,
        kinds={"opendp"},
        owners=["team:privacy"],
        tags={"zone": RELEASE, "spends_budget": "true"},
        skippable=True,
        metadata=descriptions.documents("docs/privacy.md", "docs/operations.md"),
        description=(
            f"Noisy counts behind {tables}: charged to the ledger, drawn once from OpenDP's discrete Gaussian, stored."
            " The same release is read back, never drawn again. All families are measured in one step, so that a"
            " release is of one state of the extracts. Until people have signed, nothing is charged and nothing made."
        ),
    )


def _waits(key: dg.AssetKey, stage: Stage) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(WAITS, asset=key, description=f"Whether enough people have signed the {stage} off.")


def _signed(
    context: dg.AssetExecutionContext, home: Home, version: str, key: dg.AssetKey, stage: Stage
) -> dg.AssetCheckResult:
    """The check of a release that was signed off; of a demonstration it says so."""
    signed = SignOffs(Ledger(home.ledger)).allowed(stage, version)
    if any(each.approval.is_demonstration for each in signed):
        context.log.info(f"The {stage} of release {version} was approved with a demonstration key: no person signed it")
    roles = ", ".join(each.approval.role for each in signed)
    return dg.AssetCheckResult(
        passed=True,
        asset_key=key,
        check_name=WAITS,
        description=f"signed by: {roles}" if roles else "nothing had to be signed",
    )


def _held(waiting: WaitsForApproval, key: dg.AssetKey) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False,
        asset_key=key,
        check_name=WAITS,
        severity=dg.AssetCheckSeverity.WARN,
        description=str(waiting),
    )


@dg.multi_asset(
    name=_MEASURING,
    specs=[_measurement(family) for family in FAMILIES],
    check_specs=[_waits(MEASUREMENTS["pupil"], Stage.MEASUREMENT)],
)
@speaks_plainly
def measurements(
    context: dg.AssetExecutionContext, config: ReleaseConfig, installation: Installation
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    cohort, version, checked = context.partition_key, _version(context), MEASUREMENTS["pupil"]
    context.instance.add_run_tags(context.run.run_id, of_release(version, config.share))
    home = installation.open_home()
    try:
        made = measure_release(
            home,
            installation.key_ring(KEYS_OF_RELEASE),
            cohort,
            version,
            _councils(installation, cohort),
            Asked(config.allow_missing, config.share, config.with_cohorts, config.reuse),
        )
    except WaitsForApproval as waiting:
        yield _held(waiting, checked)
        return
    yield _signed(context, home, version, checked, Stage.MEASUREMENT)
    for family, key in MEASUREMENTS.items():
        metadata: dict[str, str | float] = {"release": version}
        for each, measurement in ((each, found) for (each, of), found in made.items() if of == family):
            about = "" if each == cohort else f" of {each}"
            metadata |= {f"rho{about}": measurement.rho, f"plan_sha256{about}": measurement.plan_sha256}
        yield dg.MaterializeResult(asset_key=key, metadata=descriptions.checked(metadata))


@dg.asset(
    key=BUNDLE,
    deps=list(MEASUREMENTS.values()),
    partitions_def=COHORTS,
    group_name=RELEASE,
    kinds={"parquet", "csv"},
    owners=["team:publishing"],
    tags={"zone": RELEASE},
    metadata=descriptions.documents("docs/releases.md", and_more=f"\n\n{_TABLES}"),
    output_required=False,
    check_specs=[_waits(BUNDLE, Stage.PUBLICATION)],
    description=(
        "The signed release bundle: tables as Parquet and CSV, metadata, privacy statement, checksums. Made from the"
        " stored measurements alone, and held in the restricted zone until people have signed it."
    ),
)
@speaks_plainly
def bundle(
    context: dg.AssetExecutionContext, config: BundleConfig, installation: Installation
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    version = _version(context)
    context.instance.add_run_tags(context.run.run_id, {RELEASE_TAG: version})
    home, councils = installation.home_folder, _councils(installation, context.partition_key)
    keys = installation.key_ring(KEYS_OF_RELEASE)
    try:
        folder = publish_bundle(home, context.partition_key, keys, version, councils)
    except WaitsForApproval as waiting:
        yield _held(waiting, BUNDLE)
        return
    build_database(home.release)  # whatever is published, the database is of it
    yield _signed(context, home, version, BUNDLE, Stage.PUBLICATION)
    missing = short(read_missing(json.loads((folder / DATAPACKAGE_FILE).read_bytes())))
    for entry in missing:
        context.log.info(f"stated in the bundle: {entry}")
    yield dg.MaterializeResult(
        metadata=descriptions.checked(
            {"release": version, "path": dg.MetadataValue.path(str(folder)), "missing": missing}
        ),
        data_version=dg.DataVersion(sums_of(folder)),
    )


@dg.asset(
    key=DATABASE,
    deps=[BUNDLE],
    group_name=RELEASE,
    kinds={"duckdb"},
    owners=["team:publishing"],
    tags={"zone": RELEASE},
    metadata=descriptions.documents("docs/releases.md"),
    description="`readiness.duckdb`: the tables of every release, views of the latest, comments, worked queries.",
)
@speaks_plainly
def analyst_database(installation: Installation) -> dg.MaterializeResult:
    path = build_database(installation.home_folder.release)
    return dg.MaterializeResult(
        metadata=descriptions.checked({"path": dg.MetadataValue.path(str(path))}),
        data_version=dg.DataVersion(made_from(path.parent)),
    )


def _version(context: dg.AssetExecutionContext) -> str:
    """The one version that the run names, whichever of its steps asks. Raises `VersionUnclear`, before any charge."""
    ops = cast(Mapping[str, Any], context.run.run_config.get("ops", {}))
    configured = [ops.get(name, {}).get("config", {}).get("version") for name in (_MEASURING, _BUNDLING)]
    named = {version for version in configured if version}
    if len(named) != 1:
        raise VersionUnclear(
            f"the run names {'two release versions' if named else 'no release version'}: name one, at {_MEASURING}, or"
            f" at {_BUNDLING} where a bundle is only written again; nothing was charged"
        )
    return str(named.pop())


def _councils(installation: Installation, cohort: str) -> list[str]:
    """Councils that take part: by the folders of landing, or where that is not mounted, when the cohort was linked.

    Raises `NotLinked` where neither is there.
    """
    if installation.landing_folder.is_dir():
        return taking_part(installation.landing_folder)
    return list(read_record(installation.home_folder, cohort).taking_part)
