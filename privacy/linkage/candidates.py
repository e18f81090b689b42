"""Finds candidate pairs of records between services (`blocks`) and scores their match weights with Splink.

A pair's weight depends only on how its two patterns agree. Splink therefore scores one pair of each kind, that is one
for each combination of outcomes of the conditions in the model's levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from privacy.linkage import model
from privacy.linkage.blocks import LEAST_BITS, ONE_HOME, ONE_NUMBER, build_blocks
from privacy.linkage.lookup import Pairs, Patterns, evaluate_condition, iter_matches, look_up, read_by_pattern
from privacy.pseudonyms import TOKEN_COLUMNS

MARKS = 0
"""The cache part that holds the marks of all patterns. Step n uses part n, from 1."""
PAIR = {
    "mark_l": "UBIGINT",
    "mark_r": "UBIGINT",
    "weight": "DOUBLE",
    "forename": "DOUBLE",
    "household": "BOOLEAN",
    "nhs": "BOOLEAN",
    "pattern": "FLOAT[]",
}
"""Columns of every cache part and their DuckDB types: a scored pair, or for `MARKS` the first column only."""


class PairCache:
    """Pairs of patterns scored by an earlier linkage, so that only pairs with a new pattern are compared and scored.

    The base class keeps nothing. A cache is valid only for the same model, code and published number of children, which
    with its two patterns decide whether a pair is compared, and its weight. A pattern is identified by its mark
    (`mark_patterns`). Rows are joined to patterns, units and links from scratch each time, so the same pairs give
    bit-identical links. A cache reveals as much as tokens do: only the linkage may read it.
    """

    def read(self, part: int) -> pa.RecordBatchReader | None:
        """Return a cached part, or None."""
        return None

    def keep(self, part: int, rows: pa.RecordBatchReader) -> None:
        """Keep a part. Parts are kept once each, in ascending order."""


def mark_patterns(con: duckdb.DuckDBPyConnection, cache: PairCache) -> None:
    """Create `marks` (pattern, mark, fresh: new since the earlier linkage) and keep the marks."""
    # Everything that decides how a pattern is compared goes into its mark. Bands are not in its tie, and whether it is
    # of a crowd or has a UPN in its unit, which decides its side in the first step, depends on other rows.
    marks = con.sql(
        """
        SELECT pattern, hash(tie, crowded, surname_band, forename_band, unit IN (FROM numbered)) AS mark
          FROM patterns JOIN units USING (pattern)
        """
    ).to_arrow_table()
    fresh, before = np.ones(marks.num_rows, bool), cache.read(MARKS)
    if before is not None:
        for known, _ in iter_matches(marks["mark"].to_numpy(), before.read_all()["mark_l"].to_numpy()):
            fresh[known] = False
    con.register("marks", marks.append_column("fresh", pa.array(fresh)))
    # All parts are row groups of one Parquet file, so this one has the columns of a scored pair too.
    nothing = ", ".join(f"NULL::{kind} AS {name}" for name, kind in PAIR.items() if name != "mark_l")
    cache.keep(MARKS, con.sql(f"SELECT mark AS mark_l, {nothing} FROM marks").to_arrow_reader())


def recall(con: duckdb.DuckDBPyConnection, cache: PairCache, part: int) -> None:
    """Create the table `recalled`, with the columns of `PAIR`, from a cached part."""
    kept = cache.read(part)
    if kept is None:
        columns = ", ".join(f"{name} {kind}" for name, kind in PAIR.items())
        con.execute(f"CREATE TABLE recalled ({columns})").fetchall()
        return
    con.register("kept", kept)
    con.execute(f"CREATE TABLE recalled AS SELECT {', '.join(PAIR)} FROM kept").fetchall()
    con.unregister("kept")


REPLACED_FORENAME, OTHER_SEX = 1.0, -2.0
"""Log2 odds that such a pair is one child whose forename was replaced, not a twin and an absent co-twin, in a cohort
of any size. Forenames are replaced in 6 records per 1,000. Twins are 29 children per 1,000, but such a pair arises
only if each twin is missing from the other's service: with 98% seen by one service and 85% by the other, 0.2 per
1,000. Two thirds of twins have the same sex. That makes four bits; one is used, because coverage may be worse. If
the sexes disagree, the pair is treated as twins. One-to-one assignment comes first: a child's own record takes
precedence."""
_PARTS_AT_ONCE, _PAIRS_AT_ONCE = 2, 250_000
"""Threads, and pairs per batch, when the kinds of pairs are found."""
NO_CACHE = PairCache()
_SHAPE = ", ".join([*(f"{token} IS NULL" for token in (*TOKEN_COLUMNS, "sex")), "surname_band", "forename_band"])
_EVIDENCE = ("forename", "household", "nhs", "pattern")
"""Columns that a pair of units takes from its strongest pair of patterns."""
_WEIGHTS = ", ".join(f"round(mw_{comparison}, 2)::FLOAT" for comparison in model.LEVELS)
_SHOWN_BITS = -6.0
"""Pairs lighter than this cannot be in a review band, whatever the prior after assignment; their agreement pattern
is not kept."""


def _build_level_sql(comparison: str, level: str) -> str:
    """Return SQL: a prediction has this level of a comparison, whose weight does not depend on the number of
    children."""
    # Splink computes the weight again from m and u, so it is equal only within rounding.
    return f"abs(mw_{comparison} - {model.compute_weight(comparison, level)}) < 0.01"


_HOUSEHOLD = (
    f"({_build_level_sql('forename', 'different, one household')} AND"
    f" {_build_level_sql('surname', 'alike, one household')} AND coalesce(mw_nhs_number, 0) = 0)"
)
"""SQL: date of birth, postcode and surname agree, and the forename does not."""


class Candidates:
    """Candidate pairs of every step of a linkage, found and scored before any units are merged.

    `steps` are the two sides of each step, as SQL conditions over `patterns` and `units`. `children` is the size of the
    services, as in `model.compute_prior`. Creates `shapes` (pattern, and shape: a hash of which tokens and bands it
    has) and `copies` (`_weigh_copies`).
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
        self._found = []
        for left, right in self._sides:  # known pairs of patterns are recalled, others compared
            compared = [(left[fresh[left]], right), (left[~fresh[left]], right[fresh[right]])]
            self._found.append(look_up(con, patterns, compared, build_blocks(children)))
        # Pairs of all steps and the copies are weighed together, so that Splink runs once.
        con.execute(f"CREATE TABLE shapes AS SELECT pattern, hash({_SHAPE}) AS shape FROM patterns").fetchall()
        first = con.sql("SELECT min(pattern) AS pattern FROM shapes GROUP BY shape").to_arrow_table()
        copies = first["pattern"].to_numpy()
        left, right = (np.concatenate(ends) for ends in zip(*self._found, (copies, copies), strict=True))
        kinds = _weigh(con, patterns, (left, right), children)
        *self._kinds, kinds_of_copies = np.split(kinds, np.cumsum([len(pairs[0]) for pairs in self._found]))
        _weigh_copies(con, patterns, copies, kinds_of_copies, children)

    def score(self, cache: PairCache, step: int) -> int:
        """Create `scored` for step 1, 2, ..., and return the number of right units.

        Columns: unit_l, unit_r, weight (log2 odds), tie, forename (log2 Bayes factor), household (the household weight
        was used), nhs (the NHS numbers agree) and pattern (log2 Bayes factor of each comparison, in the model's order,
        without tokens).

        A pair of units takes its strongest pair of patterns. Pairs of known patterns come from part `step` of the
        `cache`, which then keeps all pairs. Also creates `sides`: for each pair of units that may be a link, the
        agreement pattern of the strongest pair whose left record is a setting's (of_setting), and of the strongest
        other pair.
        """
        con, unit = self._con, read_by_pattern(self._con, "units", "unit", len(self._tie))
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
"""SQL: pairs of units whose pairs of patterns were `recalled`, if both patterns still exist."""
_WEIGHED_UNITS = f"""
SELECT unit_l, unit_r, of_setting_l AS of_setting, hash(tie_l, tie_r) AS tie, {", ".join(PAIR)}
  FROM found JOIN weights USING (kind)
 WHERE weight > {LEAST_BITS}
"""
"""SQL: pairs of units that were `found` and are heavy enough, one row per pair of patterns."""
# By weight and tie, so that the strongest of equally heavy pairs does not depend on the order of rows.
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


def _weigh(con: duckdb.DuckDBPyConnection, patterns: Patterns, pairs: Pairs, children: int) -> np.ndarray:
    """Return the kind of each pair, from 0, and create `weights` with one row per kind.

    Columns: weight, nhs_bits (the bits added by the NHS number) and the other columns of `PAIR`.
    """
    of_pair = ", ".join(f"{name} {kind}" for name, kind in PAIR.items() if not name.startswith("mark"))
    con.execute(f"CREATE TABLE weights (kind BIGINT, nhs_bits DOUBLE, {of_pair})").fetchall()
    settings = model.build_splink_settings(children)
    # Weighing one pair of each kind is enough: for England 112 thousand kinds stand for 3.0 million pairs.
    numbers = _compute_kinds(con, patterns, pairs, model.list_conditions(settings))
    _, one_of_each, kinds = np.unique(numbers, return_index=True, return_inverse=True)
    if len(one_of_each):
        left, right = (end[one_of_each] for end in pairs)
        con.register("kinds", pa.table({"kind": np.arange(len(left)), "join_key_l": left, "join_key_r": right}))
        # Splink expects with each pair the number of the blocking rule that found it.
        con.execute("CREATE TABLE pairs AS SELECT '0' AS match_key, join_key_l, join_key_r FROM kinds").fetchall()
        predictions = _predict_pairs(con, settings)
        con.execute(f"INSERT INTO weights BY NAME {_select_weights_sql(predictions)}").fetchall()
        for table in (predictions, "pairs"):
            con.execute(f"DROP TABLE {table}").fetchall()
        con.unregister("kinds")
    return kinds


def _predict_pairs(con: duckdb.DuckDBPyConnection, settings: dict[str, Any]) -> str:
    """Score `pairs` (match_key, join_key_l, join_key_r) of `patterns` with Splink; return the name of the result
    table."""
    from splink import DuckDBAPI, Linker  # `link` imports it in the background

    con.execute(
        "CREATE OR REPLACE TEMP VIEW splink_patterns AS SELECT pattern AS unique_id, * FROM patterns"
    ).fetchall()
    api = DuckDBAPI(con)
    patterns = api.register("splink_patterns", dataset_display_name="patterns")
    linker = Linker(patterns, settings, log_level=40, validate_settings=False)  # 40: errors only
    linker.table_management.register_blocked_pairs_for_predict(api.register("pairs"))
    return str(linker.inference.predict(warning_mode="never").physical_name)


def _select_weights_sql(predictions: str) -> str:
    """Return SQL for the weight of each kind; `predictions` has one pair per kind."""
    return f"""
        SELECT kind, match_weight AS weight, mw_nhs_number AS nhs_bits, mw_forename AS forename,
               {_HOUSEHOLD} AS household, mw_nhs_number > 0 AS nhs,
               CASE WHEN match_weight > {_SHOWN_BITS} THEN [{_WEIGHTS}] END AS pattern
          FROM kinds JOIN ({_weigh_households_sql(predictions)})
            ON unique_id_l = join_key_l AND unique_id_r = join_key_r
        """


def _compute_kinds(
    con: duckdb.DuckDBPyConnection, patterns: Patterns, pairs: Pairs, conditions: Sequence[str]
) -> np.ndarray:
    """Return a number for each pair: equal if the same conditions hold, fail and are unknown."""
    sql = f"hash({', '.join(conditions)})"

    def some(start: int) -> np.ndarray:
        # In batches, because the columns of both patterns are copied side by side and memory would grow with the pairs.
        at = slice(start, start + _PAIRS_AT_ONCE)
        # A DuckDB connection runs one statement at a time, so each thread opens another one to the same database.
        with con.cursor() as own:
            own.register("beside", patterns.join_sides(sql, (pairs[0][at], pairs[1][at])))
            return np.asarray(own.execute(f"SELECT {sql} AS kind FROM beside").fetchnumpy()["kind"])

    with ThreadPoolExecutor(_PARTS_AT_ONCE) as threads:
        of_parts = threads.map(some, range(0, len(pairs[0]), _PAIRS_AT_ONCE))
        return np.concatenate([np.zeros(0, np.uint64), *of_parts])


def _weigh_copies(
    con: duckdb.DuckDBPyConnection, patterns: Patterns, copies: np.ndarray, kinds: np.ndarray, children: int
) -> None:
    """Create `copies`: shape, weight (of a pattern with itself, without its NHS number) and alike (it would be
    compared)."""
    looked_at = " OR ".join(f"({block.sql})" for block in (ONE_HOME, *build_blocks(children)))
    alike = evaluate_condition(con, patterns, looked_at, (copies, copies)) if len(copies) else np.zeros(0, bool)
    # The NHS number is left out, because it links only if the other service holds it too.
    con.register("weighed_copies", pa.table({"pattern": copies, "kind": kinds, "alike": alike}))
    con.execute(
        """
        CREATE TABLE copies AS SELECT shape, weight - nhs_bits AS weight, alike
          FROM weighed_copies JOIN shapes USING (pattern) JOIN weights USING (kind)
        """
    ).fetchall()
    con.unregister("weighed_copies")


def score_pairs(con: duckdb.DuckDBPyConnection, pairs: Sequence[tuple[int, int]], children: int) -> pa.Table:
    """Return the weights that `Candidates.score` gives these pairs of patterns, whether or not a block finds them.

    One row per pair: left, right (patterns), weight (log2 odds), household, same_number and alike (why the pair would
    be compared: an NHS number, shared tokens), and for each model comparison `mw_` (log2 Bayes factor) and `gamma_`
    (its level, numbered as in `model.get_level_name`). `children` is as in `model.compute_prior`.
    """
    values = ", ".join(f"({left}, {right})" for left, right in pairs)
    con.execute(
        "CREATE OR REPLACE TABLE pairs AS SELECT '0' AS match_key, l AS join_key_l, r AS join_key_r"
        f" FROM (VALUES {values}) AS given(l, r)"
    ).fetchall()
    predictions = _predict_pairs(con, model.build_splink_settings(children) | {"retain_matching_columns": True})
    levels = ", ".join(f"mw_{comparison}, gamma_{comparison}" for comparison in model.LEVELS)
    in_block = " OR ".join(f"({block.sql})" for block in (ONE_HOME, *build_blocks(children)))
    found = con.sql(
        f"""
        SELECT unique_id_l AS left, unique_id_r AS right, match_weight AS weight,
               {_HOUSEHOLD} AS household,
               coalesce({ONE_NUMBER.sql}, false) AS same_number,
               coalesce({in_block}, false) AS alike,
               {levels}
          FROM ({_weigh_households_sql(predictions)})
          JOIN patterns l ON l.pattern = unique_id_l JOIN patterns r ON r.pattern = unique_id_r
         ORDER BY ALL
        """
    ).to_arrow_table()
    for table in ("pairs", predictions):
        con.execute(f"DROP TABLE {table}").fetchall()
    return found


def _weigh_households_sql(predictions: str) -> str:
    """Return SQL for Splink's predictions with the weight of household pairs replaced."""
    of_twins = f"CASE WHEN mw_sex < 0 THEN {OTHER_SEX} ELSE {REPLACED_FORENAME} END"
    weight = f"CASE WHEN {_HOUSEHOLD} THEN {of_twins} ELSE match_weight END"
    return f"SELECT * REPLACE ({weight} AS match_weight) FROM {predictions}"
