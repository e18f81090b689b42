"""Dagster assets for intake: landed extracts, and pseudonymised extracts partitioned by council and cohort."""

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import dagster as dg

from assets.catalogue import descriptions
from assets.catalogue.runs import (
    COUNCIL_COHORTS,
    WINDOW,
    build_due_freshness,
    build_partition_key,
    parse_partition_key,
    redact_errors,
    tag_versions,
)
from assets.home.home_lock import block_removals, lock_senders
from assets.home.installation import Installation
from assets.home.retention_policy import check_may_be_held
from assets.intake import console_progress, deliveries
from assets.intake.console_progress import Outcome
from assets.intake.deliveries import ExtractQuality
from assets.intake.ingest import Intake
from privacy.doors.counts import describe_count, describe_rows
from privacy.keys import INTAKE
from sources.contracts import CONTRACTS, SourceContract
from sources.errors import ExtractStopped
from sources.extract.landed import Landed, find, list_councils
from sources.reference.code_lists import IMD_EDITION, IMD_INDEX
from sources.reference.cohorts import Cohort

GROUP = "intake"
LANDING = "landing"
RESTRICTED = "restricted"
_SENTENCES_SHOWN = 3
"""Number of stopped extracts named in a run's error, to keep it short; the run's log names all of them."""


class ExtractsStopped(Exception):
    """Raised after a run that stopped extracts. The message names the extracts and the reasons."""


postcode_directory = dg.AssetSpec(
    [LANDING, "postcode_directory"],
    group_name=LANDING,
    description=(
        f"Public look-up from postcode to the decile of the {IMD_INDEX}, `landing/reference/postcode_directory.csv`."
    ),
    kinds={"csv"},
    owners=["team:data-engineering"],
    tags={"zone": LANDING},
    metadata=descriptions.check_metadata(
        {
            descriptions.COLUMN_SCHEMA: dg.TableSchema(
                [
                    dg.TableColumn("postcode", "string", description="Postcode, as it is written"),
                    dg.TableColumn("imd_decile", "integer", description=f"Of the {IMD_INDEX}; 1 is the most deprived"),
                    dg.TableColumn("imd_edition", "string", description=f"{IMD_EDITION}, if the file says it"),
                ]
            )
        }
    ),
)


def _build_landed_spec(contract: SourceContract) -> dg.AssetSpec:
    return dg.AssetSpec(
        [LANDING, contract.name],
        group_name=LANDING,
        description=(
            f"{contract.title}, one row per {contract.row_per}, as sent to `landing/<council>/{contract.name}/`."
            " Identifiable; only intake reads it. Fresh if every participating council sent it for one cohort in the"
            f" {WINDOW.days} days before its yearly due date."
        ),
        kinds={"csv"},
        owners=["team:councils"],
        tags={"zone": LANDING},
        metadata=descriptions.describe_landed(contract),
        freshness_policy=build_due_freshness(contract),
    )


def _build_pseudonymised_spec(contract: SourceContract) -> dg.AssetSpec:
    landing = dg.AssetKey([LANDING, contract.name])
    return dg.AssetSpec(
        EXTRACTS[contract.name],
        deps=[landing, postcode_directory.key],
        partitions_def=COUNCIL_COHORTS,
        skippable=True,
        group_name=GROUP,
        kinds={"duckdb", "parquet", "greatexpectations"},
        owners=["team:data-engineering"],
        tags={"zone": RESTRICTED},
        metadata=descriptions.describe_pseudonymised(contract, landing, postcode_directory.key),
        description=(
            f"{contract.title} without identifiers, made in one streaming pass: payload by row key, tokens in a"
            " separate file that only the linkage can open, quarantine and quality result. Each check covers one"
            " council and cohort. The check `arrivals` of `links` lists missing councils by cohort."
        ),
    )


EXTRACTS = {source: dg.AssetKey([RESTRICTED, source]) for source in CONTRACTS}
"""The pseudonymised extracts, by source."""
landed_extracts = [_build_landed_spec(contract) for contract in CONTRACTS.values()]


@dg.multi_asset(
    specs=[_build_pseudonymised_spec(contract) for contract in CONTRACTS.values()],
    check_specs=[
        spec
        for key in EXTRACTS.values()
        for spec in (
            *(
                dg.AssetCheckSpec(name, asset=key, description=description, partitions_def=COUNCIL_COHORTS)
                for name, description in console_progress.FAMILIES.items()
            ),
            dg.AssetCheckSpec(
                console_progress.ALL_COUNCILS,
                asset=key,
                description="No council's latest delivery was stopped or is holding a release",
            ),
        )
    ],
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=True,
)
@redact_errors
def pseudonymised_extracts(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.AssetCheckResult]:
    home, partitions = (
        installation.open_home(),
        [parse_partition_key(partition) for partition in context.partition_keys],
    )
    sources = [source for source, key in EXTRACTS.items() if key in context.selected_asset_keys]
    cohorts = {cohort for _, cohort in partitions}
    with block_removals(home), lock_senders(home, partitions):
        stopped = _ingest_all(context, installation, sources)
    for source in sources:
        for cohort in cohorts:
            # freshness is judged by the landing asset, so it is materialised only when all councils have delivered
            if all(
                deliveries.read_current(home.extract(source, cohort, council))
                for council in list_councils(installation.landing)
            ):
                whole = descriptions.check_metadata({"cohort": cohort})
                context.log_event(dg.AssetMaterialization(dg.AssetKey([LANDING, source]), metadata=whole))
        waiting = console_progress.list_waiting(home, source, cohorts)
        yield dg.AssetCheckResult(
            check_name=console_progress.ALL_COUNCILS,
            asset_key=EXTRACTS[source],
            passed=not waiting,
            severity=dg.AssetCheckSeverity.WARN,
            description=_join_first(waiting) if waiting else "no latest delivery is stopped or in doubt",
        )
    if stopped:  # last, so that the other extracts are ingested and all checks reported
        raise ExtractsStopped(_join_first(stopped))


def _ingest_all(context: dg.AssetExecutionContext, installation: Installation, sources: Sequence[str]) -> list[str]:
    """Ingest each partition's extracts, log their check results, and return a sentence for each stopped extract."""
    stopped: list[str] = []
    intake = Intake(installation.landing, installation.home_folder, installation.load_keys(INTAKE))
    landed: list[Landed] = []
    cohorts = {parse_partition_key(partition)[1] for partition in context.partition_keys}
    for cohort in cohorts:  # before any file is read
        check_may_be_held(Cohort(cohort), dt.date.today())
    for source, partition in product(sources, context.partition_keys):
        council, cohort = parse_partition_key(partition)
        try:
            found = find(installation.landing, council, source, cohort)
        except ExtractStopped as stop:
            intake.refuse(council, source, cohort, stop)
            stopped.append(_report_stopped(context, source, partition, stop))
        else:
            landed += [found] if found else []
    accepted: list[ExtractQuality] = []
    for extract, outcome in zip(landed, intake.ingest_all(landed), strict=True):
        partition = build_partition_key(extract.council, extract.cohort)
        if isinstance(outcome, ExtractStopped):
            stopped.append(_report_stopped(context, extract.source, partition, outcome))
        elif outcome:
            _report_accepted(context, installation, partition, outcome)
            accepted.append(outcome)
    for line in console_progress.iter_progress_lines(installation.home_folder, cohorts, accepted, bool(stopped)):
        context.log.info(line)
    for sentence in intake.not_read:
        context.log.error(sentence)
    return stopped


def _report_stopped(context: dg.AssetExecutionContext, source: str, partition: str, stopped: ExtractStopped) -> str:
    context.log.error(str(stopped))
    failed = Outcome(console_progress.QUALITY, False, str(stopped))
    context.log_event(_build_evaluation(EXTRACTS[source], partition, failed, dg.AssetCheckSeverity.ERROR))
    return str(stopped)


def _report_accepted(
    context: dg.AssetExecutionContext,
    installation: Installation,
    partition: str,
    quality: ExtractQuality,
) -> None:
    key = EXTRACTS[quality.source]
    report = installation.home_folder.cohort(quality.cohort).reports(quality.council) / f"{quality.source}.html"
    metadata = descriptions.check_metadata(_build_metadata(quality) | {"report": dg.MetadataValue.path(report)})
    context.log_event(
        dg.AssetMaterialization(
            key,
            description=_describe_quality(quality),
            partition=partition,
            metadata=metadata,
            tags=tag_versions(deliveries.hash_inputs(quality), quality.made_under["contract"]),
        )
    )
    for outcome in console_progress.iter_outcomes(quality):
        # a warning, because the extract was taken: the linkage decides whether its doubts hold a release
        context.log_event(_build_evaluation(key, partition, outcome, dg.AssetCheckSeverity.WARN))


def _build_evaluation(
    key: dg.AssetKey, partition: str, outcome: Outcome, severity: dg.AssetCheckSeverity
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=outcome.family,
        passed=outcome.passed,
        severity=severity,
        description=outcome.sentence,
        metadata=descriptions.check_metadata(outcome.numbers),
        partition=partition,
    )


def _join_first(sentences: list[str]) -> str:
    more = f"; and {len(sentences) - _SENTENCES_SHOWN} more" if len(sentences) > _SENTENCES_SHOWN else ""
    return "; ".join(sentences[:_SENTENCES_SHOWN]) + more


def _describe_quality(quality: ExtractQuality) -> str:
    warned = sum(rule.rows for rule in quality.rules if rule.severity == "warn")
    return (
        f"{quality.council}/{quality.source}/{quality.file}: {describe_rows(quality.rows_read)} read,"
        f" {describe_rows(quality.rows_rejected)} rejected, {describe_count(warned)} with warnings"
        f"{' (unchanged)' if quality.unchanged else ''}"
    )


def _build_metadata(quality: ExtractQuality) -> dict[str, Any]:
    """Return the facts that are safe for Dagster's event log: row counts as bands, the file's MAC and the contract."""
    return {
        "rows_read": describe_count(quality.rows_read),
        "rows_rejected": describe_count(quality.rows_rejected),
        "file_mac": quality.file_mac,
        "contract": quality.made_under["contract"],
    }
