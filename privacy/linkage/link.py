"""Links one cohort: takes pseudonymised extracts and returns links.

Steps: `rows` (loads rows and finds the entities of each service), `candidates` and `model` (pairs between services and
their weights), `assignment` (one to one), and this module, which runs them and assigns every row to a child. child_ids
are random, and are kept when a cohort is linked again.

Only two things are learned from the cohort: which records compete with each other, and how many children share an
identifier, or a postcode and a month of birth (`rows`). One record can therefore change only links of records connected
to it by a chain of shared tokens (`docs/linkage.md`).
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa

from privacy.doors.database import open_in_memory
from privacy.linkage import assignment, blocks, model, rows
from privacy.linkage.candidates import MARKS, NO_CACHE, PairCache, find_candidates, mark_patterns, score_step

THRESHOLD = 0.5
"""Least posterior probability of a link."""
REVIEW_BAND = (0.2, 0.8)
FURTHER_THRESHOLD = 0.99
"""Least posterior at which a further record is added to a child already linked, if the forename agrees too."""
_HIGHEST_POSTERIOR = 1 - 2**-50  # keeps log odds finite
_POSTERIOR_DIGITS = 6
"""Decimals of a posterior when compared with a threshold. Two records that fit a third equally well have a posterior
of 0.5 each: one is linked, by the fixed tie-break, if the forename supports both. They usually belong to one child."""


@dataclass(frozen=True)
class LinkResult:
    """The result of a linkage.

    `links` has one row per input row, with `LINK_COLUMNS`, ordered by the first three.

    `steps` and `review_patterns` are counts for the restricted zone: what each step did, and for each agreement pattern
    (step, one column of levels per comparison, numbered as in `model.list_weights`) the number of pairs with a
    posterior in REVIEW_BAND, most first, and their lowest and highest weight.
    """

    links: pa.Table
    steps: list[dict[str, Any]]
    review_patterns: pa.Table


@dataclass(frozen=True)
class Scored:
    """A step after its pairs are decided and before any units are merged.

    `left` and `right` choose the sides (SQL over `patterns` and `units`). `right_units` counts the units on the right;
    `children` is the size of the services used for weighting. `pairs` is the result of `decide`, as in table `decided`.
    """

    name: str
    left: str
    right: str
    one_to_one: bool
    right_units: int
    children: int
    pairs: pa.Table


Watcher: TypeAlias = Callable[[duckdb.DuckDBPyConnection, Scored], None]
"""Called in each step with the linking connection. It may read but must not change the tables."""


def link(
    extracts: Mapping[str, rows.Extract],
    previous: pa.Table | None = None,
    watchers: Sequence[Watcher] = (),
    children: int = model.REFERENCE_RECORDS,
    cache: PairCache = NO_CACHE,
) -> LinkResult:
    """Link the rows of all extracts of one cohort.

    `extracts` maps a source (eyfsp, school_census, early_years_census, hv_reviews) to its rows, with council, row_key,
    sex and token columns under the second keying. `previous` are the links of an earlier run, whose child_ids are kept.
    `children` is the published size of the cohort in these councils; it is never counted from the rows. `cache` holds
    what an earlier linkage kept; without it the links are the same but take longer.

    match_rule says how a row was linked to its child: `upn`, `nhs_number`, `scoped_id`, `identical_demographics`,
    `probabilistic`, or `none` for a row that is alone or to which the others were linked. match_probability is 1 for
    identity rules, the posterior for pairs, and NULL for `none`.
    """
    with open_in_memory() as con:
        # Splink takes seconds to import. A daemon thread, so that a linkage that fails early does not wait for it.
        threading.Thread(target=import_module, args=("splink",), daemon=True).start()
        patterns = rows.load(con, extracts)
        rows.find_entities(con)
        # Units merge from here on; the first step compares those with a permanent UPN to the others.
        con.execute("CREATE TABLE entities AS SELECT pattern, unit AS entity FROM units").fetchall()
        with_upn = "SELECT DISTINCT unit FROM units JOIN patterns USING (pattern) WHERE t_upn IS NOT NULL"
        con.execute(f"CREATE TABLE numbered AS {with_upn}").fetchall()
        con.execute("CREATE TABLE joins (unit BIGINT, rule VARCHAR, probability DOUBLE)").fetchall()
        con.execute("CREATE TABLE review (step VARCHAR, pattern TINYINT[], weight DOUBLE)").fetchall()
        mark_patterns(con, cache)
        # The pairs of every step are found before any unit is merged, so that Splink runs once for all of them.
        find_candidates(con, patterns, [(left, right) for _, left, right, _ in STEPS], children)
        steps = [_run_step(con, n, children, watchers, cache) for n in range(MARKS + 1, MARKS + 1 + len(STEPS))]
        columns = ", ".join(f"pattern[{i}] AS {comparison}" for i, comparison in enumerate(model.LEVELS, 1))
        review = con.sql(
            f"""
            SELECT step, {columns}, count(*) AS pairs, min(weight) AS weight_low, max(weight) AS weight_high
              FROM review GROUP BY step, pattern ORDER BY pairs DESC, step DESC, pattern DESC
            """
        ).to_arrow_table()
        con.execute(f"CREATE TABLE rules AS {_ASSIGN_RULES}").fetchall()
        # Freed before the links are built, because both together are the peak memory of a corrected cohort.
        del patterns
        for relation in ("patterns", "compared", "found"):
            con.unregister(relation)
        for table in ("marks", "scored", "sides", "weights", "shapes", "copies", "review", "entities", "joins"):
            con.execute(f"DROP TABLE {table}").fetchall()
        return LinkResult(build_links(con, previous), steps, review)


# Settings come before health reviews: a review can then also be linked to a child whom only a setting knows.
STEPS = (
    (
        "education rows without a permanent UPN to education",
        "service = 'education' AND unit IN (FROM numbered)",
        "service = 'education' AND unit NOT IN (FROM numbered)",
        False,
    ),
    ("settings to education", "service = 'education'", "service = 'settings'", True),
    ("health to children", "service <> 'health'", "service = 'health'", True),
)
"""Name, left side, right side, and whether one-to-one assignment precedes the adding of further records."""


def _run_step(
    con: duckdb.DuckDBPyConnection, number: int, children: int, watchers: Sequence[Watcher], cache: PairCache
) -> dict[str, Any]:
    """Score the pairs of the two sides of a step, merge right units into left ones, and return counts."""
    name, left, right, one_to_one = STEPS[number - MARKS - 1]
    right_units = score_step(con, cache, number)
    pairs = decide(con.sql(f"SELECT {', '.join(_SCORED)} FROM scored").to_arrow_table(), one_to_one)
    con.register("decided", pairs)
    for watch in watchers:
        watch(con, Scored(name, left, right, one_to_one, right_units, children, pairs))
    linked = con.sql("SELECT unit_l, unit_r, odds AS weight, nhs FROM decided WHERE kept").to_arrow_table()
    by_number = _merge(con, linked)
    further = con.sql(_select_further_sql()).to_arrow_table()
    by_number += _merge(con, further)
    in_band = f"odds >= {model.convert_to_bits(REVIEW_BAND[0])} AND odds < {model.convert_to_bits(REVIEW_BAND[1])}"
    of_pattern = f"pattern, odds FROM scored JOIN decided USING (unit_l, unit_r) WHERE {in_band}"
    con.execute(f"INSERT INTO review SELECT ?, {of_pattern}", [name]).fetchall()
    least = model.convert_to_bits(THRESHOLD)
    conditions = (f"kept AND weight < {least}", f"vague AND alone >= {least}", in_band)
    counted = ", ".join(f"count(*) FILTER ({condition})" for condition in conditions)
    late, ties, doubtful = con.execute(f"SELECT {counted} FROM decided").fetchall()[0]
    con.unregister("decided")
    return {
        "step": name,
        "pairs_scored": pairs.num_rows,
        "linked_one_to_one": linked.num_rows,
        "linked_of_those_left_over": late,
        "further_records": further.num_rows,
        "by_nhs_number": by_number,
        "undecided_ties": ties,
        "in_review_band": doubtful,
    }


_SCORED = ("unit_l", "unit_r", "weight", "tie", "forename", "household", "nhs")


def decide(scored: pa.Table, one_to_one: bool) -> pa.Table:
    """Decide the links of a step among pairs scored by `candidates`; return them with columns added.

    kept: linked one to one, only because neither record has another partner if the weight is below the threshold;
    vague: left undecided by a rival of equal weight; alone: log2 odds as if the pair had no rivals; posterior: the
    probability among its rivals; odds: the log2 odds of that.
    """
    pairs = scored.select(_SCORED)
    left, right, weight, tie, forename, household, _ = (column.to_numpy() for column in pairs.columns)
    # Equal rivals are left unlinked only if the forename does not support them: otherwise they are mostly one child.
    vague = assignment.find_undecided(left, right, weight) & (forename <= 0)
    # The weight of a household pair is its final log odds (`candidates.REPLACED_FORENAME`), so it is not raised.
    alone = weight + blocks.FREE_BITS * ~household if one_to_one else weight
    posterior = assignment.compute_posterior(left, right, alone, tie)
    posterior = np.round(np.minimum(posterior, _HIGHEST_POSTERIOR), 9)
    kept = np.zeros(len(left), bool)
    if one_to_one:
        kept[choose_pairs(pairs, posterior, vague, THRESHOLD)] = True
    odds = np.log2(np.maximum(posterior, 1 - _HIGHEST_POSTERIOR)) - np.log2(
        np.maximum(1 - posterior, 1 - _HIGHEST_POSTERIOR)
    )
    added = {"kept": kept, "vague": vague, "alone": alone, "posterior": posterior, "odds": odds}
    return pa.table(dict(zip(_SCORED, pairs.columns, strict=True)) | added)


def choose_pairs(pairs: pa.Table, posterior: np.ndarray, vague: np.ndarray, threshold: float) -> np.ndarray:
    """Return the indices of the pairs linked one to one at a posterior threshold; `vague` is as in `decide`."""
    # Rounded, so that the last digit of a sum does not decide between records that fit equally well.
    near = np.round(posterior, _POSTERIOR_DIGITS)
    at = np.flatnonzero((near > threshold) | (near == threshold) & ~vague)
    left, right, tie = (pairs.column(c).to_numpy()[at] for c in ("unit_l", "unit_r", "tie"))
    kept: np.ndarray = at[assignment.match_one_to_one(left, right, posterior[at], tie)]
    return kept


def find_least_forename_bits() -> float:
    """Return the least log2 Bayes factor that the forename of a child's further record must have."""
    same = (*model.EXACT["forename"].values(), model.OTHER_FORM_OF_COMMON, "another form")
    return min(model.compute_weight("forename", level) for level in same)


def _select_further_sql() -> str:
    """Return SQL: records that surely belong to a linked child, without those whose NHS number contradicts it."""
    return f"""
    WITH sure AS MATERIALIZED (
        SELECT unit_l, unit_r, weight, nhs, tie FROM scored
         WHERE weight >= {model.convert_to_bits(FURTHER_THRESHOLD)} AND forename >= {find_least_forename_bits()}
           AND unit_r NOT IN (SELECT unit FROM joins)),
    numbers AS MATERIALIZED (
        SELECT DISTINCT unit, service, t_nhs AS number FROM units JOIN patterns USING (pattern)
         WHERE t_nhs IS NOT NULL),
    conflicts AS (
        SELECT DISTINCT unit_l, unit_r FROM sure
          JOIN numbers a ON a.unit = unit_l JOIN numbers b ON b.unit = unit_r AND b.service = a.service
         WHERE a.number <> b.number)
    SELECT unit_l, unit_r, weight, nhs FROM sure ANTI JOIN conflicts USING (unit_l, unit_r)
    QUALIFY row_number() OVER (PARTITION BY unit_r ORDER BY weight DESC, tie) = 1
    """


def _merge(con: duckdb.DuckDBPyConnection, chosen: pa.Table) -> int:
    """Merge the right units of `chosen` (unit_l, unit_r, weight, nhs) into the left; return how many have `nhs` set."""
    con.register("chosen", chosen)
    con.execute(
        """
        INSERT INTO joins
        SELECT unit_r, CASE WHEN nhs THEN 'nhs_number' ELSE 'probabilistic' END, 1 / (1 + 2 ** -weight) FROM chosen
        """
    ).fetchall()
    con.execute("UPDATE units SET unit = unit_l FROM chosen WHERE unit = unit_r").fetchall()
    (by_number,) = con.execute("SELECT count(*) FROM chosen WHERE nhs").fetchall()[0]
    con.unregister("chosen")
    return int(by_number)


LINK_COLUMNS = ("source", "council", "row_key", "child_id", "match_rule", "match_probability")
_ID_BYTES = 16  # 32 hexadecimal digits
_ASSIGN_RULES = """
WITH sent AS (SELECT pattern, count(*) AS copies FROM rows GROUP BY pattern)
SELECT pattern,
       CASE WHEN rule IS NOT NULL THEN rule
            WHEN t_upn IS NOT NULL AND sum(copies) OVER (PARTITION BY entity, t_upn) > 1 THEN 'upn'
            WHEN t_nhs IS NOT NULL AND sum(copies) OVER (PARTITION BY entity, t_nhs) > 1 THEN 'nhs_number'
            WHEN t_upn_temporary IS NOT NULL AND sum(copies) OVER (PARTITION BY entity, t_upn_temporary) > 1
              OR t_patient IS NOT NULL AND sum(copies) OVER (PARTITION BY entity, t_patient) > 1 THEN 'scoped_id'
            WHEN sum(copies) OVER (PARTITION BY entity) > 1 THEN 'identical_demographics' ELSE 'none' END AS match_rule,
       CASE WHEN rule IS NOT NULL THEN probability WHEN match_rule <> 'none' THEN 1.0 END AS match_probability
  FROM patterns JOIN sent USING (pattern) JOIN entities USING (pattern) LEFT JOIN joins ON joins.unit = entity
"""
"""SQL: the rule that linked each pattern's rows to their child, and the probability. A step between services comes
first, because it brought these rows to the child; then the identifiers that make rows one child, strongest first. A
pattern on more than one row has a rule even if no other pattern joined it."""


def build_links(con: duckdb.DuckDBPyConnection, previous: pa.Table | None) -> pa.Table:
    """Return LINK_COLUMNS of every row, ordered by the first three; children keep the ids they had in `previous`."""
    # Units that were merged into others leave gaps in the numbers.
    linked = con.sql(
        """
        SELECT source, council, row_key, dense_rank() OVER (ORDER BY unit) - 1 AS child, match_rule, match_probability
          FROM rows JOIN units USING (pattern) JOIN rules USING (pattern) ORDER BY source, council, row_key
        """
    ).to_arrow_table()
    ids = _assign_child_ids(con, linked.select([*rows.ROW, "child"]), previous)
    return linked.set_column(3, "child_id", ids.take(linked["child"].combine_chunks()))


def _assign_child_ids(con: duckdb.DuckDBPyConnection, linked: pa.Table, previous: pa.Table | None) -> pa.Array:
    """Return the child_id of each child (0, 1, ...) of `linked` (`rows.ROW`, child), which is in the order of rows.

    If `previous` links are given, a child keeps the id that most of its rows had. An id claimed twice goes to the child
    with more of its rows, then to the one that holds the first of them.
    """
    count = int(np.max(linked["child"].to_numpy(), initial=-1)) + 1
    fresh = _generate_ids(count)
    if previous is None:
        return fresh
    earlier = previous["child_id"].combine_chunks().dictionary_encode()
    con.register("linked", linked.append_column("place", pa.array(np.arange(linked.num_rows))))
    con.register("previous", previous.select(rows.ROW).append_column("kept", earlier.indices))
    # SQL takes 2.0 s for the 3 million rows of England; the same on arrays takes 3.3 s.
    claims = con.sql(_CLAIMS).to_arrow_table()
    chosen = np.arange(count)
    chosen[claims["child"].to_numpy()] = count + claims["kept"].to_numpy()
    return pa.concat_arrays([fresh, earlier.dictionary]).take(pa.array(chosen))


_CLAIMS = """
WITH claims AS (
    SELECT child, kept, count(*) AS rows, min(place) AS first
      FROM linked JOIN previous USING (source, council, row_key) GROUP BY child, kept
), of_child AS (
    SELECT child, arg_max({'kept': kept, 'rows': rows, 'first': first}, (rows, -first)) AS claim
      FROM claims GROUP BY child
)
SELECT arg_max(child, (claim.rows, -claim.first)) AS child, claim.kept AS kept FROM of_child GROUP BY claim.kept
"""
"""SQL for the earlier id, as its number, that each child keeps; children without one are left out."""


def _generate_ids(count: int) -> pa.Array:
    """Return `count` ids of 32 hexadecimal digits from the operating system's random generator."""
    text = os.urandom(_ID_BYTES * count).hex().encode()
    offsets = np.arange(0, 2 * _ID_BYTES * (count + 1), 2 * _ID_BYTES, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))
