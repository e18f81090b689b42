"""Schema `main`, which `SHOW TABLES` lists: a narrow view of each published table, and answers to common questions.

A row of a view fits a terminal of 120 columns: area, cohort, group of children, figure, interval and flag, in words and
rounded. Each view shows the newest release that is not withdrawn. All other columns are in `latest`, under the same
name. The views are declared with the tables, the questions in `questions.sql`.

Tables on request are here too, because only some releases have them. A table is defined as in the newest release that
has it: wide in `releases` and `latest`, short in `main`, with separate types for its filters.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ndl_export.analyst_db.child_groups import EVERYONE, iter_axes
from ndl_export.analyst_db.database import Database
from ndl_export.analyst_db.dimensions import build_table_row, iter_measure_rows
from ndl_export.analyst_db.facts import add_table, find_newest_release
from ndl_export.analyst_db.words import WORDS
from ndl_export.facts.on_request import RequestedTable
from ndl_export.facts.release_facts import PublishedRelease
from ndl_export.tables import TABLES, Measure, Table
from ndl_export.tables.declarations import DECLARATIONS
from ndl_export.tables.model import BREAKDOWN_FILTER, TOPIC_FILTER, Filter
from ndl_export.tables.schema import Flag, list_columns
from privacy.doors.shipped import read_yaml
from privacy.doors.sql import quote_identifier, quote_text

_COMMON: dict[str, str] = read_yaml(Path(__file__).with_name("columns.yaml"))["view"]


def add_short_views(database: Database) -> None:
    """Add the view of each table, and the questions; the views in `latest` and the macros must exist."""
    for name, table in TABLES.items():
        view = WORDS.views.get(name)
        if view is None:
            _add_default_view(database, table, "the newest release")
            continue
        filters, figure = {entry.name: entry for entry in table.filters}, table.get_measure(view.figure)
        add_short_view(
            database,
            table,
            f"in short: the newest release, {figure.label.lower()}",
            {
                column: (
                    _build_words_sql([filters[each] for each in made_of], column),
                    DECLARATIONS.view_columns[column],
                )
                for column, made_of in view.columns.items()
            },
            figure,
            table.get_measure(view.count) if view.count else None,
            order=[each for made_of in view.columns.values() for each in made_of],
            at_total=view.at_total,
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
    """Add a short view; `words` has the SQL (over rows `t`) and the description of each text column."""
    unit = "percent" if figure.unit == "%" else "points"
    columns = {
        # NOCASE, so that `WHERE area = 'leeds'` finds Leeds.
        "area": "t.area_name COLLATE NOCASE",
        "cohort": "c.label",
        **{column: f"{sql} COLLATE NOCASE" for column, (sql, _) in words.items()},
        **({count.of: f"t.{count.name}"} if count else {}),
        unit: f"t.{figure.name}",
        # By macros that keep a figure within its interval, whichever way both are rounded.
        "lower": f"lower_shown(t.{figure.name}_lower_ci, t.{figure.name}, t.{figure.name}_flag)",
        "upper": f"upper_shown(t.{figure.name}_upper_ci, t.{figure.name}, t.{figure.name}_flag)",
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


@dataclass(frozen=True)
class _Requested:
    """A requested table as its newest release defines it, and all releases that have the same columns."""

    request: RequestedTable
    found: tuple[PublishedRelease, ...]
    definitions: tuple[RequestedTable, ...]

    @property
    def table(self) -> Table:
        return self.request.table

    @property
    def newest(self) -> PublishedRelease | None:
        return find_newest_release(self.found)

    def list_categories(self, name: str) -> tuple[str, ...]:
        """Return the categories of a filter, in order; those that only earlier releases have come last."""
        axes = (axis for each in reversed(self.definitions) for axis in iter_axes(each.table, name))
        return tuple(dict.fromkeys(selection.label for axis in axes for selection in axis.selections))

    def get_type_name(self, name: str) -> str:
        """Return the name of a filter's type; no table or filter name has two underscores in a row, so it is unique."""
        return f"dimension.{self.table.name}__{name}_type"


def add_requested(database: Database, found: Sequence[PublishedRelease]) -> list[Table]:
    """Add everything about the requested tables of the releases `found`, oldest first; return their definitions.

    Everything else must exist.
    """
    requested = _list_requested(found)
    for each in requested:
        for entry in each.table.filters:
            about = f"Categories of the column {entry.name} of {each.table.name}, in order"
            database.create_enum(each.get_type_name(entry.name), each.list_categories(entry.name), about)
        add_table(database, each.table, each.found, each.newest, each.get_type_name)
        _add_requested_view(database, each.request)
    requests = ((each.request, [release.version for release in each.found]) for each in requested)
    database.fill(
        "releases.requests",
        (
            (r.name, r.table.title, r.family, r.asked_by, r.purpose, r.asked_on, r.release, list(r.cohorts), versions)
            for r, versions in requests
        ),
    )
    # Each charge once, although every release that uses the measurement states it.
    stated = (family for release in found for family in release.privacy_record["families"] if "tables" in family)
    keys = ("cohort", "family", "measured_in")
    charges = {tuple(family[key] for key in keys): (list(family["tables"]), family["rho"]) for family in stated}
    database.fill("releases.request_charges", ((*key, *charged) for key, charged in sorted(charges.items())))
    database.fill("dimension.published_table", (build_table_row(each.table) for each in requested))
    database.fill("dimension.measure", (row for each in requested for row in iter_measure_rows(each.table)))
    database.fill("dimension.requested_category", (row for each in requested for row in _iter_category_rows(each)))
    return [each.table for each in requested]


def _list_requested(found: Sequence[PublishedRelease]) -> list[_Requested]:
    """Return the requested tables in order of their names."""
    having: dict[str, list[tuple[PublishedRelease, RequestedTable]]] = {}
    for release in found:
        for request in release.requested:
            having.setdefault(request.name, []).append((release, request))
    requested = []
    for _, own in sorted(having.items()):
        kept = [request for release, request in own if release.withdrawal is None]
        newest = kept[-1] if kept else own[-1][1]
        # A table has one set of columns, so releases that define it with others are left out.
        same = [pair for pair in own if _list_column_names(pair[1]) == _list_column_names(newest)]
        requested.append(_Requested(newest, *map(tuple, zip(*same, strict=True))))
    return requested


def _list_column_names(request: RequestedTable) -> list[str]:
    return [column.name for column in list_columns(request.table)]


def _add_requested_view(database: Database, request: RequestedTable) -> None:
    named = {column.name or column.attribute for column in request.definition.columns if column.levels}
    about = "on request: the newest release that has it. Who asked for it: requests"
    _add_default_view(database, request.table, about, named)


def _add_default_view(database: Database, table: Table, about: str, named: Collection[str] = ()) -> None:
    """Add the short view of a table without a declared one: area, cohort, each of its columns, a count and a figure.

    `named` are columns whose categories have no shorter name, because the request itself names them.
    """
    words = {}
    for entry in table.filters:
        column = f"t.{quote_identifier(entry.name)}"
        sql = f"{column}::VARCHAR" if entry.name in named else f"in_short({quote_text(entry.label)}, {column})"
        words[entry.name] = sql, ": ".join(dict.fromkeys((entry.label, entry.description)))
    figure = next(measure for measure in table.measures if not measure.is_count)
    about = f"in short, {about}; {figure.label.lower()}"
    add_short_view(database, table, about, words, figure, table.measures[0], order=list(words))


def _iter_category_rows(each: _Requested) -> Iterator[tuple[object, ...]]:
    for name in (entry.name for entry in each.table.filters):
        for axis in iter_axes(each.table, name):
            adds_up = {selection.label: selection.categories for selection in axis.selections}
            for position, category in enumerate(each.list_categories(name), start=1):
                yield each.table.name, name, category, position, axis.attribute, adds_up.get(category) or None
