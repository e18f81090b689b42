"""The pages of the release page, and the files that they link to.

Each page contains its own style and script, so that it can be read, kept and sent by itself. Templates escape every
value.
"""

import base64
import hashlib
import html
import json
import re
import shutil
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from ndl_export.documents.pages import list_file_kinds
from ndl_export.facts import description, directory_files, missing, synthetic_folder
from ndl_export.facts.on_request import get_page_name
from ndl_export.facts.release_facts import DATAPACKAGE_FILE, QUOTES_FILE, SITE_FOLDER, TITLE, ReleaseFacts
from ndl_export.files import archive, signing, whole_files
from ndl_export.pages import kit, number_format
from ndl_export.site.documents import get_address, is_document, name_document_page, render_documents
from ndl_export.site.figures import PanelRow
from ndl_export.site.inference import Conclusions
from ndl_export.site.layouts import SHAPES, ReleasedFigures, build_charts, build_requested_charts
from ndl_export.site.panels import Chart, Panel, build_council_values, list_findings, name_council_page
from ndl_export.tables import FAMILIES, csv_files, geography, schema
from ndl_export.tables.pupil import REVIEW_FILTER
from privacy.doors.shipped import read_yaml
from sources.reference.code_lists import GLD_GOALS
from sources.reference.cohorts import Cohort

_MADE_UP = (
    "The children of this release are made up, and the official statistics are real: comparing the two shows nothing."
)
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Page:
    """A page: file name, title, label in the list of pages, and first paragraph."""

    name: str
    title: str
    label: str
    lead: str = ""

    @property
    def file(self) -> str:
        return f"{self.name}.html"

    @property
    def tab(self) -> str:
        """The title, shortened for a browser tab."""
        # html-validate counts the markup of an escaped character, such as `&amp;`.
        for_markup = len(html.escape(self.title)) - len(self.title)
        return textwrap.shorten(self.title, _MOST_IN_A_TAB - for_markup, placeholder="…")


# html-validate accepts 70 characters, and ` – School readiness` takes 19 of them.
_MOST_IN_A_TAB = 51
"""Characters of a title that a browser tab has room for."""
REQUESTS = Page("requests", "Requests for tables", "")
"""Published only next to the bundles, because it changes and bundles cannot."""
PAGES = tuple(Page(**each) for each in read_yaml(_TEMPLATES / "pages.yaml"))


def list_site_names(
    cohorts: Collection[str], councils: Iterable[str], names: Iterable[str], requested: Iterable[str] = ()
) -> tuple[str, ...]:
    """List all pages and downloads of a bundle with these other files (`names`) and tables on request."""
    shapes = chain.from_iterable(SHAPES.values())
    # A chart over time shows nothing with one cohort (`build_panels`), so it has no download either.
    charts = (shape.name for shape in shapes if len(cohorts) > 1 or not shape.over_time)
    on_request = [get_page_name(name) for name in requested]
    pages = (
        *(page.name for page in PAGES),
        *map(name_council_page, councils),
        *on_request,
        *map(name_document_page, filter(is_document, names)),
    )
    return (*(f"{name}.html" for name in pages), *(f"{name}.csv" for name in (*charts, *on_request)), QUOTES_FILE)


def build_site_files(
    facts: ReleaseFacts,
    tables: Mapping[str, pa.Table],
    files: Mapping[str, bytes],
    names: Collection[str],
    concluded: Conclusions,
    quotes: Mapping[str, Any],
) -> dict[str, bytes]:
    """Return every file of `site/`; `files` are the bundle's other files so far, `names` the names of all others.

    `quotes` are the sentences that may be quoted (`answers.quotes.Quotes`), by code of the area.
    """
    requested = facts.on_request.tables
    if facts.notice:  # Synthetic data must not be compared with official statistics.
        concluded = replace(concluded, beside_england={})
    release = ReleasedFigures(tables, facts.councils, facts.cohorts, facts.missing, requested, concluded)
    charts = build_charts(release)
    found = list_findings(charts)
    on_request = build_requested_charts(release)
    papers = render_documents(files, names, facts.notice)
    kinds = list_file_kinds(facts)
    common = _build_common_values(facts) | {
        "findings": found,
        "kinds": kinds,
        "of_table": [name for kind in kinds if kind.shelf == "tables" for name in kind.names],
        "sizes": {name: number_format.format_size(len(content)) for name, content in files.items()},
        "get_address": get_address,
        "titles": {document.source: document.title for document in papers},
        "reviews": _list_reviews(facts, tables),
        "more": [page for page in PAGES[1:] if page.name in SHAPES],
    }
    pages: dict[str, bytes] = {}

    def add(page: Page, template: str, **own: object) -> None:
        # A page's own values override, because a table on request may have fewer cohorts than the release.
        pages[page.file] = _render(page, common | own, template)

    for page in PAGES:
        add(page, "chart_page" if page.lead else page.name, page_charts=charts.get(page.name, ()))
    for name, label in common["councils"].items():
        council = build_council_values(charts, found, name)
        of_council = quotes.get(council["area"].code)
        add(Page(name_council_page(name), label, ""), "council", council=council, quotes=of_council)
    for request in requested:
        page = Page(get_page_name(request.name), request.table.title, "")
        [chart] = shown = on_request[page.name]
        own = {"page_cohorts": _label_cohorts(request.cohorts), "in_each_area": chart.in_each_area}
        add(page, "request", request=request, page_charts=shown, **own)
    for document in papers:
        add(Page(document.name, document.title, ""), "document", document=document)
    pages[QUOTES_FILE] = whole_files.format_json({code: each.facts for code, each in quotes.items()})
    return pages | _build_downloads(charts | on_request)


def build_site_downloads(release: ReleasedFigures) -> dict[str, bytes]:
    """Return the CSV files of figures by name, made only from the tables of a release."""
    return _build_downloads(build_charts(release) | build_requested_charts(release))


def _build_downloads(charts: Mapping[str, tuple[Chart, ...]]) -> dict[str, bytes]:
    """Return one CSV file per chart: a line per figure, as the page shows it, all councils together included."""
    rows = {
        chart.shape.name: [row for panel in chart.panels for line in panel.lines for row in _iter_rows(panel, line)]
        for shown in charts.values()
        for chart in shown
    }
    return {
        f"{name}.csv": whole_files.format_csv([*lines[0]], [[*row.values()] for row in lines]).encode()
        for name, lines in rows.items()
    }


def _iter_rows(panel: Panel, line: PanelRow) -> Iterator[dict[str, str]]:
    area, row = (line.label, "") if panel.shape.by_area else (panel.area_name, line.label)
    for heading, figure in zip(panel.shape.columns, line.figures, strict=True):
        # With as many decimals as the page shows.
        ends = {"figure": figure.value, "lower_95": figure.lower, "upper_95": figure.upper}
        numbers = {name: "" if number is None else f"{number:.{figure.decimals}f}" for name, number in ends.items()}
        about = {"cohort": line.cohort or panel.cohort, "area_code": line.area.code, "area": area, "row": row}
        symbol = {"flag": figure.flag or "", "flag_meaning": schema.FLAG_MEANINGS[figure.flag] if figure.flag else ""}
        measured = {"column": heading, "measure": figure.measure.name, "unit": figure.measure.unit}
        yield about | measured | numbers | symbol | {"series_break": schema.BREAK if line.broken else ""}


def _build_common_values(facts: ReleaseFacts) -> dict[str, Any]:
    """Return the values that every page may show."""
    cohorts = _label_cohorts(facts.cohorts)
    return {
        "site": TITLE,
        "facts": facts,
        "pages": PAGES,
        "cohorts": cohorts,
        "page_cohorts": cohorts,
        "requested": {get_page_name(each.name): each for each in facts.on_request.tables},
        "councils": {area.councils[0]: area.name for area in facts.areas if area.level == geography.LOCAL_AUTHORITY},
        "name_council_page": name_council_page,
        "choices": {area.code: area.name for area in facts.areas[1:]},
        "not_sent": missing.format_missing(facts.missing),
        "breaks": missing.explain_breaks(facts.cohorts, facts.councils, facts.missing),
        "statements": missing.explain_missing(facts.missing, facts.councils),
        "gld_goals": len(GLD_GOALS),
        "schema": schema,
        "csv_nothing": csv_files.NOTHING,
        "tables": facts.tables,
        "sources": {source for table in facts.tables.values() for source in FAMILIES[table.family].sources},
        "signing": signing,
        "database": description.DATABASE_FILE,
        "licence": description.OGL_NAME,
        "made_up": _MADE_UP,
    }


def _list_reviews(facts: ReleaseFacts, tables: Mapping[str, pa.Table]) -> list[str]:
    """Return the health visitor reviews that any figure is published of, in the order of the tables."""
    found: dict[str, None] = {}
    for name, table in facts.tables.items():
        if REVIEW_FILTER in (each.name for each in table.filters):
            rows = tables[name].to_pydict()
            for at, review in enumerate(rows[REVIEW_FILTER]):
                if any(rows[measure.name][at] is not None for measure in table.measures):
                    found.setdefault(review)
    return list(found)


def _label_cohorts(cohorts: Iterable[str]) -> dict[str, str]:
    return {cohort: Cohort(cohort).label for cohort in sorted(cohorts)}


def _render(page: Page, values: Mapping[str, Any], template: str) -> bytes:
    script = (_TEMPLATES / "script.js").read_text(encoding="utf-8").strip()
    # The security policy of the page runs the script with this hash and no other.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = {"page": page, "script": script, "script_digest": digest}
    return kit.render(_TEMPLATES, f"{template}.html.j2", **values, **own).encode()


_TO_BUNDLE = 'href="../'
_TO_PAGE = re.compile(r'href="(?![#.]|[a-z]+:|downloads\.html|about\.html)')
"""A link to another page of the bundle, except the two pages that say more next to the bundles than inside one."""
_REPLACED = re.compile(r"<!-- (upcoming|beside|requests|register) -->.*?<!-- /\1 -->", re.DOTALL)
"""Placeholders in a bundle's page for content that changes after the bundle is made, and for links to files next to the
bundle, which would be broken in an unpacked archive."""


def publish_site(
    release_dir: Path,
    version: str,
    upcoming: Sequence[directory_files.Upcoming] | None,
    register: directory_files.Register | None,
    withdrawn: Collection[str],
) -> None:
    """Copy the page of `version` into `release_dir`, with links to that bundle's files and to files next to it.

    The copy links to archives, analyst database and synthetic children, and lists the announced releases (`upcoming`,
    None without a calendar). If there is a register, the copy has a page of its requests. `withdrawn` are withdrawn
    versions.

    Pages are replaced one after the other, but each links to the pages of one release only, so a reader never mixes
    two. Pages that the release does not have are removed.
    """
    children = f"{synthetic_folder.SYNTHETIC_FOLDER}/{version}"
    values: dict[str, Any] = {
        "upcoming": upcoming,
        "directory_files": directory_files,
        "synthetic": children if (release_dir / children).is_dir() else "",
        "children": synthetic_folder,
        "archives": [f"{version}.{suffix}" for suffix in archive.ARCHIVES],
        "database": description.DATABASE_FILE,
        "register": register,
        "requests_page": REQUESTS.file,
        "withdrawn": withdrawn,
    }
    names = ["upcoming", "beside", "requests"]
    if register is not None:
        names.append("register")
        values |= {
            "places": _find_table_pages(release_dir, version, register),
            "labels": _label_cohorts(register.cohorts),
        }
    fragments = {name: kit.render(_TEMPLATES, f"{name}.html.j2", **values).strip() for name in names}
    with whole_files.stage(release_dir / SITE_FOLDER) as staged:
        # A copy, not a symbolic link: browsers resolve links from the address that they opened, and some web servers do
        # not follow symbolic links.
        shutil.copytree(release_dir / version / SITE_FOLDER, staged)
        if register is not None:
            (staged / REQUESTS.file).write_bytes(_render_requests_page(release_dir / version))
        for page in staged.glob("*.html"):
            # Both steps together: a link to another page becomes `../site/`, and every link out of the folder then gets
            # the version, so that pages link to the pages of one release only.
            text = _TO_PAGE.sub(f'href="../{SITE_FOLDER}/', page.read_text(encoding="utf-8"))
            text = _REPLACED.sub(lambda found: fragments[found[1]], text.replace(_TO_BUNDLE, f"{_TO_BUNDLE}{version}/"))
            page.write_text(text, encoding="utf-8", newline="\n")
        whole_files.replace_folder(staged, release_dir / SITE_FOLDER)


def _render_requests_page(bundle: Path) -> bytes:
    """Render the page of requests in the style of the release's other pages, with a placeholder for the register."""
    package = json.loads((bundle / DATAPACKAGE_FILE).read_bytes())
    [by, *_] = package["contributors"]
    facts = {"version": package["version"], "published_on": package["created"][:10], "notice": package.get("notice")}
    facts |= {"publisher": by["title"], "contact": by["email"]}
    own = {
        "site": TITLE,
        "facts": facts,
        "pages": PAGES,
        "cohorts": _label_cohorts(package["cohorts"]),
        "licence": description.OGL_NAME,
    }
    return _render(REQUESTS, own, "requests_page")


def _find_table_pages(release_dir: Path, version: str, register: directory_files.Register) -> dict[str, str]:
    """Return the link to each requested table's page: in the release `version`, or in the release that answered it."""
    found: dict[str, str] = {}
    for each in register.requests:
        for release in filter(None, (version, each.answered_in)):
            if (release_dir / release / SITE_FOLDER / each.page).is_file():
                found.setdefault(each.name, f"../{release}/{SITE_FOLDER}/{each.page}")
    return found
