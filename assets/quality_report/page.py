"""The pages: the facts of a report as one self-contained HTML document."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from assets.quality_report import council_sections, extract_sections, stopped_sections
from assets.quality_report.extract import STOPPED
from assets.quality_report.markup import joined, tag, text

_TEMPLATES = Path(__file__).parent / "templates"


def render(report: dict[str, Any]) -> str:
    """The page of an extract's report, taken or stopped."""
    title = f"{report['source_title']}, {report['council_name']}, {report['cohort_label']}"
    sections = stopped_sections.sections if report["outcome"] == STOPPED else extract_sections.sections
    return _page(title, *sections(report))


def render_council(report: dict[str, Any]) -> str:
    """The page of a council's report."""
    return _page(
        f"All extracts, {report['council_name']}, {report['cohort_label']}", *council_sections.sections(report)
    )


def _page(title: str, *sections: str) -> str:
    body = joined((tag("h1", title), *sections))
    return Template(_file("page.html")).substitute(
        title=text(f"Quality report: {title}"), style=_file("style.css").strip(), body=body
    )


@cache
def _file(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
