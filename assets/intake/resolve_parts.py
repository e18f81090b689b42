"""Resolves which rows of an extract's parts are in force, from the marks of the rows alone.

A later part's record replaces an earlier one's. A row that repeats an earlier one is counted and left out, and the
first such row stays, with its key. Within one part rows have no order, as in a whole file: several rows of one record
all stay, except in `changes`, where the last of them counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.intake.parts import NUMBER, Part
from assets.pseudonymise.split_writer import CHUNK_ROWS, RowState
from sources.councils.dialect import Parts
from sources.errors import ExtractStopped
from sources.extract.part_names import Place, are_comparable, place_of

NEARLY_ALL = 0.95
"""Share of the records of the part before that a part holds if parts are cumulative, each pair of them."""
MOSTLY = 0.5
"""Share of the records of an earlier part of the same name that a part holds if it is sent in its place."""
_SOLE = ("sole_names", "sole_born", "sole_home")
_TELLING = ("record_born", "record_surname", "record_forename")
_ODD = np.uint64(0x9E3779B97F4A7C15)
"""Mixes two marks into one value."""


@dataclass(frozen=True)
class Ordered:
    """The parts of an extract in order; parts that neither names nor runs put in order share a number in `ties`.

    `by` says what the order is by.
    """

    parts: tuple[Part, ...]
    ties: tuple[int, ...]
    by: str


def order_parts(parts: Sequence[Part]) -> Ordered:
    """Order parts by the dates or numbers in their names if all have one, else by run and by name within it."""
    if are_comparable(places := [place_of(part.file) for part in parts]):
        of_dates = places and places[0] and places[0].form == "date"
        keys = [(_numbers(place), part.arrived) for place, part in zip(places, parts, strict=True)]
        return _sort(parts, keys, "the dates in their names" if of_dates else "the numbers in their names")
    together = {part.arrived: [other for other in parts if other.arrived == part.arrived] for part in parts}
    apart = {run: are_comparable([place_of(part.file) for part in of]) for run, of in together.items()}
    arrivals = [(part.arrived, _numbers(place_of(part.file)) if apart[part.arrived] else ()) for part in parts]
    return _sort(parts, arrivals, "when they came")


def _sort(parts: Sequence[Part], keys: Sequence[Any], by: str) -> Ordered:
    ordered = sorted(zip(keys, parts, strict=True), key=lambda pair: (pair[0], pair[1].number))
    first = {key: place for place, (key, _) in reversed([*enumerate(ordered)])}
    return Ordered(tuple(part for _, part in ordered), tuple(first[key] for key, _ in ordered), by)


def _numbers(place: Place | None) -> tuple[int, ...]:
    return place.numbers if place else ()


@dataclass(frozen=True)
class Tally:
    """What became of the rows of a part that were not set aside, in numbers."""

    in_force: int
    repeated: int
    replaced: int
    deletions_of_nothing: int = 0


@dataclass(frozen=True)
class Resolved:
    """The rows in force (`row_key`, `part` and `t_names`, by key) and what became of the rows of each part, by number.

    `answered` are keys of rows set aside whose record a part gives nevertheless. `seen` says that `how` was inferred.
    """

    how: Parts
    seen: bool
    parts: Ordered
    rows: pa.Table
    answered: np.ndarray
    tallies: dict[int, Tally]

    @property
    def counting(self) -> tuple[Part, ...]:
        """The parts of which rows that were set aside still count."""
        own = tuple(part for part in self.parts.parts if part.has_rows)
        return own[-1:] if self.how is Parts.CUMULATIVE else own


def resolve(name: str, ordered: Ordered, marks: Mapping[int, pa.Table], stated: Parts | None) -> Resolved:
    """Resolve parts as `stated`, or as inferred from them. `marks` are those of each part's rows, by its number.

    Raises `ExtractStopped` if parts that nothing puts in order contradict one another.
    """
    entries = _entered(ordered, marks)
    if stated is Parts.CHANGES:
        entries = _last_of_each_part(entries)
    states = _states(entries)
    how = stated or (Parts.CUMULATIVE if _each_holds_the_one_before(states, ordered) else Parts.INCREMENTAL)
    _stop_at_contradictions(states, name, ordered, how)
    last = sum(part.has_rows for part in ordered.parts) - 1 if how is Parts.CUMULATIVE else 0
    in_force = _in_force(entries, states, last)
    set_aside = entries.of(entries.rejected & (entries.place >= last))
    given = np.isin(set_aside.key, entries.key[in_force])
    rows = _with_names(entries.of(in_force), set_aside.of(~given))
    answered = set_aside.row_key[given]
    return Resolved(how, stated is None, ordered, rows, answered, _tallies(entries, states, in_force, ordered))


@dataclass(frozen=True)
class _Entries:
    """The rows of all parts: `place` of the part, in their order; `key` of the record, or of what the row says where it
    names none. A missing mark is 0."""

    row_key: np.ndarray
    part: np.ndarray
    place: np.ndarray
    tie: np.ndarray
    number: np.ndarray
    key: np.ndarray
    content: np.ndarray
    kept: np.ndarray
    rejected: np.ndarray
    sole_names: np.ndarray
    sole_born: np.ndarray
    sole_home: np.ndarray

    def of(self, chosen: np.ndarray) -> _Entries:
        """Some of the rows."""
        return _Entries(*(getattr(self, each.name)[chosen] for each in fields(self)))


def _entered(ordered: Ordered, marks: Mapping[int, pa.Table]) -> _Entries:
    tables = [marks[part.number] for part in ordered.parts]
    lengths = [table.num_rows for table in tables]
    numbers = [part.number for part in ordered.parts]
    part, place, tie = (np.repeat(values, lengths) for values in (numbers, _places(ordered), ordered.ties))
    table = pa.concat_tables(tables, promote_options="default")
    record, content = _values(table, "record"), _values(table, "content")
    key = np.where(record, record, _mixed(content))
    kept, rejected = (pc.equal(table["state"], str(state)).to_numpy() for state in (RowState.KEPT, RowState.REJECTED))
    row_key, number = _values(table, "row_key"), table[NUMBER].to_numpy()
    key = _children_apart(key, [_values(table, name) for name in _TELLING])
    sole = (_values(table, name) for name in _SOLE)
    return _Entries(row_key, part, place, tie, number, key, content, kept, rejected, *sole)


def _values(table: pa.Table, name: str) -> np.ndarray:
    """A mark of each row; 0 where there is none."""
    return table[name].fill_null(0).to_numpy() if name in table.column_names else np.zeros(table.num_rows, np.uint64)


def _mixed(values: np.ndarray) -> np.ndarray:
    """The values spread over 64 bits (the finaliser of splitmix64)."""
    mixed = values + _ODD
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _children_apart(key: np.ndarray, told: Sequence[np.ndarray]) -> np.ndarray:
    """Keys, of which rows of one UPN have others if they agree in no two of date of birth, surname and forename: they
    are of two children, and neither replaces the other."""
    born = told[0]
    if not born.any():
        return key
    order = np.argsort(key, kind="stable")[born[np.argsort(key, kind="stable")] != 0]
    starts = _starts(key[order])
    differ = np.zeros(len(starts), bool)
    for values in (each[order] for each in told):
        least = np.where(values, values, np.iinfo(np.uint64).max)
        most = np.maximum.reduceat(values, starts)
        differ |= (most > 0) & (np.minimum.reduceat(least, starts) != most)
    there = np.flatnonzero(np.isin(key, key[order][starts][differ]))
    if not len(there):
        return key
    known, keys = [values[there] for values in told], key[there]
    silent = np.logical_or.reduce([values == 0 for values in known])  # of one that lacks something nobody can say
    pairs = [one * _ODD ^ other for one, other in combinations(known, 2)]
    child = _components([*pairs, np.where(np.isin(keys, keys[silent]), keys, 0)])
    apart = key.copy()
    apart[there] = _mixed(keys ^ _mixed(child.astype(np.uint64)))
    return apart


def _starts(*sorted_by: np.ndarray) -> np.ndarray:
    """Where each run of equal values starts, of values that are sorted by all of these."""
    if not len(sorted_by[0]):
        return np.empty(0, np.intp)
    new = np.logical_or.reduce([values[1:] != values[:-1] for values in sorted_by])
    return np.flatnonzero(np.concatenate([[True], new]))


def _runs(starts: np.ndarray, length: int) -> np.ndarray:
    """The number of the run that each of the values is in."""
    return np.repeat(np.arange(len(starts)), np.diff(starts, append=length))


def _components(told: Sequence[np.ndarray]) -> np.ndarray:
    """The component of each row, where two are joined by an equal value, other than 0, of one of the columns."""
    from scipy.sparse import coo_array  # loads for a tenth of a second: only where parts are put together
    from scipy.sparse.csgraph import connected_components

    count = len(told[0])
    rows, nodes, first = [], [], count
    for values in told:
        there = np.flatnonzero(values)
        _, node = np.unique(values[there], return_inverse=True)
        rows.append(there)
        nodes.append(node + first)
        first += len(there)
    graph = coo_array(
        (np.ones(sum(map(len, rows)), np.int8), (np.concatenate(rows), np.concatenate(nodes))), (first, first)
    )
    return connected_components(graph, directed=False)[1][:count].astype(np.int64)


def _places(ordered: Ordered) -> list[float]:
    """The place of each part; of one that only says what others have now, between those of the parts around it."""
    own = np.cumsum([part.has_rows for part in ordered.parts]) - 1
    return [place + 0.5 * (not part.has_rows) for place, part in zip(own.tolist(), ordered.parts, strict=True)]


def _last_of_each_part(entries: _Entries) -> _Entries:
    """In a log of changes, the last row of a record in each part, and the rows that were set aside."""
    order = np.lexsort((entries.number, entries.place, entries.key, entries.rejected))
    own = order[: np.count_nonzero(~entries.rejected)]
    starts = _starts(entries.key[own], entries.place[own])
    ends = np.append(starts[1:], len(own))[: len(starts)] - 1
    return entries.of(np.sort(np.concatenate([own[ends], np.flatnonzero(entries.rejected)])))


@dataclass(frozen=True)
class _States:
    """One state of a record a part, by record and place: what its kept rows `said`, or that it is `gone`.

    `rows` are the entries that were not set aside, by record, place and content, `of` the state of each.
    """

    rows: np.ndarray
    of: np.ndarray
    key: np.ndarray
    place: np.ndarray
    tie: np.ndarray
    said: np.ndarray
    gone: np.ndarray
    has_kept: np.ndarray

    @cached_property
    def first(self) -> np.ndarray:
        """Where the states of each record start."""
        return _starts(self.key)


def _states(entries: _Entries) -> _States:
    rows = np.flatnonzero(~entries.rejected)
    rows = rows[
        np.lexsort(tuple(getattr(entries, name)[rows] for name in ("row_key", "kept", "content", "place", "key")))
    ]
    key, place, content, kept = (getattr(entries, name)[rows] for name in ("key", "place", "content", "kept"))
    starts = _starts(key, place)
    said = np.where(kept, _mixed(content), 0)
    said[kept & _again(entries, rows)] = 0
    any_kept = _reduced(np.logical_or, kept, starts)
    return _States(
        rows,
        _runs(starts, len(rows)),
        key[starts],
        place[starts],
        entries.tie[rows][starts],
        _reduced(np.add, said, starts),
        _reduced(np.logical_or, ~kept, starts),
        any_kept,
    )


def _again(entries: _Entries, rows: np.ndarray) -> np.ndarray:
    """Which kept rows say what a kept row of the same part and record says whose key is lower."""
    same = np.ones(max(len(rows) - 1, 0), bool)
    for name in ("key", "place", "content", "kept"):
        values = getattr(entries, name)[rows]
        same &= values[1:] == values[:-1]
    return np.concatenate([np.zeros(min(len(rows), 1), bool), same])


def _reduced(by: np.ufunc, values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.asarray(by.reduceat(values, starts)) if len(starts) else values[:0]


def _each_holds_the_one_before(states: _States, ordered: Ordered) -> bool:
    """Whether every part but the first holds nearly all records of the one before it."""
    own = [tie for tie, part in zip(ordered.ties, ordered.parts, strict=True) if part.has_rows]
    if len(own) < 2 or len(set(own)) < len(own):
        return False
    held = [states.key[states.has_kept & (states.place == place)] for place in range(len(own))]
    return all(len(before) > 0 and np.isin(before, now).mean() >= NEARLY_ALL for before, now in pairwise(held))


def _stop_at_contradictions(states: _States, name: str, ordered: Ordered, how: Parts) -> None:
    own = [(part, tie) for part, tie in zip(ordered.parts, ordered.ties, strict=True) if part.has_rows]
    if len({tie for _, tie in own}) == len(own):
        return
    starts = _starts(states.key, states.tie)
    said = _reduced(np.maximum, states.said, starts) != _reduced(np.minimum, states.said, starts)
    gone = _reduced(np.logical_or, states.gone, starts) != _reduced(np.logical_and, states.gone, starts)
    found = np.unique(states.place[(said | gone)[_runs(starts, len(states.key))]]).tolist()
    if how is Parts.CUMULATIVE and sum(tie == own[-1][1] for _, tie in own) > 1:
        found = [place for place, (_, tie) in enumerate(own) if tie == own[-1][1]]
    if found:
        numbers = [own[int(place)][0].number for place in found]
        raise ExtractStopped(
            f"{name}: {_parts_named(numbers)} say different things of the same records, and nothing says which is the"
            " later; put a date into their names, such as 2026-05.csv"
        )


def _parts_named(numbers: Sequence[int]) -> str:
    *others, last = map(str, numbers)
    return f"parts {', '.join(others)} and {last}"


def _in_force(entries: _Entries, states: _States, last: int) -> np.ndarray:
    """The rows that count: of each record what it says last, as the first part has it that says so since anything else
    was said; where nothing is said of it from place `last` on, none."""
    first = states.first
    ends = np.append(first[1:], len(states.key))[: len(first)] - 1
    other = (states.said != states.said[ends][_runs(first, len(states.key))]) | states.gone
    changed = _reduced(np.maximum, np.where(other, np.arange(len(other)), -1), first)
    counting = np.maximum(changed + 1, first)[(changed < ends) & (states.place[ends] >= last)]
    counts = np.zeros(len(states.key), bool)
    counts[counting] = True
    rows = states.rows
    return np.sort(rows[counts[states.of] & entries.kept[rows] & ~_again(entries, rows)])


def _with_names(rows: _Entries, set_aside: _Entries) -> pa.Table:
    """The rows in force, with `t_names` where a single child of the extract bears both names (`pseudonyms`).

    It is looked for among all rows that a whole file would have had, those set aside included, and as in one, only of
    an extract that is not too long for it.
    """
    names = np.zeros(len(rows.row_key), np.uint64)
    if len(names) <= CHUNK_ROWS:
        borne, born, home = (np.concatenate([getattr(each, name) for each in (rows, set_aside)]) for name in _SOLE)
        order = np.argsort(borne, kind="stable")
        starts = _starts(borne[order])
        one_date, dated = _of_one_value(born[order], starts)
        one_home, _ = _of_one_value(home[order], starts)
        alone = np.empty(len(order), bool)
        alone[order] = (one_date & (dated | one_home))[_runs(starts, len(order))]
        names = np.where(alone, borne, 0)[: len(names)]
    order = np.argsort(rows.row_key)
    t_names = pa.array(names[order], pa.uint64(), mask=names[order] == 0)
    return pa.table({"row_key": rows.row_key[order], "part": rows.part[order], "t_names": t_names})


def _of_one_value(values: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each run, whether the values that are there are one at most, and whether all are there."""
    most, least = _reduced(np.maximum, values, starts), _reduced(np.minimum, values, starts)
    present = _reduced(np.minimum, np.where(values, values, np.iinfo(np.uint64).max), starts)
    return (most == 0) | (present == most), least > 0


def _tallies(entries: _Entries, states: _States, in_force: np.ndarray, ordered: Ordered) -> dict[int, Tally]:
    follows = np.ones(len(states.key), bool)
    follows[states.first] = False
    again = np.zeros(len(states.key), bool)
    again[1:] = follows[1:] & (states.said[1:] == states.said[:-1]) & ~states.gone[:-1]
    rows, force = states.rows, np.zeros(len(entries.key), bool)
    force[in_force] = True
    kept, counts, repeated = entries.kept[rows], force[rows], again[states.of] | _again(entries, rows)
    of_nothing = ~kept & ~follows[states.of] & states.gone[states.of]
    kinds = (counts, kept & ~counts & repeated, kept & ~counts & ~repeated, of_nothing)
    part = entries.part[rows]
    return {each.number: Tally(*(int((part[kind] == each.number).sum()) for kind in kinds)) for each in ordered.parts}


def sent_again(parts: Sequence[Part], marks: Mapping[int, pa.Table]) -> dict[int, int]:
    """Parts that another part of the same name, found in a later run, took the place of: it holds most of their
    records. Number by number."""
    found: dict[int, int] = {}
    for part in sorted(parts, key=lambda each: (each.arrived, each.number)):
        for earlier in parts:
            if earlier.file == part.file and earlier.arrived < part.arrived and earlier.number not in found:
                before, now = (_records(marks[each.number]) for each in (earlier, part))
                if len(before) and np.isin(before, now).mean() >= MOSTLY:
                    found[earlier.number] = part.number
    return found


def _records(marks: pa.Table) -> np.ndarray:
    named = marks["record"].drop_null() if marks["record"].null_count < len(marks) else marks["content"]
    return np.unique(named.to_numpy())
