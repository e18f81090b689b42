"""The pages of a bundle: README, licence, methodology, statements and data dictionary; their text is in `templates/`.

`reconciliation.csv` compares our percentages at a good level of development with those of the Department for Education,
which are exact counts of all children assessed in a council's schools. Both describe this year's children, not children
in general, so 95 in 100 official figures should be within our intervals.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ndl_export.facts.description import OGL_NAME
from ndl_export.facts.missing import explain_breaks, explain_missing
from ndl_export.facts.noisy_counts import collect_plans, list_plan_files
from ndl_export.facts.official import OfficialFigure, read_official_figures
from ndl_export.facts.on_request import FURTHER_COUNTS_FILE, ON_REQUEST_FILE, RequestedTable
from ndl_export.facts.release_facts import TITLE, ReleaseFacts
from ndl_export.files.whole_files import format_csv
from ndl_export.pages import kit
from ndl_export.tables import FAMILIES, TABLES, Measure, Table, csv_files, geography, pupil, schema
from ndl_export.tables.model import MEASURES
from ndl_export.tables.rows import Levels, list_allowed, list_levels, parse_detail
from sources.reference import code_lists, read_rows
from sources.reference.cohorts import Cohort

_TEMPLATES = Path(__file__).parent / "templates"
Lines = Sequence[Mapping[str, str]]


def render_readme_page(facts: ReleaseFacts) -> str:
    """Render README.md: the content of the bundle and how to check it."""
    return render_page(
        "README.md",
        facts,
        councils="; ".join(area.name for area in facts.areas if area.level == geography.LOCAL_AUTHORITY),
        tables=TABLES.values(),
        kinds=list_file_kinds(facts)[:-1],
    )


def render_methodology_page(facts: ReleaseFacts) -> str:
    """Render methodology.md: what the figures are and how to use them."""
    return render_page(
        "methodology.md",
        facts,
        code_lists=code_lists,
        geography=geography,
        schema=schema,
        families=FAMILIES.values(),
        breaks=explain_breaks(facts.cohorts, facts.councils, facts.missing),
        left_out=_list_left_out(facts),
        nothing=csv_files.NOTHING,
    )


def _list_left_out(facts: ReleaseFacts) -> list[dict[str, Any]]:
    """Return the rows that the plans leave out, in the order of the plans, once for all cohorts without them."""
    names = {area.code: area.name for area in facts.areas}
    found: dict[tuple[str, Levels, tuple[str, ...]], list[str]] = {}
    for (cohort, _), plan in collect_plans(facts.noisy_counts).items():
        detail = parse_detail(plan)
        for table, rows in detail.left_out.items() if detail else ():
            for levels, codes in rows.items():
                if areas := tuple(sorted(names[code] for code in codes if code in names)):
                    found.setdefault((table, levels, areas), []).append(cohort)
    return [
        {"table": table, "row": " / ".join(levels), "areas": areas, "cohorts": cohorts}
        for (table, levels, areas), cohorts in found.items()
    ]


def render_quality_page(facts: ReleaseFacts, tables: Mapping[str, pa.Table], reconciliation: Lines) -> str:
    """Render quality.md; `reconciliation` are the lines of `reconciliation.csv`."""
    linkage = tables["linkage_quality"]
    flagged = linkage.filter(pc.equal(linkage[f"{_LINKED_PERCENT}_flag"], schema.Flag.LINKAGE.value))
    return render_page(
        "quality.md",
        facts,
        reliability=build_reliability_grid(tables, facts.tables),
        linkage=[row for row in linkage.to_pylist() if {row[name] for name in _LINKAGE_FILTERS} == {"Total"}],
        newest=Cohort(max(facts.cohorts)).label,
        first_area="all councils together" if facts.areas[0].level == geography.ALL_TOGETHER else facts.areas[0].name,
        gaps=_find_linkage_gaps(linkage),
        doubtful=", ".join(dict.fromkeys(flagged["breakdown"].to_pylist())),
        decimals=_count_linked_decimals,
        within=_list_within(reconciliation),
    )


def render_ai_readiness_page(facts: ReleaseFacts, tables: Mapping[str, pa.Table], reconciliation: Lines) -> str:
    """Render ai_readiness.md: the pillars of the government's guidelines, the files that meet each, and what was tried.

    `reconciliation` are the lines of `reconciliation.csv`. A test runs every command of the page.
    """
    flags = Counter(
        flag
        for name, table in facts.tables.items()
        for measure in table.measures
        if not measure.is_count
        for flag in tables[name][schema.get_column_name(measure, schema.ColumnRole.FLAG)].to_pylist()
    )
    counts = {
        "topics": pc.count_distinct(tables["gld_headline"]["breakdown_topic"]).as_py(),
        "reliable": f"{flags[None]:,}",
        "figures": f"{sum(flags[flag] for flag in _COUNTED if flag != schema.Flag.NOT_AVAILABLE):,}",
    }
    return render_page("ai_readiness.md", facts, tables=tables, counts=counts, within=_list_within(reconciliation))


def render_page(name: str, facts: ReleaseFacts, **values: object) -> str:
    """Render the page `name` from its template, with `values` and those that several templates share."""
    by_cohort = "_{cohort}" if len(facts.cohorts) > 1 else ""
    return kit.render(
        _TEMPLATES,
        name,
        facts=facts,
        title=TITLE,
        licence=OGL_NAME,
        cohorts=", ".join(Cohort(cohort).label for cohort in facts.cohorts),
        labels={cohort: Cohort(cohort).label for cohort in facts.cohorts},
        missing=kit.format_bullets(explain_missing(facts.missing, facts.councils, facts.on_request.tables))
        or "Every council has sent every source.",
        plans=f"`noise_plan_<family>{'_<cohort>' if by_cohort else ''}.json`",
        plan_file=f"noise_plan_{{family}}{by_cohort}.json",
        **values,
    )


_LINKED_PERCENT = "linked_children_percent"
_LINKAGE_FILTERS = ("linked_to_review", "breakdown_topic", "breakdown")
_COUNTED = (None, schema.Flag.UNRELIABLE, schema.Flag.LINKAGE, schema.Flag.WITHHELD, schema.Flag.NOT_AVAILABLE)
"""Flags of the figures that are counted, NULL first."""


def build_reliability_grid(tables: Mapping[str, pa.Table], defined: Mapping[str, Table] = TABLES) -> str:
    """Return the number of figures by flag, and the median half-width of intervals, for each table and rate."""
    flags = ("reliable", "unreliable", "many links missed", "withheld", "not available")
    return kit.format_grid(
        ("table", "figure", *flags, "median half-width of the interval"),
        (
            _build_reliability_row(name, measure, tables[name])
            for name, table in defined.items()
            for measure in table.measures
            if not measure.is_count
        ),
    )


def _build_reliability_row(name: str, measure: Measure, data: pa.Table) -> tuple[str, ...]:
    found = Counter(data[schema.get_column_name(measure, schema.ColumnRole.FLAG)].to_pylist())
    lower, upper = (
        data[schema.get_column_name(measure, role)] for role in (schema.ColumnRole.LOWER, schema.ColumnRole.UPPER)
    )
    # Figures that are not available have no interval.
    widths = pc.subtract(upper, lower).drop_null().to_numpy()
    half = float(np.median(widths)) / 2 if len(widths) else 0.0
    shown = f"{half:.1f} points" if measure.kind.unit else f"{half:.2f} {measure.of}"
    numbers = (f"{found[flag]:,}" for flag in _COUNTED)
    return (f"`{name}`", measure.label, *numbers, shown if len(widths) else "")


def _count_linked_decimals(row: Mapping[str, Any]) -> int:
    """Return the decimals that a row of linkage quality is shown with."""
    return schema.count_decimals(MEASURES[_LINKED_PERCENT], row[f"{_LINKED_PERCENT}_flag"])


def _find_linkage_gaps(linkage: pa.Table) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return the groups linked least and most, by characteristic, in the first area and the newest cohort."""
    newest = linkage.filter(pc.equal(linkage["time_period"], pc.max(linkage["time_period"]))).to_pylist()
    topics: dict[str, list[dict[str, Any]]] = {}
    for row in newest:
        # The first row is about all councils together, whatever that level is called in the release.
        is_first_area = row["geographic_level"] == newest[0]["geographic_level"]
        is_group = row["linked_to_review"] == "Total" != row["breakdown_topic"]
        if is_first_area and is_group and row[_LINKED_PERCENT] is not None:
            topics.setdefault(row["breakdown_topic"], []).append(row)
    ordered = {topic: sorted(rows, key=itemgetter(_LINKED_PERCENT)) for topic, rows in topics.items()}
    # A topic that shows only one group has no lowest and highest.
    return {topic: (rows[0], rows[-1]) for topic, rows in ordered.items() if len(rows) > 1}


def _list_within(reconciliation: Lines) -> list[str]:
    """Return whether each official figure is within our interval (yes or no), if we have one."""
    return [line["within_interval"] for line in reconciliation if line["within_interval"]]


_GROUP = ("geographic_level", "area_code", "area_name", "breakdown_topic", "breakdown", "sex")
_COMPARED = ("official_percent", "percent", "lower_ci", "upper_ci", "difference", "within_interval", "source", "note")
RECONCILED = ("time_period", *_GROUP, *_COMPARED)
"""Columns of `reconciliation.csv`."""


def reconcile(gld_headline: pa.Table, cohorts: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the lines of `reconciliation.csv`, one for each official figure of an area in the release."""
    keys = ("time_period", schema.LEVEL, schema.OWN_AREA[0], "breakdown_topic", "breakdown", "sex")
    ours = {tuple(row[key] for key in keys): row for row in gld_headline.to_pylist()}
    # Official figures of areas or groups that the release does not have are left out: there is nothing to compare.
    compared = (figure for cohort in cohorts for figure in read_official_figures(cohort) if figure.key in ours)
    return [dict(zip(RECONCILED, _reconcile(figure, ours[figure.key]), strict=True)) for figure in compared]


def _reconcile(figure: OfficialFigure, ours: dict[str, Any]) -> tuple[str, ...]:
    percent, lower, upper = (ours[schema.get_column_name(pupil.GLD_PERCENT, role)] for role in schema.WITH_INTERVAL)
    flag = ours[schema.get_column_name(pupil.GLD_PERCENT, schema.ColumnRole.FLAG)]
    # A withheld figure still has its interval, so the comparison counts it.
    available = flag != schema.Flag.NOT_AVAILABLE
    inside = available and lower <= figure.percent <= upper
    notes = [] if inside else ["The published figure is outside our 95% interval"]
    if flag == schema.Flag.WITHHELD:
        notes.append("Our figure is withheld because it is too uncertain")
    if not available:
        notes = ["Not available: the council has sent no EYFS Profile"]
    return (
        figure.cohort,
        *(getattr(figure, name) for name in _GROUP),
        f"{figure.percent:.2f}",
        "" if percent is None else f"{percent:.{schema.count_decimals(pupil.GLD_PERCENT, flag)}f}",
        f"{lower:.2f}" if available else "",
        f"{upper:.2f}" if available else "",
        "" if percent is None else f"{percent - figure.percent:.2f}",
        ("yes" if inside else "no") if available else "",
        figure.source,
        "; ".join(notes),
    )


_FIELDS = ("table", "column", "role", "type", "unit", "decimals", "label", "description", "levels")
_SHARED = (schema.ColumnRole.TIME, schema.ColumnRole.PLACE)
_TYPES = {"string": "text", "int64": "whole number", "double": "number"}


def build_data_dictionary_csv(defined: Mapping[str, Table] = TABLES) -> str:
    """Return one line per column of the tables in `defined`, in order; levels are separated by ' | '."""
    lines = (
        (
            table.name,
            column.name,
            column.role.value,
            _TYPES[str(column.type)],
            _describe_unit(column),
            str(column.measure.decimals) if column.measure and column.role is schema.ColumnRole.FIGURE else "",
            column.label,
            column.description,
            " | ".join(list_allowed(table, column)),
        )
        for table in defined.values()
        for column in schema.list_columns(table)
    )
    return format_csv(_FIELDS, lines)


def render_data_dictionary_page(requested: Sequence[RequestedTable] = ()) -> str:
    """Return the data dictionary as a page; columns that all tables share are listed once."""
    tables = [("##", table, "") for table in TABLES.values()]
    on_request = [("###", each.table, each.origin) for each in requested]
    return kit.render(
        _TEMPLATES,
        "data_dictionary.md",
        nothing=csv_files.NOTHING,
        schema=schema,
        # Time and place columns are the same in every table, so the first table has them all.
        shared=[column for column in schema.list_columns(next(iter(TABLES.values()))) if column.role in _SHARED],
        parts=[tables, *([on_request] if requested else [])],
        own_columns=lambda table: [column for column in schema.list_columns(table) if column.role not in _SHARED],
        levels=list_levels,
        types=_TYPES,
        unit=_describe_unit,
    )


def _describe_unit(column: schema.PublishedColumn) -> str:
    if column.measure is None or column.role is schema.ColumnRole.FLAG:
        return ""
    return column.measure.unit_in_words


_ROWS = [
    (row["shelf"], row["names"].split(), row["about"]) for row in read_rows(Path(__file__).parent / "bundle_files.csv")
]
"""The files of a bundle, as its README and its page of downloads list them.

In the names, `<table>`, `<plan>` and `<further-plan>` each stand for several; the shelf is a section of the page of
downloads.
"""
_FOR_REQUESTS = {ON_REQUEST_FILE, FURTHER_COUNTS_FILE}
FIXED_NAMES = (
    frozenset(name for _, names, _ in _ROWS for name in names if "<" not in name and "/" not in name) - _FOR_REQUESTS
)
"""Files outside `site` that every bundle has, under the same name."""


@dataclass(frozen=True)
class FileKind:
    """Files that the README describes in one row; `names` are as written there, `files` are the release's own names."""

    shelf: str
    names: tuple[str, ...]
    about: str
    files: tuple[str, ...]


def list_file_kinds(facts: ReleaseFacts) -> list[FileKind]:
    """Return the kinds of files that a release has, in the order of the README; the last one is the README itself."""
    on_request = facts.on_request
    cohort = "_<cohort>" if len(facts.cohorts) > 1 else ""
    further = [*on_request.plan_files.values()]
    written = {"<plan>": [f"noise_plan_<family>{cohort}.json"], "<further-plan>": further}
    meant = {"<plan>": [*list_plan_files(facts.cohorts).values()], "<further-plan>": further}
    review = " or for a clerical review of links" if on_request.is_reviewed else ""
    return [
        FileKind(
            shelf,
            tuple(each for name in names for each in written.get(name, [name])),
            about.format(review=review),
            tuple(
                sorted(
                    name.replace("<table>", table)
                    for each in names
                    for name in meant.get(each, [each])
                    for table in (facts.tables if "<table>" in name else [""])
                )
            ),
        )
        for shelf, names, about in _ROWS
        if names[0] not in _FOR_REQUESTS or names[0] in on_request.files
    ]
