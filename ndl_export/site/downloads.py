"""The figures of a chart as a file: one line a figure, just as the page shows them, all councils together included."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from ndl_export.site.figures import Figure
from ndl_export.site.panels import Chart, Line, Panel
from ndl_export.tables.schema import BREAK, FLAG_MEANINGS, NO_BREAK, Flag

HEADER = (
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


def chart_csv(chart: Chart) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEADER)
    for panel in chart.panels:
        for line in panel.lines:
            writer.writerows(_rows(panel, line))
    return stream.getvalue().encode()


def _rows(panel: Panel, line: Line) -> Iterator[tuple[str, ...]]:
    area, row = (line.label, "") if panel.shape.by_area else (panel.area_name, line.label)
    for heading, figure in zip(panel.shape.columns, line.figures, strict=True):
        numbers = (_number(figure, number) for number in (figure.value, figure.lower, figure.upper))
        meaning = FLAG_MEANINGS[figure.flag] if figure.flag is not Flag.RELIABLE else ""
        about = (line.cohort or panel.cohort, line.area.code, area, row, heading, figure.measure.name)
        broken = BREAK if line.broken else NO_BREAK
        yield (*about, figure.measure.unit, *numbers, figure.flag, meaning, broken)


def _number(figure: Figure, number: float | None) -> str:
    """As many decimals as the page shows."""
    return "" if number is None else f"{number:.{figure.measure.decimals}f}"
