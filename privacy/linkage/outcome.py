"""The links of a cohort, once all units are joined: which child each row is of, by what rule, and the child's id."""

from __future__ import annotations

import os

import duckdb
import numpy as np
import pyarrow as pa

from privacy.linkage.lookup import Patterns, by_pattern

LINK_COLUMNS = ("source", "council", "row_key", "child_id", "match_rule", "match_probability")
_RULES = ("upn", "nhs_number", "scoped_id", "identical_demographics", "none", "probabilistic")
_NUMBERS = {"upn": "upn", "nhs": "nhs_number", "upn_temporary": "scoped_id", "patient": "scoped_id"}
"""The rule by which rows with the same number are one child, the strongest first."""
_ID_BYTES = 16


def links(con: duckdb.DuckDBPyConnection, patterns: Patterns, previous: pa.Table | None) -> pa.Table:
    """Every row with LINK_COLUMNS, ordered by the first three, from `rows`, `units`, `entities` and `joins`.

    Children keep the ids of `previous` links.
    """
    con.execute(
        """
        CREATE TABLE senders AS SELECT source, council, row_number() OVER (ORDER BY source, council) - 1 AS sender
          FROM (SELECT DISTINCT source, council FROM rows)
        """
    ).fetchall()
    rows = con.sql("SELECT sender, row_key, pattern FROM rows JOIN senders USING (source, council)").to_arrow_table()
    sender, row_key, pattern = (rows[name].to_numpy() for name in ("sender", "row_key", "pattern"))
    rule, probability = _ruled(con, patterns, np.bincount(pattern, minlength=len(patterns)))
    units = by_pattern(con, "units", "unit", len(patterns))
    child = (np.cumsum(np.bincount(units) > 0) - 1)[units]
    order = np.lexsort((row_key, sender))
    at = pattern[order]
    linked = pa.table({"sender": sender[order], "row_key": row_key[order], "child": child[at]})
    ids = _child_ids(con, linked, previous)
    senders = con.sql("SELECT source, council FROM senders ORDER BY sender").to_arrow_table()
    columns = [
        *senders.take(linked["sender"]).columns,
        linked["row_key"],
        ids.take(linked["child"].combine_chunks()),
        pa.array(_RULES).take(pa.array(rule[at])),
        pa.array(probability[at], mask=np.isnan(probability[at])),
    ]
    return pa.table(columns, names=LINK_COLUMNS)


def _ruled(con: duckdb.DuckDBPyConnection, patterns: Patterns, sent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each pattern, which has so many rows: the number of the rule that brought them to their child, and the
    probability, NaN for none."""
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


def _child_ids(con: duckdb.DuckDBPyConnection, linked: pa.Table, previous: pa.Table | None) -> pa.Array:
    """The child_id of each child, 0, 1, ..., of `linked` (sender, row_key, child).

    With `previous` links, a child keeps the id that most of its rows had; an id claimed twice goes to the child
    with more of its rows, then to the one that holds the first of them.
    """
    count = int(np.max(linked["child"].to_numpy(), initial=-1)) + 1
    fresh = _random_ids(count)
    if previous is None:
        return fresh
    earlier = previous["child_id"].combine_chunks().dictionary_encode()
    con.register("linked", linked)
    con.register(
        "previous", previous.select(["source", "council", "row_key"]).append_column("earlier", earlier.indices)
    )
    kept = con.sql(
        """
        WITH claims AS (
            SELECT child, earlier, count(*) AS n, min((sender::UHUGEINT << 64) + row_key) AS first_row
              FROM linked JOIN (FROM previous JOIN senders USING (source, council)) USING (sender, row_key)
             GROUP BY child, earlier),
        favourites AS (
            SELECT * FROM claims QUALIFY row_number() OVER (PARTITION BY child ORDER BY n DESC, first_row) = 1)
        SELECT child, earlier FROM favourites
       QUALIFY row_number() OVER (PARTITION BY earlier ORDER BY n DESC, first_row) = 1
        """
    ).to_arrow_table()
    for relation in ("linked", "previous"):
        con.unregister(relation)
    chosen = np.arange(count)
    chosen[kept["child"].to_numpy()] = count + kept["earlier"].to_numpy()
    return pa.concat_arrays([fresh, earlier.dictionary]).take(pa.array(chosen))


def _random_ids(count: int) -> pa.Array:
    """`count` ids of 32 hexadecimal digits from the operating system's generator."""
    raw = np.frombuffer(os.urandom(_ID_BYTES * count), np.uint8).reshape(count, _ID_BYTES)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.stack([digits[raw >> 4], digits[raw & 15]], axis=2).tobytes()
    offsets = np.arange(0, 2 * _ID_BYTES * (count + 1), 2 * _ID_BYTES, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))
