"""Facts disclosed to one sender about its own rows: SQL over the links of a cohort and the records.

A fact is disclosed if it is as sure as a link of probability SURE_PROBABILITY, and is left out otherwise, without a
reason:

- a service knows the child: the probabilities that brought the two rows to the child, multiplied, are at least
  SURE_PROBABILITY. A row that came by its own number has probability 1;
- a date or the absence of a concern: no less sure record of that service could be the child's as well;
- no other service knows the child: told to schools alone (`ABSENCE_TO`), if of enough of their rows
  (LEAST_ABSENT_SHARE); no service that tells this has a record that is, or could be, the child's
  (`Doubts`), nor a record of a child whom the receiver does not know, with the same date of birth or postcode, the
  same forename or surname and no other sex; and the row would have been found (FINDABLE_CONDITION).

Only rows of the receiver and of services that may tell it something are looked at. Rows that have not stood
(`agreement.NewChildren`) are no part of this: they were left out of the linkage itself (`stood`), unless the agreement
says that they are told who knows the child.

Two records that would be one child with a probability above DOUBTFUL_PROBABILITY, if neither had another partner, leave
it open whether their children are one; so do two records with the same number. A rival that took the place of one of
them is no reason to be sure: a service can hold two records of one child, and a record can have gone to the wrong twin.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib import resources

import duckdb
import numpy as np
import pyarrow as pa

from privacy.doors.database import in_memory
from privacy.linkage.link import REVIEW_BAND, STEPS, Scored
from privacy.linkage.model import bits_of
from privacy.linkage.rows import COMPLETE, OWN_NUMBERS
from privacy.pseudonyms import RARE_SURNAME, band_sql
from privacy.returns.agreement import ABSENCE_TO, Fact, NewChildren, Permitted, Sender

SURE_PROBABILITY = 0.95
"""Least probability of a link that a fact may rest on; above the band of links that are for review."""
assert REVIEW_BAND[1] < SURE_PROBABILITY
_LEAST_PROBABILITY = SURE_PROBABILITY - 1e-12
ALIKE_TOKENS = ("t_surname_dob", "t_forename_dob", "t_surname_postcode", "t_forename_postcode")
"""Tokens of which a stranger may share none with a row that no other service is said to know."""
FINDABLE_CONDITION = f"{COMPLETE} AND {band_sql('surname', {'t_surname_dob'})} >= {RARE_SURNAME}"
"""SQL condition on a row: names, date of birth and postcode are there, and the surname is rare enough to have tokens
without both (`pseudonyms.RARE_SURNAME`). Under a commoner one, a child whose record elsewhere has another address and
another date of birth is not found: that nothing was found says too little."""

DOUBTFUL_PROBABILITY = 0.05
"""Probability from which two records that are not linked may still be one child: that they are not is then less sure
than a link of 0.95."""
LEAST_ABSENT_SHARE = 0.02
"""Share of a sender's rows from which absence is told: with fewer, missed links weigh more than 1 - SURE_PROBABILITY.
The worst measured share of rows that seemed absent and were not is .025%; this allows for .1%."""
_ROW = ("source", "council", "row_key")


@dataclass(frozen=True)
class Absence:
    """Whether a sender can be told that no other service knows a child.

    `of` are the services that this covers; `why_not` is a sentence if it cannot be told.
    """

    of: tuple[Sender, ...]
    why_not: str | None


def absence(
    receiver: Sender, allowed: Permitted, own_services: Collection[str], in_full: Collection[Sender]
) -> Absence:
    """Return whether `receiver` can be told that no other service knows a child.

    `own_services` are all services; `in_full` are the senders whose every extract is in.

    It depends on agreements and on which extracts are in, never on a row: that it is not said says nothing of a child.
    """
    if receiver.service != ABSENCE_TO:
        return Absence((), f"for {receiver.service}, a record that was missed is too often the reason")
    tellers = tuple(teller for teller, facts in allowed.items() if Fact.NO_OTHER in facts)
    needed = [Sender(receiver.council, service) for service in own_services if service != receiver.service]
    silent = [sender for sender in needed if sender not in tellers]
    if silent:
        return Absence((), f"{_named(silent)} may not tell it under the agreements")
    late = [sender for sender in tellers if sender not in in_full]
    if late:
        return Absence((), f"not every extract of {_named(late)} is in")
    return Absence(tellers, None)


def _named(senders: Collection[Sender]) -> str:
    return ", ".join(f"{sender.council}/{sender.service}" for sender in senders)


def facts_of(
    con: duckdb.DuckDBPyConnection,
    receiver: Sender,
    source: str,
    allowed: Permitted,
    of_absence: Absence,
    rule: NewChildren,
) -> pa.Table:
    """Return the facts about each row that `receiver` sent of `source`: `row`, `fact` (a JSON text), by row number.

    Reads, from `con`, `records` (source, council, service, row_key, row: its number in the file, child_id, probability,
    last_contact as `2022-05`, concern, findable, sex, what stands for the tokens of ALIKE_TOKENS (`traits`), numbered:
    whether it has a UPN or NHS number, and waiting: whether it has not stood) and `doubts` (child_id, other_child_id,
    likely). A row of which nothing can be told is left out. The JSON text is
    `{"row": 7, "known_to": [{"council", "service", "last_contact"?, "concern"?}]}`, or
    `{"row": 7, "known_to_no_other": true}`.
    """
    con.register("told_by", _tellers(allowed))
    try:
        given = {
            **receiver._asdict(),
            "source": source,
            "least": _LEAST_PROBABILITY,
            "absence": of_absence.why_not is None,
            "least_absent": LEAST_ABSENT_SHARE,
            "waiting_known": Fact.KNOWN_TO in rule.until_then,
            "bare_known": Fact.KNOWN_TO in rule.without_number,
            "bare_contact": Fact.LAST_CONTACT in rule.without_number,
            "bare_concern": Fact.CONCERN in rule.without_number,
            "bare_absence": Fact.NO_OTHER in rule.without_number,
        }
        return con.sql(_FACTS.replace("ALIKE", _ALIKE), params=given).to_arrow_table()
    finally:
        con.unregister("told_by")


def _tellers(allowed: Permitted) -> pa.Table:
    return pa.table(
        {
            "council": pa.array([teller.council for teller in allowed], pa.string()),
            "service": pa.array([teller.service for teller in allowed], pa.string()),
            "tells_contact": pa.array([Fact.LAST_CONTACT in facts for facts in allowed.values()], pa.bool_()),
            "tells_concern": pa.array([Fact.CONCERN in facts for facts in allowed.values()], pa.bool_()),
        }
    )


_ALIKE = " UNION ".join(
    f"""SELECT unfound.row_key FROM unfound JOIN strangers
        ON unfound.{name} = strangers.{name} AND coalesce(unfound.sex = strangers.sex, true)"""
    for name in ALIKE_TOKENS
)
_FACTS = resources.files("privacy.returns").joinpath("facts.sql").read_text(encoding="utf-8")


class Doubts:
    """A watcher of `link` that keeps the pairs of children left apart although they could be one, by a row of each."""

    def __init__(self) -> None:
        self._pairs: list[pa.Table] = []

    def __call__(self, con: duckdb.DuckDBPyConnection, step: Scored) -> None:
        if step.name == STEPS[-1][0]:  # by now nearly all that have one number are joined, or are about to be
            con.register("joined", step.pairs.select(["unit_l", "unit_r"]).take(pa.array(step.decision.kept)))
            self._remember(
                con, con.sql(f"FROM ({_SAME_NUMBER}) ANTI JOIN ({_JOINED}) USING (unit_l, unit_r)").to_arrow_table()
            )
            con.unregister("joined")
        apart = step.decision.alone >= bits_of(DOUBTFUL_PROBABILITY)
        apart[step.decision.kept] = False
        at = np.flatnonzero(apart)
        pairs = step.pairs.select(["unit_l", "unit_r"]).take(pa.array(at))
        self._remember(
            con, pairs.append_column("likely", pa.array(step.decision.odds[at] >= bits_of(DOUBTFUL_PROBABILITY)))
        )

    def _remember(self, con: duckdb.DuckDBPyConnection, doubtful: pa.Table) -> None:
        con.register("doubtful", doubtful)
        self._pairs.append(con.sql(_ROWS_OF_UNITS).to_arrow_table())
        con.unregister("doubtful")

    def children(self, links: pa.Table) -> pa.Table:
        """Return `child_id`, `other_child_id`, each pair both ways, and whether it is `likely`.

        A pair is likely if, among all rivals of both, its probability is still above DOUBTFUL_PROBABILITY. `links` are
        those of the linkage that was watched.
        """
        with in_memory() as con:
            con.register("pairs", pa.concat_tables(self._pairs))
            con.register("links", links)
            return con.sql(_CHILDREN).to_arrow_table()


_SAME_NUMBER = " UNION ".join(
    f"""
    (WITH shared AS (SELECT {number} FROM patterns JOIN units USING (pattern) WHERE {number} IS NOT NULL
                      GROUP BY {number} HAVING min(unit) < max(unit)),
          held AS MATERIALIZED (SELECT DISTINCT {number}, unit FROM patterns JOIN units USING (pattern)
                                 WHERE {number} IN (FROM shared))
     SELECT DISTINCT l.unit AS unit_l, r.unit AS unit_r, false AS likely
       FROM held AS l JOIN held AS r USING ({number}) WHERE l.unit < r.unit)
    """
    for number in OWN_NUMBERS
)
_JOINED = "SELECT least(unit_l, unit_r) AS unit_l, greatest(unit_l, unit_r) AS unit_r FROM joined"
_ROWS_OF_UNITS = f"""
WITH named AS (
    SELECT unit, arg_min({{{", ".join(f"'{part}': {part}" for part in _ROW)}}}, row) AS named
      FROM units JOIN rows USING (pattern)
     WHERE unit IN (SELECT unit_l FROM doubtful UNION SELECT unit_r FROM doubtful) GROUP BY unit
)
SELECT likely, {", ".join(f"l.named.{part}, r.named.{part} AS other_{part}" for part in _ROW)}
  FROM doubtful JOIN named AS l ON l.unit = unit_l JOIN named AS r ON r.unit = unit_r
"""
_CHILDREN = f"""
WITH named AS MATERIALIZED (
    SELECT * FROM links WHERE row_key IN (SELECT row_key FROM pairs UNION ALL SELECT other_row_key FROM pairs)
), apart AS (
    SELECT a.child_id, b.child_id AS other_child_id, likely
      FROM pairs JOIN named AS a USING ({", ".join(_ROW)})
      JOIN named AS b ON {" AND ".join(f"b.{part} = other_{part}" for part in _ROW)}
     WHERE a.child_id <> b.child_id
), both_ways AS (
    FROM apart UNION ALL SELECT other_child_id, child_id, likely FROM apart
)
SELECT child_id, other_child_id, bool_or(likely) AS likely FROM both_ways GROUP BY ALL ORDER BY ALL
"""
