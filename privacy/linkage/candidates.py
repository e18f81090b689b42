"""Between services: which pairs are looked at, and their match weights by Splink.

A pair is looked at when it shares date of birth and postcode, or the date of birth and two names (alike in some form),
or the postcode and a name or the beginnings or ends of two, or the date of birth, the outward part of the postcode and
the beginning or end of a name, or both names and the outward part, or an NHS number; and where the names are rare
enough for services of that size: the date of birth and one name, or both names, with or without the day or month of
birth. Any other pair could not reach the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from privacy.linkage import model
from privacy.linkage.backends import Backend, in_duckdb
from privacy.linkage.memory import PAIR, Memory, Nothing, recall
from privacy.normalise import RAREST_BAND
from privacy.pseudonyms import RARE_SURNAME

_NAME_FORMS = (
    ("surname", "forename"),
    ("surname", "forename_sound"),
    ("surname_sound", "forename"),
    ("surname_sound", "forename_sound"),
)
"""Forms of the two names that must both agree, where the date of birth does."""
_ENDS_OF_NAMES = (("start", "start"), ("start", "end"), ("end", "start"))
"""Ends of the surname and of the forename that must both agree, where more than the date of birth does."""

FREE_BITS: float = model.parameters()["free_bits"]
"""How much likelier (log2) two records that have no other partner are one child than any two records. Where two
services each see a share s of the children in the other, s / (1 - s) ** 2 times: 20 times, or 4.3 bits, at s = 0.8. The
rest is caution: many people share an address or a surname, so agreement says less than the model has it, and a false
link does more harm than a missed one. The same in every cohort."""
LEAST_BITS = -8.0
"""Pairs lighter than this are let go: they are links under no threshold, and weigh next to nothing as rivals."""
LARGE_SERVICE_CHILDREN = 100_000
"""In services of so many children, pairs with one name that need the raised prior are too many to look at."""
REPLACED_FORENAME, OTHER_SEX = 1.0, -2.0
"""Log2 odds that such a pair is one child whose forename was replaced, and not a twin and an absent co-twin, in a
cohort of any size. Forenames are replaced in 6 records of 1,000. Twins are 29 children of 1,000, and the pair is at
hand only where each one's record is missing from the other's service: with 98% seen by one service and 85% by the
other, in 0.2 of 1,000; two thirds of twins are of one sex. That makes four bits; one is used, as coverage may be worse.
A pair whose sex disagrees is a twin. One-to-one assignment comes first: a child with a record of its own takes that.
"""
_BLOCKS_A_QUERY, _PAIRS_A_PART = 12, 1_000_000
"""Conditions that are answered together, and pairs that are weighed together: what is held in memory meanwhile."""
_UNUSED_TOKENS = (
    *("t_upn", "t_upn_temporary", "t_patient"),
    *(f"t_{name}_{form}_postcode" for name in ("surname", "forename") for form in ("front", "rest")),
)
"""Tokens by which no pair of two services is found: what is held of the two sides leaves them out."""
NOTHING = Nothing()
_EVIDENCE = ("forename", "household", "nhs", "pattern")
"""Of a pair of units, what its strongest pair of patterns says."""
_ONE_HOME = "l.t_dob_postcode = r.t_dob_postcode"
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


def _rare(name: str, other: str, children: int, level: str | None) -> int:
    """Band from which a name, the date of birth and the sex are enough to look at a pair whose other name is at
    this level, or missing."""
    others = model.weight(other, level) if level else 0.0
    raised = FREE_BITS if level is None or children < LARGE_SERVICE_CHILDREN else 0
    given = model.weight("date_of_birth", "same") + others + model.weight("sex", "same") + raised
    needed = -math.log2(model.prior(children)) - given
    rare = (band for band, label in model.EXACT[name].items() if model.weight(name, label) >= needed)
    return next(rare, RAREST_BAND + 1)


def _too_far_apart(name: str, other: str, children: int) -> str:
    """Condition that a pair with one name and the date of birth in common lives in two districts and has other names
    that share nothing: where the first name is so common that such a pair is let go once it is weighed. With few names
    about, nearly all pairs are such."""
    levels = {"date_of_birth": "same", "postcode": "different", "sex": "same", other: "different, at another home"}
    given = math.log2(model.prior(children)) + sum(model.weight(*level, children) for level in levels.items())
    let_go = [label for label in model.EXACT[name].values() if given + model.weight(name, label) < LEAST_BITS - 0.01]
    common = [band for band, label in model.EXACT[name].items() if label in let_go]
    alike = [_equal(f"{other}_dob"), *(_equal(f"{other}_{form}_dob") for form in ("sound", "start", "end"))]
    for word in (f"{other}_first_dob", f"{other}_last_dob"):
        alike += [f"l.t_{word} = r.t_{other}_dob", f"l.t_{other}_dob = r.t_{word}"]
    return (
        f"coalesce(l.{name}_band IN ({', '.join(map(str, common)) or 'NULL'}) AND l.t_dob_outward <> r.t_dob_outward"
        f" AND l.has_{other} AND r.has_{other} AND NOT coalesce({' OR '.join(alike)}, false), false)"
    )


def _rare_pair(children: int, **levels: str) -> str:
    """Condition that two names that agree are so rare that a pair can be linked: see it has these levels besides."""
    given = sum(model.weight(*level, children) for level in levels.items()) + FREE_BITS
    needed = -math.log2(model.prior(children)) - given
    enough = [
        surname + forename
        for surname, of_surname in model.EXACT["surname"].items()
        for forename, of_forename in model.EXACT["forename"].items()
        if model.weight("surname", of_surname) + model.weight("forename", of_forename) >= needed
    ]
    return f"l.surname_band + l.forename_band >= {min(enough, default=2 * RAREST_BAND + 1)}"


def _equal(*tokens: str) -> str:
    return "(" + " AND ".join(f"l.t_{token} = r.t_{token}" for token in tokens) + ")"


def _more_than_an_end(name: str) -> str:
    """The name agrees at both ends or sounds the same."""
    return f"({_equal(f'{name}_start_dob', f'{name}_end_dob')} OR {_equal(f'{name}_sound_dob')})"


def _an_end_of(name: str, end: str, other: str, children: int) -> str:
    """One name is the same, and the other, `name`, agrees at an end: enough where the first is rare enough for what is
    left, another postcode; the pairs of one district are found by `_in_one_district`."""
    rare = _least_band(
        other, children, date_of_birth="same", sex="same", postcode="different", **{name: "starts the same"}
    )
    return (
        f"{_equal(f'{other}_dob', f'{name}_{end}_dob')} AND (l.{other}_band >= {rare}"
        f" OR NOT (l.has_postcode AND r.has_postcode) OR {_more_than_an_end(name)})"
    )


def _least_band(name: str, children: int, **levels: str) -> int:
    """Band from which a name that agrees is so rare that a pair can be linked: see it has these levels besides."""
    given = sum(model.weight(*level, children) for level in levels.items()) + FREE_BITS
    needed = -math.log2(model.prior(children)) - given
    rare = (band for band, label in model.EXACT[name].items() if model.weight(name, label) >= needed)
    return next(rare, RAREST_BAND + 1)


def _ends_alike(children: int) -> str:
    """Condition under which two names that agree at an end, and neither wholly, and the date of birth are enough to
    look at a pair; the pairs of one district are found by `_in_one_district`."""
    levels = {
        "date_of_birth": "same",
        "surname": "starts or ends the same, another forename and home",
        "forename": "starts the same",
        "sex": "same",
    }
    enough = -math.log2(model.prior(children)) - sum(model.weight(*level) for level in levels.items()) - FREE_BITS
    more = "true" if enough <= 0 else f"({_more_than_an_end('surname')} OR {_more_than_an_end('forename')})"
    return f"{more} AND NOT coalesce({_equal('surname_dob')} OR {_equal('forename_dob')}, false)"


def _in_one_district(name: str, end: str, other: str) -> str:
    """The name agrees at an end, the date of birth and the outward part of the postcode do; and so does an end of the
    other name, unless that is missing or this one is more alike."""
    alike = " OR ".join(_equal(f"{other}_{form}_dob") for form in ("start", "end", "sound"))
    more = f"{_equal(f'{name}_dob')} OR {_more_than_an_end(name)}"
    return (
        f"{_equal('dob_outward', f'{name}_{end}_dob')} AND ({alike} OR NOT (l.has_{other} AND r.has_{other}) OR {more})"
    )


def _only_names(children: int) -> str:
    """Two names that agree, and nothing else does: a date or postcode that both records say is another."""
    alone = [
        f"NOT (l.has_dob AND r.has_dob AND l.has_postcode AND r.has_postcode) AND {_rare_pair(children)}"
        f" AND (NOT (l.has_dob AND r.has_dob) OR {_rare_pair(children, date_of_birth='different')})"
        f" AND (NOT (l.has_postcode AND r.has_postcode) OR {_rare_pair(children, postcode='different')})",
        _rare_pair(children, date_of_birth="different", postcode="different"),
    ]
    return f"{_equal('names')} AND ({' OR '.join(alone)})"


def _blocks(children: int) -> list[str]:
    """Conditions over l and r, services of so many children; each is answered by a hash join."""
    sides = [((s, s), (f, f)) for s, f in _NAME_FORMS]
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
        _only_names(children),
        *(
            f"l.t_names_{part} = r.t_names_{part} AND (l.surname_band < {RARE_SURNAME}"
            f" OR {_rare_pair(children, date_of_birth=level)})"
            for part, level in (("day", "same day of the month"), ("month", "same month"))
        ),
        "l.t_names_outward = r.t_names_outward",
        _in_one_district("surname", "start", "forename"),
        _in_one_district("forename", "start", "surname"),
        _in_one_district("forename", "end", "surname"),
        *(
            _an_end_of(name, end, other, children)
            for name, other in (("surname", "forename"), ("forename", "surname"))
            for end in ("start", "end")
        ),
        *(f"{_equal(f'surname_{a}_dob', f'forename_{b}_dob')} AND {_ends_alike(children)}" for a, b in _ENDS_OF_NAMES),
        *(
            f"l.t_{name}_dob = r.t_{name}_dob AND NOT {_too_far_apart(name, other, children)}"
            f" AND (l.{name}_band >= {_rare(name, other, children, 'different')}"
            f" OR NOT (l.has_{other} AND r.has_{other}) AND l.{name}_band >= {_rare(name, other, children, None)})"
            for name, other in (("surname", "forename"), ("forename", "surname"))
        ),
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


def score(
    con: duckdb.DuckDBPyConnection,
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
    _find_pairs(con, children)
    _weigh(con, children, backend)
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


def _find_pairs(con: duckdb.DuckDBPyConnection, children: int) -> None:
    """Create `found` (l, r): the pairs of patterns of the two sides that are looked at, of which one is fresh."""
    looked_for = f"SELECT * EXCLUDE ({', '.join(_UNUSED_TOKENS)}) FROM patterns SEMI JOIN"
    rows = {}
    for side in "lr":
        fresh = f"CREATE TABLE fresh_{side} AS {looked_for} (FROM side_{side} WHERE fresh) USING (pattern)"
        (rows["fresh", side],) = con.execute(fresh).fetchall()[0]
        known = f"CREATE TEMP VIEW known_{side} AS {looked_for} (FROM side_{side} WHERE NOT fresh) USING (pattern)"
        con.execute(known).fetchall()
        (rows["known", side],) = con.execute(f"SELECT count(*) FROM side_{side} WHERE NOT fresh").fetchall()[0]
    queries = [
        f"SELECT l.pattern AS l, r.pattern AS r FROM {left}_l l JOIN {right}_r r ON {condition}"
        for left, right in (("fresh", "fresh"), ("fresh", "known"), ("known", "fresh"))
        for condition in (
            _ONE_HOME,
            "l.t_nhs = r.t_nhs",
            *(f"({block}) AND NOT coalesce({_ONE_HOME}, false)" for block in _blocks(children)),
        )
        if rows[left, "l"] and rows[right, "r"]
    ]
    con.execute("CREATE TABLE by_block (l BIGINT, r BIGINT)").fetchall()
    for start in range(0, len(queries), _BLOCKS_A_QUERY):
        con.execute(f"INSERT INTO by_block {' UNION '.join(queries[start : start + _BLOCKS_A_QUERY])}").fetchall()
    con.execute("CREATE TABLE found AS SELECT DISTINCT l, r FROM by_block").fetchall()
    for table in ("by_block", "fresh_l", "fresh_r"):
        con.execute(f"DROP TABLE {table}").fetchall()
    for side in "lr":
        con.execute(f"DROP VIEW known_{side}").fetchall()


def _weigh(con: duckdb.DuckDBPyConnection, children: int, backend: Backend) -> None:
    """Add the pairs `found` to those `weighed`."""
    (found,) = con.execute("SELECT count(*) FROM found").fetchall()[0]
    parts = math.ceil(found / _PAIRS_A_PART)
    for part in range(parts):
        con.execute(
            f"""
            CREATE TABLE pairs AS
            SELECT '0' AS match_key, l AS join_key_l, r AS join_key_r FROM found WHERE (l + r) % {parts} = {part}
            """
        ).fetchall()
        predictions = backend(con, model.splink_settings(children))
        con.execute(f"INSERT INTO weighed BY NAME {_weighed_units(predictions)}").fetchall()
        for table in (predictions, "pairs"):
            con.execute(f"DROP TABLE {table}").fetchall()
    con.execute("DROP TABLE found").fetchall()


def _recalled_units() -> str:
    """SQL of the pairs of units whose pairs of patterns were `recalled`, where both patterns are still there."""
    return f"""
        SELECT l.unit AS unit_l, r.unit AS unit_r, hash(l.tie, r.tie) AS tie, {", ".join(f"k.{name}" for name in PAIR)}
          FROM recalled k JOIN side_l l ON l.mark = mark_l JOIN side_r r ON r.mark = mark_r
        """


def _weighed_units(predictions: str) -> str:
    """SQL of the pairs of units that weigh enough, one for each pair of their patterns among `predictions`."""
    return f"""
        SELECT l.unit AS unit_l, r.unit AS unit_r, hash(l.tie, r.tie) AS tie, l.mark AS mark_l, r.mark AS mark_r,
               match_weight AS weight, mw_forename AS forename, {_household()} AS household, mw_nhs_number > 0 AS nhs,
               CASE WHEN match_weight > {_SHOWN_BITS} THEN [{_WEIGHTS}] END AS pattern
          FROM (FROM ({_weighed(predictions)}) WHERE match_weight > {LEAST_BITS})
          JOIN side_l l ON l.pattern = unique_id_l JOIN side_r r ON r.pattern = unique_id_r
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
               coalesce(l.t_nhs = r.t_nhs, false) AS same_number,
               coalesce({" OR ".join(f"({block})" for block in (_ONE_HOME, *_blocks(children)))}, false) AS alike,
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
