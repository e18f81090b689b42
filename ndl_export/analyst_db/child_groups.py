"""Categories of every filter, and groups of children in one view, whichever table they come from.

Categories have an order that fits all tables with the filter. They become ENUM types, so `ORDER BY breakdown` sorts
quintiles from 1 to 5. `gld_by_group` combines tables with different filters; if several tables have a characteristic,
the first one supplies it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError
from itertools import chain, pairwise

from ndl_export.tables import TABLES, Table
from ndl_export.tables.model import BREAKDOWN_FILTER, TOPIC_FILTER, Axis, DifferenceBlock
from ndl_export.tables.pupil import GLD_DIFFERENCES, GLD_PERCENT
from ndl_export.tables.rows import list_rows
from privacy.doors.sql import quote_text


@cache
def list_filter_categories() -> dict[str, tuple[str, ...]]:
    """Return the categories of each filter column, in order."""
    sequences: dict[str, list[Sequence[str]]] = {}
    for table in TABLES.values():
        for position, entry in enumerate(table.filters):
            # The order of the table, for each combination of its other filters.
            runs: dict[tuple[str, ...], dict[str, None]] = {}
            for row in _list_levels(table.name):
                runs.setdefault((*row[:position], *row[position + 1 :]), {})[row[position]] = None
            sequences.setdefault(entry.name, []).extend(map(tuple, runs.values()))
    return {name: merge_sequences(found) for name, found in sequences.items()}


def get_type_name(filter_name: str) -> str:
    """Return the name of the ENUM type of a filter column."""
    return f"dimension.{filter_name}_type"


def iter_axes(table: Table, filter_name: str) -> Iterator[Axis]:
    """Yield the axes, in all blocks of a table, that make up a filter's column."""
    return (axis for block in table.blocks for axis in block.axes if axis.filter == filter_name)


def merge_sequences(sequences: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return all items once, in an order that no sequence contradicts. Raises `graphlib.CycleError`."""
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


EVERYONE = "Total"


@dataclass(frozen=True)
class Characteristic:
    """A characteristic and its groups: `column` of `table`, on rows where the filters in `fixed` have these values."""

    name: str
    attribute: str
    table: str
    column: str
    fixed: dict[str, str]
    groups: tuple[str, ...]

    def build_key(self, group: str) -> str:
        """Return a name for the group that no other characteristic uses."""
        return EVERYONE if self.name == EVERYONE else f"{self.name}: {group}"


@cache
def list_characteristics() -> tuple[Characteristic, ...]:
    """Return every characteristic: everyone first, then in order of the table definitions."""
    found: dict[str, Characteristic] = {}
    attributes: set[str] = set()
    for table in TABLES.values():
        # A table by review has no row with every filter at its total.
        whole = all(EVERYONE in levels for levels in zip(*_list_levels(table.name), strict=True))
        if GLD_PERCENT in table.measures and whole:
            # By attribute too, because a later table may give the same groups under another name.
            new = [c for c in _iter_characteristics(table) if c.name not in found and c.attribute not in attributes]
            found |= {c.name: c for c in new}
            attributes |= {c.attribute for c in new}
    return tuple(found.values())


@dataclass(frozen=True)
class ComparedGroups:
    """A comparison of `gld_differences`; `second` is None for all councils together."""

    comparison: str
    topic: str
    first: str
    second: str | None


@cache
def list_comparisons() -> tuple[ComparedGroups, ...]:
    """Return the comparisons, with the keys of the groups that they compare."""
    return tuple(
        ComparedGroups(
            block.constants["comparison"],
            block.constants["breakdown_topic"],
            _get_group_key(block.first),
            None if block.second is None else _get_group_key(block.second),
        )
        for block in GLD_DIFFERENCES.blocks
        if isinstance(block, DifferenceBlock)
    )


def build_groups_sql(characteristic: Characteristic) -> str:
    """Return SQL for one row for each release, cohort, area and group of a characteristic."""
    conditions = [f"{column} = {quote_text(value)}" for column, value in characteristic.fixed.items()]
    if characteristic.name != EVERYONE:
        conditions.append(f"{characteristic.column} <> {quote_text(EVERYONE)}")
    return (
        # As text: each filter has its own ENUM type, and UNION ALL needs one type for all.
        "SELECT release_version, time_period, geographic_level, area_code, area_name, is_all_together,"
        f" {quote_text(characteristic.name)} AS characteristic, {characteristic.column}::VARCHAR AS child_group,"
        " children_count_estimate, gld_children_percent, gld_children_percent_lower_ci,"
        " gld_children_percent_upper_ci, gld_children_percent_flag, series_break"
        f" FROM releases.{characteristic.table} WHERE {' AND '.join(conditions)}"
    )


def _iter_characteristics(table: Table) -> Iterator[Characteristic]:
    """Yield the topics of a table that has a topic filter, everyone first, then its other filters."""
    topic_column, column = TOPIC_FILTER.name, BREAKDOWN_FILTER.name
    names = [f.name for f in table.filters if f.name != topic_column]
    if column in names:
        at_total = {name: EVERYONE for name in names if name != column}
        yield Characteristic(EVERYONE, EVERYONE, table.name, column, at_total | {topic_column: EVERYONE}, (EVERYONE,))
        for block in table.blocks:
            for axis in (axis for axis in block.axes if axis.filter == column):
                topic = block.constants[topic_column]
                groups = tuple(selection.label for selection in axis.selections)
                fixed = at_total | {topic_column: topic}
                yield Characteristic(topic, axis.attribute, table.name, column, fixed, groups)
    for entry in (entry for entry in table.filters if entry.name not in (topic_column, column)):
        others = {name: EVERYONE for name in names if name != entry.name}
        position = table.filters.index(entry)
        there = {levels[position] for levels in _list_levels(table.name)} - {EVERYONE}
        groups = tuple(category for category in list_filter_categories()[entry.name] if category in there)
        attribute = next(iter_axes(table, entry.name)).attribute
        # "Seen by" and "concern by" share one attribute in the noise plan, but are two characteristics.
        attribute = entry.name if attribute == "dots" else attribute
        yield Characteristic(entry.label, attribute, table.name, entry.name, others, groups)


def _get_group_key(group: tuple[str, tuple[str, ...]] | None) -> str:
    if group is None:
        return EVERYONE
    attribute, categories = group
    characteristic = next(c for c in list_characteristics() if c.attribute == attribute)
    axes = (
        axis for axis in iter_axes(TABLES[characteristic.table], characteristic.column) if axis.attribute == attribute
    )
    selections = (selection for axis in axes for selection in axis.selections)
    return characteristic.build_key(next(each.label for each in selections if each.categories == categories))
