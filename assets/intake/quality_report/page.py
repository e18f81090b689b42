"""The pages: the facts of a report as one self-contained HTML document."""

from __future__ import annotations

from typing import Any

from assets.intake.quality_report import council_sections, extract_sections, stopped_sections
from assets.intake.quality_report.extract import STOPPED
from assets.pages.page import page

_KIND = "quality report"
_FOOTER = (
    "This report counts the rows of your own files exactly. Keep it inside your organisation; do not publish it."
    " It holds no value of any child's record: only counts, shares, row numbers, and names and codes of columns."
)


def render(report: dict[str, Any]) -> str:
    """The page of an extract's report, taken or stopped."""
    title = f"{report['source_title']}, {report['council_name']}, {report['cohort_label']}"
    sections = stopped_sections.sections if report["outcome"] == STOPPED else extract_sections.sections
    return page(_KIND, title, _FOOTER, *sections(report))


def render_council(report: dict[str, Any]) -> str:
    """The page of a council's report."""
    title = f"All extracts, {report['council_name']}, {report['cohort_label']}"
    return page(_KIND, title, _FOOTER, *council_sections.sections(report))
