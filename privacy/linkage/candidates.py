"""Finds the pairs of records between services (`blocks`), and scores their match weights with Splink.

What a pair weighs follows from what agrees between its two patterns. So Splink weighs one pair of each kind: one for
each way in which the conditions of the model's levels come out.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import chain
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from privacy.linkage import model
from privacy.linkage.blocks import LEAST_BITS, ONE_HOME, ONE_NUMBER, blocks
from privacy.linkage.lookup import Pairs, Patterns, by_pattern, holds, look_up, matching
from privacy.pseudonyms import TOKEN_COLUMNS

MARKS = 0
"""The part that holds the marks of all patterns; steps have the parts from 1."""
PAIR = {
    "mark_l": "UBIGINT",
    "mark_r": "UBIGINT",
    "weight": "DOUBLE",
    "forename": "DOUBLE",
    "household": "BOOLEAN",
    "nhs": "BOOLEAN",
    "pattern": "FLOAT[]",
}
"""Columns of every part, and their types in DuckDB: those of a pair as `score` weighs it; of a pattern the
first alone."""


class PairCache:
    """Pairs of patterns that an earlier linkage scored, so that only pairs with a new pattern are looked up and scored.

    The base class keeps nothing. Whether a pair is looked at, and what it weighs, depends on its two patterns, the
    model, this code and the published number of children: a cache holds what was made with the same. A pattern is known
    by its mark: a hash of all that it holds and of whether its child has a permanent UPN, which chooses its side in the
    first step. A number that too many children have is removed before the pattern is marked, and the mark covers
    whether a pattern belongs to a crowd, so a row elsewhere that changes this changes the marks. Rows are joined to
    patterns, units and links anew each time: the same pairs give the same links, to the bit. A cache reveals as much as
    tokens do: only the linkage may read it.
    """

    def read(self, part: int) -> pa.RecordBatchReader | None:
        """Return a part as it was kept, or None."""
        return None

    def keep(self, part: int, rows: pa.RecordBatchReader) -> None:
        """Keep a part. Each part is kept once, in the order of their numbers."""


def mark_patterns(con: duckdb.DuckDBPyConnection, cache: PairCache) -> None:
    """Create `marks` (pattern, mark, fresh: no earlier linkage had it) of the patterns, and keep them."""
    marks = con.sql(
        """
        SELECT pattern, hash(tie, crowded, surname_band, forename_band, unit IN (FROM numbered)) AS mark
          FROM patterns JOIN units USING (pattern)
        """
    ).to_arrow_table()
    fresh, before = np.ones(marks.num_rows, bool), cache.read(MARKS)
    if before is not None:
        for known, _ in matching(marks["mark"].to_numpy(), before.read_all()["mark_l"].to_numpy()):
            fresh[known] = False
    con.register("marks", marks.append_column("fresh", pa.array(fresh)))
    nothing = ", ".join(f"NULL::{kind} AS {name}" for name, kind in PAIR.items() if name != "mark_l")
    cache.keep(MARKS, con.sql(f"SELECT mark AS mark_l, {nothing} FROM marks").to_arrow_reader())


def recall(con: duckdb.DuckDBPyConnection, cache: PairCache, part: int) -> None:
    """Create `recalled` (a column each of `PAIR`) from what was kept of a step."""
    kept = cache.read(part)
    if kept is None:
        columns = ", ".join(f"{name} {kind}" for name, kind in PAIR.items())
        con.execute(f"CREATE TABLE recalled ({columns})").fetchall()
        return
    con.register("kept", kept)
    con.execute(f"CREATE TABLE recalled AS SELECT {', '.join(PAIR)} FROM kept").fetchall()
    con.unregister("kept")


REPLACED_FORENAME, OTHER_SEX = 1.0, -2.0
"""Log2 odds that such a pair is one child whose forename was replaced, and not a twin and an absent co-twin, in a
cohort of any size. Forenames are replaced in 6 records of 1,000. Twins are 29 children of 1,000, and the pair is at
hand only where each one's record is missing from the other's service: with 98% seen by one service and 85% by the
other, in 0.2 of 1,000; two thirds of twins are of one sex. That makes four bits; one is used, as coverage may be worse.
A pair whose sex disagrees is a twin. One-to-one assignment comes first: a child with a record of its own takes that.
"""
_PARTS_AT_ONCE, _PAIRS_AT_ONCE = 2, 250_000
"""Parts of the pairs, and pairs of a part, whose kinds are found together."""
NO_CACHE = PairCache()
_SAID = ", ".join([*(f"{token} IS NULL" for token in (*TOKEN_COLUMNS, "sex")), "surname_band", "forename_band"])
_EVIDENCE = ("forename", "household", "nhs", "pattern")
"""Of a pair of units, what its strongest pair of patterns says."""
_WEIGHTS = ", ".join(f"round(mw_{comparison}, 2)::FLOAT" for comparison in model.LEVELS)
_SHOWN_BITS = -6.0
"""Pairs lighter than this are in no review band, whatever the prior of those left over: their pattern is not kept."""


def _at(comparison: str, level: str) -> str:
    """Return SQL: a prediction is at this level of a comparison, whose weight does not depend on the number of
    children."""
    return f"abs(mw_{comparison} - {model.weight(comparison, level)}) < 0.01"


def _household() -> str:
    """Return SQL: date of birth, postcode and surname agree, the forename does not."""
    return (
        f"({_at('forename', 'different, one household')} AND {_at('surname', 'alike, one household')}"
        " AND coalesce(mw_nhs_number, 0) = 0)"
    )


def _household_weight() -> str:
    of_twins = f"CASE WHEN mw_sex < 0 THEN {OTHER_SEX} ELSE {REPLACED_FORENAME} END"
    return f"CASE WHEN {_household()} THEN {of_twins} ELSE match_weight END"


def load_splink_beside() -> None:
    """Import Splink in a thread while DuckDB works, because it takes seconds."""
    threading.Thread(target=import_module, args=("splink",), daemon=True).start()


class Candidates:
    """Finds and scores the pairs of all steps of a linkage, before any unit is joined.

    `steps` are the two sides of each: SQL conditions over `patterns` and `units` that choose them, of services of so
    many `children`, as in `model.prior`. Creates `said` and `copies` (`_weigh_copies`).
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        patterns: Patterns,
        steps: Sequence[tuple[str, str]],
        children: int,
    ) -> None:
        chosen = ", ".join(f"coalesce({condition}, false) AS side_{n}" for n, condition in enumerate(chain(*steps)))
        read = con.sql(
            f"SELECT tie, mark, service = 'settings' AS of_setting, fresh, {chosen}"
            " FROM patterns JOIN units USING (pattern) JOIN marks USING (pattern) ORDER BY pattern"
        ).to_arrow_table()
        self._tie, self._mark, self._of_setting, fresh, *chosen_for = (column.to_numpy() for column in read.columns)
        sides = [np.flatnonzero(is_chosen) for is_chosen in chosen_for]
        self._con, self._sides = con, list(zip(sides[::2], sides[1::2], strict=True))
        self._found = [look_up(con, patterns, _compared(*both, fresh), blocks(children)) for both in self._sides]
        copies = _find_copies(con)
        left, right = (np.concatenate(ends) for ends in zip(*self._found, (copies, copies), strict=True))
        kinds = _weigh(con, patterns, (left, right), children)
        *self._kinds, kinds_of_copies = np.split(kinds, np.cumsum([len(pairs[0]) for pairs in self._found]))
        _weigh_copies(con, patterns, copies, kinds_of_copies, children)

    def score(self, cache: PairCache, step: int) -> int:
        """Create `scored` of the step of this number, 1, 2, ...: unit_l, unit_r, weight (log2 odds), tie, forename
        (log2 Bayes factor), household (the pair has the weight of a household), nhs (the numbers agree), pattern (log2
        Bayes factor of each comparison, in the model's order: an agreement pattern, without a token).

        A pair of units takes its strongest pair of patterns. Pairs of patterns that are both known are recalled from
        the part `step` of the `cache`, which keeps all. Creates `sides` too: of each pair of units that may be a link,
        the pattern of the strongest pair whose left record is a setting's (of_setting), and of that whose is not.
        Gives the number of right units.
        """
        con, unit = self._con, by_pattern(self._con, "units", "unit", len(self._tie))
        of_pattern = {"unit": unit, "tie": self._tie, "mark": self._mark, "of_setting": self._of_setting}
        for name, side in zip(("side_l", "side_r"), self._sides[step - 1], strict=True):
            con.register(name, pa.table({column: values[side] for column, values in of_pattern.items()}))
        recall(con, cache, step)
        con.execute(f"CREATE TABLE weighed AS {_RECALLED_UNITS}").fetchall()
        ends = zip("lr", self._found[step - 1], strict=True)
        found = {f"{column}_{end}": values[at] for end, at in ends for column, values in of_pattern.items()}
        con.register("found", pa.table(found | {"kind": self._kinds[step - 1]}))
        con.execute(f"INSERT INTO weighed BY NAME {_WEIGHED_UNITS}").fetchall()
        cache.keep(step, con.sql(f"SELECT {', '.join(PAIR)} FROM weighed").to_arrow_reader())
        con.execute(f"CREATE OR REPLACE TABLE scored AS {_SCORED}").fetchall()
        con.execute(f"CREATE OR REPLACE TABLE sides AS {_SIDES}").fetchall()
        for table in ("recalled", "weighed"):
            con.execute(f"DROP TABLE {table}").fetchall()
        for relation in ("side_l", "side_r", "found"):
            con.unregister(relation)
        return int((np.bincount(unit[self._sides[step - 1][1]]) > 0).sum())


_RECALLED_UNITS = f"""
SELECT l.unit AS unit_l, r.unit AS unit_r, l.of_setting, hash(l.tie, r.tie) AS tie,
       {", ".join(f"k.{name}" for name in PAIR)}
  FROM recalled k JOIN side_l l ON l.mark = mark_l JOIN side_r r ON r.mark = mark_r
"""
"""SQL of the pairs of units whose pairs of patterns were `recalled`, where both patterns are still there."""
_WEIGHED_UNITS = f"""
SELECT unit_l, unit_r, of_setting_l AS of_setting, hash(tie_l, tie_r) AS tie, {", ".join(PAIR)}
  FROM found JOIN weights USING (kind)
 WHERE weight > {LEAST_BITS}
"""
"""SQL of the pairs of units that were `found` and weigh enough, one for each pair of their patterns."""
_SCORED = f"""
SELECT best.* EXCLUDE (place), {", ".join(_EVIDENCE)}
  FROM (SELECT unit_l, unit_r, max(weight) AS weight, min(tie) AS tie, arg_max(rowid, (weight, tie)) AS place
          FROM weighed GROUP BY unit_l, unit_r) AS best
  JOIN weighed ON weighed.rowid = place
"""


_SIDES = f"""
SELECT unit_l, unit_r, of_setting, arg_max(pattern, (weight, tie)) AS pattern FROM weighed
 WHERE weight > {_SHOWN_BITS} GROUP BY ALL
"""


def _compared(left: np.ndarray, right: np.ndarray, fresh: np.ndarray) -> list[Pairs]:
    """Return the patterns of the two sides, of which at least one is fresh: fresh ones with all, known with fresh
    ones."""
    return [(left[fresh[left]], right), (left[~fresh[left]], right[fresh[right]])]


def _weigh(con: duckdb.DuckDBPyConnection, patterns: Patterns, pairs: Pairs, children: int) -> np.ndarray:
    """Return the kind of each pair, 0, 1, ..., and create `weights` of the kinds.

    Columns: weight, nhs_bits (what the number adds to it) and the others of `PAIR`.
    """
    of_pair = ", ".join(f"{name} {kind}" for name, kind in PAIR.items() if not name.startswith("mark"))
    con.execute(f"CREATE TABLE weights (kind BIGINT, nhs_bits DOUBLE, {of_pair})").fetchall()
    settings = model.splink_settings(children)
    numbers = _kinds(con, patterns, pairs, model.conditions(settings))
    _, one_of_each, kinds = np.unique(numbers, return_index=True, return_inverse=True)
    if len(one_of_each):
        left, right = (end[one_of_each] for end in pairs)
        con.register("kinds", pa.table({"kind": np.arange(len(left)), "join_key_l": left, "join_key_r": right}))
        con.execute("CREATE TABLE pairs AS SELECT '0' AS match_key, join_key_l, join_key_r FROM kinds").fetchall()
        predictions = _predicted(con, settings)
        con.execute(f"INSERT INTO weights BY NAME {_weights_sql(predictions)}").fetchall()
        for table in (predictions, "pairs"):
            con.execute(f"DROP TABLE {table}").fetchall()
        con.unregister("kinds")
    return kinds


def _predicted(con: duckdb.DuckDBPyConnection, settings: dict[str, Any]) -> str:
    """Run Splink over `pairs` (match_key, join_key_l, join_key_r) of `patterns`, and return the name of its table."""
    from splink import DuckDBAPI, Linker  # see `load_splink_beside`

    con.execute(
        "CREATE OR REPLACE TEMP VIEW splink_patterns AS SELECT pattern AS unique_id, * FROM patterns"
    ).fetchall()
    api = DuckDBAPI(con)
    patterns = api.register("splink_patterns", dataset_display_name="patterns")
    linker = Linker(patterns, settings, log_level=40, validate_settings=False)
    linker.table_management.register_blocked_pairs_for_predict(api.register("pairs"))
    return str(linker.inference.predict(warning_mode="never").physical_name)


def _weights_sql(predictions: str) -> str:
    """Return SQL of what the kinds weigh; `predictions` has one pair of each."""
    return f"""
        SELECT kind, match_weight AS weight, mw_nhs_number AS nhs_bits, mw_forename AS forename,
               {_household()} AS household, mw_nhs_number > 0 AS nhs,
               CASE WHEN match_weight > {_SHOWN_BITS} THEN [{_WEIGHTS}] END AS pattern
          FROM kinds JOIN ({_weighed(predictions)}) ON unique_id_l = join_key_l AND unique_id_r = join_key_r
        """


def _kinds(con: duckdb.DuckDBPyConnection, patterns: Patterns, pairs: Pairs, conditions: Sequence[str]) -> np.ndarray:
    """Return a number for each pair: the same where the same conditions hold, fail, or are unknown."""
    sql = f"hash({', '.join(conditions)})"

    def some(start: int) -> np.ndarray:
        at = slice(start, start + _PAIRS_AT_ONCE)
        with con.cursor() as own:
            own.register("beside", patterns.side_by_side(sql, (pairs[0][at], pairs[1][at])))
            return np.asarray(own.execute(f"SELECT {sql} AS kind FROM beside").fetchnumpy()["kind"])

    with ThreadPoolExecutor(_PARTS_AT_ONCE) as threads:
        of_parts = threads.map(some, range(0, len(pairs[0]), _PAIRS_AT_ONCE))
        return np.concatenate([np.zeros(0, np.uint64), *of_parts])


def _find_copies(con: duckdb.DuckDBPyConnection) -> np.ndarray:
    """Create `said` (pattern, said: a hash of which tokens it has, and of its bands); one pattern of each."""
    con.execute(f"CREATE TABLE said AS SELECT pattern, hash({_SAID}) AS said FROM patterns").fetchall()
    first = con.sql("SELECT min(pattern) AS pattern FROM said GROUP BY said").to_arrow_table()
    return np.asarray(first["pattern"].to_numpy())


def _weigh_copies(
    con: duckdb.DuckDBPyConnection, patterns: Patterns, copies: np.ndarray, kinds: np.ndarray, children: int
) -> None:
    """Create `copies`: said, weight (of a pattern with itself, without its number), and whether it would be looked
    at (`alike`)."""
    looked_at = " OR ".join(f"({block.sql})" for block in (ONE_HOME, *blocks(children)))
    alike = holds(con, patterns, looked_at, (copies, copies)) if len(copies) else np.zeros(0, bool)
    con.register("weighed_copies", pa.table({"pattern": copies, "kind": kinds, "alike": alike}))
    con.execute(
        """
        CREATE TABLE copies AS SELECT said, weight - nhs_bits AS weight, alike
          FROM weighed_copies JOIN said USING (pattern) JOIN weights USING (kind)
        """
    ).fetchall()
    con.unregister("weighed_copies")


def score_pairs(con: duckdb.DuckDBPyConnection, pairs: Sequence[tuple[int, int]], children: int) -> pa.Table:
    """Return the weight of these pairs of patterns as `score` gives it, in a block or not; `children` as in
    `model.prior`.

    A row a pair: left, right (patterns), weight (log2 odds), household, same_number and alike (why it would be looked
    at: an NHS number, shared tokens), and for each comparison of the model `mw_` (log2 Bayes factor) and `gamma_` (its
    level, as `model.level_name` counts them).
    """
    asked = ", ".join(f"({left}, {right})" for left, right in pairs)
    con.execute(
        "CREATE OR REPLACE TABLE pairs AS SELECT '0' AS match_key, l AS join_key_l, r AS join_key_r"
        f" FROM (VALUES {asked}) AS asked(l, r)"
    ).fetchall()
    predictions = _predicted(con, model.splink_settings(children) | {"retain_matching_columns": True})
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
    """Return Splink's predictions with the weight of pairs of one household."""
    return f"SELECT * REPLACE ({_household_weight()} AS match_weight) FROM {predictions}"
