"""The facts of a report about all extracts of a council for a cohort, JSON-ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assets.intake.quality_report.extract import STOPPED
from sources.contracts import CONTRACTS, Severity

_ORDER = (Severity.STOP, Severity.REJECT, Severity.WARN)
_LINE = (
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
"""What a council's report repeats of an extract's."""


def council_report(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Gather the extract reports of one council and cohort; raises ValueError where there are none or of several."""
    if len({(report["council"], report["cohort"]) for report in reports}) != 1:
        raise ValueError("a council's report gathers the reports of one council and one cohort")
    by_source = {report["source"]: report for report in reports}
    ordered = [by_source[source] for source in CONTRACTS if source in by_source]
    first = ordered[0]
    return {
        "report": "council",
        **{key: first[key] for key in ("council", "council_name", "cohort", "cohort_label")},
        "extracts": [_line(report) for report in ordered],
        "not_received": [contract.title for source, contract in CONTRACTS.items() if source not in by_source],
        "findings": _findings(ordered),
        "failed_checks": _gathered(ordered, "failed_checks"),
        "worth_a_look": [
            {"source_title": report["source_title"], "sentence": sentence}
            for report in ordered
            for sentence in report.get("worth_a_look", ())
        ],
    }


def _line(report: dict[str, Any]) -> dict[str, Any]:
    line = {key: report[key] for key in _LINE if key in report}
    filled = [entry for entry in report.get("completeness", ()) if entry["share"] is not None]
    thinnest = min(filled, key=lambda entry: entry["share"], default=None)
    return line | {"thinnest": thinnest and {key: thinnest[key] for key in ("column", "heading", "share")}}


def _findings(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rules broken in any extract: by severity, then by share of the extract's rows."""
    return sorted(
        _gathered(reports, "findings"),
        key=lambda finding: (_ORDER.index(Severity(finding["severity"])), -finding["share"], finding["rule"]),
    )


def _gathered(reports: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    return [
        {"source": report["source"], "source_title": report["source_title"], **entry}
        for report in reports
        if report["outcome"] != STOPPED
        for entry in report[key]
    ]
