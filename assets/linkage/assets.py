"""Dagster assets of the linkage: the links between rows, and the confidential table of each family, by cohort."""

from collections.abc import Iterator
from itertools import chain

import dagster as dg

from assets.catalogue import descriptions
from assets.catalogue.runs import COHORTS, LINKED_FRESHNESS, build_night_condition, redact_errors, tag_versions
from assets.home.installation import Installation
from assets.home.retention_policy import check_may_be_held
from assets.intake.assets import EXTRACTS, RESTRICTED
from assets.linkage.arrivals import describe_absent_sources, describe_waiting_deliveries, list_arrivals, note_landing
from assets.linkage.children import check_table, get_derivations
from assets.linkage.inputs import hash_file, hash_program, join_names
from assets.linkage.link import derive_confidential_tables, link_cohort
from ndl_export.tables import FAMILIES
from privacy.doors import clock
from privacy.doors.counts import describe_count
from privacy.keys import LINKAGE
from privacy.services import SERVICES
from sources.extract.landing import describe_unread_entries, list_councils
from sources.reference.cohorts import Cohort

GROUP = "linkage"
ARRIVALS_CHECK, TABLE_CHECK = "arrivals", "fit_to_count"
LINKS = dg.AssetKey([RESTRICTED, "links"])
CONFIDENTIAL = {name: dg.AssetKey([RESTRICTED, family.confidential_table]) for name, family in FAMILIES.items()}
_LINKS_METADATA = descriptions.describe_links(key for source, key in EXTRACTS.items() if source in SERVICES)
_CONFIDENTIAL_METADATA = {
    family: descriptions.describe_confidential(
        family, {name: each.made_of for name, each in get_derivations(family).items()}, EXTRACTS
    )
    for family in CONFIDENTIAL
}


def _depend_on_every_council(key: dg.AssetKey) -> dg.AssetDep:
    return dg.AssetDep(key, partition_mapping=dg.MultiToSingleDimensionPartitionMapping("cohort"))


@dg.asset(
    key=LINKS,
    # Without it, the launchpad asks for options that nothing reads.
    config_schema={},
    deps=[_depend_on_every_council(key) for source, key in EXTRACTS.items() if source in SERVICES],
    partitions_def=COHORTS,
    output_required=True,
    check_specs=[
        dg.AssetCheckSpec(
            ARRIVALS_CHECK,
            asset=LINKS,
            partitions_def=COHORTS,
            description="Every council that takes part has sent every source of the cohort that was due",
        )
    ],
    freshness_policy=LINKED_FRESHNESS,
    automation_condition=build_night_condition(),
    code_version=hash_program(),
    group_name=GROUP,
    kinds={"splink", "duckdb", "parquet"},
    owners=["team:data-engineering"],
    tags={"zone": RESTRICTED},
    metadata=_LINKS_METADATA,
    description=(
        "Links rows of the same child across councils and services: by their own numbers first, then with Splink over"
        " tokens with fixed parameters, one-to-one. `links.parquet`: source, council, row_key, child_id, match_rule,"
        " match_probability. `linkage.html` beside it reports on the linkage. Its check `arrivals` names the councils"
        " that have not sent what was due."
    ),
)
@redact_errors
def links(context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]) -> dg.MaterializeResult:
    check_may_be_held(Cohort(context.partition_key), clock.today())
    councils = list_councils(installation.landing)
    home, ring = installation.home_folder, installation.load_keys(LINKAGE)
    store = home.get_cohort(context.partition_key)
    note_landing(home, installation.landing)
    link_cohort(store, councils, ring)
    check = _build_arrivals_check(context, installation, councils)
    if not check.passed:
        context.log.warning(check.description)
    report = dg.MetadataValue.path(store.linkage_report.with_suffix(".html"))
    return dg.MaterializeResult(
        metadata=descriptions.copy_lineage(_LINKS_METADATA) | descriptions.check_metadata({"report": report}),
        check_results=[check],
        data_version=dg.DataVersion(hash_file(store.links)),
    )


def _build_arrivals_check(
    context: dg.AssetExecutionContext, installation: Installation, councils: list[str]
) -> dg.AssetCheckResult:
    cohort = Cohort(context.partition_key)
    found = list_arrivals(installation.landing, installation.home_folder, cohort, councils, clock.today())
    lists = {
        "missing": describe_absent_sources(found),
        "not_taken": describe_waiting_deliveries(found),
        "not_read": describe_unread_entries(installation.landing),
    }
    sentences = list(chain(*lists.values()))
    return dg.AssetCheckResult(
        check_name=ARRIVALS_CHECK,
        passed=not sentences,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"cohort {cohort.code}: {'; '.join(sentences) or 'every source that was due is in'}",
        metadata=descriptions.check_metadata({"cohort": cohort.code, **lists}),
    )


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            key,
            deps=[
                *([dg.AssetDep(LINKS)] if FAMILIES[family].is_linked else []),
                *(
                    _depend_on_every_council(EXTRACTS[source])
                    for source in EXTRACTS
                    if source in FAMILIES[family].sources
                ),
            ],
            partitions_def=COHORTS,
            freshness_policy=LINKED_FRESHNESS,
            automation_condition=build_night_condition(),
            code_version=hash_program(),
            group_name=GROUP,
            kinds={"duckdb", "parquet"},
            owners=["team:data-engineering"],
            tags={"zone": RESTRICTED},
            metadata=_CONFIDENTIAL_METADATA[family],
            description=FAMILIES[family].confidential_description,
        )
        for family, key in CONFIDENTIAL.items()
    ],
    check_specs=[
        dg.AssetCheckSpec(
            TABLE_CHECK,
            asset=key,
            partitions_def=COHORTS,
            blocking=True,
            description="Every unit appears once, and every value is in its public domain",
        )
        for key in CONFIDENTIAL.values()
    ],
)
@redact_errors
def confidential_tables(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    cohort, councils = context.partition_key, list_councils(installation.landing)
    home, ring = installation.home_folder, installation.load_keys(LINKAGE)
    store = home.get_cohort(cohort)
    came = derive_confidential_tables(store, councils, ring)
    if came:
        context.log.warning(f"{join_names(came)} came in or changed after the linkage, so the cohort was linked again")
        # The links were made outside their own step, so they are reported to Dagster here.
        context.log_event(
            dg.AssetMaterialization(
                LINKS,
                partition=cohort,
                metadata=descriptions.copy_lineage(_LINKS_METADATA),
                tags=tag_versions(hash_file(store.links), hash_program()),
            )
        )
    for family, key in CONFIDENTIAL.items():
        yield dg.MaterializeResult(
            asset_key=key,
            metadata=descriptions.copy_lineage(_CONFIDENTIAL_METADATA[family]),
            data_version=dg.DataVersion(hash_file(store.get_confidential_path(family))),
        )
        found = check_table(store.get_confidential_path(family), family)
        is_fit = not any(found.values())
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=TABLE_CHECK,
            passed=is_fit,
            description="each unit once, each value in its domain" if is_fit else "it must not be counted: link again",
            metadata=descriptions.check_metadata({name: describe_count(n) for name, n in found.items()}),
        )
