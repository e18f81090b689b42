"""Assets of the release: charged measurements, the bundle and the analyst database.

A run is for the cohort of its partition; its configuration names earlier cohorts to publish beside it. The assets have
no retry policy and no automation condition: only a person's decision spends budget. A run that names no version takes
the one that `readiness run` would. A repeated run finds the stored measurement and charges nothing.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pyarrow.parquet as pq

from assets.catalogue import descriptions
from assets.catalogue.definitions import PUBLISHED, RELEASE, Words, build_check_result
from assets.catalogue.runs import (
    COHORTS,
    RELEASE as RELEASE_TAG,
    WAITING,
    WAITS as WAITS_TAG,
    redact_errors,
    tag_release,
)
from assets.home.installation import Installation
from assets.home.paths import Home
from assets.linkage.arrivals import note_landing
from assets.linkage.assets import CONFIDENTIAL
from assets.linkage.inputs import read_record
from assets.release.fix_release import ReleaseOptions, choose_release, describe_later_deliveries
from assets.release.holds import accept_configured
from assets.release.measure import measure_release, publish_bundle, record_verified
from assets.release.release import Release
from assets.release.sign_off import WaitsForAcceptance
from ndl_export.analyst_db.build import build_database, hash_inputs, read_released_versions
from ndl_export.bundle.make import hash_sums
from ndl_export.bundle.verify import Verification, verify
from ndl_export.facts.missing import format_missing
from ndl_export.facts.release_facts import DATAPACKAGE_FILE, InvalidVersion, list_versions
from ndl_export.tables import FAMILIES, TABLES
from privacy.keys import RELEASE as KEYS_OF_RELEASE
from privacy.release.approval import WaitsForApproval
from privacy.release.policy import Stage
from sources.extract.landing import list_councils

BUNDLE = dg.AssetKey([RELEASE, "bundle"])
_MEASURING, _BUNDLING = f"{RELEASE}__measurements", "__".join(BUNDLE.path)
"""Names of the ops in a run's configuration."""
DATABASE = dg.AssetKey([RELEASE, "analyst_database"])
_WORDS = Words.read(Path(__file__).with_name("words.yaml"))
_TABLES = "\n".join(f"- `{name}`: {table.title}" for name, table in TABLES.items())
MEASUREMENTS = {family: dg.AssetKey([RELEASE, f"{family}_measurement"]) for family in FAMILIES}


_ACCEPTED = {
    "holds": _WORDS.build_field("accept", "holds", [str]),
    "reason": _WORDS.build_field("accept", "reason"),
    "signature": _WORDS.build_field("accept", "signature", default_value=""),
}
_RELEASE_CONFIG = {
    "version": _WORDS.build_field("release", "version", is_required=False),
    "allow_missing": _WORDS.build_field("release", "allow_missing", bool, default_value=False),
    "share": _WORDS.build_field("release", "share", dg.Noneable(float), default_value=None),
    "with_cohorts": _WORDS.build_field("release", "with_cohorts", [str], default_value=[]),
    "reuse": _WORDS.build_field("release", "reuse", bool, default_value=False),
    "requests": _WORDS.build_field("release", "requests", [str], default_value=[]),
    "accept": _WORDS.build_field("release", "accept", [_ACCEPTED], default_value=[]),
}
_BUNDLE_CONFIG = {"version": _WORDS.build_field("bundle", "version", is_required=False)}


WAITS, HOLDS = "approval", "holds"
"""Names of the checks for missing signatures and for holds that nobody has accepted."""
VERIFY_CHECK, OPENS_CHECK = "verify", "opens"


def _build_measurement_spec(family: str) -> dg.AssetSpec:
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
        metadata=descriptions.name_documents("docs/privacy.md", "docs/operations.md"),
        description=_WORDS.assets["measurement"].format(tables=tables),
    )


def _build_sign_off_result(
    context: dg.AssetExecutionContext, home: Home, version: str, key: dg.AssetKey, stage: Stage
) -> dg.AssetCheckResult:
    """Return the check result of a signed-off release; log it if a demonstration key signed."""
    signed = home.read_sign_offs().list_allowed(stage, version)
    if any(each.is_demonstration for each in signed):
        context.log.info(f"The {stage} of release {version} was approved with a demonstration key: no person signed it")
    roles = ", ".join(each.person.role for each in signed)
    return build_check_result(
        key, WAITS, passed=True, words=f"signed by: {roles}" if roles else "nothing had to be signed"
    )


def _report_waiting(context: dg.AssetExecutionContext, key: dg.AssetKey, waiting: WaitsForApproval) -> None:
    """Say in the log, in a tag of the run and in the asset's metadata what a release waits for: its run succeeds."""
    words = f"{WAITING}{waiting}"
    context.log.warning(words)
    context.instance.add_run_tags(context.run.run_id, {WAITS_TAG: str(waiting)})
    metadata = descriptions.check_metadata({"waits": str(waiting)})
    context.log_event(dg.AssetObservation(key, words, partition=context.partition_key, metadata=metadata))


_NOTHING_HELD = "every hold was accepted, or there is none"


@dg.multi_asset(
    name=_MEASURING,
    config_schema=_RELEASE_CONFIG,
    specs=[_build_measurement_spec(family) for family in FAMILIES],
    check_specs=[
        _WORDS.build_check_spec(MEASUREMENTS["pupil"], WAITS, stage=Stage.MEASUREMENT),
        _WORDS.build_check_spec(MEASUREMENTS["pupil"], HOLDS),
    ],
)
@redact_errors
def measurements(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    home, cohort, checked = installation.home_folder, context.partition_key, MEASUREMENTS["pupil"]
    config, version = context.op_execution_context.op_config, _get_version(context, home)
    # a run started in the UI has no tags for its release yet, and people search the list of runs by these tags
    context.instance.add_run_tags(context.run.run_id, tag_release(version, config["share"]))
    part = Release(home, version).get_cohort(cohort)
    # landing is not mounted if releases run in a separate code location
    if installation.landing.is_dir():
        note_landing(home, installation.landing)
    try:
        for accepted in config["accept"]:
            keys = installation.load_keys(KEYS_OF_RELEASE)
            accept_configured(part.store, keys, accepted["holds"], accepted["reason"], accepted["signature"])
        made = measure_release(
            part,
            installation.load_keys(KEYS_OF_RELEASE),
            _list_councils(installation, cohort),
            ReleaseOptions(*(config[each] for each in ("allow_missing", "share", "with_cohorts", "reuse", "requests"))),
        )
    except WaitsForApproval as waiting:
        held = str(waiting) if isinstance(waiting, WaitsForAcceptance) else ""
        _report_waiting(context, checked, waiting)
        # waiting is not a failure: the run succeeds, its checks say what it waits for, and nobody is alerted
        yield build_check_result(checked, HOLDS, passed=not held, words=held or _NOTHING_HELD, warns=True)
        yield build_check_result(checked, WAITS, passed=False, words=str(waiting), warns=True)
        return
    if later := describe_later_deliveries(part, _list_councils(installation, cohort)):
        context.log.info(later)
    yield build_check_result(checked, HOLDS, passed=True, words=_NOTHING_HELD, warns=True)
    yield _build_sign_off_result(context, home, version, checked, Stage.MEASUREMENT)
    for family, key in MEASUREMENTS.items():
        metadata: dict[str, str | float] = {"release": version}
        for each, measurement in ((each, found) for (each, name), found in made.items() if name == family):
            about = "" if each == cohort else f" of {each}"
            metadata |= {f"rho{about}": measurement.rho, f"plan_sha256{about}": measurement.plan_sha256}
        yield dg.MaterializeResult(asset_key=key, metadata=descriptions.check_metadata(metadata))


@dg.asset(
    key=BUNDLE,
    config_schema=_BUNDLE_CONFIG,
    deps=list(MEASUREMENTS.values()),
    partitions_def=COHORTS,
    kinds={"parquet", "csv"},
    **PUBLISHED,
    metadata=descriptions.name_documents("docs/releases.md", and_more=f"\n\n{_TABLES}"),
    output_required=False,
    check_specs=[
        _WORDS.build_check_spec(BUNDLE, WAITS, stage=Stage.PUBLICATION),
        _WORDS.build_check_spec(BUNDLE, VERIFY_CHECK),
    ],
    description=_WORDS.assets["bundle"],
)
@redact_errors
def bundle(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    home, keys = installation.home_folder, installation.load_keys(KEYS_OF_RELEASE)
    version = _get_version(context, home)
    release = Release(home, version)
    context.instance.add_run_tags(context.run.run_id, {RELEASE_TAG: version})
    try:
        folder = publish_bundle(release.get_cohort(context.partition_key), keys)
    except WaitsForApproval as waiting:
        _report_waiting(context, BUNDLE, waiting)
        yield build_check_result(BUNDLE, WAITS, passed=False, words=str(waiting), warns=True)
        yield _build_verify_result(verify(release.find_bundle()))
        return
    build_database(home.release)  # again if somebody removed it: a bundle that is current is not published again
    found = verify(folder)
    yield _build_sign_off_result(context, home, version, BUNDLE, Stage.PUBLICATION)
    # a bundle that passed is not verified again while nothing changes
    if found.ok:
        record_verified(release, keys)
    yield _build_verify_result(found)
    missing = format_missing(json.loads((folder / DATAPACKAGE_FILE).read_bytes())["missing"])
    for entry in missing:
        context.log.info(f"stated in the bundle: {entry}")
    rows = sum(pq.read_metadata(folder / f"{name}.parquet").num_rows for name in TABLES)
    yield dg.MaterializeResult(
        metadata=descriptions.check_metadata(
            {"release": version, "path": dg.MetadataValue.path(folder), "missing": missing, "dagster/row_count": rows}
        ),
        data_version=dg.DataVersion(hash_sums(folder)),
    )


def _build_verify_result(found: Verification) -> dg.AssetCheckResult:
    words = f"{found.bundle} is sound" if found.ok else str(found)
    return build_check_result(BUNDLE, VERIFY_CHECK, passed=found.ok, words=words, problems=len(found.faults))


@dg.asset(
    key=DATABASE,
    config_schema={},
    deps=[BUNDLE],
    kinds={"duckdb"},
    **PUBLISHED,
    metadata=descriptions.name_documents("docs/releases.md"),
    description=_WORDS.assets["database"],
    check_specs=[_WORDS.build_check_spec(DATABASE, OPENS_CHECK, by_cohort=False)],
)
@redact_errors
def analyst_database(installation: dg.ResourceParam[Installation]) -> dg.MaterializeResult:
    release = installation.home_folder.release
    path = build_database(release)
    held, published = read_released_versions(path), {str(version) for version in list_versions(release)}
    words = f"it holds {', '.join(sorted(held)) or 'no release'}"
    check = build_check_result(
        DATABASE, OPENS_CHECK, passed=held == published, words=words, problems=len(held ^ published)
    )
    metadata = descriptions.check_metadata({"path": dg.MetadataValue.path(path)})
    version = dg.DataVersion(hash_inputs(release))
    return dg.MaterializeResult(metadata=metadata, check_results=[check], data_version=version)


def _get_version(context: dg.AssetExecutionContext, home: Home) -> str:
    """Return the one version of the run, whichever step asks: as named, or as the command line chooses it.

    Raises `InvalidVersion`, before any charge.
    """
    ops = cast(Mapping[str, Any], context.run.run_config.get("ops", {}))
    configs = [ops.get(name, {}).get("config", {}) for name in (_MEASURING, _BUNDLING)]
    named = {config["version"] for config in configs if config.get("version")}
    if len(named) > 1:
        raise InvalidVersion(
            f"the run names two release versions: name one, at {_MEASURING}, or at {_BUNDLING} where a bundle is only"
            " written again; nothing was charged"
        )
    if not named and configs[0].get("reuse"):
        raise InvalidVersion(f"reuse makes a separate release: name its version at {_MEASURING}; nothing was charged")
    return str(named.pop()) if named else choose_release(home.get_cohort(context.partition_key))


def _list_councils(installation: Installation, cohort: str) -> list[str]:
    """Return the participating councils, from the landing folders or, if not mounted, from the cohort's linkage."""
    if installation.landing.is_dir():
        return list_councils(installation.landing)
    return list(read_record(installation.home_folder.get_cohort(cohort)).taking_part)
