"""Finds candidate pairs of records between services (`blocks`) and scores their match weights with Splink.

A pair's weight depends only on the levels at which its two patterns agree. Splink therefore scores one pair of each
kind, that is, of each combination of levels.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from privacy.linkage import model
from privacy.linkage.blocks import LEAST_BITS, ONE_HOME, ONE_NUMBER, build_blocks
from privacy.pseudonyms import TOKEN_COLUMNS

MARKS = 0
"""The cache part that holds the marks of all patterns. Step n uses part n, from 1."""
PAIR = pa.schema(
    {
        "mark_l": pa.uint64(),
        "mark_r": pa.uint64(),
        "weight": pa.float64(),
        "forename": pa.float64(),
        "household": pa.bool_(),
        "nhs": pa.bool_(),
        "pattern": pa.list_(pa.int8()),
    }
)
"""Columns of every cache part: a scored pair, or for `MARKS` the first column only."""


class PairCache:
    """Pairs of patterns scored by an earlier linkage, so that only pairs with a new pattern are compared and scored.

    The base class keeps nothing. A cache is valid only for the same model, code and published number of children:
    together with a pair's two patterns, they decide whether the pair is compared and what it weighs. A pattern is
    identified by its mark (`mark_patterns`). Rows are joined to patterns, units and links from scratch each time, so
    the same pairs give bit-identical links. A cache reveals as much as tokens do: only the linkage may read it.
    """

    def read(self, part: int) -> pa.RecordBatchReader | None:
        """Return a cached part, or None."""
        return None

    def keep(self, part: int, rows: pa.RecordBatchReader) -> None:
        """Keep a part. Parts are kept once each, in ascending order."""


def mark_patterns(con: duckdb.DuckDBPyConnection, cache: PairCache) -> None:
    """Create `marks` (pattern, mark, fresh: new since the earlier linkage) and keep the marks."""
    # Everything that decides how a pattern is compared goes into its mark. The tie does not cover the name bands, nor
    # two facts that depend on other rows: whether the postcode belongs to a crowd, and whether the unit has a permanent
    # UPN, which decides the pattern's side in the first step.
    con.register("kept", cache.read(MARKS) or PAIR.empty_table())
    con.execute(
        """
        CREATE TABLE marks AS WITH marked AS (
            SELECT pattern, hash(tie, crowded, surname_band, forename_band, unit IN (FROM numbered)) AS mark
              FROM patterns JOIN units USING (pattern))
        SELECT *, mark NOT IN (SELECT mark_l FROM kept) AS fresh FROM marked
        """
    ).fetchall()
    con.unregister("kept")
    marks = con.sql("SELECT mark FROM marks").to_arrow_table()["mark"]
    # All parts are row groups of one Parquet file, so this one has the columns of a scored pair too.
    nothing = (pa.nulls(len(marks), field.type) for field in list(PAIR)[1:])
    cache.keep(MARKS, pa.table([marks, *nothing], PAIR).to_reader())


REPLACED_FORENAME, OTHER_SEX = 1.0, -2.0
"""Log2 odds that a household pair (`_HOUSEHOLD`) is one child whose forename was replaced, not a twin and an absent
co-twin, in a cohort of any size. Forenames are replaced in 6 records per 1,000. Of 1,000 children, 29 are twins, but
such a pair arises only if each twin is missing from the other's service: with 98% seen by one service and 85% by the
other, 0.2 per 1,000. Two thirds of twins have the same sex. That makes four bits; one is used, because coverage may be
worse. If the sexes disagree, the pair is treated as twins. One-to-one assignment comes first: a child's own record
takes precedence."""
_PARTS_AT_ONCE, _PAIRS_AT_ONCE = 2, 250_000
"""Threads, and pairs per batch, when the kinds of pairs are found."""
NO_CACHE = PairCache()
_NAMED = re.compile(r"\b\w+_[lr]\b")
_SHAPE = ", ".join([*(f"{token} IS NULL" for token in (*TOKEN_COLUMNS, "sex")), "surname_band", "forename_band"])
_EVIDENCE = ("forename", "household", "nhs", "pattern")
"""Columns that a pair of units takes from its strongest pair of patterns."""
_LEVELS = ", ".join(f"gamma_{comparison}::TINYINT" for comparison in model.LEVELS)
_SHOWN_BITS = -6.0
"""Lighter pairs cannot be in a review band, whatever the prior after assignment: their pattern is not kept."""


def _build_level_sql(comparison: str, level: str) -> str:
    """Return SQL: a prediction has this level, whose weight does not depend on the number of children."""
    # Splink computes the weight again from m and u, so it is equal only within rounding.
    return f"abs(mw_{comparison} - {model.compute_weight(comparison, level)}) < 0.01"


_HOUSEHOLD = (
    f"({_build_level_sql('forename', 'different, one household')} AND"
    f" {_build_level_sql('surname', 'alike, one household')} AND coalesce(mw_nhs_number, 0) = 0)"
)
"""SQL: date of birth, postcode and surname agree, and the forename does not."""


def find_candidates(
    con: duckdb.DuckDBPyConnection, patterns: pa.Table, steps: Sequence[tuple[str, str]], children: int
) -> None:
    """Find and weigh the candidate pairs of every step of a linkage, before any units are merged.

    `steps` are the two sides of each step, as SQL conditions over `patterns` and `units`. `children` is the size of the
    services, as in `model.compute_prior`. Creates `compared` (`patterns` with mark, fresh and, for each step n, left_n
    and right_n), `found`, `weights`, `shapes` (pattern, and shape: a hash of which tokens and bands it has) and
    `copies` (shape, weight of a pattern with itself without its NHS number, alike: it would be compared with itself).
    """
    sides = ", ".join(
        f"coalesce({left}, false) AS left_{n}, coalesce({right}, false) AS right_{n}"
        for n, (left, right) in enumerate(steps, MARKS + 1)
    )
    added = con.sql(
        f"SELECT mark, fresh, {sides} FROM patterns JOIN units USING (pattern) JOIN marks USING (pattern)"
        " ORDER BY pattern"
    ).to_arrow_table()
    # Columns side by side, because a pattern's number is its position: a join would copy every token.
    names = [*patterns.column_names, *added.column_names]
    con.register("compared", pa.table([*patterns.columns, *added.columns], names=names))
    con.execute("CREATE TABLE found (step BIGINT, l BIGINT, r BIGINT)").fetchall()
    for n in range(MARKS + 1, MARKS + 1 + len(steps)):
        find_pairs(con, n, (ONE_HOME, ONE_NUMBER, *build_blocks(children)))
    # Pairs of all steps and the copies are weighed together, so that Splink runs once.
    con.execute(f"CREATE TABLE shapes AS SELECT pattern, hash({_SHAPE}) AS shape FROM patterns").fetchall()
    con.execute(f"INSERT INTO found SELECT {_COPIES}, min(pattern), min(pattern) FROM shapes GROUP BY shape").fetchall()
    pairs = con.sql("SELECT DISTINCT * FROM found ORDER BY ALL").to_arrow_table()
    con.execute("DROP TABLE found").fetchall()
    con.register("found", pairs.append_column("kind", weigh(con, patterns, pairs, children)))
    # The NHS number is left out, because it links only if the other service holds it too.
    con.execute(
        f"""
        CREATE TABLE copies AS SELECT shape, weight - nhs_bits AS weight, {_build_looked_at_sql(children)} AS alike
          FROM found JOIN weights USING (kind) JOIN shapes ON shapes.pattern = found.l
          JOIN patterns l ON l.pattern = found.l JOIN patterns r ON r.pattern = found.r
         WHERE step = {_COPIES}
        """
    ).fetchall()


def score_step(con: duckdb.DuckDBPyConnection, cache: PairCache, step: int) -> int:
    """Create `scored` for step 1, 2, ..., and return the number of right units.

    Columns: unit_l, unit_r, weight (log2 odds), tie, forename (log2 Bayes factor), household (the household weight
    was used), nhs (the NHS numbers agree) and pattern (level of each comparison, numbered as in `model.list_weights`).

    A pair of units takes its strongest pair of patterns. Pairs of known patterns come from part `step` of the
    `cache`, which then keeps all pairs. Also creates `sides`: for each pair of units that may be a link, the
    agreement pattern of the strongest pair whose left record is a setting's (of_setting), and of the strongest other.
    """
    con.register("recalled", cache.read(step) or PAIR.empty_table())
    con.execute(_CREATE_WEIGHED.format(step=step)).fetchall()
    con.unregister("recalled")
    cache.keep(step, con.sql(f"SELECT {', '.join(PAIR.names)} FROM weighed").to_arrow_reader())
    con.execute(f"CREATE OR REPLACE TABLE scored AS {_SCORED}").fetchall()
    con.execute(f"CREATE OR REPLACE TABLE sides AS {_SIDES}").fetchall()
    con.execute("DROP TABLE weighed").fetchall()
    right = f"SELECT count(DISTINCT unit) FROM compared JOIN units USING (pattern) WHERE right_{step}"
    (right_units,) = con.execute(right).fetchall()[0]
    return int(right_units)


_COPIES = 0
"""Step number for pairs of a pattern with itself."""
_OF_PATTERNS = ", ".join(name for name in PAIR.names if not name.startswith("mark"))
# Recalled pairs whose patterns still exist, and those found now that are heavy enough: one row per pair of patterns.
_CREATE_WEIGHED = f"""
CREATE TABLE weighed AS
WITH known AS (
    SELECT pattern AS number, unit, tie, mark, service = 'settings' AS of_setting, left_{{step}} AS is_left,
           right_{{step}} AS is_right
      FROM compared JOIN units USING (pattern)
), pairs AS (
    SELECT l.number AS l, r.number AS r, {_OF_PATTERNS}
      FROM recalled JOIN known l ON l.mark = mark_l AND l.is_left JOIN known r ON r.mark = mark_r AND r.is_right
     UNION ALL
    SELECT l, r, {_OF_PATTERNS} FROM found JOIN weights USING (kind) WHERE step = {{step}} AND weight > {LEAST_BITS}
)
SELECT l.unit AS unit_l, r.unit AS unit_r, l.of_setting, hash(l.tie, r.tie) AS tie, l.mark AS mark_l, r.mark AS mark_r,
       pairs.* EXCLUDE (l, r)
  FROM pairs JOIN known l ON l.number = pairs.l JOIN known r ON r.number = pairs.r
"""
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


def find_pairs(con: duckdb.DuckDBPyConnection, step: int, blocks: Sequence[str]) -> None:
    """Insert into `found` the pairs between a step's two sides that a block finds, unless both patterns are known.

    A pair is inserted once by each block that finds it, except that pairs found by `ONE_HOME` are inserted only by it.
    """
    # Two joins, because each then has a small side if little is new. A statement costs 3 ms even if it finds nothing.
    some, all_ = con.execute("SELECT bool_or(fresh), bool_and(fresh) FROM compared").fetchall()[0]
    joins = (["l.fresh"] if some else []) + (["NOT l.fresh AND r.fresh"] if some and not all_ else [])
    for block, fresh in product(blocks, joins):
        apart = "true" if block is ONE_HOME else f"{ONE_HOME} IS NOT TRUE"
        con.execute(
            f"""
            INSERT INTO found SELECT {step}, l.pattern, r.pattern FROM compared l JOIN compared r ON {block}
             WHERE l.left_{step} AND r.right_{step} AND {fresh} AND {apart}
            """
        ).fetchall()


def _build_looked_at_sql(children: int) -> str:
    """Return SQL: two patterns `l` and `r` are compared for the tokens that they share, whatever their NHS numbers."""
    blocks = " OR ".join(f"({block})" for block in (ONE_HOME, *build_blocks(children)))
    return f"coalesce({blocks}, false)"


def weigh(con: duckdb.DuckDBPyConnection, patterns: pa.Table, pairs: pa.Table, children: int) -> pa.Array:
    """Return the kind of each pair (l, r: patterns), and create `weights` with one row per kind.

    Columns: weight, nhs_bits (the bits added by the NHS number) and the other columns of `PAIR`.
    """
    settings = model.build_splink_settings(children)
    kinds = _compute_kinds(con, patterns, pairs, model.list_level_sql(settings))
    # Weighing one pair of each kind is enough: the 100,033 pairs of 25,000 synthetic children fall into 881.
    con.register("of_kind", pairs.append_column("kind", kinds))
    con.execute(
        "CREATE TABLE kinds AS SELECT DISTINCT ON (kind) kind, l, r FROM of_kind ORDER BY kind, l, r"
    ).fetchall()
    # Splink expects with each pair the number of the blocking rule that found it.
    con.execute("CREATE TABLE pairs AS SELECT '0' AS match_key, l AS join_key_l, r AS join_key_r FROM kinds").fetchall()
    predictions = _predict_pairs(con, settings)
    con.execute(
        f"""
        CREATE TABLE weights AS
        SELECT kind, match_weight AS weight, mw_nhs_number AS nhs_bits, mw_forename AS forename,
               {_HOUSEHOLD} AS household, mw_nhs_number > 0 AS nhs,
               CASE WHEN match_weight > {_SHOWN_BITS} THEN [{_LEVELS}] END AS pattern
          FROM kinds JOIN ({_weigh_households_sql(predictions)}) ON unique_id_l = l AND unique_id_r = r
        """
    ).fetchall()
    for table in (predictions, "pairs", "kinds"):
        con.execute(f"DROP TABLE {table}").fetchall()
    con.unregister("of_kind")
    return kinds


def _predict_pairs(con: duckdb.DuckDBPyConnection, settings: dict[str, Any]) -> str:
    """Score `pairs` (match_key, join_key_l, join_key_r) of `patterns` with Splink; return the result table's name."""
    from splink import DuckDBAPI, Linker  # `link` imports it in the background

    con.execute(
        "CREATE OR REPLACE TEMP VIEW splink_patterns AS SELECT pattern AS unique_id, * FROM patterns"
    ).fetchall()
    api = DuckDBAPI(con)
    patterns = api.register("splink_patterns", dataset_display_name="patterns")
    linker = Linker(patterns, settings, log_level=40, validate_settings=False)  # 40: errors only
    linker.table_management.register_blocked_pairs_for_predict(api.register("pairs"))
    return str(linker.inference.predict(warning_mode="never").physical_name)


def _compute_kinds(
    con: duckdb.DuckDBPyConnection, patterns: pa.Table, pairs: pa.Table, levels: Sequence[str]
) -> pa.Array:
    """Return a number (uint64) for each pair, equal for two pairs if they have the same levels (SQL)."""
    sql = f"hash({', '.join(levels)})"
    named = dict.fromkeys(_NAMED.findall(sql))

    def compute_some(start: int) -> np.ndarray:
        # In batches, because the columns of both patterns are copied side by side and memory would grow with the pairs.
        some = pairs.slice(start, _PAIRS_AT_ONCE)
        # A DuckDB connection runs one statement at a time, so each thread opens another one to the same database.
        with con.cursor() as own:
            own.register("beside", pa.table({name: patterns[name[:-2]].take(some[name[-1]]) for name in named}))
            return np.asarray(own.execute(f"SELECT {sql} AS kind FROM beside").fetchnumpy()["kind"])

    with ThreadPoolExecutor(_PARTS_AT_ONCE) as threads:
        of_parts = threads.map(compute_some, range(0, pairs.num_rows, _PAIRS_AT_ONCE))
        return pa.array(np.concatenate([np.zeros(0, np.uint64), *of_parts]))


def score_pairs(con: duckdb.DuckDBPyConnection, pairs: Sequence[tuple[int, int]], children: int) -> pa.Table:
    """Return the weights that `score_step` gives these pairs of patterns, whether or not a block finds them.

    One row per pair: left, right (patterns), weight (log2 odds), household, same_number and alike (why the pair would
    be compared: an NHS number, shared tokens), and for each model comparison `mw_` (log2 Bayes factor) and `gamma_`
    (its level, numbered as in `model.list_weights`). `children` is as in `model.compute_prior`.
    """
    values = ", ".join(f"({left}, {right})" for left, right in pairs)
    con.execute(
        "CREATE OR REPLACE TABLE pairs AS SELECT '0' AS match_key, l AS join_key_l, r AS join_key_r"
        f" FROM (VALUES {values}) AS given(l, r)"
    ).fetchall()
    predictions = _predict_pairs(con, model.build_splink_settings(children))
    levels = ", ".join(f"mw_{comparison}, gamma_{comparison}" for comparison in model.LEVELS)
    found = con.sql(
        f"""
        SELECT unique_id_l AS left, unique_id_r AS right, match_weight AS weight,
               {_HOUSEHOLD} AS household,
               coalesce({ONE_NUMBER}, false) AS same_number,
               {_build_looked_at_sql(children)} AS alike,
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
