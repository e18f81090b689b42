"""Builds the JSON-ready facts of the report about one extract.

Shares are from 0 to 1. Their denominator is the rows read for rules, the rows kept for completeness, and the filled
rows for values.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from assets.intake.deliveries import ExtractQuality, FromParts, StoppedExtract
from assets.intake.quality_report import compare
from assets.intake.quality_report.profile import AFTER, BEFORE, ColumnProfile, Share, compute_bin_edges
from assets.pseudonymise.findings import RuleCount
from ndl_export.pages.number_format import capital, month, percent, points, row_ranges, rows
from privacy.normalise import VALID
from privacy.row_keys import split_number
from sources.contracts import CONTRACTS, Kind, Role, Severity, SourceContract
from sources.contracts.extract_rules import (
    FAR_FROM_EXPECTED,
    FAR_FROM_LAST,
    MANY_ROWS,
    NUMBER_OF_MANY,
    ROW_COUNT_RULES,
    ROWS_ONCE,
)
from sources.contracts.people import BORN_IN_ANOTHER_COHORT, BORN_OUTSIDE_COHORT, IMD_QUINTILE
from sources.councils.dialect import Parts
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place
from sources.reference.published_figures import SOURCES_OF_CHILDREN

TAKEN, TAKEN_IN_PART, STOPPED = "taken", "taken with rows set aside", "stopped"
FALL = 0.05
"""Fall in a column's filled share since the last delivery that is worth a look (5 percentage points)."""

MUCH = 0.1
"""Share of rows with a repeat or a misformed date of birth above which the report says that the whole file is wrong.
Ordinary system or typing errors affect one or two rows in a hundred."""
_MISDATED = "date_of_birth-invalid"

SEVERITIES = (Severity.STOP, Severity.REJECT, Severity.WARN)
_HOW = {
    Parts.CUMULATIVE: "Each file holds everything up to its day, so only the latest counts.",
    Parts.INCREMENTAL: "Each file holds what is new or corrected.",
    Parts.CHANGES: "Each file holds what is new, corrected or deleted.",
}
_DERIVED_LABELS = {IMD_QUINTILE.name: {"1": "1 (most deprived)", "5": "5 (least deprived)"}}
_CHECKS = {
    ROWS_ONCE.id: "Every row of the file was taken once",
    "codes": "Values are within their code list",
    "range": "Numbers are within their range",
    "filled": "Columns that must be filled are",
    "thin": "Columns are as full as they should be",
    **{rule.id: "The numbers of rows are as expected" for rule in ROW_COUNT_RULES},
    NUMBER_OF_MANY.id: "Each number is one child's",
}
"""Sentence for a passed check, by rule id or by the suffix of a column's rule."""
_ACROSS_COLUMNS = "Values of several columns agree with each other"


def build_extract_report(now: ExtractQuality, last: ExtractQuality | None, sent_again: str = "") -> dict[str, Any]:
    """Return the facts of the report on an accepted extract.

    `last` is the previous delivery. `sent_again` is the time the same file was delivered again, or empty.
    """
    contract = CONTRACTS[now.source]
    cohort, area = Cohort(now.cohort), get_place(now.council)
    # rules that `_iter_whole_file_warnings` already covers
    years = {BORN_OUTSIDE_COHORT.id, BORN_IN_ANOTHER_COHORT.id} if any(e.is_year for e in now.other_origins) else set()
    covered = years | {rule.rule for rule in _list_excessive_rules(now)} | {finding.rule for finding in now.holds}
    rules = sorted(now.rules, key=lambda rule: (SEVERITIES.index(Severity(rule.severity)), -rule.rows, rule.rule))
    completeness = list(_iter_completeness(contract, now, last))
    values = list(_iter_values(contract, now, last))
    figures = compare.compare_with_published(contract, area, cohort, now.profile, last.profile if last else None)
    size = compare.compare_number_of_children(contract, area, cohort, now.rows_kept)
    names = (finding.rule.removeprefix(f"{finding.column}-") for finding in now.findings if finding.passed)
    passed = Counter(_CHECKS.get(name, _ACROSS_COLUMNS) for name in names)
    return {
        "report": "extract",
        "outcome": TAKEN_IN_PART if now.rows_rejected else TAKEN,
        **_identify_extract(now.council, now.source, now.cohort, now.file),
        "taken_at": now.taken_at,
        "rows_read": now.rows_read,
        "rows_kept": now.rows_kept,
        "rows_rejected": now.rows_rejected,
        "rows_warned": now.rows_warned,
        "last": _summarise_last(last),
        "parts": _build_parts(now.parts),
        "sheet": asdict(now.sheet) if now.sheet else None,
        "sent_again": sent_again,
        "held": list(_iter_hold_phrases(now)),
        "whole_file": list(_iter_whole_file_warnings(now, last)),
        "findings": [_build_finding(rule, now) | {"told_of_the_whole": rule.rule in covered} for rule in rules],
        "failed_checks": [
            {
                "sentence": finding.sentence,
                "severity": finding.severity,
                "column": finding.column,
                "heading": finding.column and now.headings.get(finding.column, finding.column),
                "rows": finding.unexpected_rows,
            }
            for finding in now.findings
            if not finding.passed and finding.rule not in covered | {rule.rule for rule in now.rules}
        ],
        "passed_checks": [{"check": check, "times": times} for check, times in passed.items()],
        "worth_a_look": list(_iter_worth_a_look(now, last, size, completeness, values, figures)),
        "identifiers": _build_identifiers(contract, now),
        "completeness": completeness,
        "number_of_children": size,
        "figures": figures,
        "values": values,
        "rule_for_a_look": compare.RULE,
    }


def _iter_hold_phrases(now: ExtractQuality) -> Iterator[str]:
    """Yield a phrase such as `1,954 of about 3,209 children` for each rule that can hold a release."""
    kept, unit = now.rows_kept, "children" if now.source in SOURCES_OF_CHILDREN else "rows"
    known = {
        FAR_FROM_EXPECTED.id: (now.rows_expected, f"{unit} expected", f"of about {{:,}} {unit}"),
        FAR_FROM_LAST.id: (now.rows_last, "last time", "of about {:,} rows last time"),
    }
    broken = {finding.rule for finding in now.holds}
    for rule, (reference, against, of) in known.items():
        if rule in broken and reference:
            fewer = f"{kept:,} {of.format(reference)}"
            yield fewer if kept < reference else f"{kept:,} rows, against about {reference:,} {against}"
    if NUMBER_OF_MANY.id in broken:
        yield NUMBER_OF_MANY.sentence.removesuffix(".")


def _iter_whole_file_warnings(now: ExtractQuality, last: ExtractQuality | None) -> Iterator[str]:
    """Yield sentences, with counts, on signs that the whole file is wrong. They come first in the report."""
    yield from (other.for_sender for other in now.other_origins)
    for rule in _list_excessive_rules(now):
        named = f"{rule.rows:,} of {now.rows_read:,} rows"
        if rule.rule == _MISDATED:
            yield f"{named}: {rule.sentence} If a file mixes date formats, other dates may be read as the wrong day."
        else:
            yield f"{named} repeat an earlier row: was the file put together twice?"
    if last and last.file_mac == now.file_mac:
        yield f"This is the file that you sent for {Cohort(last.cohort).label}, unchanged."
    elif (
        last
        and last.cohort == now.cohort
        and all(getattr(last, what) == getattr(now, what) for what in ("rows_read", "rows_kept", "profile", "rules"))
    ):
        yield "Every count in it is as in your last delivery: is it the newer file?"


def _list_excessive_rules(now: ExtractQuality) -> list[RuleCount]:
    """Return rules that do not stop the file, but are broken in so many rows that the whole file is wrong."""
    least = max(MUCH * now.rows_read, MANY_ROWS)
    return [
        rule for rule in now.rules if rule.rule in (CONTRACTS[now.source].repeated.id, _MISDATED) and rule.rows > least
    ]


def build_stopped_report(stopped: StoppedExtract, last: ExtractQuality | None) -> dict[str, Any]:
    """Return the facts of the report on a stopped extract. `last` is the one that stays in place."""
    file, _, why = stopped.for_sender.partition(": ")
    # without the file's path, because the page names the file
    reason = capital(why) if file.startswith(f"{stopped.council}/") and why else stopped.for_sender
    return {
        "report": "extract",
        "outcome": STOPPED,
        **_identify_extract(stopped.council, stopped.source, stopped.cohort, stopped.file),
        "taken_at": stopped.stopped_at,
        "held": [],
        "whole_file": [],
        "sentence": f"{reason.removesuffix('.')}.",
        "headings": asdict(stopped.headings) if stopped.headings else None,
        "last": _summarise_last(last),
    }


def _identify_extract(council: str, source: str, cohort: str, file: str) -> dict[str, str]:
    return {
        "council": council,
        "council_name": get_place(council).la_name,
        "source": source,
        "source_title": CONTRACTS[source].title,
        "row_per": CONTRACTS[source].row_per,
        "cohort": cohort,
        "cohort_label": Cohort(cohort).label,
        "file": file,
    }


def _summarise_last(last: ExtractQuality | None) -> dict[str, Any] | None:
    if last is None:
        return None
    same = ("file", "taken_at", "rows_read", "rows_kept", "rows_rejected")
    return {"cohort_label": Cohort(last.cohort).label, **{name: getattr(last, name) for name in same}}


def _build_finding(rule: RuleCount, now: ExtractQuality) -> dict[str, Any]:
    return {
        "rule": rule.rule,
        "severity": str(rule.severity),
        "sentence": rule.sentence,
        "columns": [{"column": column, "heading": now.headings.get(column, column)} for column in rule.columns],
        "rows": rule.rows,
        "share": rule.rows / max(now.rows_read, 1),
        "row_numbers": _format_row_places(rule.first_rows, now),
        "more_rows": rule.rows - len(rule.first_rows),
    }


def _format_row_places(numbers: Sequence[int], now: ExtractQuality) -> str:
    """Return `3-7, 12`, or for parts `3-7 of part 1; 12 of part 2`. For workbooks, these are the sheet's numbers."""
    sheets = {part.number: part.sheet for part in now.parts.parts} if now.parts else {0: now.sheet}
    by_part: dict[int, list[int]] = {}
    for part, row in map(split_number, numbers):
        by_part.setdefault(part, []).append(sheet.get_row(row) if (sheet := sheets.get(part)) else row)
    of = ((f" of part {part}" if part else "", row_ranges(rows)) for part, rows in sorted(by_part.items()))
    return "; ".join(ranges + named for named, ranges in of)


def _build_parts(parts: FromParts | None) -> dict[str, Any] | None:
    if parts is None:
        return None
    source = "We see this from the files." if parts.seen else "Your council file says so."
    files = []
    for part in parts.parts:
        numbers = (part.sheet.get_row(row) if part.sheet else row for row in part.first_of_no_cohort)
        files.append(asdict(part) | {"of_no_cohort_numbers": row_ranges(numbers)})
    return {"how": f"{_HOW[Parts(parts.how)]} {source}", "order": parts.order, "files": files}


def _build_identifiers(contract: SourceContract, now: ExtractQuality) -> list[dict[str, Any]]:
    """Return, for each identifier, the number of rows with a blank and with an invalid value; None if not checked."""
    found = {rule.rule: rule.rows for rule in now.rules}
    # a rule can detect invalid values of columns with a form
    columns = [(c, c.kind is not Kind.TEXT or c.name in VALID) for c in contract.with_role(Role.IDENTIFIER)]
    return [
        {
            **_name_column(contract, column.name, now.headings),
            "blank_rows": found.get(f"{column.name}-blank", 0) if column.blank else None,
            "invalid_rows": found.get(f"{column.name}-invalid", 0) if has_a_form else None,
        }
        for column, has_a_form in columns
        if column.blank or has_a_form
    ]


def _iter_completeness(
    contract: SourceContract, now: ExtractQuality, last: ExtractQuality | None
) -> Iterator[dict[str, Any]]:
    before = last.profile.columns if last else {}
    for name, column in now.profile.columns.items():
        share = column.filled / now.profile.rows if now.profile.rows else None
        earlier = before.get(name)
        last_share = earlier.filled / last.profile.rows if last and earlier and last.profile.rows else None
        named = _name_column(contract, name, now.headings)
        note = None
        if share is not None and last_share is not None and last_share - share > FALL:
            note = f"{named['heading']} is filled in {percent(share)} of rows."
            note += f" In the last delivery it was filled in {percent(last_share)}."
        yield {**named, "filled": column.filled, "share": share, "last_share": last_share, "note": note}


def _name_column(contract: SourceContract, column: str, headings: Mapping[str, str]) -> dict[str, str]:
    """Return a column's name in the contract, heading in the file, and description."""
    derived = {each.name: each for each in contract.derived}.get(column)
    heading = derived.heading if derived else headings.get(column, column)
    return {"column": column, "heading": heading, "description": (derived or contract[column]).description}


def _iter_values(
    contract: SourceContract, now: ExtractQuality, last: ExtractQuality | None
) -> Iterator[dict[str, Any]]:
    same_cohort = last is not None and last.cohort == now.cohort
    for name, column in now.profile.columns.items():
        if not column.groups:
            continue
        kind = contract[name].kind if name in contract else Kind.CODE
        # dates in another cohort are about a year apart
        comparable = last is not None and (same_cohort or kind is not Kind.DATE)
        earlier = last.profile.columns.get(name) if last and comparable else None
        yield {
            **_name_column(contract, name, now.headings),
            "kind": str(Kind.CODE if kind is Kind.TEXT else kind),
            "filled": column.filled,
            "last_filled": earlier.filled if earlier else None,
            "edges": list(compute_bin_edges(contract[name])) if kind in (Kind.INTEGER, Kind.DECIMAL) else None,
            "groups": _build_groups(_group_by_label(contract, name, column), _group_by_label(contract, name, earlier)),
        }


def _build_groups(now: Mapping[str, Share], last: Mapping[str, Share]) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "rows": share.rows,
            "share": share.value,
            "last_share": last[label].value if label in last else None,
            "changed": label in last and compare.has_changed(share, last[label]),
        }
        for label, share in now.items()
    ]


def _group_by_label(contract: SourceContract, name: str, column: ColumnProfile | None) -> dict[str, Share]:
    """Return the share of each group by its label in the report. Codes with the same label are added up."""
    if column is None:
        return {}
    counts: Counter[str] = Counter()
    for count, label in zip(column.groups.values(), _label_groups(contract, name, list(column.groups)), strict=True):
        counts[label] += count
    return {label: Share(count, column.filled) for label, count in counts.items()}


def _label_groups(contract: SourceContract, name: str, keys: list[str]) -> list[str]:
    if name not in contract:
        return [_DERIVED_LABELS.get(name, {}).get(key, key) for key in keys]
    described = contract[name]
    match described.kind:
        case Kind.CODE:
            codes = described.codes or {}  # those with the same meaning share a label, as in `Yes (Y, 1)`
            together = {label: ", ".join(code for code in codes if codes[code] == label) for label in codes.values()}
            return [f"{label} ({together[label]})" for label in codes.values()]
        case Kind.DATE:
            inner = keys[1:-1]
            outside = {BEFORE: f"Before {month(inner[0])}", AFTER: f"After {month(inner[-1])}"}
            return [outside.get(key) or month(key) for key in keys]
        case Kind.INTEGER | Kind.DECIMAL:
            *lower, end = ends = compute_bin_edges(described)
            labels = [f"{low:g} to under {high:g}" for low, high in zip(lower[:-1], ends[1:], strict=False)]
            return [*labels, f"{lower[-1]:g} to {end:g}"]
        case Kind.TEXT:
            return keys


def _iter_worth_a_look(
    now: ExtractQuality,
    last: ExtractQuality | None,
    size: dict[str, Any] | None,
    completeness: Iterable[dict[str, Any]],
    values: Iterable[dict[str, Any]],
    figures: Sequence[dict[str, Any]],
) -> Iterator[str]:
    """Yield sentences on numbers of rows, filled columns, values and measures that have changed or are unusual."""
    if last and abs(now.rows_read - last.rows_read) > compare.SIZE_LAST * last.rows_read:
        yield f"The file has {rows(now.rows_read)}. The last delivery had {last.rows_read:,}."
    if size and size["worth_a_look"]:
        yield (
            f"We kept {rows(size['rows'])}. The published number of children in {size['area']} for {size['cohort']} is"
            f" {size['published']:,}, so the file has {percent(size['share'])} of that number."
        )
    yield from (entry["note"] for entry in completeness if entry["note"])
    was = "In the last delivery it was"
    for column in values:
        if changed := [group for group in column["groups"] if group["changed"]]:
            # rounded, so that floating-point error does not break ties
            group = max(changed, key=lambda each: round(abs(each["share"] - each["last_share"]), 9))
            share, last_share = percent(group["share"]), percent(group["last_share"])
            yield f"{column['heading']}: {group['label']} is {share} of filled rows. {was} {last_share}."
    for figure in figures:
        if figure["changed"] and figure["topic"] in compare.MEASURE_TOPICS.values():
            yield f"{figure['label']}: {percent(figure['share'])}. {was} {percent(figure['last_share'])}."
    yield from _iter_departures(figures)


def _iter_departures(figures: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each measure that departs from its published figure, and at most one for each breakdown."""
    for topic, group in groupby(figures, key=lambda figure: figure["topic"]):
        departing = [figure for figure in group if figure["departs"]]
        departing.sort(key=lambda figure: -abs(figure["share"] - figure["published_share"]))
        for figure in departing if topic in compare.MEASURE_TOPICS.values() else departing[:1]:
            more = figure["share"] > figure["published_share"]
            yield (
                f"{figure['label']}: {percent(figure['share'])} in your file. Published for {figure['published_area']},"
                f" {figure['published_cohort']}: {percent(figure['published_share'])}. Yours is"
                f" {points(abs(figure['share'] - figure['published_share']))} points {'higher' if more else 'lower'}."
            )
