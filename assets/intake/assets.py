"""Dagster assets for intake: landed extracts, and pseudonymised extracts partitioned by council and cohort.

Dagster and logs show check outcomes and progress to anyone who opens them. Shares are therefore too coarse to work out
a row count. Row counts are given as bands, and so is an operator's expected number, which may be close to the count.
Published numbers and counts of rules are exact.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import dagster as dg

from assets.catalogue import descriptions, runs
from assets.home import home_lock, retention_policy
from assets.home.installation import Installation
from assets.home.paths import Home
from assets.home.progress import count_done
from assets.intake import deliveries
from assets.intake.deliveries import ExtractQuality
from assets.intake.ingest import Intake
from assets.intake.quality import Finding
from assets.intake.quality_report.report import ALL_EXTRACTS
from ndl_export.pages.number_format import format_count
from privacy.doors import clock
from privacy.doors.counts import describe_count, describe_rows, describe_share
from privacy.keys import INTAKE
from sources.contracts import CONTRACTS, SourceContract, extract_rules, people
from sources.errors import ExtractStopped
from sources.extract.landing import Landed, find, list_councils
from sources.reference.code_lists import IMD_EDITION, IMD_INDEX
from sources.reference.cohorts import Cohort
from sources.reference.published_figures import find_published_rows

GROUP = "intake"
LANDING = "landing"
RESTRICTED = "restricted"
_SENTENCES_SHOWN = 3
"""Number of stopped extracts named in a run's error, to keep it short; the run's log names all of them."""
QUALITY, ROWS, SIZE, VALUES, FILLED = "quality", "rows", "size", "values", "filled"
FAMILIES = {
    QUALITY: "The newest delivery of the council was taken, not stopped",
    ROWS: "No row was set aside",
    SIZE: "The number of rows is near that of the last delivery and the expected one; else a release may be held",
    VALUES: "Great Expectations over the payload: every rule of the contract that it can be judged by",
    FILLED: "Columns are as full as they should be",
}
ALL_COUNCILS = "every_council"
"""Name of the check over all councils. One council's good delivery cannot turn it green while another is stopped."""
_OF_SIZE = {extract_rules.FAR_FROM_EXPECTED.id, extract_rules.FAR_FROM_LAST.id}

Number = float | int | str


@dataclass(frozen=True)
class Outcome:
    """Outcome of one family of rules for one extract. `numbers` must be safe to log."""

    family: str
    passed: bool
    sentence: str
    numbers: dict[str, Number] = field(default_factory=dict)


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
            f"{contract.heading}, one row per {contract.row_per}, as sent to `landing/<council>/{contract.name}/`."
            " Identifiable; only intake reads it. Fresh if every participating council sent it for one cohort in the"
            f" {runs.WINDOW.days} days before its yearly due date."
        ),
        kinds={"csv"},
        owners=["team:councils"],
        tags={"zone": LANDING},
        metadata=descriptions.describe_landed(contract),
        freshness_policy=runs.build_due_freshness(contract),
    )


def _build_pseudonymised_spec(contract: SourceContract) -> dg.AssetSpec:
    landing = dg.AssetKey([LANDING, contract.name])
    return dg.AssetSpec(
        EXTRACTS[contract.name],
        deps=[landing, postcode_directory.key],
        partitions_def=runs.COUNCIL_COHORTS,
        skippable=True,
        group_name=GROUP,
        kinds={"duckdb", "parquet", "greatexpectations"},
        owners=["team:data-engineering"],
        tags={"zone": RESTRICTED},
        metadata=descriptions.describe_pseudonymised(contract, landing, postcode_directory.key),
        description=(
            f"{contract.heading} without identifiers, made in one streaming pass: payload by row key, tokens in a"
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
                dg.AssetCheckSpec(name, asset=key, description=description, partitions_def=runs.COUNCIL_COHORTS)
                for name, description in FAMILIES.items()
            ),
            dg.AssetCheckSpec(
                ALL_COUNCILS,
                asset=key,
                description="No council's latest delivery was stopped or is holding a release",
            ),
        )
    ],
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=True,
)
@runs.redact_errors
def pseudonymised_extracts(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.AssetCheckResult]:
    home, keys = installation.home_folder, runs.list_partition_keys(context)
    partitions = list(map(runs.parse_partition_key, keys))
    sources = [source for source, key in EXTRACTS.items() if key in context.selected_asset_keys]
    cohorts = {cohort for _, cohort in partitions}
    with home_lock.block_removals(home), home_lock.lock_senders(home, partitions):
        stopped = _ingest_all(context, installation, sources, keys)
    for source in sources:
        for cohort in cohorts:
            # freshness is judged by the landing asset, so it is materialised only when all councils have delivered
            if all(
                deliveries.read_current(home.get_extract(source, cohort, council))
                for council in list_councils(installation.landing)
            ):
                whole = descriptions.check_metadata({"cohort": cohort})
                context.log_event(dg.AssetMaterialization(dg.AssetKey([LANDING, source]), metadata=whole))
        waiting = list_waiting(home, source, cohorts)
        yield dg.AssetCheckResult(
            check_name=ALL_COUNCILS,
            asset_key=EXTRACTS[source],
            passed=not waiting,
            severity=dg.AssetCheckSeverity.WARN,
            description=_join_first(waiting) if waiting else "no latest delivery is stopped or in doubt",
        )
    if stopped:  # last, so that the other extracts are ingested and all checks reported
        raise ExtractsStopped(_join_first(stopped))


def _ingest_all(
    context: dg.AssetExecutionContext, installation: Installation, sources: Sequence[str], partitions: Sequence[str]
) -> list[str]:
    """Ingest each partition's extracts, log their check results, and return a sentence for each stopped extract."""
    stopped: list[str] = []
    intake = Intake(installation.landing, installation.home_folder, installation.load_keys(INTAKE))
    landed: list[Landed] = []
    cohorts = {runs.parse_partition_key(partition)[1] for partition in partitions}
    for cohort in cohorts:  # before any file is read
        retention_policy.check_may_be_held(Cohort(cohort), clock.today())
    for source, partition in product(sources, partitions):
        council, cohort = runs.parse_partition_key(partition)
        try:
            found = find(installation.landing, council, source, cohort)
        except ExtractStopped as stop:
            intake.refuse(council, source, cohort, stop)
            stopped.append(_report_stopped(context, source, partition, stop))
        else:
            landed += [found] if found else []
    accepted: list[ExtractQuality] = []
    outcomes = count_done(intake.ingest_all(landed), len(landed), "extracts")
    for extract, outcome in zip(landed, outcomes, strict=True):
        partition = runs.build_partition_key(extract.council, extract.cohort)
        if isinstance(outcome, ExtractStopped):
            stopped.append(_report_stopped(context, extract.source, partition, outcome))
        elif outcome:
            _report_accepted(context, installation.home_folder, partition, outcome)
            accepted.append(outcome)
    for line in iter_progress_lines(installation.home_folder, cohorts, accepted, bool(stopped)):
        context.log.info(line)
    for sentence in intake.not_read:
        context.log.error(sentence)
    return stopped


def _report_stopped(context: dg.AssetExecutionContext, source: str, partition: str, stopped: ExtractStopped) -> str:
    context.log.error(str(stopped))
    _log_outcome(context, EXTRACTS[source], partition, Outcome(QUALITY, False, str(stopped)))
    return str(stopped)


def _report_accepted(context: dg.AssetExecutionContext, home: Home, partition: str, quality: ExtractQuality) -> None:
    key = EXTRACTS[quality.source]
    report = home.get_cohort(quality.cohort).get_reports_folder(quality.council) / f"{quality.source}.html"
    metadata = descriptions.check_metadata(_build_metadata(quality) | {"report": dg.MetadataValue.path(report)})
    tags = runs.tag_versions(deliveries.hash_inputs(quality), quality.made_under["contract"])
    context.log_event(
        dg.AssetMaterialization(key, _describe_quality(quality), metadata=metadata, partition=partition, tags=tags)
    )
    for outcome in iter_outcomes(quality):
        _log_outcome(context, key, partition, outcome)


def _log_outcome(context: dg.AssetExecutionContext, key: dg.AssetKey, partition: str, outcome: Outcome) -> None:
    is_stopped = outcome.family == QUALITY and not outcome.passed
    evaluation = dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=outcome.family,
        passed=outcome.passed,
        # if the extract was taken, a warning: the linkage decides whether a broken rule holds a release
        severity=dg.AssetCheckSeverity.ERROR if is_stopped else dg.AssetCheckSeverity.WARN,
        description=outcome.sentence,
        metadata=descriptions.check_metadata(outcome.numbers),
        partition=partition,
    )
    context.log_event(evaluation)


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


def iter_outcomes(quality: ExtractQuality) -> Iterator[Outcome]:
    """Yield the outcome of each family of rules for an accepted extract."""
    yield Outcome(QUALITY, True, "the extract was taken", {"rows_read": describe_count(quality.rows_read)})
    yield Outcome(
        ROWS,
        not quality.rows_rejected,
        f"{describe_rows(quality.rows_rejected)} set aside" if quality.rows_rejected else "every row was kept",
        {
            "rows_rejected": describe_count(quality.rows_rejected),
            "share_rejected": _round_share(quality.rows_rejected, quality.rows_read, 2),
            "share_warned": _round_share(quality.rows_warned, quality.rows_kept, 2),
        },
    )
    yield _build_size_outcome(quality)
    thin = [finding for finding in quality.findings if finding.rule.endswith("-thin")]
    of_size = [finding for finding in quality.findings if finding.rule in _OF_SIZE]
    values = [finding for finding in quality.findings if finding not in thin and finding not in of_size]
    yield _build_findings_outcome(VALUES, values, "every rule holds")
    filled = [column.filled for column in quality.profile.columns.values()]
    least: dict[str, Number] = {"least_filled": _round_share(min(filled), quality.profile.rows, 1)} if filled else {}
    yield _build_findings_outcome(FILLED, thin, "every column is as full as it should be", least)


def list_waiting(home: Home, source: str, cohorts: Iterable[str]) -> list[str]:
    """Return the extracts of a source that may block a release.

    `wirral/202425 stopped` is a latest delivery that was stopped, in any cohort. `wirral/202425 in doubt` is an extract
    of these cohorts that breaks a rule that can hold a release; linkage decides whether it does.
    """
    stopped: list[Path] = sorted(home.restricted.glob(f"stopped/source={source}/cohort=*/*.json"))
    found = [f"{path.stem}/{path.parent.name.removeprefix('cohort=')} stopped" for path in stopped]
    for cohort in sorted(cohorts):
        taken = sorted(home.get_extract(source, cohort, "any").quality.parent.glob("*.json"))
        found += [
            f"{path.stem}/{cohort} in doubt" for path in taken if (quality := deliveries.read(path)) and quality.holds
        ]
    return found


def _build_size_outcome(quality: ExtractQuality) -> Outcome:
    kept = quality.rows_kept
    shares = {
        "rows_of_expected": extract_rules.compute_share(kept, quality.rows_expected),
        "rows_of_last": extract_rules.compute_share(kept, quality.rows_last),
    }
    known = {name: share for name, share in shares.items() if share is not None}
    words = [f"{describe_share(share)} {name.removeprefix('rows_').replace('_', ' ')}" for name, share in known.items()]
    # in the steps of `describe_share`, so that the number says no more than the words
    numbers: dict[str, Number] = {name: round(share * 10) / 10 for name, share in known.items()}
    if quality.rows_expected:
        # an operator's number may be close to the row count, so only a published one is exact
        is_public = quality.rows_expected == find_published_rows(quality.source, quality.council)
        numbers["expected_rows"] = quality.rows_expected if is_public else describe_count(quality.rows_expected)
    is_near = not _OF_SIZE & {finding.rule for finding in quality.holds}
    return Outcome(SIZE, is_near, ", ".join(words) or "nothing to compare it with", numbers)


def _build_findings_outcome(
    family: str, findings: list[Finding], good: str, more: Mapping[str, Number] | None = None
) -> Outcome:
    broken = [finding.sentence.removesuffix(".") for finding in findings if not finding.passed]
    numbers = {"rules": len(findings), "rules_broken": len(broken), **(more or {})}
    return Outcome(family, not broken, ", ".join(broken) or good, numbers)


def _round_share(part: int, whole: int, digits: int) -> float:
    return round(part / whole, digits) if whole else 0.0


def iter_progress_lines(
    home: Home, cohorts: Iterable[str], taken: Sequence[ExtractQuality], any_stopped: bool
) -> Iterator[str]:
    """Yield lines about the accepted extracts of these cohorts, and the location of new reports."""
    new = [quality for quality in taken if not quality.unchanged]
    wrong = {quality.key: found for quality in new if (found := _list_problems(quality))}
    if sound := [quality for quality in new if quality.key not in wrong]:
        councils = len({quality.council for quality in sound})
        yield f"{format_count(len(sound), 'extract')} of {format_count(councils, 'council')} read, every row kept"
    for quality in new:
        if quality.key in wrong:
            name = f"{quality.council}/{quality.source}/{quality.file}"
            yield f"{name}: {describe_rows(quality.rows_read)} read; {'; '.join(wrong[quality.key])}"
    if unchanged := len(taken) - len(new):
        yield f"{format_count(unchanged, 'extract')} unchanged since {'it was' if unchanged == 1 else 'they were'} read"
    if new or any_stopped:
        folders = (home.get_cohort(cohort).get_reports_folder("<council>") for cohort in sorted(cohorts))
        yield from (f"Reports to send back: {folder / ALL_EXTRACTS}.html" for folder in folders)


def _list_problems(quality: ExtractQuality) -> list[str]:
    """Return the reasons why an extract gets its own line in the log; empty if it is sound."""
    found, size = [other.looks_like for other in quality.other_origins], _build_size_outcome(quality)
    found += [] if size.passed else [f"number of rows: {size.sentence}"]
    of_many = {rule.id for rule in people.OF_MANY.values()}
    found += [f"{rule.columns[0]} shared by many children" for rule in quality.rules if rule.rule in of_many]
    if quality.rows_rejected:
        found.append(f"{describe_rows(quality.rows_rejected)} set aside")
    return found
