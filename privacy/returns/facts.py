"""Facts disclosed to one sender about its own rows: SQL over the links of a cohort and the records.

A fact is disclosed if it is as certain as a link of probability SURE_PROBABILITY. Otherwise it is left out without a
reason:

- a service knows the child: the probabilities that linked the two rows to the child, multiplied, must be at least
  SURE_PROBABILITY. A row linked by its own identifier has probability 1
- a date, or the absence of a concern: no less certain record of that service may be the child's as well
- no other service knows the child: only schools are told (`ABSENCE_TO`), and only if it is true of enough of their rows
  (LEAST_ABSENT_SHARE). No disclosing service may have a record that is, or could be, the child's (`Doubts`). Nor may it
  have a record of a child unknown to the receiver with the same date of birth or postcode, the same forename or
  surname, and no different sex. The row must also be one that would have been found (FINDABLE_CONDITION)

Only rows of the receiver, and of services that may disclose something to it, are used. New rows
(`agreement.NewChildren`) are not included: they were left out of the linkage itself, unless the agreement allows saying
who knows the child.

Two records leave it open whether their children are one if they would be one child with a probability above
DOUBTFUL_PROBABILITY when neither has another partner, or if they have the same identifier. A rival that took the place
of one of them does not settle this: a service can hold two records of one child, and a record can have been linked to
the wrong twin.
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
from privacy.linkage.rows import COMPLETE, OWN_NUMBERS, ROW, first_rows
from privacy.pseudonyms import RARE_SURNAME, band_sql
from privacy.returns.agreement import ABSENCE_TO, Fact, NewChildren, Permitted, Sender

SURE_PROBABILITY = 0.95
"""Least probability of a link that a fact may rest on; above the review band."""
assert REVIEW_BAND[1] < SURE_PROBABILITY
_LEAST_PROBABILITY = SURE_PROBABILITY - 1e-12  # allows for rounding
ALIKE_TOKENS = ("t_surname_dob", "t_forename_dob", "t_surname_postcode", "t_forename_postcode")
"""A row that no other service is said to know must not share any of these tokens with a stranger."""
FINDABLE_CONDITION = f"{COMPLETE} AND {band_sql('surname', {'t_surname_dob'})} >= {RARE_SURNAME}"
"""SQL condition on a row: names, date of birth and postcode are present, and the surname is rare enough to have
tokens without both (`pseudonyms.RARE_SURNAME`). With a more common surname, a child whose other record has a
different address and date of birth is not found, so finding nothing says too little."""

DOUBTFUL_PROBABILITY = 0.05
"""Probability from which two unlinked records may still be one child. Above it, the conclusion that they are not is
less certain than a link of 0.95."""
LEAST_ABSENT_SHARE = 0.02
"""Share of a sender's rows from which absence is disclosed: below it, missed links outweigh 1 - SURE_PROBABILITY.
The worst measured share of rows that seemed absent and were not is .025%; this allows for .1%."""


@dataclass(frozen=True)
class Absence:
    """Whether a sender can be told that no other service knows a child.

    `of` are the services covered; `why_not` is a sentence giving the reason if it cannot be told.
    """

    of: tuple[Sender, ...]
    why_not: str | None


def absence(
    receiver: Sender, allowed: Permitted, own_services: Collection[str], in_full: Collection[Sender]
) -> Absence:
    """Return whether `receiver` can be told that no other service knows a child.

    `own_services` are all services; `in_full` are the senders all of whose extracts are in. The result depends on
    agreements and on which extracts are in, never on a row, so a missing statement reveals nothing about a child.
    """
    if receiver.service != ABSENCE_TO:
        return Absence((), f"for {receiver.service}, the reason is too often a missed record")
    tellers = tuple(teller for teller, facts in allowed.items() if Fact.NO_OTHER in facts)
    needed = [Sender(receiver.council, service) for service in own_services if service != receiver.service]
    silent = [sender for sender in needed if sender not in tellers]
    if silent:
        return Absence((), f"{_named(silent)} may not disclose it under the agreements")
    late = [sender for sender in tellers if sender not in in_full]
    if late:
        return Absence((), f"not every extract of {_named(late)} is in")
    return Absence(tellers, None)


def _named(senders: Collection[Sender]) -> str:
    return ", ".join(f"{sender.council}/{sender.service}" for sender in senders)


def find_facts(
    con: duckdb.DuckDBPyConnection,
    receiver: Sender,
    source: str,
    allowed: Permitted,
    of_absence: Absence,
    rule: NewChildren,
) -> pa.Table:
    """Return the facts about each row of `source` that `receiver` sent: `row` and `fact` (JSON text), by row number.

    Reads `records` and `doubts` (child_id, other_child_id, likely) from `con`. Columns of `records`: source, council,
    service, row_key, row (its number in the file), child_id, probability, last_contact as `2022-05`, concern, findable,
    sex, the numbers that replace the tokens of ALIKE_TOKENS (`traits`), numbered (it has a UPN or NHS number) and
    waiting (it is still new). Rows without any fact are left out. The JSON text is `{"row": 7, "known_to": [{"council",
    "service", "last_contact"?, "concern"?}]}` or `{"row": 7, "known_to_no_other": true}`.
    """
    tellers = [
        {**teller._asdict(), "tells_contact": Fact.LAST_CONTACT in facts, "tells_concern": Fact.CONCERN in facts}
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
            "waiting_known": Fact.KNOWN_TO in rule.until_then,
            "bare_known": Fact.KNOWN_TO in rule.without_number,
            "bare_contact": Fact.LAST_CONTACT in rule.without_number,
            "bare_concern": Fact.CONCERN in rule.without_number,
            "bare_absence": Fact.NO_OTHER in rule.without_number,
        }
        return con.sql(_FACTS.replace("ALIKE", _ALIKE), params=params).to_arrow_table()
    finally:
        con.unregister("told_by")


_TELLERS = pa.schema(
    [("council", pa.string()), ("service", pa.string()), ("tells_contact", pa.bool_()), ("tells_concern", pa.bool_())]
)
_ALIKE = " UNION ".join(
    f"""SELECT unfound.row_key FROM unfound JOIN strangers
        ON unfound.{name} = strangers.{name} AND coalesce(unfound.sex = strangers.sex, true)"""
    for name in ALIKE_TOKENS
)
_FACTS = resources.files("privacy.returns").joinpath("facts.sql").read_text(encoding="utf-8")


class Doubts:
    """A watcher of `link` that keeps the pairs of children left apart although they could be one, with a row of
    each."""

    def __init__(self) -> None:
        self._pairs: list[pa.Table] = []

    def __call__(self, con: duckdb.DuckDBPyConnection, step: Scored) -> None:
        if step.name == STEPS[-1][0]:  # in the last step nearly all records with one number are joined
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

        A pair is likely if its probability is still above DOUBTFUL_PROBABILITY when all rivals of both are considered.
        `links` must come from the linkage that was watched.
        """
        with in_memory() as con:
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
_JOINED = "SELECT least(unit_l, unit_r) AS unit_l, greatest(unit_l, unit_r) AS unit_r FROM joined"
_ROWS_OF_UNITS = f"""
WITH named AS ({first_rows("unit IN (SELECT unit_l FROM doubtful UNION SELECT unit_r FROM doubtful)")})
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
