"""Writes the quality reports of a council: one page for each extract, one for all of a cohort."""

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
    files.write_all(_pages(folder, outcome.source, report, render(report)) | of_expectations)


def _expectations(quality: ExtractQuality) -> dict[str, Any]:
    """Return the result of each expectation by its rule, as in the suite's file, without a value of a row."""
    return {
        "source": quality.source,
        "council": quality.council,
        "cohort": quality.cohort,
        "file_mac": quality.file_mac,
        "taken_at": quality.taken_at,
        "success": all(finding.passed for finding in quality.findings),
        "results": [asdict(finding) for finding in quality.findings],
    }


def has_report(home: Home, quality: ExtractQuality) -> bool:
    """Whether the report of a delivery was written: what came of its expectations is put in place last."""
    folder = home.reports(quality.cohort, quality.council)
    page, expectations = (folder / f"{quality.source}.{what}" for what in ("html", "expectations.json"))
    if not (page.exists() and expectations.exists()):
        return False
    told = json.loads(expectations.read_bytes())
    return (told["file_mac"], told["taken_at"]) == (quality.file_mac, quality.taken_at)


def report_council(home: Home, cohort: str, council: str) -> None:
    """Gather the reports of a council's extracts, where one is newer than what was gathered."""
    if has_council_report(home, cohort, council):
        return
    folder = home.reports(cohort, council)
    reports = [json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) for path in _of_extracts(folder)]
    report = council_report(reports)
    files.write_all(_pages(folder, ALL_EXTRACTS, report, render_council(report)))


def has_council_report(home: Home, cohort: str, council: str) -> bool:
    """Whether all reports of a council's extracts have been gathered since they were written."""
    folder = home.reports(cohort, council)
    gathered, own = folder / f"{ALL_EXTRACTS}.html", _of_extracts(folder)
    newest = max((path.stat().st_mtime_ns for path in own), default=0)
    return not own or (gathered.exists() and gathered.stat().st_mtime_ns > newest)


def _of_extracts(folder: Path) -> list[Path]:
    return [path for source in CONTRACTS if (path := folder / f"{source}.html").exists()]


def _pages(folder: Path, name: str, report: dict[str, Any], page: str) -> dict[Path, bytes]:
    return {folder / f"{name}.json": files.as_json(report), folder / f"{name}.html": page.encode()}
