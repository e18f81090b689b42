"""Renders and writes a council's quality reports: one page for each extract, and one for all extracts of a cohort."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from assets.home.paths import CohortStore, Home
from assets.intake.deliveries import ExtractQuality, StoppedExtract
from assets.intake.quality_report.facts import SEVERITIES, STOPPED, TAKEN, build_extract_report, build_stopped_report
from ndl_export.pages import charts, kit
from ndl_export.pages.number_format import listed, rows
from privacy.doors import files
from sources.contracts import CONTRACTS, Kind, Severity
from sources.extract.table import FORMULAS_NOT_CHECKED
from sources.reference.published_figures import PUBLISHED_BY

Facts = dict[str, Any]
FIRST_TO_FIX = 10
"""Number of rules named at the top of the page. The tables below list all of them."""
TOGETHER = 3
"""Smallest number of consecutive columns with the same codes that share one table."""
_NAMED_COLUMNS = 4
"""Columns of a rule that are listed by name; more are shown as a range."""
_LONGEST_NUMBERS = 60
"""Characters of row numbers shown at the top of the page."""
_TEMPLATES = Path(__file__).parent / "templates"
_LINE = (
    "held",
    "whole_file",
    "source",
    "source_title",
    "row_per",
    "file",
    "outcome",
    "taken_at",
    "rows_read",
    "rows_kept",
    "rows_rejected",
    "rows_warned",
    "last",
    "sentence",
)
"""Facts of an extract's report that the council's report repeats."""
ALL_EXTRACTS = "council"
"""Name of the page about all extracts of a council and cohort."""


def report_extract(
    home: Home, outcome: ExtractQuality | StoppedExtract, last: ExtractQuality | None, sent_again: str = ""
) -> None:
    """Write the report of a delivery. `report_council` gathers the reports of a council.

    `last` is the previous delivery; for a stopped delivery, the one that stays in place. `sent_again` is the time the
    same file was delivered again, or empty.
    """
    folder = home.cohort(outcome.cohort).reports(outcome.council)
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
    """Return whether the report of a delivery is complete, from the expectations file, which is written last."""
    folder = home.cohort(quality.cohort).reports(quality.council)
    page, expectations = (folder / f"{quality.source}.{what}" for what in ("html", "expectations.json"))
    if not (page.exists() and expectations.exists()):
        return False
    written = json.loads(expectations.read_bytes())
    return (written["file_mac"], written["taken_at"]) == (quality.file_mac, quality.taken_at)


def report_council(store: CohortStore, council: str) -> None:
    """Write a council's report if one of its extracts' reports is newer."""
    if has_council_report(store, council):
        return
    folder = store.reports(council)
    reports = [
        json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) for path in _list_extract_pages(folder)
    ]
    report = build_council_report(reports)
    files.write_all(_build_pages(folder, ALL_EXTRACTS, report, render_council(report)))


def has_council_report(store: CohortStore, council: str) -> bool:
    """Return whether a council's report is newer than the reports of all its extracts."""
    folder = store.reports(council)
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
        "not_received": [contract.title for source, contract in CONTRACTS.items() if source not in by_source],
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
    line = {key: report[key] for key in _LINE if key in report}
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
    broken = [_with_rows(finding) for finding in report["findings"]]
    sheets = [report["sheet"], *(part["sheet"] for part in (report["parts"] or {"files": []})["files"])]
    return kit.render(
        _TEMPLATES,
        "extract.html.j2",
        report=report,
        warns_of_formulas=any(sheet and not sheet["formulas_checked"] for sheet in sheets),
        formulas_not_checked=FORMULAS_NOT_CHECKED,
        fix=_select_fixes(report),
        rejecting=[rule for rule in broken if rule["severity"] != Severity.WARN],
        warning=[rule for rule in broken if rule["severity"] == Severity.WARN],
        topics=list(_group_by_topic(report["figures"])),
        has_last_figures=any(figure["last_share"] is not None for figure in report["figures"]),
        values=list(_group_by_display(report["values"])),
        published_by=PUBLISHED_BY,
    )


def render_council(report: Facts) -> str:
    """Render the report page of a council."""
    extracts = report["extracts"]
    stopped = [line for line in extracts if line["outcome"] == STOPPED]
    return kit.render(
        _TEMPLATES,
        "council.html.j2",
        report=report,
        stopped=stopped,
        first=[*stopped, *(line for line in extracts if line["needs_you"] and line not in stopped)],
        taken=[line for line in extracts if line["outcome"] != STOPPED],
        whole=all(line["outcome"] == TAKEN for line in extracts),
        fix=_select_fixes(report),
        look=[f"{entry['source_title']}: {entry['sentence']}" for entry in report["worth_a_look"]],
    )


def _select_fixes(report: Facts) -> Facts:
    """Return the first rules to fix, each with its row numbers, all failed checks, and the number of rules left out."""
    left = [finding for finding in report["findings"] if not finding["told_of_the_whole"]]
    first, checks = [_with_rows(finding) for finding in left[:FIRST_TO_FIX]], []
    for rule in first:
        rule["where"] = where = rule["numbers"]
        if len(where) > _LONGEST_NUMBERS:
            rule["where"] = f"{where[: max(where.rfind(end, 0, _LONGEST_NUMBERS) for end in ',;')]} and more"
    for check in report["failed_checks"]:
        sentence, column, heading = check["sentence"].removesuffix("."), check["column"], check["heading"]
        if column and column != heading:
            sentence = sentence.replace(column, f"{heading} ({column})", 1)
        checks.append(check | {"sentence": sentence})
    return {"rules": first, "checks": checks, "left": len(left) - len(first)}


def _with_rows(finding: Facts) -> Facts:
    more = f" and {rows(finding['more_rows'])} more" if finding["more_rows"] else ""
    headings = [column["heading"] for column in finding["columns"]]
    few = len(headings) <= _NAMED_COLUMNS
    columns = listed(headings) if few else f"{headings[0]} to {headings[-1]} ({len(headings)} columns)"
    return finding | {"numbers": finding["row_numbers"] + more, "columns_named": columns}


def _group_by_topic(figures: list[Facts]) -> Iterator[Facts]:
    """Yield figures by topic, and the first figure of each topic that has a published one."""
    for topic, group in groupby(figures, key=lambda figure: figure["topic"]):
        members = list(group)
        published = next((figure for figure in members if figure["published_share"] is not None), None)
        yield {"name": topic, "figures": members, "published": published}


def _group_by_display(columns: list[Facts]) -> Iterator[Facts]:
    """Yield groups of columns by display: numbers and dates as charts, columns with the same few codes in one table."""

    def codes(column: Facts) -> tuple[str, ...]:
        return tuple(group["label"] for group in column["groups"]) if column["kind"] == Kind.CODE else ()

    for labels, group in groupby(columns, key=codes):
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
    chart = charts.columns(
        [group["label"] for group in groups],
        [group["share"] for group in groups],
        [group["last_share"] or 0.0 for group in groups] if column["last_filled"] else [],
        {float(place): label for place, label in ticks.items()},
    )
    return column | {"by": "month" if is_date else "value", "shown": groups, "chart": chart}
