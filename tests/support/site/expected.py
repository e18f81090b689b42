"""Expected position of published figures on the pages, independent of the code that places them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from ndl_export.tables import TABLES
from sources.reference.code_lists import QUESTIONS

TOTAL = "Total"
MEALS = "Free school meal eligibility"
ELIGIBLE, NOT_ELIGIBLE = "Eligible for free school meals", "Not eligible for free school meals"
_STATED = yaml.safe_load((Path(__file__).parent / "expected.yaml").read_text(encoding="utf-8"))
SEEN, CONCERN = _STATED["seen"], {label: tuple(levels) for label, levels in _STATED["concern"].items()}
SEEN_GROUPS = {
    label: tuple(levels)
    for label, levels in _STATED["groups"].items()
    if levels[0] in (TOTAL, "Sex", MEALS, "Ethnic group", "IMD quintile")
}
CONCERN_GROUPS = {label: levels for label, levels in SEEN_GROUPS.items() if levels[0] != "IMD quintile"}
GROUPS = {
    label: (TOTAL, TOTAL, level) if topic == "Sex" else (topic, level, TOTAL)
    for label, (topic, level) in _STATED["groups"].items()
    if topic != "IMD quintile"
}
ROWS = {
    **dict.fromkeys(("gld-by-area", "gap-by-area", "neither-by-area", "lead-time-by-area")),
    **{"lead-time": 7, "lead-time-by-group": len(CONCERN_GROUPS), "reviews": 5, "reviews-gld": 5},
    "neither-by-group": len(SEEN_GROUPS),
    "gld-by-group": len(GROUPS),
    **{"goals": 17, "goals-by-meals": 17, "review": 6, "pathway": 6, "seen-by": 5, "concern": 4, "concern-gld": 10},
    **{
        f"parents-{name.replace('_', '-')}": len({*question.answers.values()} - {"Not applicable"}) + 1
        for name, question in QUESTIONS.items()
    },
}
"""Charts and their number of rows; None if the rows are areas."""

Place = tuple[str, str, tuple[str, ...]]
"""Table, measure, levels of the filters."""


def find_places(chart: str, row: str) -> list[Place]:
    """Return the origin of a row's figures, column by column; `row` is its label, not needed if it is an area."""
    gld, goal = ("gld_headline", "gld_children_percent"), ("early_learning_goals", "expected_children_percent")
    groups = (ELIGIBLE, NOT_ELIGIBLE)
    if chart == "gap-by-area":
        gap = ("gld_differences", "gld_difference_points", (MEALS, "Not eligible less eligible"))
        return [*((*gld, (MEALS, group, TOTAL)) for group in groups), gap]
    if chart == "goals-by-meals":
        return [(*goal, (row, MEALS, group)) for group in groups]
    if chart == "lead-time-by-area":
        year = _STATED["year_before"]
        others = (TOTAL, "Never")
        return [("first_concern", "children_percent", ("No", TOTAL, TOTAL, TOTAL, other, year)) for other in others]
    if chart.startswith("reviews"):
        columns = {"reviews": ("Done", "On time", "No linked review"), "reviews-gld": ("Done", "No linked review")}
        measure = "gld_children_percent" if chart == "reviews-gld" else "children_percent"
        return [("health_visitor_reviews", measure, (row, TOTAL, TOTAL, timing)) for timing in columns[chart]]
    if chart.startswith("parents-"):
        question = QUESTIONS[chart.removeprefix("parents-").replace("-", "_")].label
        levels = (question, row, TOTAL, TOTAL)
        return [("parent_experience", measure, levels) for measure in ("response_percent", "response_count")]
    by_row = {
        "gld-by-area": (TOTAL, TOTAL, TOTAL),
        "gld-by-group": GROUPS.get(row),
        "neither-by-area": ("Neither", TOTAL),
        "neither-by-group": (*SEEN_GROUPS.get(row, ()), "Neither"),
        "goals": (row, TOTAL, TOTAL),
        "review": (row, TOTAL, TOTAL),
        "pathway": (row, TOTAL),
        "seen-by": (SEEN.get(row), TOTAL),
        "concern": (TOTAL, _STATED["worried"].get(row)),
        "concern-gld": CONCERN.get(row),
        "lead-time": ("No", TOTAL, TOTAL, *_STATED["not_ready"].get(row, ())),
        "lead-time-by-group": ("No", *CONCERN_GROUPS.get(row, ()), *(TOTAL, TOTAL, _STATED["year_before"])),
    }
    table, *measures = _STATED["measures"][chart]
    return [(table, measure, by_row[chart]) for measure in measures]


class Published:
    """Figures of the tables as text."""

    def __init__(self, tables: dict[str, pa.Table]) -> None:
        self.rows = {
            (name, row["time_period"], area, *(row[entry.name] for entry in TABLES[name].filters)): row
            for name, data in tables.items()
            for row in data.to_pylist()
            for area in (row["la_name"] or row["english_devolved_area_name"] or row["geographic_level"],)
        }

    def find_cell(self, place: Place, cohort: str, area: str) -> str:
        """Return a cell of the page; `area` is a name, or the level of all councils together."""
        table, measure, levels = place
        return format_cell(self.rows[table, cohort, area, *levels], measure)


def format_cell(row: dict[str, Any], measure: str) -> str:
    """Return text such as `63.8% 62.2% to 65.0%`, `34% [u] 26% to 42%`, `[withheld] 3.0% to 41.9%` or `[x]`."""
    percent, points = ("%" if "percent" in measure else ""), (" points" if "points" in measure else "")
    flag, value = row[f"{measure}_flag"], row[measure]
    decimals = 3 if measure.endswith("_average") else 0 if measure.endswith("_count") or flag == "u" else 1
    parts = [] if value is None else [f"{_format_number(value, decimals)}{percent}{points}"]
    parts += [f"[{flag}]"] if flag else []
    ends = [row[f"{measure}_{end}_ci"] for end in ("lower", "upper")]
    parts += [] if None in ends else [" to ".join(f"{_format_number(end, decimals)}{percent}" for end in ends)]
    return " ".join(parts)


def _format_number(value: float, decimals: int) -> str:
    return f"{value:z,.{decimals}f}".replace("-", "−")
