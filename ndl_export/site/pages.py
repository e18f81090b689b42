"""The pages of the release page, and the files that they lead to.

A page holds its own style and script, so that it can be read, kept and sent on alone. Templates escape every value that
is put into them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from ndl_export.documents.pages import OGL_NAME
from ndl_export.facts.breaks import break_statements
from ndl_export.facts.missing import MissingByCohort, short, statements
from ndl_export.facts.release_facts import TITLE, ReleaseFacts
from ndl_export.files.checksums import PUBLIC_KEY_FILE, SIGNATURE_FILE, SUMS_FILE
from ndl_export.pages import kit
from ndl_export.site.build import Release, release_of
from ndl_export.site.downloads import chart_csv
from ndl_export.site.panels import Chart
from ndl_export.site.views import charts_of, headline
from ndl_export.tables import TABLES
from ndl_export.tables.ees import WITHHELD_SYMBOL
from ndl_export.tables.geography import LOCAL_AUTHORITY, REGIONS_ABOVE
from ndl_export.tables.parents import QUESTIONS
from ndl_export.tables.schema import FLAG_MEANINGS, Flag
from sources.reference.cohorts import Cohort
from sources.reference.goals import GLD_GOALS

SITE_FOLDER = "site"
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Page:
    """A page: the name of its file, its title, and what the list of pages calls it."""

    name: str
    title: str
    label: str

    @property
    def file(self) -> str:
        return f"{self.name}.html"


PAGES = (
    Page("index", "How many children were ready for school", "Overview"),
    Page("goals", "The early learning goals", "Goals"),
    Page("pathway", "From the review at 2 to 2½ years to school", "Review to school"),
    Page("joined-dots", "The children no one joined up", "Joined up"),
    Page("parents", "Parents’ experience of getting support", "Parents"),
    Page("about", "About this release", "About"),
)
_CHART_NAMES = (
    *("gld-by-area", "gap-by-area", "goals", "goals-by-meals", "review", "pathway", "seen-by", "concern"),
    *(f"parents-{question.name.replace('_', '-')}" for question in QUESTIONS),
)
_OVER_TIME = ("gld-over-time", "gap-over-time")


def site_names(cohorts: Collection[str]) -> tuple[str, ...]:
    """Names of the files in the folder of the page: the same for every release of one cohort, or of several."""
    charts = (*_CHART_NAMES, *(_OVER_TIME if len(cohorts) > 1 else ()))
    return (*(page.file for page in PAGES), *(f"{name}.csv" for name in charts))


SITE_FILES = site_names([""])
"""Those of a release of one cohort, whichever it is."""


def site_files(facts: ReleaseFacts, tables: Mapping[str, pa.Table]) -> dict[str, bytes]:
    """Content by name of every file of the folder: a function of the facts and the released tables alone."""
    release = release_of(tables, facts.councils, facts.cohorts, facts.missing)
    charts = charts_of(release)
    common = _common(facts, release)
    return {page.file: _render(page, common | {"page_charts": charts[page.name]}) for page in PAGES} | _downloads(
        charts
    )


def site_downloads(
    tables: Mapping[str, pa.Table], councils: tuple[str, ...], cohorts: tuple[str, ...], missing: MissingByCohort
) -> dict[str, bytes]:
    """Content by name of the files of figures alone, which follow from the tables of a release."""
    return _downloads(charts_of(release_of(tables, councils, cohorts, missing)))


def _downloads(charts: Mapping[str, tuple[Chart, ...]]) -> dict[str, bytes]:
    return {f"{chart.shape.name}.csv": chart_csv(chart) for shown in charts.values() for chart in shown}


def _common(facts: ReleaseFacts, release: Release) -> dict[str, Any]:
    """What every page may say."""
    areas = {cohort: release.of("gld_headline", cohort) for cohort in release.cohorts}
    return {
        "site": TITLE,
        "facts": facts,
        "pages": PAGES,
        "cohorts": {cohort: Cohort(cohort).label for cohort in release.cohorts},
        "councils": [area.name for area in facts.areas if area.level == LOCAL_AUTHORITY],
        "lists_councils": len(facts.councils) <= REGIONS_ABOVE,
        "choices": {area.code: area.name for area in facts.areas[1:]},
        "not_sent": short(facts.missing),
        "breaks": break_statements(facts.cohorts, facts.councils, facts.missing),
        "statements": statements(facts.missing, facts.councils),
        "headline_areas": {cohort: own.name(own.together) if own.absent else "" for cohort, own in areas.items()},
        "headlines": {cohort: headline(release, cohort) for cohort in release.cohorts},
        "gld_goals": len(GLD_GOALS),
        "flags": FLAG_MEANINGS,
        "Flag": Flag,
        "csv_withheld": WITHHELD_SYMBOL,
        "tables": TABLES,
        "sums": SUMS_FILE,
        "signature": SIGNATURE_FILE,
        "public_key": PUBLIC_KEY_FILE,
        "licence": OGL_NAME,
    }


def _render(page: Page, values: Mapping[str, Any]) -> bytes:
    digest = base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode()
    own = {"page": page, "script": _script(), "script_digest": digest}
    return kit.render(_TEMPLATES, f"{page.file}.j2", **values, **own).encode()


@cache
def _script() -> str:
    return (_TEMPLATES / "script.js").read_text(encoding="utf-8").strip()
