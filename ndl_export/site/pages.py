"""The pages of the release page, and the files that they lead to.

A page holds its own style and script, so that it can be read, kept and sent on alone. Templates escape every value that
is put into them.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from ndl_export.facts.announced import NO_CALENDAR, NOTHING_ANNOUNCED, Upcoming
from ndl_export.facts.breaks import break_statements
from ndl_export.facts.description import OGL_NAME
from ndl_export.facts.missing import MissingByCohort, short, statements
from ndl_export.facts.release_facts import TITLE, ReleaseFacts
from ndl_export.files.signing import PUBLIC_KEY_FILE, SIGNATURE_FILE, SUMS_FILE
from ndl_export.pages import kit
from ndl_export.site.figures import Figure
from ndl_export.site.panels import Chart, Line, Panel, Release, release_of
from ndl_export.site.views import VIEWS, charts_of, headline
from ndl_export.tables import TABLES
from ndl_export.tables.ees import NOTHING
from ndl_export.tables.geography import LOCAL_AUTHORITY, REGIONS_ABOVE
from ndl_export.tables.schema import BREAK, FLAG_MEANINGS, SYMBOLS, Flag
from sources.reference.cohorts import Cohort
from sources.reference.goals import GLD_GOALS

SITE_FOLDER = "site"
CSV_HEADER = (
    "cohort",
    "area_code",
    "area",
    "row",
    "column",
    "measure",
    "unit",
    "figure",
    "lower_95",
    "upper_95",
    "flag",
    "flag_meaning",
    "series_break",
)
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
    Page("groups", "Groups of children", "Groups"),
    Page("goals", "The early learning goals", "Goals"),
    Page("pathway", "From the review at 2 to 2½ years to school", "Review to school"),
    Page("joined-dots", "The children no one joined up", "Joined up"),
    Page("parents", "Parents’ experience of getting support", "Parents"),
    Page("about", "About this release", "About"),
)


def site_names(cohorts: Collection[str]) -> tuple[str, ...]:
    """Names of the files in the folder of the page: the same for every release of one cohort, or of several."""
    shapes = [view.shape for views in VIEWS.values() for view in views]
    charts = (shape.name for shape in shapes if len(cohorts) > 1 or not shape.over_time)
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
    return {f"{chart.shape.name}.csv": _chart_csv(chart) for shown in charts.values() for chart in shown}


def _chart_csv(chart: Chart) -> bytes:
    """One line a figure, just as the page shows them, all councils together included."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for panel in chart.panels:
        for line in panel.lines:
            writer.writerows(_rows(panel, line))
    return stream.getvalue().encode()


def _rows(panel: Panel, line: Line) -> Iterator[tuple[str, ...]]:
    area, row = (line.label, "") if panel.shape.by_area else (panel.area_name, line.label)
    for heading, figure in zip(panel.shape.columns, line.figures, strict=True):
        numbers = (_number(figure, number) for number in (figure.value, figure.lower, figure.upper))
        symbol = (figure.flag, FLAG_MEANINGS[figure.flag]) if figure.flag else ("", "")
        about = (line.cohort or panel.cohort, line.area.code, area, row, heading, figure.measure.name)
        broken = BREAK if line.broken else ""
        yield (*about, figure.measure.unit, *numbers, *symbol, broken)


def _number(figure: Figure, number: float | None) -> str:
    """As many decimals as the page shows."""
    return "" if number is None else f"{number:.{figure.measure.decimals}f}"


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
        "symbols": SYMBOLS,
        "csv_nothing": NOTHING,
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


_TO_BUNDLE = 'href="../'
_TO_PAGE = re.compile(r'href="(?![#.]|[a-z]+:)')


_ANNOUNCED = re.compile(r"<!-- upcoming -->.*?<!-- /upcoming -->", re.DOTALL)
"""What stands in a bundle's page in the place of what is announced, which changes when the bundle cannot."""


def publish_site(release_dir: Path, version: str, upcoming: Sequence[Upcoming] | None) -> None:
    """Put a copy of the page of `version` into `release_dir`, all its links leading to the files of that bundle, with
    the releases that are announced; None where no calendar was given.

    So every page belongs to one release, whatever moment it is read at, though they are replaced one after the other.
    A copy and not a symbolic link: browsers resolve links from the address that they opened, and not every web server
    follows symbolic ones. Each file is replaced in one step.
    """
    place, scratch = release_dir / SITE_FOLDER, release_dir / f".{SITE_FOLDER}"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(release_dir / version / SITE_FOLDER, scratch)
    said = {"upcoming": upcoming, "nothing": NOTHING_ANNOUNCED, "no_calendar": NO_CALENDAR}
    told = kit.render(_TEMPLATES, "upcoming.html.j2", **said).strip()
    for page in scratch.glob("*.html"):
        text = _ANNOUNCED.sub(lambda _: told, page.read_text(encoding="utf-8"))
        leading = _TO_PAGE.sub(f'href="../{SITE_FOLDER}/', text).replace(_TO_BUNDLE, f"{_TO_BUNDLE}{version}/")
        page.write_text(leading, encoding="utf-8", newline="\n")
    place.mkdir(exist_ok=True)
    shutil.copymode(scratch, place)
    for file in sorted(scratch.iterdir()):
        file.replace(place / file.name)
    scratch.rmdir()
