"""Pages of tables on request: one for each, with a chart and a table for each area, made as on other pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ndl_export.facts.on_request import RequestedTable, page_of_table
from ndl_export.pages.words import listed
from ndl_export.site.figures import Levels
from ndl_export.site.panels import Chart, InEachArea, Release, Shape
from ndl_export.site.phrases import outset
from ndl_export.tables import ALL, Table
from ndl_export.tables.rows import rows

MOST_DRAWN, LONGEST_LABEL = 40, 80
"""Rows of a chart, and characters of what one is called: a table with more has no chart."""
_FITS_A_TELEPHONE = 43
"""Characters of a row's label; a chart with longer ones is not shown there."""
MOST_ROWS = 6_000
"""Rows of a page in all its areas and cohorts, some five megabytes; one with more shows all councils together alone."""


def requested_charts(release: Release, requested: Sequence[RequestedTable]) -> dict[str, tuple[Chart, ...]]:
    """The chart of each page, by its name."""
    return {page_of_table(each.name): (_chart(release, each),) for each in requested}


def _chart(release: Release, request: RequestedTable) -> Chart:
    table, own = request.table, replace(release, cohorts=tuple(sorted(request.cohorts)))
    by_label = labels(table)
    areas = sum(len(release.of(table.name, cohort).every) for cohort in own.cohorts)
    at_councils = all(block.councils for block in table.blocks)
    ratios = [measure for measure in table.measures if not measure.is_count]
    counts = [measure for measure in reversed(table.measures) if measure.is_count and not measure.as_linked]
    longest = max(map(len, by_label))
    shape = Shape(
        page_of_table(table.name),
        table.name,
        table.title,
        listed(entry.label for entry in table.filters),
        tuple(measure.label for measure in (*ratios, *counts)),
        "Figures",
        drawn=(0,) if len(by_label) <= MOST_DRAWN and longest <= LONGEST_LABEL else (),
        roomy=longest > _FITS_A_TELEPHONE,
        measures=tuple(measure.name for measure in (*ratios, *counts)),
    )
    wanted = {label: shape.wanted(levels) for label, levels in by_label.items()}
    together = not at_councils or areas * len(by_label) > MOST_ROWS
    return Chart(shape, InEachArea(shape, wanted, outset, together=together).panels(own))


def labels(table: Table) -> Mapping[str, Levels]:
    """The levels of each row of a table by what it is called: by its levels but the totals, with the words of their
    columns where these alone would not tell it from another."""
    found = [row.levels for row in rows(table, all_together=True)]
    plain = [_label(table, levels, named=False) for levels in found]
    of_columns = [set(each) - {ALL.label} for each in zip(*found, strict=True)]
    told_apart = len(set(plain)) == len(plain) and max(Counter(c for each in of_columns for c in each).values()) == 1
    return dict(
        zip(plain if told_apart else (_label(table, levels, named=True) for levels in found), found, strict=True)
    )


def _label(table: Table, levels: Levels, *, named: bool) -> str:
    parts = _parts(table, levels, named=named)
    return ", ".join(parts) or f"All {table.measures[0].of}"


def _parts(table: Table, levels: Levels, *, named: bool) -> Iterator[str]:
    for entry, level in zip(table.filters, levels, strict=True):
        if level != ALL.label:
            yield f"{entry.label}: {level}" if named else level
