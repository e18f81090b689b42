"""Expected position of published figures on the pages, independent of the code that places them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from ndl_export.tables import TABLES
from sources.reference.code_lists import QUESTIONS

TOTAL = "Total"
MEALS = "Free school meal eligibility"
ELIGIBLE, NOT_ELIGIBLE = "Eligible for free school meals", "Not eligible for free school meals"
SEEN = {
    "Health visitor and nursery": "Both",
    "Health visitor only": "Health visitor only",
    "Nursery only": "Setting only",
    "Neither": "Neither",
    "Record cannot be looked for": "Record cannot be looked for",
}
CONCERN = {
    "Both saw, both had a concern": ("Both", "Both"),
    "Both saw, health visitor concerned": ("Both", "Health visitor only"),
    "Both saw, nursery concerned": ("Both", "Setting only"),
    "Both saw, no concern": ("Both", "None"),
    "Health visitor saw, concerned": ("Health visitor only", "Health visitor only"),
    "Health visitor saw, no concern": ("Health visitor only", "None"),
    "Nursery saw, concerned": ("Setting only", "Setting only"),
    "Nursery saw, no concern": ("Setting only", "None"),
    "Neither saw": ("Neither", "None"),
    "Record cannot be looked for": ("Record cannot be looked for", "None"),
}
WORRIED = {
    "Health visitor and nursery": "Both",
    "Health visitor only": "Health visitor only",
    "Nursery only": "Setting only",
    "No concern recorded": "None",
}
GROUPS = {
    "All children": (TOTAL, TOTAL, TOTAL),
    "Girls": (TOTAL, TOTAL, "Female"),
    "Boys": (TOTAL, TOTAL, "Male"),
    **{group: (MEALS, group, TOTAL) for group in (ELIGIBLE, NOT_ELIGIBLE)},
    **{
        group: ("SEN provision", group, TOTAL)
        for group in ("No SEN provision", "SEN support / SEN without an EHC plan", "Education, health and care plan")
    },
    **{
        group: ("Ethnic group", group, TOTAL)
        for group in (
            "White",
            "Mixed / Multiple ethnic groups",
            "Asian / Asian British",
            "Black / African / Caribbean / Black British",
            "Other ethnic group",
        )
    },
    **{f"{term}-born": ("Term of birth", f"{term}-born", TOTAL) for term in ("Autumn", "Spring", "Summer")},
}
SEEN_GROUPS = {
    "All children": (TOTAL, TOTAL),
    "Girls": ("Sex", "Female"),
    "Boys": ("Sex", "Male"),
    **{label: levels[:2] for label, levels in GROUPS.items() if levels[0] in (MEALS, "Ethnic group")},
    **{f"Quintile {number}": ("IMD quintile", f"Quintile {number}") for number in (2, 3, 4)},
    **{group: ("IMD quintile", group) for group in ("Quintile 1 (most deprived)", "Quintile 5 (least deprived)")},
}
ROWS = {
    **dict.fromkeys(("gld-by-area", "gap-by-area", "neither-by-area")),
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


_PERCENT_AND_COUNT = ("children_percent", "children_count")
_MEASURES = {
    "gld-by-area": ("gld_headline", "gld_children_percent", "elgs_expected_average", "children_count"),
    "gld-by-group": ("gld_headline", "gld_children_percent"),
    "neither-by-area": ("joined_dots", *_PERCENT_AND_COUNT, "gld_children_percent"),
    "neither-by-group": ("seen_by_group", *_PERCENT_AND_COUNT),
    "goals": ("early_learning_goals", "expected_children_percent", "expected_children_count"),
    "review": ("asq3_outcomes", "at_or_above_children_percent", "reviewed_children_count"),
    "pathway": ("readiness_pathway", "gld_children_percent", "children_count"),
    "seen-by": ("joined_dots", *_PERCENT_AND_COUNT),
    "concern": ("joined_dots", *_PERCENT_AND_COUNT),
    "concern-gld": ("joined_dots", "gld_children_percent", "children_count"),
}
"""Table and measures of charts whose columns are all about the same children."""


def places(chart: str, row: str) -> list[Place]:
    """Return the origin of a row's figures, column by column; `row` is its label, not needed if it is an area."""
    gld, goal = ("gld_headline", "gld_children_percent"), ("early_learning_goals", "expected_children_percent")
    groups = (ELIGIBLE, NOT_ELIGIBLE)
    if chart == "gap-by-area":
        gap = ("gld_differences", "gld_difference_points", (MEALS, "Not eligible less eligible"))
        return [*((*gld, (MEALS, group, TOTAL)) for group in groups), gap]
    if chart == "goals-by-meals":
        return [(*goal, (row, MEALS, group)) for group in groups]
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
        "concern": (TOTAL, WORRIED.get(row)),
        "concern-gld": CONCERN.get(row),
    }
    table, *measures = _MEASURES[chart]
    return [(table, measure, by_row[chart]) for measure in measures]


class Published:
    """Figures of the tables as text."""

    def __init__(self, tables: dict[str, pa.Table]) -> None:
        self.rows = {
            (name, row["time_period"], _area(row), *(row[entry.name] for entry in TABLES[name].filters)): row
            for name, data in tables.items()
            for row in data.to_pylist()
        }

    def cell(self, place: Place, cohort: str, area: str) -> str:
        """Return a cell of the page; `area` is a name, or the level of all councils together."""
        table, measure, levels = place
        return cell(self.rows[table, cohort, area, *levels], measure)


def cell(row: dict[str, Any], measure: str) -> str:
    """Return text such as `63.8% 62.2% to 65.0%`, `34.2% [u] 26.0% to 41.9%`, `[withheld] 3.0% to 41.9%` or `[x]`."""
    percent, points = ("%" if "percent" in measure else ""), (" points" if "points" in measure else "")
    flag, value = row[f"{measure}_flag"], row[measure]
    parts = [] if value is None else [f"{_number(measure, value)}{percent}{points}"]
    parts += [f"[{flag}]"] if flag else []
    ends = [row[f"{measure}_{end}_ci"] for end in ("lower", "upper")]
    parts += [] if None in ends else [" to ".join(f"{_number(measure, end)}{percent}" for end in ends)]
    return " ".join(parts)


def _number(measure: str, value: float) -> str:
    decimals = 3 if measure.endswith("_average") else 1
    text = f"{value:,.0f}" if measure.endswith("_count") else f"{value:.{decimals}f}"
    return "0.0" if text == "-0.0" else text.replace("-", "−")


def _area(row: dict[str, Any]) -> str:
    return row["la_name"] or row["english_devolved_area_name"] or row["geographic_level"]
