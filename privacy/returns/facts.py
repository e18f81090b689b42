"""Facts disclosed to one sender about its own rows: SQL over the links of a cohort and the records.

A fact is disclosed if it is as certain as a link of probability SURE_PROBABILITY. Otherwise it is left out, and no
reason is given. `docs/returns.md` has the rules for each fact and for new rows; they rest on links, on doubts between
unlinked records (`Doubts`), and on strangers who agree with a row (ALIKE_TOKENS). Only rows of the receiver, and of
services that may disclose something to it, are used.

Two unlinked records could still belong to one child if they would be one child with a probability above
DOUBTFUL_PROBABILITY when neither has another partner, or if they have the same identifier. A rival that took the place
of one of them does not settle this: a service can hold two records of one child, and a record can have been linked to
the wrong twin.
"""

import datetime as dt
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources

import duckdb
import pyarrow as pa

from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_text
from privacy.keys import KeyRing
from privacy.linkage.link import REVIEW_BAND, STEPS, Scored
from privacy.linkage.model import convert_to_bits
from privacy.linkage.rows import COMPLETE, OWN_NUMBERS, ROW, Extract, select_first_rows_sql
from privacy.marks import build_mac_sql, pass_key
from privacy.pseudonyms import RARE_SURNAME, TOKENS, TokenColumn, build_band_sql, build_bare_sql, clear_sole_bearers
from privacy.returns.agreement import NEVER_ABSENT, First, NewChildren, Permitted, Sender
from privacy.row_keys import ROW_KEY
from privacy.services import Fact

SURE_PROBABILITY = 0.95
"""Least probability of a link that a fact may rest on; above the review band."""
assert REVIEW_BAND[1] < SURE_PROBABILITY
_LEAST_PROBABILITY = SURE_PROBABILITY - 1e-12  # allows for rounding
ALIKE_TOKENS = (
    *("t_surname_dob", "t_forename_dob", "t_surname_postcode", "t_forename_postcode"),
    *("t_surname_sound_dob", "t_forename_sound_dob", "t_dob_postcode"),
)
"""If a return says that no other service knows a row's child, the row must not share any of these tokens with a
stranger. With only the first four, 43 of 581 statements to health visitors about nurseries were wrong at three times
the usual slips; with all, 23 of 531. Among the eight pilot councils, 20,000 children of nurseries elsewhere agree
with one in five by chance: if all of them were strangers, 27% of absences would be disclosed."""
FINDABLE_CONDITION = f"{COMPLETE} AND {build_band_sql('surname', {'t_surname_dob'})} >= {RARE_SURNAME}"
"""SQL condition on a row: names, date of birth and postcode are present, and the surname is rare enough to have
tokens without both (`pseudonyms.RARE_SURNAME`). With a more common surname, a child whose other record has a
different address and date of birth is not found, so finding nothing says too little."""

DOUBTFUL_PROBABILITY = 0.05
"""Probability from which two unlinked records may still be one child. Above it, the conclusion that they are not is
less certain than a link of 0.95."""
LEAST_ABSENT_SHARE = 0.02
"""Least share of a sender's rows for absence to be disclosed: below it, missed links outweigh 1 - SURE_PROBABILITY.
The worst measured share of rows that seemed absent and were not is 0.025%; this allows for 0.1%."""
MOST_UNREVIEWED_SHARE = 0.5
"""Share of the rows asked about above which a review is more likely missing from the extracts than not made."""
HEALTH = "health"
"""The service that makes reviews."""


@dataclass(frozen=True)
class Absence:
    """Whether a sender can be told that no other service knows a child, or that none has recorded one of `reviews`.

    `of` are the services covered; `why_not` is a sentence giving the reason if it cannot be told.
    """

    of: tuple[Sender, ...]
    why_not: str | None
    reviews: tuple[str, ...] = ()


def decide_absence(receiver: Sender, allowed: Permitted, able: Collection[str], in_full: Collection[Sender]) -> Absence:
    """Return whether `receiver` can be told that no other service knows a child.

    `able` are the services that can know every child of the cohort by now; `in_full` are the senders whose extracts due
    by now are all in. The result depends on agreements, the day and which extracts are in, never on a row, so a missing
    statement reveals nothing about a child.
    """
    others = [service for service in able if service != receiver.service]
    if NEVER_ABSENT in others:
        return Absence((), f"for {receiver.service}, the reason is too often a missed record")
    if not others:
        return Absence((), "no other service can know every child of this age yet")
    return _decide(Fact.NO_OTHER, others, receiver, allowed, in_full)


def decide_missing_reviews(
    receiver: Sender, allowed: Permitted, able: Collection[str], reviews: Mapping[Sender, Collection[str]]
) -> Absence:
    """Return whether `receiver` can be told that no health-visiting team has recorded a review of a child.

    `reviews` has, for each team, the reviews due for every child of the cohort by now, if the team has sent every month
    in which they were due. As with `decide_absence`, the result depends on no row of the receiver.
    """
    if receiver.service == HEALTH:
        return Absence((), "health visitors see their reviews in their own records")
    if HEALTH not in able:
        return Absence((), "no review of every child of this age is due yet")
    # Whether the newest months are in does not matter here: each review is judged by the months in which it was due.
    found = _decide(Fact.REVIEW, [HEALTH], receiver, allowed, in_full=allowed)
    if found.why_not:
        return found
    # A team whose extract lacks the review is not left out: it may be the one that made it.
    complete = tuple(sorted(set.intersection(*(set(reviews.get(team, ())) for team in found.of))))
    why_not = None if complete else f"no review is complete in the extracts of {', '.join(map('/'.join, found.of))}"
    return Absence(found.of if complete else (), why_not, complete)


def _decide(
    fact: Fact, services: Collection[str], receiver: Sender, allowed: Permitted, in_full: Collection[Sender]
) -> Absence:
    """Return whether `receiver` can be told `fact`, which says that `services` have no record."""
    tellers = tuple(teller for teller, facts in allowed.items() if fact in facts and teller.service in services)
    needed = [Sender(receiver.council, service) for service in services]
    if silent := ["/".join(sender) for sender in needed if sender not in tellers]:
        return Absence((), f"{', '.join(silent)} may not disclose it under the agreements")
    if late := ["/".join(sender) for sender in tellers if sender not in in_full]:
        return Absence((), f"not every extract of {', '.join(late)} that was due is in")
    return Absence(tellers, None)


def find_facts(
    con: duckdb.DuckDBPyConnection,
    receiver: Sender,
    source: str,
    allowed: Permitted,
    of_absence: Absence,
    of_reviews: Absence,
    rule: NewChildren,
) -> list[str]:
    """Return the facts about each row of `source` that `receiver` sent, as JSON text, by row number.

    Reads `records` and `doubts` (child_id, other_child_id, likely) from `con`. Columns of `records`: source, council,
    service, row_key, row (its number in the file), child_id, probability, last_contact and concern_month as `2022-05`,
    concern, review (its code), findable, sex, the numbers that replace the tokens of ALIKE_TOKENS (`derive_traits`),
    numbered (it has a UPN or NHS number) and waiting (it is still new). Rows without any fact are left out. The JSON
    text is `{"row": 7, "known_to"?: [{"council", "service", "last_contact"?, "concern"?, "concern_month"?,
    "concern_is_latest"?}], "known_to_no_other"?: true, "reviews_not_recorded"?: ["12M"]}`.
    """
    tellers = [
        {
            **teller._asdict(),
            "tells_contact": Fact.LAST_CONTACT in facts,
            "tells_concern": Fact.CONCERN in facts,
            "tells_concern_month": Fact.CONCERN_MONTH in facts,
            "tells_review": teller in of_reviews.of,
        }
        for teller, facts in allowed.items()
    ]
    con.register("told_by", pa.Table.from_pylist(tellers, _TELLERS))
    try:
        params = {
            **receiver._asdict(),
            "source": source,
            "least": _LEAST_PROBABILITY,
            "absence": of_absence.why_not is None,
            "least_absent": LEAST_ABSENT_SHARE,
            "reviews": list(of_reviews.reviews),
            "most_unreviewed": MOST_UNREVIEWED_SHARE,
            "waiting_known": Fact.KNOWN_TO in rule.until_then,
            **{f"bare_{fact.name.lower()}": fact in rule.without_number for fact in Fact},
        }
        query = _FACTS.replace("ALIKE_REVIEWED", _ALIKE_REVIEWED).replace("ALIKE", _ALIKE)
        found: list[str] = con.sql(query, params=params).to_arrow_table()["fact"].to_pylist()
        return found
    finally:
        con.unregister("told_by")


_TELLERS = pa.schema(
    [
        *((name, pa.string()) for name in Sender._fields),
        *((name, pa.bool_()) for name in ("tells_contact", "tells_concern", "tells_concern_month", "tells_review")),
    ]
)
_ALIKE = " UNION ".join(
    f"""SELECT unfound.row_key FROM unfound JOIN strangers
        ON unfound.{name} = strangers.{name} AND coalesce(unfound.sex = strangers.sex, true)
       AND NOT (unfound.numbered AND has_number)"""
    for name in ALIKE_TOKENS
)
_ALIKE_REVIEWED = " UNION ".join(
    f"""SELECT unreviewed.row_key, missing FROM unreviewed JOIN strangers
        ON unreviewed.{name} = strangers.{name} AND coalesce(unreviewed.sex = strangers.sex, true)
       AND NOT (unreviewed.numbered AND has_number) AND missing = strangers.review AND tells_review"""
    for name in ALIKE_TOKENS
)
_FACTS = resources.files("privacy.returns").joinpath("facts.sql").read_text(encoding="utf-8")


class Doubts:
    """A watcher of `link` that keeps pairs of children left apart although they could be one, with a row of each."""

    def __init__(self) -> None:
        self._pairs: list[pa.Table] = []

    def __call__(self, con: duckdb.DuckDBPyConnection, step: Scored) -> None:
        doubtful = [_APART]
        if step.name == STEPS[-1][0]:  # in the last step nearly all records with one number are joined
            doubtful.append(f"FROM ({_SAME_NUMBER}) ANTI JOIN ({_JOINED}) USING (unit_l, unit_r)")
        for pairs in doubtful:
            self._pairs.append(con.sql(f"WITH doubtful AS MATERIALIZED ({pairs}), {_ROWS_OF_UNITS}").to_arrow_table())

    def list_children(self, links: pa.Table) -> pa.Table:
        """Return `child_id`, `other_child_id`, each pair both ways, and whether it is `likely`.

        A pair is likely if its probability is still above DOUBTFUL_PROBABILITY when all rivals of both are considered.
        `links` must come from the linkage that was watched.
        """
        with open_in_memory() as con:
            con.register("pairs", pa.concat_tables(self._pairs))
            con.register("links", links)
            return con.sql(_CHILDREN).to_arrow_table()


_SAME_NUMBER = " UNION ".join(
    f"""
    (WITH shared AS (SELECT {number} FROM patterns JOIN units USING (pattern) WHERE {number} IS NOT NULL
                      GROUP BY {number} HAVING min(unit) < max(unit)),
          with_it AS MATERIALIZED (SELECT DISTINCT {number}, unit FROM patterns JOIN units USING (pattern)
                                 WHERE {number} IN (FROM shared))
     SELECT DISTINCT l.unit AS unit_l, r.unit AS unit_r, false AS likely
       FROM with_it AS l JOIN with_it AS r USING ({number}) WHERE l.unit < r.unit)
    """
    for number in OWN_NUMBERS
)
_JOINED = "SELECT least(unit_l, unit_r) AS unit_l, greatest(unit_l, unit_r) AS unit_r FROM decided WHERE kept"
# Judged without rivals: a rival that took a record's place would hide it, and then 58 of 4,624 statements that no other
# service knows a child are wrong.
_APART = f"""
SELECT unit_l, unit_r, odds >= {convert_to_bits(DOUBTFUL_PROBABILITY)} AS likely FROM decided
 WHERE NOT kept AND alone >= {convert_to_bits(DOUBTFUL_PROBABILITY)}
"""
_ROWS_OF_UNITS = f"""
named AS ({select_first_rows_sql("unit IN (SELECT unit_l FROM doubtful UNION SELECT unit_r FROM doubtful)")})
SELECT likely, {", ".join(f"l.{part}, r.{part} AS other_{part}" for part in ROW)}
  FROM doubtful JOIN named AS l ON l.unit = unit_l JOIN named AS r ON r.unit = unit_r
"""
_CHILDREN = f"""
WITH named AS MATERIALIZED (
    SELECT * FROM links WHERE row_key IN (SELECT row_key FROM pairs UNION ALL SELECT other_row_key FROM pairs)
), apart AS (
    SELECT a.child_id, b.child_id AS other_child_id, likely
      FROM pairs JOIN named AS a USING ({", ".join(ROW)})
      JOIN named AS b ON {" AND ".join(f"b.{part} = other_{part}" for part in ROW)}
     WHERE a.child_id <> b.child_id
), both_ways AS (
    FROM apart UNION ALL SELECT other_child_id, child_id, likely FROM apart
)
SELECT child_id, other_child_id, bool_or(likely) AS likely FROM both_ways GROUP BY ALL ORDER BY ALL
"""


def derive_traits(tokens: Mapping[str, pa.RecordBatchReader], keys: KeyRing) -> pa.Table:
    """Return what returns need to know about rows, derived from their tokens (by source) but containing none.

    Columns: source, council, row_key; sex, findable and numbered, as read by `find_facts`; the keyed marks `identity`
    and `names`; and, named after ALIKE_TOKENS and OWN_NUMBERS, a number in place of each token. Equal tokens get equal
    numbers, which differ from one process to the next.
    """
    with open_in_memory() as con:
        prepare_marks(con, keys)
        selects = []
        for source, read in tokens.items():
            con.register(f"tokens_{source}", read)
            selects.append(
                f"SELECT {quote_text(source)} AS source, council, {ROW_KEY}, {_derive_traits_sql(read.schema.names)}"
                f" FROM tokens_{source}, identity_pads"
            )
        # A new salt each time, so that the numbers of two runs cannot be matched.
        return con.sql(" UNION ALL ".join(selects), params={"salt": secrets.randbits(63)}).to_arrow_table()


def _derive_traits_sql(columns: Collection[str]) -> str:
    own = [number for number in OWN_NUMBERS if number in columns]
    numbers = [f"{_hash_token_sql(number) if number in own else 'NULL::UBIGINT'} AS {number}" for number in OWN_NUMBERS]
    return ", ".join(
        [
            "nullif(sex, '') AS sex",
            f"{FINDABLE_CONDITION} AS findable",
            *(f"{_hash_token_sql(token)} AS {token}" for token in ALIKE_TOKENS),
            *numbers,
            f"coalesce({', '.join(own)}, NULL) IS NOT NULL AS numbered",
            f"{build_identity_sql(columns)} AS identity",
            f"{build_names_sql(columns)} AS names",
        ]
    )


def _hash_token_sql(token: str) -> str:
    # DuckDB hashes NULL to a number, with which all rows without the token would agree.
    return f"CASE WHEN {token} IS NOT NULL THEN hash({token}, $salt) END"


def prepare_marks(con: duckdb.DuckDBPyConnection, keys: KeyRing) -> None:
    """Create `identity_pads`, with the key of the marks."""
    pass_key(con, keys.derive_subkey("linker", "identity of a returned row"), "identity_pads")


def build_identity_sql(columns: Collection[str]) -> str:
    """Return SQL for the mark by which a row is recognised in the sender's next delivery.

    The mark is an HMAC-SHA256, cut to 128 bits, of every token that the linkage compares and of the sex, under a
    sub-key of `linker.key`. Changing one letter or digit changes the mark, so the mark determines what a row could be
    linked to. The relation must have these `columns` and be joined with `identity_pads`.
    """
    texts = ["sex", *(_format_token_sql(token, columns) for token in TOKENS if token.name != "t_names")]
    # `concat_ws` skips NULL: an empty text keeps every token in its place, so that rows with different gaps differ.
    filled = ", ".join(f"coalesce({text}, '')" for text in texts)
    return build_mac_sql(f"concat_ws(chr(31), {filled})")


def build_names_sql(columns: Collection[str]) -> str:
    """Return SQL for the mark of a row's token of two names alone, or NULL if it has none.

    That token depends on other rows of the extract, and is lost when a namesake is sent, so it has a separate mark. A
    row that lost it is still recognised; a row with a different one is not.
    """
    (names,) = (token for token in TOKENS if token.name == "t_names")
    # Without it, the author of a tokens file could add another child's names to a row that is no longer new, and learn
    # about that child the same day.
    return build_mac_sql(_format_token_sql(names, columns))


def _format_token_sql(token: TokenColumn, columns: Collection[str]) -> str:
    return f"printf('%016x', {build_bare_sql(token)})" if token.name in columns else "NULL"


def record_overdue_reviews(con: duckdb.DuckDBPyConnection, rules: Mapping[Sender, NewChildren], on: dt.date) -> None:
    """Create `all_records`: `records` plus whether a row is new on a day (`waiting`) and whether it is `left_out`.

    `records` has council, service, first_day, deliveries and at_start, and is then dropped. `rules` are those of the
    senders that receive something; rows of other senders never wait. If a rule allows something to be returned about
    new rows, none are left out.
    """
    table = [
        {
            **sender._asdict(),
            "since": on - dt.timedelta(days=rule.after_days),
            "least": rule.after_deliveries,
            "at_once": rule.first_delivery is First.AT_ONCE,
            "told_early": Fact.KNOWN_TO in rule.until_then,
        }
        for sender, rule in rules.items()
    ]
    con.register("rules", pa.Table.from_pylist(table, _RULES))
    con.execute(_WAITING)
    con.unregister("rules")


def find_days_of_growing_old(
    con: duckdb.DuckDBPyConnection, rules: Mapping[Sender, NewChildren], on: dt.date
) -> list[dt.date]:
    """Return the days after `on` on which new rows of `all_records` will have been sent long enough ago."""
    waiting = con.sql(
        "SELECT DISTINCT council, service, first_day FROM all_records WHERE waiting AND first_day NOT NULL"
    )
    days = (day + dt.timedelta(rules[Sender(*sender)].after_days) for *sender, day in waiting.fetchall())
    return [day for day in days if day > on]


def select_left_out(con: duckdb.DuckDBPyConnection, service: str) -> pa.Table:
    """Return source, council and row_key of the rows of a service to be left out."""
    rows = f"SELECT {', '.join(ROW)} FROM all_records WHERE left_out AND service = ?"
    return con.sql(rows, params=[service]).to_arrow_table()


def drop_rows(sent: Extract, rows: pa.Table) -> pa.Table:
    """Return the tokens of one source as if some `rows` (council, row_key) had never been sent.

    Whether a row has the token of two common names depends on it being the only child with them, so a new namesake
    would take the token from another row. The token is therefore left out of every row.
    """
    with open_in_memory() as con:
        con.register("sent", sent)
        con.register("rows", rows)
        return clear_sole_bearers(con.sql("FROM sent ANTI JOIN rows USING (council, row_key)").to_arrow_table())


_RULES = pa.schema(
    [
        *((name, pa.string()) for name in Sender._fields),
        ("since", pa.date32()),
        ("least", pa.int64()),
        *((name, pa.bool_()) for name in ("at_once", "told_early")),
    ]
)
_WAITING = """
CREATE TEMP TABLE all_records AS
WITH judged AS (
    SELECT records.*, (at_start AND at_once) OR (first_day <= since AND records.deliveries >= least) AS is_old,
           since IS NOT NULL AS ruled, told_early
      FROM records LEFT JOIN rules USING (council, service)
)
SELECT * EXCLUDE (is_old, ruled, told_early), ruled AND NOT coalesce(is_old, false) AS waiting,
       waiting AND NOT told_early AS left_out
  FROM judged;
DROP TABLE records;
"""
