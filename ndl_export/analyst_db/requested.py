"""Tables on request: tables that only some releases have, because somebody asked for them.

A table is defined as in the newest release that has it: wide in `releases` and `latest`, short in `main`, with separate
types for its filters. `releases.requests` says who asked for it and why, and `releases.request_charges` what was
charged to measure it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ndl_export.analyst_db.child_groups import iter_axes
from ndl_export.analyst_db.database import Database
from ndl_export.analyst_db.dimensions import build_table_row, measure_rows
from ndl_export.analyst_db.facts import add_table, find_newest_release
from ndl_export.analyst_db.short_views import add_short_view
from ndl_export.facts.on_request import RequestedTable
from ndl_export.facts.released import Release
from ndl_export.tables import Table
from ndl_export.tables.schema import list_columns
from privacy.doors.sql import quote_identifier, quote_text


@dataclass(frozen=True)
class _Requested:
    """A requested table as its newest release defines it, and all releases that have the same columns."""

    request: RequestedTable
    found: tuple[Release, ...]
    definitions: tuple[RequestedTable, ...]

    @property
    def table(self) -> Table:
        return self.request.table

    @property
    def newest(self) -> Release | None:
        return find_newest_release(self.found)

    def list_categories(self, name: str) -> tuple[str, ...]:
        """Return the categories of a filter, in order; those that only earlier releases have come last."""
        axes = (axis for each in reversed(self.definitions) for axis in iter_axes(each.table, name))
        return tuple(dict.fromkeys(selection.label for axis in axes for selection in axis.selections))

    def get_type_name(self, name: str) -> str:
        """Return the name of a filter's type; no table or filter name has two underscores in a row, so it is unique."""
        return f"dimension.{self.table.name}__{name}_type"


def add_requested(database: Database, found: Sequence[Release]) -> list[Table]:
    """Add everything about the requested tables of the releases `found`, oldest first; return their definitions.

    Everything else must exist.
    """
    requested = _list_requested(found)
    for each in requested:
        for entry in each.table.filters:
            about = f"Categories of the column {entry.name} of {each.table.name}, in order"
            database.create_enum(each.get_type_name(entry.name), each.list_categories(entry.name), about)
        add_table(database, each.table, each.found, each.newest, each.get_type_name)
        _add_short_view(database, each.request)
    requests = ((each.request, [release.version for release in each.found]) for each in requested)
    database.fill(
        "releases.requests",
        (
            (r.name, r.table.title, r.family, r.asked_by, r.purpose, r.asked_on, r.release, list(r.cohorts), versions)
            for r, versions in requests
        ),
    )
    # Each charge once, although every release that uses what was measured states it.
    stated = (family for release in found for family in release.privacy_record["families"] if "tables" in family)
    keys = ("cohort", "family", "measured_in")
    charges = {tuple(family[key] for key in keys): (list(family["tables"]), family["rho"]) for family in stated}
    database.fill("releases.request_charges", ((*key, *charged) for key, charged in sorted(charges.items())))
    database.fill("dimension.published_table", (build_table_row(each.table) for each in requested))
    database.fill("dimension.measure", (row for each in requested for row in measure_rows(each.table)))
    database.fill("dimension.requested_category", (row for each in requested for row in _iter_category_rows(each)))
    return [each.table for each in requested]


def _list_requested(found: Sequence[Release]) -> list[_Requested]:
    """Return the requested tables in order of their names."""
    having: dict[str, list[tuple[Release, RequestedTable]]] = {}
    for release in found:
        for request in release.requested:
            having.setdefault(request.name, []).append((release, request))
    requested = []
    for _, own in sorted(having.items()):
        kept = [request for release, request in own if release.withdrawal is None]
        newest = kept[-1] if kept else own[-1][1]
        # One table has one set of columns: releases that define others are left out of it.
        same = [pair for pair in own if _list_column_names(pair[1]) == _list_column_names(newest)]
        requested.append(_Requested(newest, *map(tuple, zip(*same, strict=True))))
    return requested


def _list_column_names(request: RequestedTable) -> list[str]:
    return [column.name for column in list_columns(request.table)]


def _add_short_view(database: Database, request: RequestedTable) -> None:
    """Add the short view: area, cohort, each of the table's columns, a count and a figure."""
    table = request.table
    named = {column.name or column.attribute for column in request.definition.columns if column.levels}
    words = {}
    for entry in table.filters:
        column = f"t.{quote_identifier(entry.name)}"
        # Categories that the request itself names have no shorter name.
        sql = f"{column}::VARCHAR" if entry.name in named else f"in_short({quote_text(entry.label)}, {column})"
        words[entry.name] = sql, ": ".join(dict.fromkeys((entry.label, entry.description)))
    figure = next(measure for measure in table.measures if not measure.is_count)
    about = f"in short, on request: the newest release that has it, {figure.label.lower()}. Who asked for it: requests"
    add_short_view(database, table, about, words, figure, table.measures[0], order=list(words))


def _iter_category_rows(each: _Requested) -> Iterator[tuple[object, ...]]:
    for name in (entry.name for entry in each.table.filters):
        for axis in iter_axes(each.table, name):
            adds_up = {selection.label: selection.categories for selection in axis.selections}
            for position, category in enumerate(each.list_categories(name), start=1):
                yield each.table.name, name, category, position, axis.attribute, adds_up.get(category) or None
