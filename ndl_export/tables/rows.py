"""Rows of a published table: which rows there are, in which order, and which figures apply to each.

Rows are derived from the table definition, the areas, the cohorts and the detail stated in their noise plans, which are
hashed before any data are read. Releases of the same councils and sources therefore have the same rows whatever the
data are. A row in which no plausible cohort has a readable rate is left out, in every area where that is so, and the
plan lists it. Any other row that turns out too uncertain stays in the table, with its figure withheld.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ndl_export.tables import FAMILIES, Block, Table, model, schema
from ndl_export.tables.geography import ALL_TOGETHER, NATIONAL, Geography
from sources.reference.cohorts import Cohort
from sources.reference.published_figures import load_breaks

Levels = tuple[str, ...]
"""The level of each filter, in the order of the table's filters."""


@dataclass(frozen=True, eq=False)
class Detail:
    """Where a row is published, by table and filter levels: kinds of area, and codes of those areas without the row."""

    areas: Mapping[str, Mapping[Levels, Collection[str]]]
    left_out: Mapping[str, Mapping[Levels, Collection[str]]]

    def is_row_published(self, table: str, levels: Levels, area: Geography) -> bool:
        """Return whether the table has this row in this area."""
        is_left_out = area.code in self.left_out[table].get(levels, ())
        return get_level(area) in self.areas[table].get(levels, ()) and not is_left_out

    def count_left_out(self, table: str) -> int:
        """Return the number of rows that were measured and left out, over all areas."""
        return sum(map(len, self.left_out[table].values()))

    def build_document(self) -> dict[str, Any]:
        """Return the JSON-ready form stored in a plan."""
        return {
            table: [
                {"levels": list(levels), "areas": sorted(kinds), "left_out": sorted(self.left_out[table][levels])}
                for levels, kinds in rows.items()
            ]
            for table, rows in self.areas.items()
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Detail":
        """Read the detail from a plan's document. Raises KeyError or TypeError if the form is wrong."""
        # plans of earlier releases leave out no row of a single area
        areas, left_out = (
            {table: {tuple(row["levels"]): row.get(name, ()) for row in rows} for table, rows in document.items()}
            for name in ("areas", "left_out")
        )
        return cls(areas, left_out)


def get_level(area: Geography) -> str:
    """Return the geographic level used to look up an area's rows; England counts as all councils together."""
    return ALL_TOGETHER if area.level == NATIONAL else area.level


def parse_detail(plan: bytes) -> Detail | None:
    """Return the detail stated in a plan's document, or None if the plan has every row."""
    document = json.loads(plan).get("detail")
    return Detail.from_document(document) if document else None


Children = frozenset[tuple[str, frozenset[str]]]
"""A set of children, defined by the categories it is restricted to: (attribute, categories). Empty means all
children."""

# ASCII's unit separator, which no level and no name of an area contains.
_SEPARATOR = "\x1f"
_SHOWN = 3  # rows quoted in an error message


Said = tuple[Children, Children | None]
"""What a figure states: the number of children in the first set, or the percentage they are of the second."""


@dataclass(frozen=True)
class TableRow:
    """A row: its levels, and the measures that apply.

    `counts` has the children behind each count, `states` what the row's counts and percentages state, and `attributes`
    the attributes that its figures depend on. `needs` are the kinds of record without which nothing is known of them.
    """

    levels: Levels
    applies: set[str] = field(default_factory=set)
    counts: dict[str, Children] = field(default_factory=dict)
    states: set[Said] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    needs: set[str] = field(default_factory=set)


@cache
def list_rows(table: Table, *, all_together: bool, every: bool = False) -> tuple[TableRow, ...]:
    """Return the rows of one area in order; `every` includes the rows that single councils lack."""
    found: dict[Levels, TableRow] = {}
    family = FAMILIES[table.family]
    for block in table.blocks:
        if not (block.councils or all_together or every):
            continue
        needed, counts, ratios, measures = block.needed, block.counts, block.ratios.values(), block.measures
        distinguishing = {attribute for count in needed for attribute, _ in count.groups}
        needs = {family.get_attribute(name).sent_as for name in block.attributes} - {""}
        for levels, chosen, possible in iter_rows(table, block):
            # A row that cannot occur is published too, with every figure flagged as not applicable.
            row = found.setdefault(levels, TableRow(levels))
            pairs = zip(block.axes, chosen, strict=True)
            row.attributes.update(axis.attribute for axis, level in pairs if level.categories is not None)
            row.attributes.update(distinguishing)
            row.needs.update(needs)
            # All councils together are not compared with themselves.
            if possible and not (all_together and block.with_all_together):
                children = {count: _find_counted(table, block, chosen, count) for count in needed}
                row.applies.update(measures)
                row.counts.update({name: children[count] for name, count in counts.items()})
                row.states.update((children[count], None) for count in counts.values())
                row.states.update(
                    (children[ratio.parts[0]], children[ratio.whole])
                    for ratio in ratios
                    if len(ratio.parts) == 1 and not ratio.taken_off
                )
    return tuple(found.values())


def collect_statements(table: Table) -> dict[Levels, set[Said]]:
    """Return what each row's counts and percentages state, by its levels; a request must add to this."""
    return {row.levels: row.states for row in list_rows(table, all_together=True)}


def iter_rows(table: Table, block: Block) -> Iterator[tuple[Levels, tuple[model.Selection, ...], bool]]:
    """Yield the filter levels of each row of a block, the selections they come from, and whether the row can occur."""
    for chosen in product(*(axis.selections for axis in block.axes)):
        labels = tuple(selection.label for selection in chosen)
        by_filter = {**block.constants, **{a.filter: label for a, label in zip(block.axes, labels, strict=True)}}
        yield tuple(by_filter[f.name] for f in table.filters), chosen, labels not in block.structural_zeros


@cache
def list_levels(table: Table, name: str) -> tuple[str, ...]:
    """Return the published levels of a filter in the order of the definition."""
    position = [entry.name for entry in table.filters].index(name)
    # All councils together have every row of a table; single councils lack some.
    return tuple(dict.fromkeys(row.levels[position] for row in list_rows(table, all_together=True)))


def list_allowed(table: Table, column: schema.PublishedColumn) -> tuple[str, ...]:
    """Return the values that a column may hold: the levels of a filter, the symbols of a flag; empty for others."""
    return list_levels(table, column.name) if column.role is schema.ColumnRole.FILTER else column.symbols


# Not compared by value: comparing arrays gives an array.
@dataclass(frozen=True, eq=False)
class Layout:
    """All rows of a table: by cohort, then by area, in the order of the definition.

    Areas belong to one cohort each: `areas` lists those of the first cohort, then those of the second; `cohort_of_area`
    gives the cohort of each. `cohort_of`, `area_of` and `row_of` (n,) index `cohorts`, `areas` and `rows` for every row
    of the table.
    """

    table: Table
    cohorts: tuple[str, ...]
    areas: tuple[Geography, ...]
    cohort_of_area: NDArray[np.int64]
    rows: tuple[TableRow, ...]
    cohort_of: NDArray[np.int64]
    area_of: NDArray[np.int64]
    row_of: NDArray[np.int64]

    @cached_property
    def keys(self) -> pa.Table:
        """The key columns, in schema order; (n,) rows."""
        columns = {
            "time_period": pa.array(self.cohorts, pa.string()).take(pa.array(self.cohort_of)),
            "time_identifier": pa.repeat(schema.TIME_IDENTIFIER, len(self.row_of)),
        }
        for name in self.areas[0].columns:
            values = pa.array([area.columns[name] for area in self.areas], pa.string())
            columns[name] = values.take(pa.array(self.area_of))
        for position, entry in enumerate(self.table.filters):
            values = pa.array([row.levels[position] for row in self.rows], pa.string())
            columns[entry.name] = values.take(pa.array(self.row_of))
        fields = schema.build_arrow_schema(self.table)
        return pa.table(columns, schema=pa.schema([fields.field(name) for name in schema.list_key_names(self.table)]))

    def find_applying(self, measure: str) -> NDArray[np.bool_]:
        """Return whether the measure is defined for each row; shape (n,)."""
        return np.array([measure in row.applies for row in self.rows], dtype=bool)[self.row_of]

    @cached_property
    def available(self) -> NDArray[np.bool_]:
        """Whether any council of each row's area has sent the counted source, and all send its reviews; shape (n,)."""
        found: NDArray[np.bool_] = np.array([area.available for area in self.areas], dtype=bool)[self.area_of]
        for kind in {kind for area in self.areas for kind in area.lacks}:
            lacks, needs = (
                np.array([kind in each for each in listed], dtype=bool)
                for listed in ([area.lacks for area in self.areas], [row.needs for row in self.rows])
            )
            found &= ~(lacks[self.area_of] & needs[self.row_of])
        return found

    @cached_property
    def breaks(self) -> pa.Array:
        """`b` where figures are not comparable with the cohort before, else NULL; shape (n,)."""
        flags = np.concatenate([self._find_breaks(index) for index in range(len(self.cohorts))])
        return pc.if_else(pa.array(flags & self.available), schema.BREAK, pa.scalar(None, pa.string()))

    def list_areas(self, cohort: str) -> list[Geography]:
        """Return the areas of a cohort."""
        return [self.areas[area] for area in np.flatnonzero(self.cohort_of_area == self.cohorts.index(cohort))]

    def _find_breaks(self, index: int) -> NDArray[np.bool_]:
        """Return where an area's councils, or what they record, changed since the cohort before."""
        own, cohort = self.cohort_of == index, self.cohorts[index]
        # Compared with the previous cohort of the release, so a year that the release leaves out cannot hide a break.
        before = self.cohorts[index - 1] if index else getattr(Cohort(cohort).previous, "code", None)
        earlier = self.list_areas(self.cohorts[index - 1]) if index else ()
        members = {(area.level, area.code): area.councils for area in earlier}
        # An area that the previous cohort lacks breaks no series.
        others = np.array([members.get((a.level, a.code), a.councils) != a.councils for a in self.areas], dtype=bool)
        flags: NDArray[np.bool_] = others[self.area_of[own]]
        for each in load_breaks():
            if each.is_between(before, cohort):
                rows = np.array([bool(row.attributes & each.attributes) for row in self.rows], dtype=bool)
                areas = np.array([not each.councils or bool(each.councils & set(a.councils)) for a in self.areas])
                flags |= rows[self.row_of[own]] & areas[self.area_of[own]]
        return flags

    def find_positions(self, block: Block, areas: Sequence[Geography]) -> NDArray[np.int64]:
        """Return the positions (n,) of a block's rows in the first cohort, area by area; -1 if not published."""
        numbers = {(area.level, area.code): number for number, area in enumerate(self.list_areas(self.cohorts[0]))}
        of_areas = [numbers.get((area.level, area.code), -1) for area in areas]
        of_rows = np.array([self._numbers.get(levels, (-1, -1)) for levels, *_ in iter_rows(self.table, block)])
        # an area has a row of its levels at one of the two numbers at most
        found: NDArray[np.int64] = self._places[of_areas][:, of_rows].max(axis=-1).ravel()
        return found

    @cached_property
    def _numbers(self) -> dict[Levels, tuple[int, int]]:
        """The first and last number of each row among `rows`, which has most rows twice, by filter levels."""
        first: dict[Levels, int] = {}
        for number, row in enumerate(self.rows):
            first.setdefault(row.levels, number)
        return {row.levels: (first[row.levels], number) for number, row in enumerate(self.rows)}

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Positions of the first cohort's rows: (areas + 1, rows + 1), and -1 for an unknown area, row or pair."""
        places = np.full((np.count_nonzero(self.cohort_of_area == 0) + 1, len(self.rows) + 1), -1)
        first = self.cohort_of == 0
        places[self.area_of[first], self.row_of[first]] = np.flatnonzero(first)
        return places

    def sort_rows(self, data: pa.Table) -> pa.Table:
        """Return `data` in the order of this layout. Raises ValueError if rows are missing, unknown or duplicated."""
        names = schema.list_key_names(self.table)
        if all(data[name].equals(self.keys[name]) for name in names):
            return data
        keys, expected = _build_key_strings(data, names), _build_key_strings(self.keys, names)
        position = pc.index_in(expected, value_set=keys)
        missing = expected.filter(pc.is_null(position))
        unknown = keys.filter(pc.invert(pc.is_in(keys, value_set=expected)))
        twice = len(keys) - len(pc.unique(keys))
        if len(missing) or len(unknown) or twice:
            found = (*_format_examples("missing", missing), *_format_examples("not in the definition", unknown))
            raise ValueError("; ".join((*found, *([f"{twice} rows are there more than once"] if twice else ()))))
        return data.take(position)


def build_layout(
    table: Table, areas: Mapping[str, Sequence[Geography]], details: Mapping[str, Detail | None] = MappingProxyType({})
) -> Layout:
    """Return the rows of `table` for the areas of each cohort that the cohort's detail publishes."""
    top, others = list_rows(table, all_together=True), list_rows(table, all_together=False, every=True)
    at_councils = {row.levels for row in list_rows(table, all_together=False)}
    cohorts = tuple(sorted(areas))

    def find_published(cohort: str, index: int) -> NDArray[np.int64]:
        of_area, first = (others, len(top)) if index else (top, 0)
        detail, area = details.get(cohort), areas[cohort][index]
        shown = (
            detail.is_row_published(table.name, row.levels, area) if detail else not index or row.levels in at_councils
            for row in of_area
        )
        return first + np.flatnonzero(list(shown))

    per_area = [find_published(cohort, index) for cohort in cohorts for index in range(len(areas[cohort]))]
    sizes = [len(indices) for indices in per_area]
    cohort_of_area = np.repeat(np.arange(len(cohorts)), [len(areas[cohort]) for cohort in cohorts])
    return Layout(
        table,
        cohorts,
        tuple(area for cohort in cohorts for area in areas[cohort]),
        cohort_of_area,
        # All councils together have different rows from other areas, so both lists are kept, one after the other.
        (*top, *others),
        np.repeat(cohort_of_area, sizes),
        np.repeat(np.arange(len(per_area)), sizes),
        np.concatenate(per_area),
    )


def _find_counted(table: Table, block: Block, chosen: tuple[model.Selection, ...], count: model.Count) -> Children:
    """Return the children that a row counts. A group of all categories of an attribute is not a restriction."""
    levels = (
        (axis.attribute, axis.whole if axis.filter == count.over else level.categories)
        for axis, level in zip(block.axes, chosen, strict=True)
    )
    restricted: dict[str, frozenset[str]] = {}
    for attribute, categories in (*levels, *count.groups):
        if categories is not None:
            restricted[attribute] = restricted.get(attribute, frozenset(categories)) & frozenset(categories)
    family = FAMILIES[table.family]
    return frozenset(
        (name, categories)
        for name, categories in restricted.items()
        if categories != frozenset(family.get_attribute(name).categories)
    )


def _build_key_strings(data: pa.Table, names: tuple[str, ...]) -> pa.Array:
    """Return a string for each row that is unique to its combination of key values."""
    # One NULL, such as the region of all councils together, would make the whole key NULL.
    parts = [pc.fill_null(data[name].combine_chunks(), "") for name in names]
    return pc.binary_join_element_wise(*parts, _SEPARATOR)


def _format_examples(what: str, keys: pa.Array) -> list[str]:
    if not len(keys):
        return []
    shown = ["/".join(part for part in key.split(_SEPARATOR) if part) for key in keys.slice(0, _SHOWN).to_pylist()]
    return [f"{len(keys)} rows are {what}, such as {', '.join(shown)}"]
