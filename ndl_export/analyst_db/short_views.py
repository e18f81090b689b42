"""Schema `main`, which `SHOW TABLES` lists: a narrow view of each published table, and answers to common questions.

A row of a view fits a terminal of 120 columns: area, cohort, group of children, figure, interval and flag, in words and
rounded. Each view shows the newest release that is not withdrawn. All other columns are in `latest`, under the same
name. The views are in `short_views.yaml`, the questions in `questions.sql`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ndl_export.analyst_db.child_groups import EVERYONE
from ndl_export.analyst_db.database import Database
from ndl_export.tables import TABLES, Filter, Measure, Table
from ndl_export.tables.dimensions import BREAKDOWN_FILTER, TOPIC_FILTER
from ndl_export.tables.schema import Flag
from privacy.doors.shipped import read_yaml
from privacy.doors.sql import quote_identifier, quote_text


@dataclass(frozen=True)
class _Short:
    """A view: text columns made of filters, a figure, a count, and the filters shown `at_total` only."""

    words: Mapping[str, Sequence[str]]
    figure: str
    count: str | None = None
    at_total: Sequence[str] = ()


_STATED = read_yaml(Path(__file__).parent / "short_views.yaml")
_COMMON: dict[str, str] = _STATED["common_columns"]
_DESCRIPTIONS: dict[str, str] = _STATED["text_columns"]
SHORT = {name: _Short(**view) for name, view in _STATED["views"].items()}


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
                column: (_build_words_sql([filters[each] for each in made_of], column), _DESCRIPTIONS[column])
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
    """Add a short view; `words` gives SQL over rows `t`, and the description, of each text column."""
    unit = "percent" if figure.unit == "%" else "points"
    columns = {
        # NOCASE, so that `WHERE area = 'leeds'` finds Leeds.
        "area": "t.area_name COLLATE NOCASE",
        "cohort": "c.label",
        **{column: f"{sql} COLLATE NOCASE" for column, (sql, _) in words.items()},
        **({count.of: f"t.{count.name}"} if count else {}),
        unit: f"t.{figure.name}",
        # By macros that keep a figure within its interval, whichever way both are rounded.
        "lower": f"lower_shown(t.{figure.name}_lower_ci, t.{figure.name})",
        "upper": f"upper_shown(t.{figure.name}_upper_ci, t.{figure.name})",
        "flag": "f.in_short",
    }
    total = "".join(f" AND t.{each} = {quote_text(EVERYONE)}" for each in at_total)
    ordered = ", ".join(f"t.{quote_identifier(each)}" for each in order)
    query = (
        f"SELECT {', '.join(f'{sql} AS {quote_identifier(column)}' for column, sql in columns.items())}"
        f" FROM latest.{quote_identifier(table.name)} AS t"
        f" JOIN dimension.cohort AS c ON c.time_period = t.time_period"
        f" LEFT JOIN dimension.flag AS f ON f.flag = t.{figure.name}_flag"
        # The flag of a reliable figure is NULL, and `<>` would drop its row.
        f" WHERE t.{figure.name}_flag IS DISTINCT FROM {quote_text(Flag.NOT_APPLICABLE)}{total}"
        f" ORDER BY t.time_period DESC, t.is_all_together DESC, t.geographic_level, t.area_name, {ordered}"
    )
    database.create_view(
        f"main.{quote_identifier(table.name)}",
        query,
        f"{table.title}, {about}. Everything else: latest.{table.name}",
        _COMMON
        | {column: meaning for column, (_, meaning) in words.items()}
        | ({count.of: count.label} if count else {})
        | {unit: figure.label},
    )


def _build_words_sql(filters: list[Filter], column: str) -> str:
    """Return SQL for the short names of the categories that are not totals."""
    nothing = quote_text("All children" if column == "child_group" else "All")
    # The filter's name in `dimension.short_name`; for a breakdown that is the topic of its row.
    labels = [f"t.{TOPIC_FILTER.name}" if f.name == BREAKDOWN_FILTER.name else quote_text(f.label) for f in filters]
    parts = ", ".join(
        f"CASE WHEN t.{each.name} <> {quote_text(EVERYONE)} THEN in_short({label}, t.{each.name}) END"
        for each, label in zip(filters, labels, strict=True)
    )
    return f"coalesce(nullif(concat_ws(', ', {parts}), ''), {nothing})"
