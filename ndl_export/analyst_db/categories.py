"""The categories of every filter, in an order that fits all tables that have the filter.

They become ENUM types: `ORDER BY breakdown` gives quintile 1 to 5, answers come as they were asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from itertools import chain, pairwise

from ndl_export.tables import TABLES, Table
from ndl_export.tables.rows import rows


@cache
def filter_categories() -> dict[str, tuple[str, ...]]:
    """Categories of each filter column, in order."""
    names = dict.fromkeys(f.name for table in TABLES.values() for f in table.filters)
    return {name: in_order(list(_sequences(name))) for name in names}


def category_type(filter_name: str) -> str:
    """Name of the ENUM type of a filter column."""
    return f"dimension.{filter_name}_type"


def table_categories(table: Table, filter_name: str) -> tuple[str, ...]:
    """Categories of one filter of one table, in order."""
    position = [f.name for f in table.filters].index(filter_name)
    found = {levels[position] for levels in _levels(table.name)}
    return tuple(category for category in filter_categories()[filter_name] if category in found)


def in_order(sequences: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """All items of all sequences, once each, no two of a sequence the other way round; else as they come.

    Raises `graphlib.CycleError` where two sequences contradict each other.
    """
    first = {item: place for place, item in enumerate(dict.fromkeys(chain.from_iterable(sequences)))}
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(first, ()))
    for before, after in chain.from_iterable(pairwise(sequence) for sequence in sequences):
        sorter.add(after, before)
    sorter.prepare()
    ordered, ready = [], [(first[item], item) for item in sorter.get_ready()]
    ready.sort()
    while ready:
        _, item = heappop(ready)
        ordered.append(item)
        sorter.done(item)
        for freed in sorter.get_ready():
            heappush(ready, (first[freed], freed))
    return tuple(ordered)


@cache
def _levels(table_name: str) -> tuple[tuple[str, ...], ...]:
    """Levels of all filters, row by row."""
    return tuple(row.levels for row in rows(TABLES[table_name], all_together=True))


def _sequences(filter_name: str) -> Iterator[tuple[str, ...]]:
    """Categories of the filter as they follow each other in a table while all its other filters stay the same."""
    for table in TABLES.values():
        names = [f.name for f in table.filters]
        if filter_name in names:
            yield from _runs(_levels(table.name), names.index(filter_name))


def _runs(levels: Iterable[tuple[str, ...]], position: int) -> Iterator[tuple[str, ...]]:
    runs: dict[tuple[str, ...], list[str]] = {}
    for row in levels:
        runs.setdefault((*row[:position], *row[position + 1 :]), []).append(row[position])
    yield from (tuple(dict.fromkeys(run)) for run in runs.values())
