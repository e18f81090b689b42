"""Between services: the pairs that are looked at (`blocks`), and their match weights by Splink.

What a pair weighs follows from what agrees between its two patterns. So Splink weighs one pair of each kind: one for
each way in which the conditions of the model's levels come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import duckdb
import numpy as np
import pyarrow as pa

from privacy.linkage import model
from privacy.linkage.backends import Backend, in_duckdb
from privacy.linkage.blocks import LEAST_BITS, ONE_HOME, ONE_NUMBER, blocks
from privacy.linkage.lookup import Pairs, Patterns, look_up
from privacy.linkage.memory import PAIR, Memory, Nothing, recall

REPLACED_FORENAME, OTHER_SEX = 1.0, -2.0
"""Log2 odds that such a pair is one child whose forename was replaced, and not a twin and an absent co-twin, in a
cohort of any size. Forenames are replaced in 6 records of 1,000. Twins are 29 children of 1,000, and the pair is at
hand only where each one's record is missing from the other's service: with 98% seen by one service and 85% by the
other, in 0.2 of 1,000; two thirds of twins are of one sex. That makes four bits; one is used, as coverage may be worse.
A pair whose sex disagrees is a twin. One-to-one assignment comes first: a child with a record of its own takes that.
"""
_PARTS_AT_ONCE, _PAIRS_AT_ONCE = 2, 250_000
"""Parts of the pairs, and pairs of a part, whose kinds are told together."""
NOTHING = Nothing()
_EVIDENCE = ("forename", "household", "nhs", "pattern")
"""Of a pair of units, what its strongest pair of patterns says."""
_WEIGHTS = ", ".join(f"round(mw_{comparison}, 2)::FLOAT" for comparison in model.LEVELS)
_SHOWN_BITS = -6.0
"""Pairs lighter than this are in no review band, whatever the prior of those left over: their pattern is not kept."""


def _at(comparison: str, level: str) -> str:
    """A prediction is at this level of a comparison, whose weight does not depend on the number of children."""
    return f"abs(mw_{comparison} - {model.weight(comparison, level)}) < 0.01"


def _household() -> str:
    """Date of birth, postcode and surname agree, the forename does not."""
    return (
        f"({_at('forename', 'different, one household')} AND {_at('surname', 'alike, one household')}"
        " AND coalesce(mw_nhs_number, 0) = 0)"
    )


def _household_weight() -> str:
    of_twins = f"CASE WHEN mw_sex < 0 THEN {OTHER_SEX} ELSE {REPLACED_FORENAME} END"
    return f"CASE WHEN {_household()} THEN {of_twins} ELSE match_weight END"


def score(
    con: duckdb.DuckDBPyConnection,
    patterns: Patterns,
    left: str,
    right: str,
    children: int,
    backend: Backend = in_duckdb,
    memory: Memory = NOTHING,
    step: int = 1,
) -> None:
    """Create `scored`: unit_l, unit_r, weight (log2 odds), tie, forename (log2 Bayes factor), household (the pair has
    the weight of a household), nhs (the numbers agree), pattern (log2 Bayes factor of each comparison, in the model's
    order: an agreement pattern, without a token).

    `left` and `right` are SQL conditions over `patterns` and `units` that choose the two sides, of services of so many
    `children`, as in `model.prior`. A pair of units takes its strongest pair of patterns. `backend` weighs the pairs;
    those of patterns that are both known are recalled from the part `step` of the `memory`, which keeps all.
    """
    for side, condition in (("l", left), ("r", right)):
        of_side = "FROM patterns JOIN units USING (pattern) JOIN marks USING (pattern)"
        con.execute(
            f"CREATE TABLE side_{side} AS SELECT pattern, unit, tie, mark, fresh {of_side} WHERE {condition}"
        ).fetchall()
    recall(con, memory, step)
    con.execute(f"CREATE TABLE weighed AS {_recalled_units()}").fetchall()
    con.execute("DROP TABLE recalled").fetchall()
    found = look_up(con, patterns, _compared(con), blocks(children))
    _weigh(con, patterns, found, children, backend)
    memory.keep(step, con.sql(f"SELECT {', '.join(PAIR)} FROM weighed").to_arrow_reader())
    con.execute(
        f"""
        CREATE OR REPLACE TABLE scored AS
        SELECT best.* EXCLUDE (place), {", ".join(_EVIDENCE)}
          FROM (SELECT unit_l, unit_r, max(weight) AS weight, min(tie) AS tie, arg_max(rowid, (weight, tie)) AS place
                  FROM weighed GROUP BY unit_l, unit_r) AS best
          JOIN weighed ON weighed.rowid = place
        """
    ).fetchall()
    for table in ("side_l", "side_r", "weighed"):
        con.execute(f"DROP TABLE {table}").fetchall()


def _compared(con: duckdb.DuckDBPyConnection) -> list[Pairs]:
    """The patterns of the two sides of which one is fresh at least: fresh ones with all, known ones with fresh ones."""
    sides = [con.sql(f"SELECT pattern, fresh FROM side_{side} ORDER BY pattern").to_arrow_table() for side in "lr"]
    (left, new_left), (right, new_right) = ([column.to_numpy() for column in side.columns] for side in sides)
    return [(left[new_left], right), (left[~new_left], right[new_right])]


def _weigh(con: duckdb.DuckDBPyConnection, patterns: Patterns, found: Pairs, children: int, backend: Backend) -> None:
    """Add the pairs `found` to those `weighed`."""
    if not len(found[0]):
        return
    settings = model.splink_settings(children)
    number = _kinds(con, patterns, found, model.conditions(settings))
    _, one_of_each, kind = np.unique(number, return_index=True, return_inverse=True)
    names = ("join_key_l", "join_key_r")
    ends = {name: pairs[one_of_each] for name, pairs in zip(names, found, strict=True)}
    con.register("kinds", pa.table({"kind": np.arange(len(one_of_each)), **ends}))
    con.execute("CREATE TABLE pairs AS SELECT '0' AS match_key, join_key_l, join_key_r FROM kinds").fetchall()
    predictions = backend(con, settings)
    con.register("found", pa.table({"l": found[0], "r": found[1], "kind": kind}))
    con.execute(f"INSERT INTO weighed BY NAME {_weighed_units(predictions)}").fetchall()
    for table in (predictions, "pairs"):
        con.execute(f"DROP TABLE {table}").fetchall()
    for relation in ("kinds", "found"):
        con.unregister(relation)


def _kinds(con: duckdb.DuckDBPyConnection, patterns: Patterns, pairs: Pairs, conditions: Sequence[str]) -> np.ndarray:
    """A number of each pair: the same for pairs of which the same conditions hold, do not, or cannot be told."""
    sql = f"hash({', '.join(conditions)})"

    def some(start: int) -> np.ndarray:
        at = slice(start, start + _PAIRS_AT_ONCE)
        with con.cursor() as own:
            own.register("beside", patterns.side_by_side(sql, (pairs[0][at], pairs[1][at])))
            return np.asarray(own.execute(f"SELECT {sql} AS kind FROM beside").fetchnumpy()["kind"])

    with ThreadPoolExecutor(_PARTS_AT_ONCE) as threads:
        return np.concatenate(list(threads.map(some, range(0, len(pairs[0]), _PAIRS_AT_ONCE))))


def _recalled_units() -> str:
    """SQL of the pairs of units whose pairs of patterns were `recalled`, where both patterns are still there."""
    return f"""
        SELECT l.unit AS unit_l, r.unit AS unit_r, hash(l.tie, r.tie) AS tie, {", ".join(f"k.{name}" for name in PAIR)}
          FROM recalled k JOIN side_l l ON l.mark = mark_l JOIN side_r r ON r.mark = mark_r
        """


def _weighed_units(predictions: str) -> str:
    """SQL of the pairs of units that weigh enough, one for each pair of their patterns: `found`, by `kinds`, of which
    there is one pair each among `predictions`."""
    return f"""
        SELECT l.unit AS unit_l, r.unit AS unit_r, hash(l.tie, r.tie) AS tie, l.mark AS mark_l, r.mark AS mark_r,
               match_weight AS weight, mw_forename AS forename, {_household()} AS household, mw_nhs_number > 0 AS nhs,
               CASE WHEN match_weight > {_SHOWN_BITS} THEN [{_WEIGHTS}] END AS pattern
          FROM found
          JOIN kinds USING (kind)
          JOIN (FROM ({_weighed(predictions)}) WHERE match_weight > {LEAST_BITS})
            ON unique_id_l = join_key_l AND unique_id_r = join_key_r
          JOIN side_l l ON l.pattern = found.l JOIN side_r r ON r.pattern = found.r
        """


def score_pairs(con: duckdb.DuckDBPyConnection, pairs: Sequence[tuple[int, int]], children: int) -> pa.Table:
    """The weight of these pairs of patterns as `score` gives it, looked at or not; `children` as in `model.prior`.

    A row a pair: left, right (patterns), weight (log2 odds), household, same_number and alike (why it would be looked
    at: an NHS number, shared tokens), and for each comparison of the model `mw_` (log2 Bayes factor) and `gamma_` (its
    level, as `model.level_name` counts them).
    """
    asked = ", ".join(f"({left}, {right})" for left, right in pairs)
    con.execute(
        "CREATE OR REPLACE TABLE pairs AS SELECT '0' AS match_key, l AS join_key_l, r AS join_key_r"
        f" FROM (VALUES {asked}) AS asked(l, r)"
    ).fetchall()
    predictions = in_duckdb(con, model.splink_settings(children) | {"retain_matching_columns": True})
    said = ", ".join(f"mw_{comparison}, gamma_{comparison}" for comparison in model.LEVELS)
    found = con.sql(
        f"""
        SELECT unique_id_l AS left, unique_id_r AS right, match_weight AS weight,
               {_household()} AS household,
               coalesce({ONE_NUMBER.sql}, false) AS same_number,
               coalesce({" OR ".join(f"({block.sql})" for block in (ONE_HOME, *blocks(children)))}, false) AS alike,
               {said}
          FROM ({_weighed(predictions)})
          JOIN patterns l ON l.pattern = unique_id_l JOIN patterns r ON r.pattern = unique_id_r
         ORDER BY ALL
        """
    ).to_arrow_table()
    for table in ("pairs", predictions):
        con.execute(f"DROP TABLE {table}").fetchall()
    return found


def _weighed(predictions: str) -> str:
    """Splink's predictions with the weight of pairs of one household."""
    return f"SELECT * REPLACE ({_household_weight()} AS match_weight) FROM {predictions}"
