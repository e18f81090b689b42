"""The page: the facts of a linkage as one self-contained HTML document."""

from __future__ import annotations

from typing import Any

from assets.linkage.report.sections import sections
from assets.pages.page import page
from sources.reference.cohorts import Cohort

_FOOTER = (
    "This report holds true counts of linked children. It stays in the restricted zone: do not publish it, copy it"
    " out or quote its numbers. It holds agreement patterns only, and no token, child or row number."
)


def render(report: dict[str, Any]) -> str:
    """The page of a linkage report; `report` is the content of `linkage.json`."""
    return page("linkage report", f"Who is who, {Cohort(report['cohort']).label}", _FOOTER, *sections(report))
