"""Which rows of the parts of an extract are in force: set-level, from the marks of their rows alone.

A later part's record takes the place of an earlier one's. What says the same again is counted and left out, and the row
that said so first stays, with its key. Within one part rows have no order, as in a whole file: several rows of one
record stay side by side, except in `changes`, where the last of them counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from assets.intake.parts import Ordered, Part
from assets.intake.rows_apart import CHUNK_ROWS
from privacy.doors.database import in_memory
from sources.councils.dialect import Parts
from sources.errors import ExtractStopped

NUMBER = "number"
"""Name, among the marks of a row, of its number in its part."""
NEARLY_ALL = 0.95
"""Share of the records of the part before that a part holds if parts are cumulative, each pair of them."""
MOSTLY = 0.5
"""Share of the records of an earlier part of the same name that a part holds if it is sent in its place."""
_SOLE = ("sole_names", "sole_born", "sole_home")
_TELLING = ("record_born", "record_surname", "record_forename")
_ODD = np.uint64(0x9E3779B97F4A7C15)
"""Mixes two marks into one value."""
_STATES = Path(__file__).with_suffix(".sql")


@dataclass(frozen=True)
class Tally:
    """What became of the rows of a part that were not set aside, in numbers."""

    in_force: int
    repeated: int
    replaced: int
    deletions_of_nothing: int = 0


@dataclass(frozen=True)
class Composed:
    """`rows`: row_key, part and t_names of the rows in force, by key; `answered`: keys of rows set aside whose record a
    part gives nevertheless. `seen` says that `how` was seen from the parts; `tallies` are by number."""

    how: Parts
    seen: bool
    parts: Ordered
    rows: pa.Table
    answered: np.ndarray
    tallies: dict[int, Tally]

    @property
    def counting(self) -> tuple[Part, ...]:
        """The parts of which rows that were set aside still count."""
        own = tuple(part for part in self.parts.parts if not part.moved)
        return own[-1:] if self.how is Parts.CUMULATIVE else own


def compose(name: str, ordered: Ordered, marks: Mapping[int, pa.Table], stated: Parts | None) -> Composed:
    """Put parts together, in the way that is `stated` or as it is seen from them. `marks` are those of the rows of each
    part by its number, with the number of each row in it.

    Raises `ExtractStopped` where parts that nothing puts in an order contradict one another.
    """
    with in_memory() as con:
        _enter(con, ordered, marks, last_row=stated is Parts.CHANGES)
        how = stated or (Parts.CUMULATIVE if _each_holds_the_one_before(con, ordered) else Parts.INCREMENTAL)
        con.execute(_STATES.read_text(encoding="utf-8")).fetchall()
        _stop_at_contradictions(con, name, ordered, how)
        if how is Parts.CUMULATIVE:
            last = sum(not part.moved for part in ordered.parts) - 1
            con.execute(f"DELETE FROM counting WHERE last_place < {last}").fetchall()
            con.execute(f"DELETE FROM entries WHERE state = 'rejected' AND place < {last}").fetchall()
        con.execute(
            "CREATE TABLE in_force AS SELECT part, key, content, min(row_key) AS row_key FROM entries"
            " SEMI JOIN counting USING (key, place) WHERE state = 'kept' GROUP BY ALL"
        ).fetchall()
        answered = con.execute(
            "SELECT row_key FROM entries SEMI JOIN in_force USING (key) WHERE state = 'rejected'"
        ).fetchnumpy()["row_key"]
        rows = _with_names(con)
        return Composed(how, stated is None, ordered, rows, np.asarray(answered), _tallies(con, ordered))


def _enter(con: duckdb.DuckDBPyConnection, ordered: Ordered, marks: Mapping[int, pa.Table], *, last_row: bool) -> None:
    """`entries`, of which in a log of changes the last row of a record in each part is left."""
    placed = zip(ordered.parts, ordered.ties, _places(ordered), strict=True)
    tables = [_placed(marks[part.number], part.number, tie, place) for part, tie, place in placed]
    con.register("marks", pa.concat_tables(tables, promote_options="default"))
    con.execute(
        "CREATE TABLE entries AS SELECT * EXCLUDE (record),"
        " CASE WHEN record IS NULL THEN hash(content) ELSE record END AS key FROM marks"
    ).fetchall()
    con.unregister("marks")
    _tell_children_apart(con)
    if last_row:
        con.execute(
            "DELETE FROM entries WHERE state <> 'rejected' AND row_key NOT IN (SELECT row_key FROM entries"
            " WHERE state <> 'rejected' QUALIFY row_number() OVER (PARTITION BY key, place ORDER BY number DESC) = 1)"
        ).fetchall()


def _placed(marks: pa.Table, part: int, tie: int, place: float) -> pa.Table:
    columns = {"part": pa.scalar(part), "tie": pa.scalar(tie), "place": pa.scalar(float(place))}
    for name, value in columns.items():
        marks = marks.append_column(name, pa.repeat(value, marks.num_rows))
    return marks


def _tell_children_apart(con: duckdb.DuckDBPyConnection) -> None:
    """Give rows of one UPN that agree in no two of date of birth, surname and forename keys of their own: they are of
    two children, and neither replaces the other."""
    if not set(_TELLING) <= _columns(con):
        return
    differ = " OR ".join(f"min({name}) <> max({name})" for name in _TELLING)
    rows = con.sql(
        f"SELECT row_key, key, {', '.join(_TELLING)} FROM entries WHERE key IN"
        f" (SELECT key FROM entries WHERE record_born IS NOT NULL GROUP BY key HAVING {differ})"
    ).to_arrow_table()
    if not rows.num_rows:
        return
    known = [rows[name].fill_null(0).to_numpy() for name in _TELLING]
    silent = np.logical_or.reduce([values == 0 for values in known])  # of one that lacks something nobody can say
    keys = rows["key"].to_numpy()
    pairs = [one * _ODD ^ other for one, other in combinations(known, 2)]
    child = _components([*pairs, np.where(np.isin(keys, keys[silent]), keys, 0)])
    con.register("told_apart", pa.table({"row_key": rows["row_key"], "child": pa.array(child)}))
    con.execute("UPDATE entries SET key = hash(key, child) FROM told_apart WHERE entries.row_key = told_apart.row_key")
    con.unregister("told_apart")


def _components(told: Sequence[np.ndarray]) -> np.ndarray:
    """The component of each row, where two are joined by an equal value, other than 0, of one of the columns."""
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


def _columns(con: duckdb.DuckDBPyConnection) -> set[str]:
    return {column for column, *_ in con.execute("DESCRIBE entries").fetchall()}


def _places(ordered: Ordered) -> list[float]:
    """The place of each part; of one that only says what others have now, between those of the parts around it."""
    own = np.cumsum([not part.moved for part in ordered.parts]) - 1
    return [place + 0.5 * part.moved for place, part in zip(own.tolist(), ordered.parts, strict=True)]


def _each_holds_the_one_before(con: duckdb.DuckDBPyConnection, ordered: Ordered) -> bool:
    """Whether every part but the first holds nearly all records of the one before it."""
    own = [tie for tie, part in zip(ordered.ties, ordered.parts, strict=True) if not part.moved]
    if len(own) < 2 or len(set(own)) < len(own):
        return False
    shares = con.execute(
        "WITH held AS (SELECT DISTINCT place, key FROM entries WHERE state = 'kept')"
        " SELECT a.place, count(b.key) / count(*) FROM held AS a"
        " LEFT JOIN held AS b ON b.key = a.key AND b.place = a.place + 1"
        f" WHERE a.place < {len(own) - 1} GROUP BY a.place"
    ).fetchall()
    return len(shares) == len(own) - 1 and all(share >= NEARLY_ALL for _, share in shares)


def _stop_at_contradictions(con: duckdb.DuckDBPyConnection, name: str, ordered: Ordered, how: Parts) -> None:
    own = [(part, tie) for part, tie in zip(ordered.parts, ordered.ties, strict=True) if not part.moved]
    tied = len({tie for _, tie in own}) < len(own)
    found = con.execute(
        "SELECT list_sort(list(DISTINCT place)) FROM states WHERE (key, tie) IN (SELECT (key, tie) FROM states"
        " GROUP BY key, tie HAVING count(DISTINCT said) > 1 OR (bool_or(gone) AND NOT bool_and(gone)))"
    ).fetchall()[0][0]
    if how is Parts.CUMULATIVE and tied and sum(tie == own[-1][1] for _, tie in own) > 1:
        found = [place for place, (_, tie) in enumerate(own) if tie == own[-1][1]]
    if tied and found:
        numbers = [own[int(place)][0].number for place in found]
        raise ExtractStopped(
            f"{name}: {_parts_named(numbers)} say different things of the same records, and nothing says which is the"
            " later; put a date into their names, such as 2026-05.csv"
        )


def _parts_named(numbers: Sequence[int]) -> str:
    *others, last = map(str, numbers)
    return f"parts {', '.join(others)} and {last}"


def _with_names(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """The rows in force, with `t_names` where a single child of the extract bears both names (`pseudonyms`).

    It is looked for among all rows that a whole file would have had, those set aside included, and as in one, only of
    an extract that is not too long for it.
    """
    ((count,),) = con.execute("SELECT count(*) FROM in_force").fetchall()
    sole = "NULL::UBIGINT"
    if set(_SOLE) <= _columns(con) and count <= CHUNK_ROWS:
        sole = (
            "CASE WHEN coalesce(min(sole_born) OVER namesakes = max(sole_born) OVER namesakes, true)"
            " AND (count(sole_born) OVER namesakes = count(*) OVER namesakes"
            " OR coalesce(min(sole_home) OVER namesakes = max(sole_home) OVER namesakes, true)) THEN sole_names END"
        )
    return con.sql(
        f"""
        WITH of_whole AS (
            SELECT row_key, part, {sole} AS t_names FROM entries
             WHERE row_key IN (SELECT row_key FROM in_force)
                OR (state = 'rejected' AND key NOT IN (SELECT key FROM in_force))
            WINDOW namesakes AS (PARTITION BY sole_names)
        )
        FROM of_whole WHERE row_key IN (SELECT row_key FROM in_force) ORDER BY row_key
        """
    ).to_arrow_table()


def _tallies(con: duckdb.DuckDBPyConnection, ordered: Ordered) -> dict[int, Tally]:
    counted = con.execute(
        """
        WITH rows AS (
            SELECT part, key, content, row_key, state, gone, coalesce(said = said_before AND NOT gone_before, false) AS
                   again, said_before IS NULL AND gone AS of_nothing,
                   row_number() OVER (PARTITION BY key, place, content ORDER BY row_key) > 1 AS twice
              FROM entries JOIN before USING (key, place) WHERE state <> 'rejected'
        )
        SELECT part, count(*) FILTER (state = 'kept' AND in_force.row_key IS NOT NULL),
               count(*) FILTER (state = 'kept' AND in_force.row_key IS NULL AND (again OR twice)),
               count(*) FILTER (state = 'kept' AND in_force.row_key IS NULL AND NOT (again OR twice)),
               count(*) FILTER (state = 'deleted' AND of_nothing)
          FROM rows LEFT JOIN (SELECT row_key FROM in_force) AS in_force USING (row_key) GROUP BY part
        """
    ).fetchall()
    found = {part: Tally(*numbers) for part, *numbers in counted}
    return {part.number: found.get(part.number, Tally(0, 0, 0)) for part in ordered.parts}


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
