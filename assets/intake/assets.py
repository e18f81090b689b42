"""Assets of the intake: what lies in landing, and each source pseudonymised, by council and cohort."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg
from pydantic import Field, field_validator

from assets.catalogue import descriptions
from assets.catalogue.policies import WINDOW, due_freshness
from assets.catalogue.runs import COUNCIL_COHORTS, Installation, council_cohort, parts, speaks_plainly
from assets.home.at_work import in_use, turn
from assets.home.retention_policy import check_may_be_held
from assets.intake.deliveries import ExtractQuality
from assets.intake.take_in import Intake
from privacy.doors.counts import magnitude, rows
from privacy.keys import INTAKE
from sources.contracts import CONTRACTS, SourceContract
from sources.errors import ExtractStopped
from sources.extract.landed import Landed, check_extract_name, find
from sources.reference.cohorts import Cohort


class IntakeConfig(dg.Config):
    """`accept_fewer` names extracts, as `council/source`, that may have far fewer rows than the last delivery."""

    accept_fewer: list[str] = Field(default_factory=list)

    @field_validator("accept_fewer")
    @classmethod
    def _are_extracts(cls, names: list[str]) -> list[str]:
        for name in names:
            check_extract_name(name)
        return names


GROUP = "intake"
LANDING = "landing"
RESTRICTED = "restricted"
QUALITY_CHECK, ROWS_CHECK = "quality", "rows"
_SENTENCES_SHOWN = 3
"""Stopped extracts named in the outcome of a check; the log names every one."""

postcode_directory = dg.AssetSpec(
    [LANDING, "postcode_directory"],
    group_name=LANDING,
    description="Public look-up from postcode to deprivation decile, `landing/reference/postcode_directory.csv`.",
    kinds={"csv"},
    owners=["team:data-engineering"],
    tags={"zone": LANDING},
    metadata=descriptions.checked(
        {
            descriptions.COLUMN_SCHEMA: dg.TableSchema(
                [
                    dg.TableColumn("postcode", "string", description="Postcode, as it is written"),
                    dg.TableColumn("imd_decile", "integer", description="Of deprivation; 1 is the most deprived"),
                ]
            )
        }
    ),
)


def _landed(contract: SourceContract) -> dg.AssetSpec:
    return dg.AssetSpec(
        [LANDING, contract.name],
        group_name=LANDING,
        description=(
            f"{contract.title}, one row per {contract.row_per}, as sent to `landing/<council>/{contract.name}/`."
            " Identifiable; read by intake alone."
        ),
        kinds={"csv"},
        owners=["team:councils"],
        tags={"zone": LANDING},
        metadata=descriptions.landed(contract),
    )


def _pseudonymised(contract: SourceContract) -> dg.AssetsDefinition:
    key = dg.AssetKey([RESTRICTED, contract.name])

    @dg.asset(
        key=key,
        deps=[dg.AssetKey([LANDING, contract.name]), postcode_directory.key],
        partitions_def=COUNCIL_COHORTS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            dg.AssetCheckSpec(
                QUALITY_CHECK,
                asset=key,
                blocking=True,
                description="No extract was stopped: rules of intake and Great Expectations over the payload",
            ),
            dg.AssetCheckSpec(
                ROWS_CHECK,
                asset=key,
                description="No row was set aside and nothing of an extract as a whole is worth a warning",
            ),
        ],
        output_required=False,
        freshness_policy=due_freshness(contract),
        group_name=GROUP,
        kinds={"duckdb", "parquet", "greatexpectations"},
        owners=["team:data-engineering"],
        tags={"zone": RESTRICTED},
        metadata=descriptions.pseudonymised(contract, dg.AssetKey([LANDING, contract.name]), postcode_directory.key),
        description=(
            f"{contract.title} without identifiers: payload by row key and, apart from it and sealed to the linkage,"
            " the tokens in their place, beside the quarantine and the quality result. Taken in one streaming pass."
            f" Fresh where any extract was taken, or found unchanged, in the {WINDOW.days} days before its yearly due"
            " date; which council is missing, of which cohort, is in the check `arrivals` of `links`."
        ),
    )
    @speaks_plainly
    def intake(
        context: dg.AssetExecutionContext, config: IntakeConfig, installation: Installation
    ) -> Iterator[dg.AssetCheckResult]:
        home, cohorts = installation.open_home(), {parts(partition)[1] for partition in context.partition_keys}
        with in_use(home), turn(home, cohorts):
            taken, stopped, not_read = _take_in_all(context, installation, config.accept_fewer, contract.name, key)
        yield dg.AssetCheckResult(
            check_name=QUALITY_CHECK,
            asset_key=key,
            passed=not stopped,
            severity=dg.AssetCheckSeverity.ERROR,
            description=_first(stopped) if stopped else "every extract was taken",
        )
        warnings = [*(sentence for quality in taken if (sentence := _warning(quality))), *not_read]
        yield dg.AssetCheckResult(
            check_name=ROWS_CHECK,
            asset_key=key,
            passed=not warnings,
            severity=dg.AssetCheckSeverity.WARN,
            description=_first(warnings) if warnings else "every row was kept",
        )

    return intake


def _take_in_all(
    context: dg.AssetExecutionContext,
    installation: Installation,
    accept_fewer: list[str],
    source: str,
    key: dg.AssetKey,
) -> tuple[list[ExtractQuality], list[str], list[str]]:
    """Take in each partition's extract; those that were taken, the sentences of those that were stopped, and those of
    files that were not read."""
    taken: list[ExtractQuality] = []
    stopped: list[str] = []
    intake = Intake(installation.landing_folder, installation.home_folder, installation.key_ring(INTAKE), accept_fewer)
    landed: list[Landed] = []
    for cohort in {parts(partition)[1] for partition in context.partition_keys}:
        check_may_be_held(Cohort(cohort), dt.date.today())
    for partition in context.partition_keys:
        council, cohort = parts(partition)
        try:
            found = find(installation.landing_folder, council, source, cohort)
        except ExtractStopped as stop:
            intake.refuse(council, source, cohort, stop)
            stopped.append(str(stop))
        else:
            landed += [found] if found else []
    for extract, outcome in zip(landed, intake.take_in_all(landed), strict=True):
        if isinstance(outcome, ExtractStopped):
            stopped.append(str(outcome))
        if not isinstance(outcome, ExtractQuality):
            continue
        taken.append(outcome)
        context.log_event(
            dg.AssetMaterialization(
                key,
                description=_sentence(outcome),
                partition=council_cohort(extract.council, extract.cohort),
                metadata=descriptions.checked(_metadata(outcome)),
            )
        )
    for sentence in (*stopped, *intake.not_read):
        context.log.error(sentence)
    return taken, stopped, intake.not_read


def _first(sentences: list[str]) -> str:
    more = f"; and {len(sentences) - _SENTENCES_SHOWN} more extracts" if len(sentences) > _SENTENCES_SHOWN else ""
    return "; ".join(sentences[:_SENTENCES_SHOWN]) + more


def _warning(quality: ExtractQuality) -> str:
    """What a person should look at of an extract that was taken; empty where there is nothing."""
    found = [f"{rows(quality.rows_rejected)} set aside"] if quality.rows_rejected else []
    found += [finding.sentence.removesuffix(".") for finding in quality.findings if not finding.passed]
    return f"{quality.council}: {', '.join(found)}" if found else ""


def _sentence(quality: ExtractQuality) -> str:
    warned = sum(rule.rows for rule in quality.rules if rule.severity == "warn")
    return (
        f"{quality.council}/{quality.source}/{quality.file}: {rows(quality.rows_read)} read,"
        f" {rows(quality.rows_rejected)} rejected, {magnitude(warned)} with warnings"
        f"{' (unchanged)' if quality.unchanged else ''}"
    )


def _metadata(quality: ExtractQuality) -> dict[str, str]:
    """What the event log may hold: how many rows there are by order of size, and the MAC of the file."""
    return {
        "rows_read": magnitude(quality.rows_read),
        "rows_rejected": magnitude(quality.rows_rejected),
        "file_mac": quality.file_mac,
        "contract": quality.made_under["contract"],
    }


landed_extracts = [_landed(contract) for contract in CONTRACTS.values()]
pseudonymised_extracts = [_pseudonymised(contract) for contract in CONTRACTS.values()]
