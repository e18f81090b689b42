"""The links of a cohort, once all units are joined: which child each row is of, by what rule, and the child's id."""

from __future__ import annotations

import os
from typing import TypeAlias

import duckdb
import numpy as np
import pyarrow as pa

from privacy.linkage.lookup import Pairs, Patterns, by_pattern, matching

LINK_COLUMNS = ("source", "council", "row_key", "child_id", "match_rule", "match_probability")
_RULES = ("upn", "nhs_number", "scoped_id", "identical_demographics", "none", "probabilistic")
_NUMBERS = {"upn": "upn", "nhs": "nhs_number", "upn_temporary": "scoped_id", "patient": "scoped_id"}
"""The rule by which rows with the same number are one child, the strongest first."""
_ID_BYTES = 16


Ruled: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Of each pattern the rule, as a place in `_RULES`, that brought its rows to their child, and the probability, NaN for
none."""


def links(con: duckdb.DuckDBPyConnection, ruled: Ruled, previous: pa.Table | None) -> pa.Table:
    """Every row with LINK_COLUMNS, ordered by the first three, from `rows`, `units` and the rules of their patterns.

    Children keep the ids of `previous` links.
    """
    rule, probability = ruled
    con.execute(
        """
        CREATE TABLE senders AS SELECT source, council, row_number() OVER (ORDER BY source, council) - 1 AS sender
          FROM (SELECT DISTINCT source, council FROM rows)
        """
    ).fetchall()
    rows = con.sql("SELECT sender, row_key, pattern FROM rows JOIN senders USING (source, council)").to_arrow_table()
    sender, row_key, pattern = (rows[name].to_numpy() for name in ("sender", "row_key", "pattern"))
    units = by_pattern(con, "units", "unit", len(rule))
    child = (np.cumsum(np.bincount(units) > 0) - 1)[units]
    order = np.lexsort((row_key, sender))
    at = pattern[order]
    linked = pa.table({"sender": sender[order], "row_key": row_key[order], "child": child[at]})
    senders = con.sql("SELECT source, council FROM senders ORDER BY sender").to_arrow_table()
    ids = _child_ids(linked, senders, previous)
    columns = [
        *senders.take(linked["sender"]).columns,
        linked["row_key"],
        ids.take(linked["child"].combine_chunks()),
        pa.array(_RULES).take(pa.array(rule[at])),
        pa.array(probability[at], mask=np.isnan(probability[at])),
    ]
    return pa.table(columns, names=LINK_COLUMNS)


def ruled(con: duckdb.DuckDBPyConnection, patterns: Patterns) -> Ruled:
    """The rules, from `rows`, `entities` and `joins`."""
    pattern = con.sql("SELECT pattern FROM rows").to_arrow_table()["pattern"].to_numpy()
    sent = np.bincount(pattern, minlength=len(patterns))
    entity = by_pattern(con, "entities", "entity", len(patterns))
    several = np.bincount(entity)[entity] > 1
    of_many = several | (sent > 1)
    rule = np.where(of_many, _RULES.index("identical_demographics"), _RULES.index("none"))
    probability = np.where(of_many, 1.0, np.nan)
    for number, its_rule in reversed(_NUMBERS.items()):
        rule[_with_the_same(patterns, number, entity, several, sent)] = _RULES.index(its_rule)
    joins = con.sql("SELECT unit, rule, probability FROM joins").to_arrow_table()
    joined = np.full(int(entity.max(initial=-1)) + 1, -1)
    joined[joins["unit"].to_numpy()] = np.arange(joins.num_rows)
    at = joined[entity]
    by = np.array([_RULES.index(name) for name in joins["rule"].to_pylist()], np.int64)
    rule[at >= 0] = by[at[at >= 0]]
    probability[at >= 0] = joins["probability"].to_numpy()[at[at >= 0]]
    return rule, probability


def _with_the_same(
    patterns: Patterns, number: str, entity: np.ndarray, several: np.ndarray, sent: np.ndarray
) -> np.ndarray:
    """Patterns that have a number which another row of their entity has."""
    with_number = np.flatnonzero((several | (sent > 1)) & patterns.has(number, np.arange(len(patterns))))
    of, value = entity[with_number], patterns.token(number, with_number)
    order = np.lexsort((value, of))
    as_before = np.zeros(len(order) + 1, bool)
    as_before[1:-1] = (np.diff(of[order]) == 0) & (np.diff(value[order]) == 0)
    return with_number[order[(as_before[:-1] | as_before[1:]) | (sent[with_number[order]] > 1)]]


def _child_ids(linked: pa.Table, senders: pa.Table, previous: pa.Table | None) -> pa.Array:
    """The child_id of each child, 0, 1, ..., of `linked` (sender, row_key, child), in the order of the first two.

    With `previous` links, a child keeps the id that most of its rows had; an id claimed twice goes to the child
    with more of its rows, then to the one that holds the first of them.
    """
    count = int(np.max(linked["child"].to_numpy(), initial=-1)) + 1
    fresh = _random_ids(count)
    if previous is None:
        return fresh
    earlier = previous["child_id"].combine_chunks().dictionary_encode()
    was, now = _still_there(linked, senders, previous)
    child, kept = _claimed(linked["child"].to_numpy()[now], earlier.indices.to_numpy()[was], now)
    chosen = np.arange(count)
    chosen[child] = count + kept
    return pa.concat_arrays([fresh, earlier.dictionary]).take(pa.array(chosen))


def _still_there(linked: pa.Table, senders: pa.Table, previous: pa.Table) -> Pairs:
    """Places in `previous` and in `linked` of rows that are in both."""
    numbers = {tuple(each.values()): number for number, each in enumerate(senders.to_pylist())}
    source, council = (previous[name].combine_chunks().dictionary_encode() for name in ("source", "council"))
    known = [
        [numbers.get((name, other), -1) for other in council.dictionary.to_pylist()]
        for name in source.dictionary.to_pylist()
    ]
    sender = np.array(known, np.int64).reshape(-1, len(council.dictionary))[
        source.indices.to_numpy(), council.indices.to_numpy()
    ]
    row_keys = (table["row_key"].to_numpy() for table in (previous, linked))
    both = [(np.zeros(0, np.int64),) * 2, *matching(*row_keys)]
    was, now = (np.concatenate(places) for places in zip(*both, strict=True))
    same = sender[was] == linked["sender"].to_numpy()[now]
    return was[same], now[same]


def _claimed(child: np.ndarray, kept: np.ndarray, place: np.ndarray) -> Pairs:
    """Children and the ids that they keep, from rows at these places: the child of each, and the id that it had."""
    order = np.lexsort((place, kept, child))
    child, kept, place = child[order], kept[order], place[order]
    starts = np.flatnonzero((np.diff(child, prepend=-1) != 0) | (np.diff(kept, prepend=-1) != 0))
    rows = np.diff(starts, append=len(child))
    child, kept, first = child[starts], kept[starts], place[starts]
    for side in (0, 1):
        claims = (child, kept)[side]
        order = np.lexsort((first, -rows, claims))
        best = order[np.diff(claims[order], prepend=-1) != 0]
        child, kept, rows, first = child[best], kept[best], rows[best], first[best]
    return child, kept


def _random_ids(count: int) -> pa.Array:
    """`count` ids of 32 hexadecimal digits from the operating system's generator."""
    raw = np.frombuffer(os.urandom(_ID_BYTES * count), np.uint8).reshape(count, _ID_BYTES)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.stack([digits[raw >> 4], digits[raw & 15]], axis=2).tobytes()
    offsets = np.arange(0, 2 * _ID_BYTES * (count + 1), 2 * _ID_BYTES, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))
