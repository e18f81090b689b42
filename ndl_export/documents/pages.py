"""The prose pages of a bundle: README, licence, methodology and statements.

Their text is in `templates/`, where anyone can edit it. This module fills in what facts and definitions determine.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ndl_export.documents.data_dictionary import symbols_grid
from ndl_export.documents.markdown import bullets, grid
from ndl_export.facts.description import OGL_ADDRESS, OGL_NAME
from ndl_export.facts.missing import break_statements, statements
from ndl_export.facts.release_facts import TITLE, ReleaseFacts
from ndl_export.pages import kit
from ndl_export.pages.number_format import day
from ndl_export.tables import FAMILIES, TABLES, Measure, Table
from ndl_export.tables.ees import NOTHING
from ndl_export.tables.geography import ALL_TOGETHER, DEVOLVED, LOCAL_AUTHORITY
from ndl_export.tables.schema import ColumnRole, Flag, column_name
from sources.reference import code_lists
from sources.reference.cohorts import Cohort
from sources.reference.goals import GLD_GOALS, GOALS

_NO_BREAK = "No break is known in this release: no row is flagged."
_TEMPLATES = Path(__file__).parent / "templates"


def readme_page(facts: ReleaseFacts) -> str:
    """Render README.md: the content of the bundle and how to check it."""
    return _filled(
        "README.md",
        facts,
        councils="; ".join(area.name for area in facts.areas if area.level == LOCAL_AUTHORITY),
        tables=grid(("table", "title", "about"), ((f"`{t.name}`", t.title, t.description) for t in TABLES.values())),
        requested=_requested(facts),
        further_plans=", ".join(f"`{name}`" for name in facts.on_request.plan_files.values()),
    )


def _requested(facts: ReleaseFacts) -> str:
    return grid(
        ("table", "title", "years", "who asked, when and what for", "first in"),
        (
            (
                f"`{each.name}`",
                each.table.title,
                ", ".join(Cohort(cohort).label for cohort in each.cohorts),
                f"{each.asked_by}, {day(each.asked_on)}: {each.purpose}",
                each.release,
            )
            for each in facts.on_request.tables
        ),
    )


def licence_page(facts: ReleaseFacts) -> str:
    """Render LICENCE.md: the Open Government Licence and the attribution that it requires."""
    return _filled("LICENCE.md", facts, licence_address=OGL_ADDRESS)


def methodology_page(facts: ReleaseFacts) -> str:
    """Render methodology.md: what the figures are and how to use them."""
    return _filled(
        "methodology.md",
        facts,
        gld_goals_number=len(GLD_GOALS),
        gld_goals="; ".join(GOALS[goal] for goal in GLD_GOALS),
        goals_number=len(GOALS),
        populations=_populations(facts),
        requested=_requested(facts),
        linked_on_request=_corrected_too(facts),
        further_plans="`noise_plan_<family>_<cohort>_<release>.json`",
        geography=_geography(facts),
        deprivation_index=code_lists.IMD_INDEX,
        deprivation_source=code_lists.IMD_SOURCE,
        breaks=bullets(break_statements(facts.cohorts, facts.councils, facts.missing)) or _NO_BREAK,
        symbols=symbols_grid(),
        nothing=NOTHING,
    )


def quality_page(facts: ReleaseFacts, tables: Mapping[str, pa.Table], reconciliation: str) -> str:
    """Render quality.md: quality of the figures and of linkage; `reconciliation` is the text of
    `reconciliation.csv`."""
    return _filled(
        "quality.md",
        facts,
        reliability=reliability_grid(tables, facts.tables),
        linkage=linkage_grid(tables[LINKAGE_TABLE], facts.cohorts),
        newest=Cohort(max(facts.cohorts)).label,
        first_area="all councils together" if facts.areas[0].level == ALL_TOGETHER else facts.areas[0].name,
        gaps=linkage_gaps(tables[LINKAGE_TABLE]),
        doubtful=doubtful_groups(tables[LINKAGE_TABLE]),
        coherence=coherence(reconciliation),
    )


def five_safes_page(facts: ReleaseFacts) -> str:
    """Render five_safes.md: the Five Safes and the motivated intruder test."""
    return _filled("five_safes.md", facts, inference=facts.privacy_record["inference"])


def code_of_practice_page(facts: ReleaseFacts, previous: str | None) -> str:
    """Render code_of_practice.md: status, contact and revisions; `previous` is the version that this one replaces, or
    None."""
    return _filled("code_of_practice.md", facts, previous=previous)


def ai_readiness_page(facts: ReleaseFacts, tables: Mapping[str, pa.Table]) -> str:
    """Render ai_readiness.md: the four pillars of the government's guidelines, with the files that show how each is
    met."""
    flags = Counter(
        flag
        for name, table in facts.tables.items()
        for measure in table.measures
        if not measure.is_count
        for flag in tables[name][column_name(measure, ColumnRole.FLAG)].to_pylist()
    )
    counts = {
        "tables": len(tables),
        "rows": sum(data.num_rows for data in tables.values()),
        "columns": sum(data.num_columns for data in tables.values()),
        "reliable": f"{flags[None]:,}",
        "figures": f"{sum(flags[flag] for flag in _COUNTED if flag != Flag.NOT_AVAILABLE):,}",
    }
    return _filled("ai_readiness.md", facts, counts=counts)


def _filled(name: str, facts: ReleaseFacts, **values: object) -> str:
    """Render the template `name` with `values` and those that several templates share."""
    by_cohort = "_{cohort}" if len(facts.cohorts) > 1 else ""
    return kit.render(
        _TEMPLATES,
        name,
        facts=facts,
        title=TITLE,
        licence=OGL_NAME,
        cohorts=", ".join(Cohort(cohort).label for cohort in facts.cohorts),
        missing=bullets(statements(facts.missing, facts.councils, facts.on_request.tables))
        or "Every council has sent every source.",
        plans=f"`noise_plan_<family>{'_<cohort>' if by_cohort else ''}.json`",
        plan_file=f"noise_plan_{{family}}{by_cohort}.json",
        **values,
    )


def _populations(facts: ReleaseFacts) -> str:
    def names_of(family: str) -> str:
        return ", ".join(f"`{name}`" for name, table in facts.tables.items() if table.family == family)

    return grid(
        ("tables", "one row of the data is", "population"),
        ((names_of(family.name), f"one {family.unit}", family.population) for family in FAMILIES.values()),
    )


def _corrected_too(facts: ReleaseFacts) -> str:
    """Return the requested tables whose figures are corrected for linkage error, each after a comma."""
    return "".join(
        f", `{name}`"
        for name, table in facts.on_request.definitions.items()
        if any(measure.as_linked for measure in table.measures)
    )


def _geography(facts: ReleaseFacts) -> str:
    top, lines = facts.areas[0], []
    if top.level == ALL_TOGETHER:
        lines.append(
            f"Rows of level `{ALL_TOGETHER}` are all {len(top.councils)} councils together. They have no official"
            " geography: they are left out of the CSV files for Explore Education Statistics, and in every other form."
        )
    lines += [
        f"{area.name} has rows of its own, at level `{DEVOLVED}`: they repeat the children of its councils."
        for area in facts.areas
        if area.level == DEVOLVED
    ]
    return bullets(lines)


LINKAGE_TABLE, LINKED_PERCENT = "linkage_quality", "linked_children_percent"
_COUNTED = (None, Flag.UNRELIABLE, Flag.LINKAGE, Flag.WITHHELD, Flag.NOT_AVAILABLE)
"""Flags of the figures that are counted, NULL first."""


def reliability_grid(tables: Mapping[str, pa.Table], defined: Mapping[str, Table] = TABLES) -> str:
    """Return the number of figures by flag, and the median half-width of the intervals, for each table and rate.

    `defined` maps names to tables.
    """
    return grid(
        (
            "table",
            "figure",
            "reliable",
            "unreliable",
            "many links missed",
            "withheld",
            "not available",
            "median half-width of the interval",
        ),
        (
            _reliability(name, measure, tables[name])
            for name, table in defined.items()
            for measure in table.measures
            if not measure.is_count
        ),
    )


def _reliability(name: str, measure: Measure, data: pa.Table) -> tuple[str, ...]:
    flags = data[column_name(measure, ColumnRole.FLAG)]
    found = Counter(flags.to_pylist())
    numbers = [found[flag] for flag in _COUNTED]
    width = pc.subtract(
        data[column_name(measure, ColumnRole.UPPER)], data[column_name(measure, ColumnRole.LOWER)]
    ).drop_null()
    return (f"`{name}`", measure.label, *(f"{number:,}" for number in numbers), _half_width(measure, width.to_numpy()))


def _half_width(measure: Measure, widths: NDArray[np.float64]) -> str:
    if not len(widths):
        return ""
    half = float(np.median(widths)) / 2
    return f"{half:.1f} points" if measure.kind.unit else f"{half:.2f} {measure.of}"


def linkage_grid(linkage: pa.Table, cohorts: Collection[str]) -> str:
    """Return the percentage of children linked to a two-year review, by area and cohort, with its interval."""
    totals = linkage
    for column in ("linked_to_review", "breakdown_topic", "breakdown"):
        totals = totals.filter(pc.equal(totals[column], "Total"))
    if len(cohorts) == 1:
        return grid(
            ("area", "linked, %", "95% interval"), (_linked(row, row["area_name"]) for row in totals.to_pylist())
        )
    return grid(
        ("cohort", "area", "linked, %", "95% interval"),
        ((Cohort(row["time_period"]).label, *_linked(row, row["area_name"])) for row in totals.to_pylist()),
    )


def linkage_gaps(linkage: pa.Table) -> str:
    """Return the groups with the lowest and highest percentage linked, for each characteristic.

    The figures are those of the first area in the newest cohort.
    """
    linkage = linkage.filter(pc.equal(linkage["time_period"], pc.max(linkage["time_period"])))
    level = linkage["geographic_level"][0]
    ours = linkage.filter(pc.equal(linkage["geographic_level"], level))
    ours = ours.filter(
        pc.and_(pc.equal(ours["linked_to_review"], "Total"), pc.not_equal(ours["breakdown_topic"], "Total"))
    )
    ours = ours.filter(pc.is_valid(ours[LINKED_PERCENT]))
    return bullets(_gaps(ours.to_pylist()))


def doubtful_groups(linkage: pa.Table) -> str:
    """Return the groups whose linked figures are flagged because many links are missed, separated by commas."""
    flagged = linkage.filter(pc.equal(linkage[f"{LINKED_PERCENT}_flag"], Flag.LINKAGE.value))
    return ", ".join(dict.fromkeys(flagged["breakdown"].to_pylist()))


def _gaps(rows: list[dict[str, object]]) -> Iterator[str]:
    for topic in dict.fromkeys(row["breakdown_topic"] for row in rows):
        groups = sorted(
            (row for row in rows if row["breakdown_topic"] == topic), key=lambda row: float(str(row[LINKED_PERCENT]))
        )
        if len(groups) > 1:
            low, high = groups[0], groups[-1]
            yield f"{topic}: from {_share_of(low)} to {_share_of(high)}"


def _share_of(row: Mapping[str, object]) -> str:
    name, percent, interval = _linked(row, str(row["breakdown"]))
    return f"{percent}% ({interval}) of `{name}`"


def _linked(row: Mapping[str, object], name: str) -> tuple[str, str, str]:
    percent, lower, upper = (row[LINKED_PERCENT + suffix] for suffix in ("", "_lower_ci", "_upper_ci"))
    interval = "" if lower is None else f"{lower:.1f} to {upper:.1f}"
    return name, "not shown" if percent is None else f"{percent:.1f}", interval


def coherence(reconciliation: str) -> str:
    """Return a sentence on how many official figures are within our intervals; `reconciliation` is the text of
    `reconciliation.csv`."""
    told = [line["within_interval"] for line in csv.DictReader(io.StringIO(reconciliation)) if line["within_interval"]]
    if not told:
        return "There are no official figures to compare with yet."
    return (
        f"Of {len(told)} published percentages at a good level of development for the same areas and groups,"
        f" {told.count('yes')} lie within our 95% intervals; `reconciliation.csv` has each. Official figures count"
        " every child assessed, ours those in the extracts."
    )
