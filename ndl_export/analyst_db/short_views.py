"""Schema `main`, which `SHOW TABLES` lists: a narrow view of each published table, and answers to common questions.

A row of a view fits a terminal of 120 columns: area, cohort, group of children, figure, interval and flag, in words and
rounded. Each view shows the newest release that is not withdrawn. All other columns are in `latest`, under the same
name. The questions are in `questions.sql`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ndl_export.analyst_db.child_groups import EVERYONE
from ndl_export.analyst_db.database import Database
from ndl_export.tables import TABLES, Filter, Measure, Table
from ndl_export.tables.dimensions import BREAKDOWN_FILTER, TOPIC_FILTER
from ndl_export.tables.schema import Flag
from privacy.doors.sql import identifier, quoted

_COMMON = {
    "area": "Name of the area",
    "cohort": "Academic year in which the children ended Reception",
    "lower": "Lower end of the 95% interval: what it was for these children, give or take the noise",
    "upper": "Upper end of the 95% interval",
    "flag": "NULL where the figure can be used; unreliable: its interval is wide; linkage: compare with care, many"
    " links of these children are missed; withheld: too uncertain to show; not sent: the council had not sent its"
    " records",
}
_DESCRIPTIONS = {
    "child_group": "The group of children, in short; short names are in dimension.short_name",
    "comparison": "What is compared, in short: the first group less the second",
    "goal": "The early learning goal",
    "goals": "How many of the 17 early learning goals children are at the expected level in",
    "seen_by": "Services that had seen the child before school",
    "concern_by": "Services that had raised a concern",
    "domain": "Domain of ASQ-3, or all five",
    "question": "Question of the survey, in short: dimension.question has it as it was asked",
    "answer": "The answer",
}


@dataclass(frozen=True)
class _Short:
    """The view of a published table.

    `words` are text columns, each made of these filters; `figure` and `count` are measures. Only the totals of the
    filters in `at_total` are shown: their categories are in the wide table.
    """

    words: Mapping[str, tuple[str, ...]]
    figure: str
    count: str | None = None
    at_total: tuple[str, ...] = ()


_GROUP = {"child_group": (BREAKDOWN_FILTER.name,)}
SHORT: dict[str, _Short] = {
    "gld_headline": _Short({"child_group": ("sex", BREAKDOWN_FILTER.name)}, "gld_children_percent", "children_count"),
    "gld_differences": _Short({"comparison": ("comparison",)}, "gld_difference_points"),
    "early_learning_goals": _Short({"goal": ("early_learning_goal",), **_GROUP}, "expected_children_percent"),
    "goals_expected": _Short({"goals": ("goals_expected",)}, "children_percent", "children_count"),
    "readiness_pathway": _Short(
        {"child_group": ("fsm_eligibility", "asq3_outcome")}, "gld_children_percent", "children_count"
    ),
    "joined_dots": _Short(
        {"seen_by": ("seen_by",), "concern_by": ("concern_by",)}, "children_percent", "children_count"
    ),
    "seen_by_group": _Short({**_GROUP, "seen_by": ("seen_by",)}, "children_percent"),
    "funded_entitlement": _Short(
        {"child_group": ("fsm_eligibility", "two_year_old_entitlement")}, "gld_children_percent", "children_count"
    ),
    "asq3_outcomes": _Short({"domain": ("asq3_domain",), **_GROUP}, "at_or_above_children_percent"),
    "linkage_quality": _Short(_GROUP, "linked_children_percent", "children_count", at_total=("linked_to_review",)),
    "parent_experience": _Short(
        {"question": ("question",), "answer": ("answer",)}, "response_percent", at_total=(BREAKDOWN_FILTER.name,)
    ),
}


def add_short_views(database: Database) -> None:
    """Add the view of each table in `SHORT`, and the questions; the views in `latest` and the macros must exist."""
    for name, short in SHORT.items():
        table = TABLES[name]
        filters, figure = {entry.name: entry for entry in table.filters}, table.measure(short.figure)
        add_short_view(
            database,
            table,
            f"in short: the newest release, {figure.label.lower()}",
            {
                column: (_words([filters[each] for each in made_of], column), _DESCRIPTIONS[column])
                for column, made_of in short.words.items()
            },
            figure,
            table.measure(short.count) if short.count else None,
            order=[each for made_of in short.words.values() for each in made_of],
            at_total=short.at_total,
        )
    database.create_written("questions.sql")


def add_short_view(
    database: Database,
    table: Table,
    about: str,
    words: Mapping[str, tuple[str, str]],
    figure: Measure,
    count: Measure | None,
    *,
    order: Sequence[str],
    at_total: Sequence[str] = (),
) -> None:
    """Add the short view of a table.

    `words` gives the SQL (over rows `t`) and the description of each text column. Rows are in the order of the columns
    `order`.
    """
    unit = "percent" if figure.unit == "%" else "points"
    columns = {
        "area": "t.area_name COLLATE NOCASE",
        "cohort": "c.label",
        **{column: f"{sql} COLLATE NOCASE" for column, (sql, _) in words.items()},
        **({count.of: f"t.{count.name}"} if count else {}),
        unit: f"t.{figure.name}",
        "lower": f"lower_shown(t.{figure.name}_lower_ci, t.{figure.name})",
        "upper": f"upper_shown(t.{figure.name}_upper_ci, t.{figure.name})",
        "flag": "f.in_short",
    }
    total = "".join(f" AND t.{each} = {quoted(EVERYONE)}" for each in at_total)
    ordered = ", ".join(f"t.{identifier(each)}" for each in order)
    query = (
        f"SELECT {', '.join(f'{sql} AS {identifier(column)}' for column, sql in columns.items())}"
        f" FROM latest.{identifier(table.name)} AS t"
        f" JOIN dimension.cohort AS c ON c.time_period = t.time_period"
        f" LEFT JOIN dimension.flag AS f ON f.flag = t.{figure.name}_flag"
        f" WHERE t.{figure.name}_flag IS DISTINCT FROM {quoted(Flag.NOT_APPLICABLE)}{total}"
        f" ORDER BY t.time_period DESC, t.is_all_together DESC, t.geographic_level, t.area_name, {ordered}"
    )
    database.create_view(
        f"main.{identifier(table.name)}",
        query,
        f"{table.title}, {about}. Everything else: latest.{table.name}",
        _COMMON
        | {column: meaning for column, (_, meaning) in words.items()}
        | ({count.of: count.label} if count else {})
        | {unit: figure.label},
    )


def _words(filters: list[Filter], column: str) -> str:
    """Return SQL for the short names of the categories that are not totals."""
    nothing = quoted("All children" if column == "child_group" else "All")
    parts = ", ".join(
        f"CASE WHEN t.{each.name} <> {quoted(EVERYONE)} THEN in_short({_label(each)}, t.{each.name}) END"
        for each in filters
    )
    return f"coalesce(nullif(concat_ws(', ', {parts}), ''), {nothing})"


def _label(entry: Filter) -> str:
    """Return SQL for the filter's name in `dimension.short_name`; for a breakdown that is the topic of its row."""
    return f"t.{TOPIC_FILTER.name}" if entry.name == BREAKDOWN_FILTER.name else quoted(entry.label)
