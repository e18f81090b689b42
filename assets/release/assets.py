"""Assets of the release: charged measurements, the bundle and the analyst database.

A run is for the cohort of its partition; its configuration names earlier cohorts to publish beside it. The assets have
no retry policy and no automation condition, and a run must name the release version: only a person's decision spends
budget. A repeated run finds the stored measurement and charges nothing.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import dagster as dg
import pyarrow.parquet as pq

from assets.catalogue import descriptions
from assets.catalogue.runs import COHORTS, redact_errors, tag_release
from assets.catalogue.runs import RELEASE as RELEASE_TAG
from assets.home.installation import Installation
from assets.home.paths import Home
from assets.linkage.arrivals import note_landing
from assets.linkage.assets import CONFIDENTIAL
from assets.linkage.inputs import read_record
from assets.release.fix_release import ReleaseOptions
from assets.release.holds import accept_configured
from assets.release.measure import measure_release, note_sound, publish_bundle
from assets.release.record import find_plan, find_plan_problems
from assets.release.sign_off import WaitsForAcceptance, find_bundle
from assets.release.synthetic_children import publish_synthetic
from ndl_export.analyst_db.build import build_database, hash_inputs, read_released_versions
from ndl_export.bundle.make import hash_sums
from ndl_export.bundle.release_directory import find_current_version
from ndl_export.bundle.verify import Verification, verify
from ndl_export.facts.missing import format_missing
from ndl_export.facts.release_facts import DATAPACKAGE_FILE, list_versions
from ndl_export.facts.synthetic import SMALLEST_GROUP, SYNTHETIC_FOLDER
from ndl_export.files.signing import SUMS_FILE
from ndl_export.tables import FAMILIES, TABLES
from privacy.keys import RELEASE as KEYS_OF_RELEASE
from privacy.release.approval import SignOffs, WaitsForApproval
from privacy.release.ledger import Ledger
from privacy.release.mechanism import Measurement
from privacy.release.policy import Stage
from sources.extract.landing import list_councils

RELEASE = "release"
BUNDLE = dg.AssetKey([RELEASE, "bundle"])
_MEASURING, _BUNDLING = f"{RELEASE}__measurements", "__".join(BUNDLE.path)
"""Names of the ops in a run's configuration."""
DATABASE = dg.AssetKey([RELEASE, "analyst_database"])
SYNTHETIC = dg.AssetKey([RELEASE, SYNTHETIC_FOLDER])
_TABLES = "\n".join(f"- `{name}`: {table.title}" for name, table in TABLES.items())
MEASUREMENTS = {family: dg.AssetKey([RELEASE, f"{family}_measurement"]) for family in FAMILIES}


_RELEASE_CONFIG = {
    "version": dg.Field(
        str,
        description="Such as 2026.11.0. A version that was released is repeated and spends nothing; a new one spends.",
    ),
    "allow_missing": dg.Field(
        bool, default_value=False, description="Release without the councils that have sent no EYFS Profile."
    ),
    "share": dg.Field(
        dg.Noneable(float),
        default_value=None,
        description="Share of the policy's split that the release spends, as 0.2 for a revision; 1 by default.",
    ),
    "with_cohorts": dg.Field(
        [str], default_value=[], description="Earlier cohorts to publish beside the partition's, as a time series."
    ),
    "reuse": dg.Field(bool, default_value=False, description="Measure nothing: publish what earlier releases drew."),
    "requests": dg.Field(
        [str],
        default_value=[],
        description="With reuse: registered requests by name; what they ask for is measured, charged and published.",
    ),
    "accept": dg.Field(
        [
            {
                "holds": dg.Field(
                    [str],
                    description="Names from the check `holds`, such as wirral/eyfsp/rows-far-from-expected: all"
                    " that the signature covers.",
                ),
                "reason": dg.Field(str, description="Why the data are right; the decision sheet repeats it."),
                "signature": dg.Field(
                    str,
                    default_value="",
                    description="As `readiness accept --for-dagster` prints it; a demonstration's key signs by itself.",
                ),
            }
        ],
        default_value=[],
        description="Accepted holds. Everyone who can open Dagster can read this: give no count and no person's name.",
    ),
}
"""Configuration of the release that a run makes.

Plain fields, because `dg.Config` accepts `{"env": NAME}` for any text: a message or tag that repeated the value would
then show a variable of the run's environment, such as the password in a ledger's URL.
"""
_BUNDLE_CONFIG = {
    "version": dg.Field(
        str,
        is_required=False,
        description="Only to write the bundle of an existing release again. A run that measures gives the version at"
        " the measurements.",
    )
}
_SYNTHETIC_CONFIG = {
    "version": dg.Field(
        str,
        is_required=False,
        description="A published release, such as 2026.11.0; by default the current one.",
    ),
    "cohort": dg.Field(str, is_required=False, description="A cohort of the release; by default its newest."),
    "seed": dg.Field(int, default_value=1, description="Seed of the draws; the same seed gives the same children."),
}


_PUBLISHED: Any = {"group_name": RELEASE, "owners": ["team:publishing"], "tags": {"zone": RELEASE}}
"""Arguments that all assets of the release zone share."""


class VersionUnclear(Exception):
    """A run that names no release version, or two; the message says where to name it."""


WAITS, HOLDS = "approval", "holds"
"""Names of the checks for missing signatures and for holds that nobody has accepted."""
PLAN_CHECK, VERIFY_CHECK, OPENS_CHECK, INTERVALS_CHECK = "plan", "verify", "opens", "intervals"


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
        description=(
            f"Noisy counts behind {tables}: charged to the ledger, drawn once from OpenDP's discrete Gaussian, stored."
            " A repeated run reads the stored measurement and never draws again. All families are measured in one step,"
            " from one state of the extracts. Nothing is charged before people have signed."
        ),
    )


def _build_check_spec(key: dg.AssetKey, name: str, words: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name, asset=key, partitions_def=COHORTS, description=words)


def _build_sign_off_spec(key: dg.AssetKey, stage: Stage) -> dg.AssetCheckSpec:
    return _build_check_spec(key, WAITS, f"Whether enough people have signed the {stage} off.")


def _build_sign_off_result(
    context: dg.AssetExecutionContext, home: Home, version: str, key: dg.AssetKey, stage: Stage
) -> dg.AssetCheckResult:
    """Return the check result of a signed-off release; log it if a demonstration key signed."""
    signed = SignOffs(Ledger(home.ledger)).list_allowed(stage, version)
    if any(each.is_demonstration for each in signed):
        context.log.info(f"The {stage} of release {version} was approved with a demonstration key: no person signed it")
    roles = ", ".join(each.person.role for each in signed)
    return _build_check_result(
        key, WAITS, passed=True, words=f"signed by: {roles}" if roles else "nothing had to be signed"
    )


_NOTHING_HELD = "every hold was accepted, or there is none"


def _build_check_result(
    key: dg.AssetKey, name: str, *, passed: bool, words: str, warns: bool = False, **numbers: float
) -> dg.AssetCheckResult:
    """Return the result of a check; a check that only `warns` does not count as an error."""
    severity = dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR
    metadata = descriptions.check_metadata(numbers)
    return dg.AssetCheckResult(
        passed=passed, asset_key=key, check_name=name, severity=severity, description=words, metadata=metadata
    )


def _build_plan_result(key: dg.AssetKey, made: Measurement | None, problems: Sequence[str] = ()) -> dg.AssetCheckResult:
    words = "; ".join(problems) or ("as planned" if made else "nothing was measured")
    return _build_check_result(
        key, PLAN_CHECK, passed=not problems, words=words, rho=made.rho if made else 0.0, problems=len(problems)
    )


@dg.multi_asset(
    name=_MEASURING,
    config_schema=_RELEASE_CONFIG,
    specs=[_build_measurement_spec(family) for family in FAMILIES],
    check_specs=[
        _build_sign_off_spec(MEASUREMENTS["pupil"], Stage.MEASUREMENT),
        _build_check_spec(
            MEASUREMENTS["pupil"],
            HOLDS,
            "Whether a person has accepted each extract that is far from what was expected, each source that was due"
            " and is missing, and what nobody has read",
        ),
        *(
            _build_check_spec(
                key,
                PLAN_CHECK,
                "The stored measurement is that of the public plan: its hash, its charge, and a noisy number for every"
                " cell. Looks at no true count",
            )
            for key in MEASUREMENTS.values()
        ),
    ],
)
@redact_errors
def measurements(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    cohort, version, checked = context.partition_key, _get_version(context), MEASUREMENTS["pupil"]
    config = context.op_execution_context.op_config
    # a run started in the UI has no tags for its release yet, and people search the list of runs by these tags
    context.instance.add_run_tags(context.run.run_id, tag_release(version, config["share"]))
    home = installation.home_folder
    store = home.get_cohort(cohort)
    # landing is not mounted if releases run in a separate code location
    if installation.landing.is_dir():
        note_landing(home, installation.landing)
    try:
        for accepted in config["accept"]:
            keys = installation.load_keys(KEYS_OF_RELEASE)
            accept_configured(store, keys, accepted["holds"], accepted["reason"], accepted["signature"])
        made = measure_release(
            store,
            installation.load_keys(KEYS_OF_RELEASE),
            version,
            _list_councils(installation, cohort),
            ReleaseOptions(*(config[each] for each in ("allow_missing", "share", "with_cohorts", "reuse", "requests"))),
        )
    except WaitsForApproval as waiting:
        held = str(waiting) if isinstance(waiting, WaitsForAcceptance) else ""
        # waiting is not a failure: the run succeeds, its checks say what it waits for, and nobody is alerted
        yield _build_check_result(checked, HOLDS, passed=not held, words=held or _NOTHING_HELD, warns=True)
        yield _build_check_result(checked, WAITS, passed=False, words=str(waiting), warns=True)
        yield from (_build_plan_result(key, None) for key in MEASUREMENTS.values())
        return
    yield _build_check_result(checked, HOLDS, passed=True, words=_NOTHING_HELD, warns=True)
    yield _build_sign_off_result(context, home, version, checked, Stage.MEASUREMENT)
    for family, key in MEASUREMENTS.items():
        metadata: dict[str, str | float] = {"release": version}
        for each, measurement in ((each, found) for (each, name), found in made.items() if name == family):
            about = "" if each == cohort else f" of {each}"
            metadata |= {f"rho{about}": measurement.rho, f"plan_sha256{about}": measurement.plan_sha256}
        yield dg.MaterializeResult(asset_key=key, metadata=descriptions.check_metadata(metadata))
        own = made.get((cohort, family))
        plan = find_plan(store, version, _list_councils(installation, cohort), family) if own else None
        yield _build_plan_result(key, own, find_plan_problems(plan, own) if plan and own else ())


@dg.asset(
    key=BUNDLE,
    config_schema=_BUNDLE_CONFIG,
    deps=list(MEASUREMENTS.values()),
    partitions_def=COHORTS,
    kinds={"parquet", "csv"},
    **_PUBLISHED,
    metadata=descriptions.name_documents("docs/releases.md", and_more=f"\n\n{_TABLES}"),
    output_required=False,
    check_specs=[
        _build_sign_off_spec(BUNDLE, Stage.PUBLICATION),
        _build_check_spec(
            BUNDLE, VERIFY_CHECK, "What `readiness verify` finds: checksums, signature, schema, consistency"
        ),
    ],
    description=(
        "The signed release bundle: tables as Parquet and CSV, metadata, privacy statement, checksums. Made from the"
        " stored measurements alone, and held in the restricted zone until people have signed it."
    ),
)
@redact_errors
def bundle(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    version = _get_version(context)
    context.instance.add_run_tags(context.run.run_id, {RELEASE_TAG: version})
    home, councils = installation.home_folder, _list_councils(installation, context.partition_key)
    keys = installation.load_keys(KEYS_OF_RELEASE)
    try:
        folder = publish_bundle(home.get_cohort(context.partition_key), keys, version, councils)
    except WaitsForApproval as waiting:
        yield _build_check_result(BUNDLE, WAITS, passed=False, words=str(waiting), warns=True)
        yield _build_verify_result(verify(find_bundle(home, version)))
        return
    with ThreadPoolExecutor(1) as beside:
        built = beside.submit(build_database, home.release)  # covers whatever is published, verified or not
        found = verify(folder)
        built.result()
    yield _build_sign_off_result(context, home, version, BUNDLE, Stage.PUBLICATION)
    # a bundle that passed is not verified again while nothing changes
    if found.ok:
        note_sound(home, keys, version, councils)
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
    return _build_check_result(BUNDLE, VERIFY_CHECK, passed=found.ok, words=words, problems=len(found.faults))


@dg.asset(
    key=DATABASE,
    config_schema={},
    deps=[BUNDLE],
    kinds={"duckdb"},
    **_PUBLISHED,
    metadata=descriptions.name_documents("docs/releases.md"),
    description="`readiness.duckdb`: the tables of every release, views of the latest, comments, worked queries.",
    check_specs=[
        dg.AssetCheckSpec(
            OPENS_CHECK, asset=DATABASE, description="It opens, and holds every release that is published, and no other"
        )
    ],
)
@redact_errors
def analyst_database(installation: dg.ResourceParam[Installation]) -> dg.MaterializeResult:
    release = installation.home_folder.release
    path = build_database(release)
    held, published = read_released_versions(path), {str(version) for version in list_versions(release)}
    words = f"it holds {', '.join(sorted(held)) or 'no release'}"
    check = _build_check_result(
        DATABASE, OPENS_CHECK, passed=held == published, words=words, problems=len(held ^ published)
    )
    metadata = descriptions.check_metadata({"path": dg.MetadataValue.path(path)})
    version = dg.DataVersion(hash_inputs(release))
    return dg.MaterializeResult(metadata=metadata, check_results=[check], data_version=version)


@dg.asset(
    key=SYNTHETIC,
    config_schema=_SYNTHETIC_CONFIG,
    deps=[BUNDLE],
    kinds={"parquet", "csv"},
    **_PUBLISHED,
    metadata=descriptions.name_documents("docs/synthetic-children.md"),
    description=(
        "Synthetic children of a published release, one row a child who does not exist: drawn from its noisy counts"
        " alone, at no cost to the budget, signed, and put beside it. No release waits for them. Needs the extra"
        " `synthetic`."
    ),
    check_specs=[
        dg.AssetCheckSpec(
            INTERVALS_CHECK,
            asset=SYNTHETIC,
            description=f"Every published percentage of {SMALLEST_GROUP} children or more lies in its interval",
        )
    ],
)
@redact_errors
def synthetic_children(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> dg.MaterializeResult:
    home, config = installation.home_folder, context.op_execution_context.op_config
    version = config.get("version") or str(find_current_version(home.release) or "")
    if not version:
        raise VersionUnclear(f"there is no release in {home.release}: synthetic children are made from one")
    context.instance.add_run_tags(context.run.run_id, {RELEASE_TAG: version})
    made = publish_synthetic(
        home, installation.load_keys(KEYS_OF_RELEASE), version, config.get("cohort"), config["seed"]
    )
    folder = home.release / SYNTHETIC_FOLDER / version
    words = f"{made.within} of {made.compared} published percentages lie in their intervals"
    check = _build_check_result(
        SYNTHETIC, INTERVALS_CHECK, passed=not made.outside, words=words, problems=len(made.outside)
    )
    metadata = descriptions.check_metadata({"release": version, "path": dg.MetadataValue.path(folder)})
    sums = hashlib.sha256((folder / SUMS_FILE).read_bytes()).hexdigest()
    return dg.MaterializeResult(metadata=metadata, check_results=[check], data_version=dg.DataVersion(sums))


def _get_version(context: dg.AssetExecutionContext) -> str:
    """Return the one version that the run names, whichever step asks. Raises `VersionUnclear`, before any charge."""
    ops = cast(Mapping[str, Any], context.run.run_config.get("ops", {}))
    configured = [ops.get(name, {}).get("config", {}).get("version") for name in (_MEASURING, _BUNDLING)]
    named = {version for version in configured if version}
    if len(named) != 1:
        raise VersionUnclear(
            f"the run names {'two release versions' if named else 'no release version'}: name one, at {_MEASURING}, or"
            f" at {_BUNDLING} where a bundle is only written again; nothing was charged"
        )
    return str(named.pop())


def _list_councils(installation: Installation, cohort: str) -> list[str]:
    """Return the participating councils, from the landing folders or, if not mounted, from the cohort's linkage."""
    if installation.landing.is_dir():
        return list_councils(installation.landing)
    return list(read_record(installation.home_folder.get_cohort(cohort)).taking_part)
