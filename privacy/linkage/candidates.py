"""Between services: which pairs are looked at, and their match weights by Splink.

A pair is looked at when it shares date of birth and postcode, or the date of birth and two names (alike in some form),
or the postcode and a name or the beginnings or ends of two, or the date of birth, the outward part of the postcode and
the beginning or end of a name, or the date of birth and an uncommon name, or both names and the outward part, or both
names where one is uncommon, or an NHS number. Any other pair could not reach the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from privacy.linkage import model
from privacy.linkage.backends import Backend, in_duckdb

_ALIKE = (
    ("surname", "forename"),
    ("surname", "forename_sound"),
    ("surname", "forename_start"),
    ("surname", "forename_end"),
    ("surname_sound", "forename"),
    ("surname_start", "forename"),
    ("surname_end", "forename"),
    ("surname_sound", "forename_sound"),
    ("surname_start", "forename_start"),
    ("surname_start", "forename_end"),
    ("surname_end", "forename_start"),
)
"""Forms of the two names that must both agree, where the date of birth does."""

_HOUSEHOLD = f"""
    (abs(mw_forename - {model.weight("forename", "different, one household")}) < 0.01
     AND abs(mw_surname - {model.weight("surname", "alike, one household")}) < 0.01 AND coalesce(mw_nhs_number, 0) = 0)
"""
"""Date of birth, postcode and surname agree, the forename does not."""
REPLACED_FORENAME, OTHER_SEX = 1.0, -2.0
"""Log2 odds that such a pair is one child whose forename was replaced, and not a twin and an absent co-twin, in a
cohort of any size. Forenames are replaced in 6 records of 1,000. Twins are 29 children of 1,000, and the pair is at
hand only where each one's record is missing from the other's service: with 98% seen by one service and 85% by the
other, in 0.2 of 1,000; two thirds of twins are of one sex. That makes four bits; one is used, as coverage may be worse.
A pair whose sex disagrees is a twin. One-to-one assignment comes first: a child with a record of its own takes that.
"""
_HOUSEHOLD_WEIGHT = f"""
    CASE WHEN {_HOUSEHOLD} THEN CASE WHEN mw_sex < 0 THEN {OTHER_SEX} ELSE {REPLACED_FORENAME} END ELSE match_weight END
"""
_ONE_HOME = "l.t_dob_postcode = r.t_dob_postcode"
_WEIGHTS = ", ".join(f"round(mw_{comparison}, 2)" for comparison in model.LEVELS)


def _blocks() -> list[str]:
    """Conditions over l and r; each is answered by a hash join."""
    sides = [((s, s), (f, f)) for s, f in _ALIKE]
    for part in ("surname_first", "surname_last"):
        sides += [((part, "surname"), ("forename",) * 2), (("surname", part), ("forename",) * 2)]
    for part in ("forename_first", "forename_last"):
        sides += [(("surname",) * 2, (part, "forename")), (("surname",) * 2, ("forename", part))]
    for form in ("forename", "forename_written"):
        sides.append((("surname", form), (form, "surname")))
    for form in ("sound", "start"):
        sides.append((("surname", "forename"), (f"forename_{form}", f"surname_{form}")))
        sides.append(((f"surname_{form}", f"forename_{form}"), ("forename", "surname")))
    return [
        "l.t_uncommon_names = r.t_uncommon_names",
        "l.t_names_outward = r.t_names_outward",
        *(
            f"l.t_dob_outward = r.t_dob_outward AND l.t_{form}_dob = r.t_{form}_dob"
            for form in ("surname_start", "forename_start", "forename_end")
        ),
        "l.t_surname_uncommon_dob = r.t_surname_uncommon_dob",
        "l.t_forename_uncommon_dob = r.t_forename_uncommon_dob",
        "l.t_surname_postcode = r.t_surname_postcode",
        "l.t_forename_postcode = r.t_forename_postcode",
        "l.t_surname_postcode = r.t_forename_postcode AND l.t_forename_start_postcode = r.t_surname_start_postcode",
        "l.t_surname_start_postcode = r.t_forename_start_postcode AND l.t_forename_postcode = r.t_surname_postcode",
        *(
            f"l.t_surname_{a}_postcode = r.t_surname_{a}_postcode"
            f" AND l.t_forename_{b}_postcode = r.t_forename_{b}_postcode"
            for a, b in (("start", "start"), ("start", "end"), ("end", "start"), ("end", "end"))
        ),
        *(f"l.t_{a}_dob = r.t_{b}_dob AND l.t_{c}_dob = r.t_{d}_dob" for (a, b), (c, d) in sides),
    ]


def score(con: duckdb.DuckDBPyConnection, left: str, right: str, backend: Backend = in_duckdb) -> None:
    """Create `scored`: unit_l, unit_r, weight (log2 odds), tie, forename (log2 Bayes factor), nhs (the numbers
    agree), pattern (log2 Bayes factor of each comparison, in the model's order: an agreement pattern, without a
    token).

    `left` and `right` are SQL conditions over `patterns` and `units` that choose the two sides. A pair of units
    takes its strongest pair of patterns. `backend` weighs the pairs.
    """
    for side, condition in (("l", left), ("r", right)):
        chosen = f"SELECT * FROM patterns JOIN units USING (pattern) WHERE {condition}"
        con.execute(f"CREATE OR REPLACE TABLE side_{side} AS {chosen}").fetchall()
    queries = [
        f"SELECT l.pattern AS l, r.pattern AS r FROM side_l l JOIN side_r r ON {condition} AND l.unit <> r.unit"
        for condition in (
            _ONE_HOME,
            "l.t_nhs = r.t_nhs",
            *(f"({block}) AND NOT coalesce({_ONE_HOME}, false)" for block in _blocks()),
        )
    ]
    con.execute(
        f"""
        CREATE OR REPLACE TABLE pairs AS
        SELECT '0' AS match_key, l AS join_key_l, r AS join_key_r FROM ({" UNION ".join(queries)})
        """
    ).fetchall()
    (children,) = con.execute(
        "SELECT greatest((SELECT count(DISTINCT unit) FROM side_l), (SELECT count(DISTINCT unit) FROM side_r))"
    ).fetchall()[0]
    predictions = backend(con, model.splink_settings(children))
    con.execute(
        f"""
        CREATE OR REPLACE TABLE scored AS
        SELECT unit_l, unit_r, max(weight) AS weight, min(tie) AS tie, unnest(arg_max(evidence, (weight, tie)))
          FROM (SELECT l.unit AS unit_l, r.unit AS unit_r, match_weight AS weight, hash(l.tie, r.tie) AS tie,
                       {{'forename': mw_forename, 'household': {_HOUSEHOLD},
                        'nhs': mw_nhs_number > 0, 'pattern': [{_WEIGHTS}]}} AS evidence
                  FROM ({_weighed(predictions)})
                  JOIN side_l l ON l.pattern = unique_id_l JOIN side_r r ON r.pattern = unique_id_r)
         GROUP BY unit_l, unit_r
        """
    ).fetchall()
    for table in ("side_l", "side_r", "pairs", predictions):
        con.execute(f"DROP TABLE {table}").fetchall()


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
        SELECT unique_id_l AS left, unique_id_r AS right, match_weight AS weight, {_HOUSEHOLD} AS household,
               coalesce(l.t_nhs = r.t_nhs, false) AS same_number,
               coalesce({" OR ".join(f"({block})" for block in (_ONE_HOME, *_blocks()))}, false) AS alike, {said}
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
    return f"SELECT * REPLACE ({_HOUSEHOLD_WEIGHT} AS match_weight) FROM {predictions}"
