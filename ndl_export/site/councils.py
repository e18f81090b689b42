"""Three findings about each area, and the page of each council, selected from the panels of the other pages."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ndl_export.facts.official import read_official_cohorts
from ndl_export.pages.charts import fit_scale
from ndl_export.site.figures import EVERYONE, Concluded, Figure, Line, find_official_group
from ndl_export.site.panels import Chart, Panel, Shape
from ndl_export.tables.geography import LOCAL_AUTHORITY, REGIONS_ABOVE, Geography
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

Charts = Mapping[str, Sequence[Chart]]
"""The charts of each page, by page name."""
_BESIDE = ("gld-by-area", "gap-by-area", "neither-by-area")
_SERIES = Shape(
    "official-series",
    "",
    "Good level of development, official statistics",
    "Year",
    ("The council, official",),
    "Official statistics over time",
    written=None,
    over_time=True,
)


@dataclass(frozen=True)
class Findings:
    """Findings about an area: how many children were ready, their gap by free school meals, and who had seen them.

    `official` are the council's and England's official figures for all children.
    """

    cohort: str
    area: Geography
    together: bool
    name: str
    ready: Figure
    gap: tuple[Figure, ...]
    seen: Panel
    official: tuple[tuple[str, Figure], ...]


def name_council_page(council: str) -> str:
    return f"council-{council}"


def list_findings(charts: Charts) -> tuple[Findings, ...]:
    """Return the findings about every area in every cohort, all councils together first."""
    by_name = _index_charts(charts)
    ready, gaps, seen = (by_name[name].panels for name in ("gld-by-area", "gap-by-area", "seen-by"))
    of_area = {(panel.cohort, panel.area.code): panel for panel in seen if panel.area}
    found = []
    for panel, other in zip(ready, gaps, strict=True):
        for number, (line, gap) in enumerate(zip(panel.lines, other.lines, strict=True)):
            england, own = find_official_group(panel.cohort, line.area, EVERYONE)
            official = tuple((name, each) for name, each in ((line.area.name, own), ("England", england)) if each)
            seen_by = of_area[panel.cohort, line.area.code]
            figures = line.figures[0], gap.figures, seen_by, official
            found.append(Findings(panel.cohort, line.area, number == 0, line.label, *figures))
    return tuple(found)


def build_council_values(charts: Charts, found: Sequence[Findings], name: str) -> dict[str, Any]:
    """Return the content of the page of the participating council `name`, for the newest cohort that it sent.

    `stands_out` are conclusions with their page and chart. `beside` shows the council among others, if there are many
    only among those of its region (`of_region`).
    """
    code, by_name = get_place(name).new_la_code, _index_charts(charts)
    of_council = [each for each in found if each.area.code == code]
    # The newest cohort that the council sent, or the first one if it sent none.
    own = [each for each in of_council if each.area.available or each is of_council[0]][-1]
    panels = [next(p for p in by_name[chart].panels if p.cohort == own.cohort) for chart in _BESIDE]
    of_region = sum(each.area.level == LOCAL_AUTHORITY for each in panels[0].lines) > REGIONS_ABOVE
    return {
        "area": own.area,
        "findings": own,
        "target": _build_line(panels[0], code).target,
        "stands_out": list(_iter_conclusions(charts, code, own.cohort)),
        "beside": [_reduce_panel(panel, own.area, of_region=of_region) for panel in panels],
        "series": _build_series(own.area),
        "of_region": of_region,
    }


def _index_charts(charts: Charts) -> dict[str, Chart]:
    return {chart.shape.name: chart for shown in charts.values() for chart in shown}


def _build_line(panel: Panel, code: str) -> Line:
    return next(line for line in panel.lines if line.area.code == code)


def _iter_conclusions(charts: Charts, code: str, cohort: str) -> Iterator[tuple[Concluded, str, Shape]]:
    """Yield every conclusion about the council's children in which the data can say something."""
    for page, shown in charts.items():
        # The survey is about responses, not children.
        for chart in (chart for chart in shown if chart.shape.table != "parent_experience"):
            # Panels over time have no cohort.
            for panel in (panel for panel in chart.panels if panel.cohort in ("", cohort)):
                of_lines = [line for line in panel.lines if chart.shape.by_area and line.area.code == code]
                own = panel.area and panel.area.code == code
                inferred = [*(panel.inferred if own else ()), *(each for line in of_lines for each in line.inferred)]
                yield from ((concluded, page, chart.shape) for concluded in inferred if concluded.finding)


def _reduce_panel(panel: Panel, area: Geography, *, of_region: bool) -> Panel:
    """Reduce a panel of areas to the council, all councils together, and others (of its region, if there are many)."""
    together, own = panel.lines[0], _build_line(panel, area.code)
    region = area.columns["region_code"]
    others = (
        line
        for line in panel.lines
        if line.area.level == LOCAL_AUTHORITY
        and line is not own
        and (not of_region or line.area.columns["region_code"] == region)
    )
    # The council first; the others stay in alphabetical order, never in the order of their figures.
    lines = tuple(replace(line, text="", inferred=(), finding="") for line in (own, together, *others))
    return replace(
        panel,
        shape=replace(panel.shape, mapped=False),
        lines=lines,
        sentences=(own.text.removesuffix(own.target).strip(),),
        inferred=own.inferred,
        finding=own.finding,
    )


def _build_series(area: Geography) -> Panel | None:
    """Return a panel of the council's official percentages by year with England's, or None if there are none."""
    lines = []
    for cohort in read_official_cohorts():
        england, own = find_official_group(cohort, area, EVERYONE)
        if own:
            lines.append(Line(Cohort(cohort).label, area, (own,), england, (england,), cohort=cohort))
    if not lines:
        return None
    shown = [figure for line in lines for figure in (line.figures[0], line.compared) if figure]
    sentences = (f"{area.name}, official: {'; '.join(f'{line.label} {line.figures[0].text}' for line in lines)}.",)
    first, last = lines[0], lines[-1]
    finding = f"{first.figures[0].text} in {first.label}, {last.figures[0].text} in {last.label}"
    official = ("England, official",)
    return Panel(
        _SERIES, "", tuple(lines), fit_scale(shown), sentences, together=False, finding=finding, official=official
    )
