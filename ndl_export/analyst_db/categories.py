"""The categories of every filter, in an order that fits all tables that have the filter.

They become ENUM types, so `ORDER BY breakdown` sorts quintiles from 1 to 5, and answers as they were asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from graphlib import CycleError
from itertools import chain, pairwise

from ndl_export.tables import TABLES, Axis, Table
from ndl_export.tables.rows import list_rows


@cache
def filter_categories() -> dict[str, tuple[str, ...]]:
    """Return the categories of each filter column, in order."""
    names = dict.fromkeys(f.name for table in TABLES.values() for f in table.filters)
    return {name: merge_sequences(list(_iter_sequences(name))) for name in names}


def get_type_name(filter_name: str) -> str:
    """Return the name of the ENUM type of a filter column."""
    return f"dimension.{filter_name}_type"


def list_table_categories(table: Table, filter_name: str) -> tuple[str, ...]:
    """Return the categories of one filter of one table, in order."""
    position = [f.name for f in table.filters].index(filter_name)
    found = {levels[position] for levels in _list_levels(table.name)}
    return tuple(category for category in filter_categories()[filter_name] if category in found)


def iter_axes(table: Table, filter_name: str) -> Iterator[Axis]:
    """Yield the axes, in all blocks of a table, that make up a filter's column."""
    return (axis for block in table.blocks for axis in block.axes if axis.filter == filter_name)


def merge_sequences(sequences: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the items of all sequences, once each, in an order that no sequence contradicts.

    Items that no sequence orders stay in order of first appearance. Raises `graphlib.CycleError` if two sequences
    contradict each other.
    """
    before: dict[str, set[str]] = {item: set() for item in chain.from_iterable(sequences)}
    for first, second in chain.from_iterable(map(pairwise, sequences)):
        before[second].add(first)
    # One item at a time: `graphlib.TopologicalSorter` gives them level by level, which separates categories that follow
    # each other in every table.
    ordered: dict[str, None] = {}
    while len(ordered) < len(before):
        ready = (item for item, needed in before.items() if item not in ordered and needed <= ordered.keys())
        item = next(ready, None)
        if item is None:
            raise CycleError("two tables have the same categories in orders that make a cycle")
        ordered[item] = None
    return tuple(ordered)


@cache
def _list_levels(table_name: str) -> tuple[tuple[str, ...], ...]:
    """Return the levels of all filters, row by row."""
    return tuple(row.levels for row in list_rows(TABLES[table_name], all_together=True))


def _iter_sequences(filter_name: str) -> Iterator[Sequence[str]]:
    """Yield the categories of the filter in the order of a table, for each combination of its other filters."""
    for table in TABLES.values():
        names = [f.name for f in table.filters]
        if filter_name in names:
            position = names.index(filter_name)
            runs: dict[tuple[str, ...], dict[str, None]] = {}
            for row in _list_levels(table.name):
                runs.setdefault((*row[:position], *row[position + 1 :]), {})[row[position]] = None
            yield from map(tuple, runs.values())
