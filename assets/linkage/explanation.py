"""Explains why two rows of a cohort are linked or not, from the extracts in the restricted zone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.linkage.freshness import changed_since_linked, linked_with
from assets.linkage.inputs import extracts_of
from assets.linkage.row_numbers import RowNumbers
from assets.linkage.tokens import readers
from privacy.doors.database import in_memory
from privacy.doors.sql import parquet
from privacy.keys import KeyRing
from privacy.linkage.explain import NoSuchRow, Row, explain
from privacy.linkage.link import LINK_COLUMNS
from privacy.row_keys import ROW_KEY, number_of, written
from privacy.services import SERVICES
from sources.contracts import CONTRACTS, Severity

_ROW_AND_RULE_COLUMNS = ("source", "council", "row_key", "match_rule")


class CannotExplain(Exception):
    """Raised if there is no link to explain; the message gives the reason in one sentence."""


@dataclass(frozen=True)
class NamedRow:
    """A row of an extract as people refer to it: by its number in the file, or in a part (`privacy.row_keys`)."""

    source: str
    council: str
    source_row: int

    def __str__(self) -> str:
        return f"{self.source}/{self.council}/{written(self.source_row)}"


def parse_row(text: str) -> NamedRow:
    """Parse `SOURCE/COUNCIL/ROW`, where ROW is `12`, or `3:12` for row 12 of part 3. Raises `CannotExplain`."""
    source, _, rest = text.partition("/")
    council, _, row = rest.partition("/")
    number = number_of(row)
    if number is None or not council:
        raise CannotExplain(f"{text!r} is not SOURCE/COUNCIL/ROW, such as hv_reviews/leeds/12, or 3:12 of part 3")
    if source not in CONTRACTS:
        raise CannotExplain(f"there is no source {source!r}; linked are {', '.join(SERVICES)}")
    if source not in SERVICES:
        raise CannotExplain(f"{source} is never linked to children; linked are {', '.join(SERVICES)}")
    return NamedRow(source, council, number)


def explain_link(home: Home, cohort: str, first: NamedRow, second: NamedRow, keys: KeyRing) -> dict[str, Any]:
    """Return the facts of `privacy.linkage.explain` about two rows by linking again. Raises `CannotExplain`."""
    if not home.links(cohort).exists():
        raise CannotExplain(f"cohort {cohort} has not been linked yet in {home.root}")
    if first == second:
        raise CannotExplain(f"{first} is one row; name two")
    links = pyarrow.parquet.read_table(home.links(cohort), columns=list(LINK_COLUMNS))
    councils = links["council"].unique().to_pylist()
    if changed_since_linked(home, cohort, councils):
        raise CannotExplain(_out_of_date(cohort))
    numbers = RowNumbers(home, keys, cohort)
    one, other = (_linked(home, cohort, links, row, numbers) for row in (first, second))
    extracts_named = " and ".join(f"{row.council}/{row.source}" for row in (first, second))
    record(home, Processing.EXPLANATION, cohort=cohort, note=extracts_named)
    extracts = {source: extracts_of(home, source, cohort, councils) for source in SERVICES}
    try:
        found = explain(readers(home, keys, cohort, extracts), one, other, numbers.name, linked_with(home, cohort)[1])
    except NoSuchRow:
        raise CannotExplain(_out_of_date(cohort)) from None
    if not found.result.links.select(_ROW_AND_RULE_COLUMNS).equals(links.select(_ROW_AND_RULE_COLUMNS)):
        raise CannotExplain(_out_of_date(cohort))
    return found.facts


def _out_of_date(cohort: str) -> str:
    return f"the links of cohort {cohort} are not those of the extracts that are in; link the cohort again first"


def _linked(home: Home, cohort: str, links: pa.Table, row: NamedRow, numbers: RowNumbers) -> Row:
    """Return a linked row. Raises `CannotExplain`, with the reason as far as it is known, if the row is not linked."""
    extract = f"{row.council}/{row.source}"
    sent = links.filter((pc.field("source") == row.source) & (pc.field("council") == row.council))
    if not sent.num_rows:
        raise CannotExplain(f"{extract} has no row among the links of cohort {cohort}: no such extract was linked")
    found = numbers.row(row.source, row.council, row.source_row)
    if found.row_key in sent[ROW_KEY].to_numpy():
        return found
    rules = _rules_broken(home, cohort, found)
    why = (
        f"it was set aside at intake ({', '.join(rules)})" if rules else "the file has no such row, or it was set aside"
    )
    raise CannotExplain(f"row {written(row.source_row)} of {extract} is not linked: {why}")


def _rules_broken(home: Home, cohort: str, row: Row) -> list[str]:
    path = home.quarantine(row.source, cohort, row.council)
    if not path.exists():
        return []
    with in_memory() as con:
        found = con.execute(
            f"SELECT DISTINCT rule FROM {parquet(path)} WHERE row_key = ? AND severity = ? ORDER BY rule",
            [row.row_key, Severity.REJECT.value],
        ).fetchall()
    return [rule for (rule,) in found]
