"""Write the quality reports of a council: one page for each extract, one for all of a cohort."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assets.home.paths import Home
from assets.intake.deliveries import ExtractQuality, StoppedExtract
from assets.intake.quality_report.facts import council_report, extract_report, stopped_report
from assets.intake.quality_report.page import render, render_council
from privacy.doors import files
from sources.contracts import CONTRACTS

ALL_EXTRACTS = "council"
"""Name of the page about all extracts of a council."""


def report_extract(
    home: Home, outcome: ExtractQuality | StoppedExtract, last: ExtractQuality | None, sent_again: str = ""
) -> None:
    """Write the report of a delivery; `report_council` gathers those of its council.

    `last` is the delivery before it, or the one that stays in place of a stopped one. `sent_again` is when the same
    file came once more.
    """
    folder = home.reports(outcome.cohort, outcome.council)
    report = (
        stopped_report(outcome, last)
        if isinstance(outcome, StoppedExtract)
        else extract_report(outcome, last, sent_again)
    )
    of_expectations = (
        {folder / f"{outcome.source}.expectations.json": files.as_json(_expectations(outcome))}
        if isinstance(outcome, ExtractQuality)
        else {}
    )
    files.write_all(of_expectations | _pages(folder, outcome.source, report, render(report)))


def _expectations(quality: ExtractQuality) -> dict[str, Any]:
    """What came of each expectation, without a value of a row: by its rule, as the suite's file has it."""
    return {
        "source": quality.source,
        "council": quality.council,
        "cohort": quality.cohort,
        "file_mac": quality.file_mac,
        "success": all(finding.passed for finding in quality.findings),
        "results": [asdict(finding) for finding in quality.findings],
    }


def has_report(home: Home, quality: ExtractQuality) -> bool:
    """Whether the report of a delivery was written."""
    return (home.reports(quality.cohort, quality.council) / f"{quality.source}.html").exists()


def report_council(home: Home, cohort: str, council: str) -> None:
    """Gather the reports of a council's extracts, where one is newer than what was gathered."""
    folder = home.reports(cohort, council)
    paths = [path for source in CONTRACTS if (path := folder / f"{source}.html").exists()]
    gathered = folder / f"{ALL_EXTRACTS}.html"
    newest = max((path.stat().st_mtime_ns for path in paths), default=0)
    if not paths or (gathered.exists() and gathered.stat().st_mtime_ns > newest):
        return
    reports = [json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) for path in paths]
    report = council_report(reports)
    files.write_all(_pages(folder, ALL_EXTRACTS, report, render_council(report)))


def _pages(folder: Path, name: str, report: dict[str, Any], page: str) -> dict[Path, bytes]:
    return {folder / f"{name}.json": files.as_json(report), folder / f"{name}.html": page.encode()}
