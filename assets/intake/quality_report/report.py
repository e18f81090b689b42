"""Quality reports for the sender: one for each extract, and one for all extracts of a council and cohort.

Each is a JSON file of facts and a page that shows them. Shares are from 0 to 1. Their denominator is the rows read for
rules, the rows kept for completeness, and the filled rows for values.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from assets.home.paths import CohortStore, Home
from assets.intake.deliveries import ExtractQuality, FromParts, StoppedExtract
from assets.intake.quality_report import compare
from assets.intake.quality_report.compare import Facts
from assets.pseudonymise.findings import RuleCount
from ndl_export.pages import charts, kit
from ndl_export.pages.number_format import capitalise, format_row_ranges, format_rows, join_words
from privacy.doors import files
from privacy.normalise import VALID
from privacy.row_keys import split_number
from sources.contracts import CONTRACTS, Kind, Role, Severity, extract_rules
from sources.contracts.people import BORN_IN_ANOTHER_COHORT, BORN_OUTSIDE_COHORT
from sources.councils.dialect import Parts
from sources.extract.table import FORMULAS_NOT_CHECKED
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place
from sources.reference.published_figures import PUBLISHED_BY, SOURCES_OF_CHILDREN

FIRST_TO_FIX = 10
"""Number of rules named at the top of the page. The tables below list all of them."""
TOGETHER = 3
"""Smallest number of consecutive columns with the same codes that share one table."""
_NAMED_COLUMNS = 4
"""Most columns of a rule that are listed by name; more are shown as a range."""
_LONGEST_NUMBERS = 60
"""Most characters of row numbers shown at the top of the page."""
_TEMPLATES = Path(__file__).parent / "templates"
ALL_EXTRACTS = "council"
"""Name of the page about all extracts of a council and cohort."""
TAKEN, TAKEN_IN_PART, STOPPED = "taken", "taken with rows set aside", "stopped"

MUCH = 0.1
"""Share of repeated rows or malformed dates of birth above which the report says that the whole file is wrong.
Ordinary system or typing errors affect one or two rows in a hundred."""
_MISDATED = "date_of_birth-invalid"

SEVERITIES = (Severity.STOP, Severity.REJECT, Severity.WARN)
_HOW = {
    Parts.CUMULATIVE: "Each file holds everything up to its day, so only the latest counts.",
    Parts.INCREMENTAL: "Each file holds what is new or corrected.",
    Parts.CHANGES: "Each file holds what is new, corrected or deleted.",
}
_CHECKS = {
    extract_rules.ROWS_ONCE.id: "Every row of the file was taken once",
    "codes": "Values are within their code list",
    "range": "Numbers are within their range",
    "filled": "Columns that must be filled are",
    "thin": "Columns are as full as they should be",
    **{rule.id: "The numbers of rows are as expected" for rule in extract_rules.ROW_COUNT_RULES},
    extract_rules.NUMBER_OF_MANY.id: "Each number is one child's",
}
"""Sentence for a passed check, by rule id or by the suffix of a column's rule."""
_ACROSS_COLUMNS = "Values of several columns agree with each other"


def report_extract(
    home: Home, outcome: ExtractQuality | StoppedExtract, last: ExtractQuality | None, sent_again: str = ""
) -> None:
    """Write the report of a delivery. `report_council` gathers the reports of a council.

    `last` is the previous delivery; for a stopped delivery, the one that stays in place. `sent_again` is the time the
    same file was delivered again, or empty.
    """
    folder = home.get_cohort(outcome.cohort).get_reports_folder(outcome.council)
    if isinstance(outcome, StoppedExtract):
        report = build_stopped_report(outcome, last)
    else:
        report = build_extract_report(outcome, last, sent_again)
    pages = _build_pages(folder, outcome.source, report, render(report))
    if isinstance(outcome, ExtractQuality):
        # results of expectations, named as in the suite's file, without values of rows
        expectations = {
            **{key: getattr(outcome, key) for key in ("source", "council", "cohort", "file_mac", "taken_at")},
            "success": all(finding.passed for finding in outcome.findings),
            "results": [asdict(finding) for finding in outcome.findings],
        }
        # written last: `has_report` takes it as proof that the report is complete
        pages[folder / f"{outcome.source}.expectations.json"] = files.encode_json(expectations)
    files.write_all(pages)


def has_report(home: Home, quality: ExtractQuality) -> bool:
    """Return whether the report of a delivery is complete, judging by the expectations file, which is written last."""
    folder = home.get_cohort(quality.cohort).get_reports_folder(quality.council)
    page, expectations = (folder / f"{quality.source}.{what}" for what in ("html", "expectations.json"))
    if not (page.exists() and expectations.exists()):
        return False
    written = json.loads(expectations.read_bytes())
    return (written["file_mac"], written["taken_at"]) == (quality.file_mac, quality.taken_at)


def report_council(store: CohortStore, council: str) -> None:
    """Write a council's report if one of its extracts' reports is newer."""
    if has_council_report(store, council):
        return
    folder = store.get_reports_folder(council)
    reports = [
        json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) for path in _list_extract_pages(folder)
    ]
    report = build_council_report(reports)
    files.write_all(_build_pages(folder, ALL_EXTRACTS, report, render_council(report)))


def has_council_report(store: CohortStore, council: str) -> bool:
    """Return whether a council's report is newer than the reports of all its extracts."""
    folder = store.get_reports_folder(council)
    # gathered from files, because a run may have read only some of the council's extracts
    gathered, own = folder / f"{ALL_EXTRACTS}.html", _list_extract_pages(folder)
    newest = max((path.stat().st_mtime_ns for path in own), default=0)
    return not own or (gathered.exists() and gathered.stat().st_mtime_ns > newest)


def _list_extract_pages(folder: Path) -> list[Path]:
    return [path for source in CONTRACTS if (path := folder / f"{source}.html").exists()]


def _build_pages(folder: Path, name: str, report: Facts, page: str) -> dict[Path, bytes]:
    return {folder / f"{name}.json": files.encode_json(report), folder / f"{name}.html": page.encode()}


def build_council_report(reports: Sequence[Facts]) -> Facts:
    """Gather the extract reports of one council and cohort."""
    by_source = {report["source"]: report for report in reports}
    ordered = [by_source[source] for source in CONTRACTS if source in by_source]
    first = ordered[0]
    return {
        "report": "council",
        **{key: first[key] for key in ("council", "council_name", "cohort", "cohort_label")},
        "extracts": list(map(_summarise_report, ordered)),
        "not_received": [contract.heading for source, contract in CONTRACTS.items() if source not in by_source],
        "findings": sorted(
            _gather_entries(ordered, "findings"),
            key=lambda rule: (SEVERITIES.index(Severity(rule["severity"])), -rule["share"], rule["rule"]),
        ),
        "failed_checks": _gather_entries(ordered, "failed_checks"),
        "worth_a_look": [
            {"source_title": report["source_title"], "sentence": sentence}
            for report in ordered
            for sentence in report.get("worth_a_look", ())
        ],
    }


def _summarise_report(report: Facts) -> Facts:
    # lists are gathered from all extracts, or shown only on the page of the extract
    repeated = (key for key, value in report.items() if key in ("held", "whole_file") or not isinstance(value, list))
    line = {key: report[key] for key in repeated}
    filled = [entry for entry in report.get("completeness", ()) if entry["share"] is not None]
    thinnest = min(filled, key=lambda entry: entry["share"], default=None)
    line |= {"thinnest": thinnest and {key: thinnest[key] for key in ("column", "heading", "share")}}
    return line | {"needs_you": report["outcome"] == STOPPED or bool(report["held"] or report["whole_file"])}


def _gather_entries(reports: list[Facts], key: str) -> list[Facts]:
    return [
        {"source": report["source"], "source_title": report["source_title"], **entry}
        for report in reports
        if report["outcome"] != STOPPED
        for entry in report[key]
    ]


def render(report: Facts) -> str:
    """Render the report page of an extract, accepted or stopped."""
    if report["outcome"] == STOPPED:
        return kit.render(_TEMPLATES, "stopped.html.j2", report=report)
    sheets = [report["sheet"], *(part["sheet"] for part in (report["parts"] or {"files": []})["files"])]
    return kit.render(
        _TEMPLATES,
        "extract.html.j2",
        report=report,
        warns_of_formulas=any(sheet and not sheet["formulas_checked"] for sheet in sheets),
        formulas_not_checked=FORMULAS_NOT_CHECKED,
        fix=_select_fixes(report),
        values=list(_group_by_display(report["values"])),
        published_by=PUBLISHED_BY,
    )


def render_council(report: Facts) -> str:
    """Render the report page of a council."""
    look = [f"{entry['source_title']}: {entry['sentence']}" for entry in report["worth_a_look"]]
    return kit.render(_TEMPLATES, "council.html.j2", report=report, fix=_select_fixes(report), look=look)


def _select_fixes(report: Facts) -> Facts:
    """Return the first rules to fix (with row numbers), all failed checks, and the number of rules left out."""
    left = [finding for finding in report["findings"] if not finding["covers_whole_file"]]
    first, checks = [], []
    for rule in left[:FIRST_TO_FIX]:
        where = rule["numbers"]
        if len(where) > _LONGEST_NUMBERS:
            where = f"{where[: max(where.rfind(end, 0, _LONGEST_NUMBERS) for end in ',;')]} and more"
        first.append(rule | {"where": where})
    for check in report["failed_checks"]:
        sentence, column, heading = check["sentence"].removesuffix("."), check["column"], check["heading"]
        if column and column != heading:
            sentence = sentence.replace(column, f"{heading} ({column})", 1)
        checks.append(check | {"sentence": sentence})
    return {"rules": first, "checks": checks, "left": len(left) - len(first)}


def _group_by_display(columns: list[Facts]) -> Iterator[Facts]:
    """Yield groups of columns by display: numbers and dates as charts, columns with the same few codes in one table."""

    def list_codes(column: Facts) -> tuple[str, ...]:
        return tuple(group["label"] for group in column["groups"]) if column["kind"] == Kind.CODE else ()

    for labels, group in groupby(columns, key=list_codes):
        members = list(group)
        if not labels:
            yield {"kind": "drawn", "columns": [_add_chart(column) for column in members]}
        else:
            are_together = len(members) >= TOGETHER and len(labels) <= charts.MOST_STACKED
            yield {"kind": "together" if are_together else "apart", "columns": members}


def _add_chart(column: Facts) -> Facts:
    """Add a column chart to a number or a date, if any row has a value."""
    if not column["filled"]:
        return column
    groups, is_date = column["groups"], column["kind"] == Kind.DATE
    if is_date:
        used = [place for place, group in enumerate(groups) if group["rows"] or group["last_share"]]
        groups = groups[used[0] : used[-1] + 1]
        labels = [group["label"] for group in groups]
        # the year at each January or, if there is none, the first and last month
        years = {p: label.removeprefix("January ") for p, label in enumerate(labels) if label.startswith("January ")}
        ticks = years or {0: labels[0]} | ({len(labels): labels[-1]} if len(labels) > 1 else {})
    else:
        ticks = {place: f"{edge:g}" for place, edge in enumerate(column["edges"]) if place % 2 == 0}
    chart = charts.draw_columns(
        [group["label"] for group in groups],
        [group["share"] for group in groups],
        [group["last_share"] or 0.0 for group in groups] if column["last_filled"] else [],
        {float(place): label for place, label in ticks.items()},
    )
    return column | {"by": "month" if is_date else "value", "shown": groups, "chart": chart}


def build_extract_report(now: ExtractQuality, last: ExtractQuality | None, sent_again: str = "") -> Facts:
    """Return the facts of the report on an accepted extract. `last` and `sent_again` as in `report_extract`."""
    # rules that `_iter_whole_file_warnings` already covers
    years = {BORN_OUTSIDE_COHORT.id, BORN_IN_ANOTHER_COHORT.id} if any(e.is_year for e in now.other_origins) else set()
    covered = years | {rule.rule for rule in _list_excessive_rules(now)} | {finding.rule for finding in now.holds}
    rules = sorted(now.rules, key=lambda rule: (SEVERITIES.index(Severity(rule.severity)), -rule.rows, rule.rule))
    names = (finding.rule.removeprefix(f"{finding.column}-") for finding in now.findings if finding.passed)
    passed = Counter(_CHECKS.get(name, _ACROSS_COLUMNS) for name in names)
    return {
        "report": "extract",
        "outcome": TAKEN_IN_PART if now.rows_rejected else TAKEN,
        **_identify_extract(now.council, now.source, now.cohort, now.file),
        **{name: getattr(now, name) for name in ("taken_at", "rows_read", "rows_kept", "rows_rejected", "rows_warned")},
        "last": _summarise_last(last),
        "parts": _build_parts(now.parts),
        "sheet": asdict(now.sheet) if now.sheet else None,
        "sent_again": sent_again,
        "held": list(_iter_hold_phrases(now)),
        "whole_file": list(_iter_whole_file_warnings(now, last)),
        "findings": [_build_finding(rule, now) | {"covers_whole_file": rule.rule in covered} for rule in rules],
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
        "identifiers": _build_identifiers(now),
        **compare.compare(now, last),
    }


def _iter_hold_phrases(now: ExtractQuality) -> Iterator[str]:
    """Yield a phrase such as `1,954 of about 3,209 children` for each rule that can hold a release."""
    kept, unit = now.rows_kept, "children" if now.source in SOURCES_OF_CHILDREN else "rows"
    known = {
        extract_rules.FAR_FROM_EXPECTED.id: (now.rows_expected, f"{unit} expected", f"of about {{:,}} {unit}"),
        extract_rules.FAR_FROM_LAST.id: (now.rows_last, "last time", "of about {:,} rows last time"),
    }
    broken = {finding.rule for finding in now.holds}
    for rule, (reference, against, of) in known.items():
        if rule in broken and reference:
            fewer = f"{kept:,} {of.format(reference)}"
            yield fewer if kept < reference else f"{kept:,} rows, against about {reference:,} {against}"
    if extract_rules.NUMBER_OF_MANY.id in broken:
        yield extract_rules.NUMBER_OF_MANY.sentence.removesuffix(".")


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
    least = max(MUCH * now.rows_read, extract_rules.MANY_ROWS)
    return [
        rule for rule in now.rules if rule.rule in (CONTRACTS[now.source].repeated.id, _MISDATED) and rule.rows > least
    ]


def build_stopped_report(stopped: StoppedExtract, last: ExtractQuality | None) -> Facts:
    """Return the facts of the report on a stopped extract. `last` is the one that stays in place."""
    file, _, why = stopped.for_sender.partition(": ")
    # without the file's path, because the page names the file
    reason = capitalise(why) if file.startswith(f"{stopped.council}/") and why else stopped.for_sender
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
        "source_title": CONTRACTS[source].heading,
        "row_per": CONTRACTS[source].row_per,
        "cohort": cohort,
        "cohort_label": Cohort(cohort).label,
        "file": file,
    }


def _summarise_last(last: ExtractQuality | None) -> Facts | None:
    if last is None:
        return None
    same = ("file", "taken_at", "rows_read", "rows_kept", "rows_rejected")
    return {"cohort_label": Cohort(last.cohort).label, **{name: getattr(last, name) for name in same}}


def _build_finding(rule: RuleCount, now: ExtractQuality) -> Facts:
    headings = [now.headings.get(column, column) for column in rule.columns]
    few = len(headings) <= _NAMED_COLUMNS
    numbers, more = _format_row_places(rule.first_rows, now), rule.rows - len(rule.first_rows)
    return {
        "rule": rule.rule,
        "severity": str(rule.severity),
        "sentence": rule.sentence,
        "columns": [{"column": column, "heading": now.headings.get(column, column)} for column in rule.columns],
        "rows": rule.rows,
        "share": rule.rows / max(now.rows_read, 1),
        "row_numbers": numbers,
        "more_rows": more,
        "numbers": f"{numbers} and {format_rows(more)} more" if more else numbers,
        "columns_named": join_words(headings) if few else f"{headings[0]} to {headings[-1]} ({len(headings)} columns)",
    }


def _format_row_places(numbers: Sequence[int], now: ExtractQuality) -> str:
    """Return `3-7, 12`, or for parts `3-7 of part 1; 12 of part 2`. In a workbook, these are sheet row numbers."""
    sheets = {part.number: part.sheet for part in now.parts.parts} if now.parts else {0: now.sheet}
    by_part: dict[int, list[int]] = {}
    for part, row in map(split_number, numbers):
        by_part.setdefault(part, []).append(sheet.get_row(row) if (sheet := sheets.get(part)) else row)
    of = ((f" of part {part}" if part else "", format_row_ranges(rows)) for part, rows in sorted(by_part.items()))
    return "; ".join(ranges + named for named, ranges in of)


def _build_parts(parts: FromParts | None) -> Facts | None:
    if parts is None:
        return None
    source = "We see this from the files." if parts.seen else "Your council file says so."
    files = []
    for part in parts.parts:
        numbers = (part.sheet.get_row(row) if part.sheet else row for row in part.first_of_no_cohort)
        files.append(asdict(part) | {"of_no_cohort_numbers": format_row_ranges(numbers)})
    return {"how": f"{_HOW[Parts(parts.how)]} {source}", "order": parts.order, "files": files}


def _build_identifiers(now: ExtractQuality) -> list[Facts]:
    """Return, for each identifier, the number of rows with a blank and with an invalid value; None if not checked."""
    contract, found = CONTRACTS[now.source], {rule.rule: rule.rows for rule in now.rules}
    # only a column with a type or a format can hold invalid values
    columns = [(c, c.kind is not Kind.TEXT or c.name in VALID) for c in contract.select_role(Role.IDENTIFIER)]
    return [
        {
            **compare.name_column(now, column.name),
            "blank_rows": found.get(f"{column.name}-blank", 0) if column.blank else None,
            "invalid_rows": found.get(f"{column.name}-invalid", 0) if has_a_form else None,
        }
        for column, has_a_form in columns
        if column.blank or has_a_form
    ]
