"""Writes the links of a cohort by row number, as people refer to rows, and explains why two rows are linked or not."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from assets.home.errors import Refused, check_readable
from assets.home.home_lock import with_cohort_lock, with_removals_blocked
from assets.home.paths import CohortStore
from assets.home.processing_log import Processing, record
from assets.intake.deliveries import derive_row_keys
from assets.linkage import inputs
from assets.linkage.tokens import open_readers
from privacy.doors import files
from privacy.keys import KeyRing
from privacy.linkage.explain import Row, explain
from privacy.linkage.link import LINK_COLUMNS
from privacy.row_keys import ROW_KEY, format_row_number, parse_row_number, split_number
from privacy.services import SERVICES
from sources.contracts import CONTRACTS, Severity
from sources.extract.table import SOURCE_ROW


class RowNumbers:
    """Row numbers and keys of a cohort's extracts. Methods raise `KeyProblem`."""

    def __init__(self, store: CohortStore, keys: KeyRing) -> None:
        self._of = cache(lambda source, council: derive_row_keys(store.get_extract(source, council), keys))

    def find_row(self, source: str, council: str, number: int) -> Row:
        """Return the row with this number."""
        return Row(source, council, int(self._of(source, council).derive_keys(np.array([number]))[0]))

    def name(self, row: Row) -> str:
        """Return `SOURCE/COUNCIL/ROW`, where ROW is a number or `PART:ROW`."""
        (number,) = self._of(row.source, row.council).find_rows(np.array([row.row_key], np.uint64))
        return f"{row.source}/{row.council}/{format_row_number(int(number))}"

    def find_numbers(self, rows: pa.Table) -> pa.Array:
        """Return the number of each row (source, council, row_key)."""
        keys = rows[ROW_KEY].to_numpy()
        found = np.empty(len(keys), np.int64)
        extracts = pc.binary_join_element_wise(rows["source"], rows["council"], "/")
        for name in extracts.unique().to_pylist():
            its = pc.equal(extracts, name).to_numpy()
            found[its] = self._of(*name.split("/")).find_rows(keys[its])
        return pa.array(found)

    def replace_keys(self, links: pa.Table) -> pa.Table:
        """Return the table with `source_row` in place of `row_key`, sorted by source, council and number."""
        numbered = links.set_column(links.column_names.index(ROW_KEY), SOURCE_ROW, self.find_numbers(links))
        return numbered.sort_by([(name, "ascending") for name in ("source", "council", SOURCE_ROW)])


@with_removals_blocked
@with_cohort_lock
def write_linked_rows(store: CohortStore, out: Path, keys: KeyRing) -> int:
    """Write the links of a cohort by row number to `out`, and return the number of rows.

    `out` is CSV or Parquet, depending on its suffix. Only its owner can read it, and the processing log records it.
    Raises `Refused` if the links were made from other extracts than today's, `Damaged` and `KeyProblem`.
    """
    if not store.links.exists():
        raise Refused(f"cohort {store.cohort} has not been linked yet in {store.home.root}")
    if moved := inputs.find_changes_since_linkage(store, inputs.list_councils(store)):
        raise Refused(
            f"cohort {store.cohort}: {inputs.join_names(moved)} came in or changed since it was linked;"
            " link the cohort again first"
        )
    check_readable(store.root, store.links)
    rows = RowNumbers(store, keys).replace_keys(pyarrow.parquet.read_table(store.links))
    parts, numbers = split_number(rows[SOURCE_ROW].to_numpy())
    at = rows.column_names.index(SOURCE_ROW)
    rows = rows.replace_schema_metadata(None).set_column(at, SOURCE_ROW, pa.array(numbers))
    if parts.any():
        rows = rows.add_column(at, "part", pa.array(parts))
    # Logged before the file exists, so that there is never a file without its line in the log.
    record(store.home, Processing.AUDIT, cohort=store.cohort, note="rows of every child, by number")
    files.write(out, encode_table(rows, out.suffix))
    return rows.num_rows


def encode_table(rows: pa.Table, suffix: str) -> bytes:
    """Return a table as the content of a file: CSV for the suffix `.csv`, otherwise Parquet."""
    buffer = pa.BufferOutputStream()
    if suffix.lower() == ".csv":
        pyarrow.csv.write_csv(rows, buffer)
    else:
        pyarrow.parquet.write_table(rows, buffer, compression="zstd")
    content: bytes = buffer.getvalue().to_pybytes()
    return content


_ROW_AND_RULE_COLUMNS = ("source", "council", "row_key", "match_rule")


@dataclass(frozen=True)
class NamedRow:
    """A row of an extract as people refer to it: by its number in the file, or in a part (`privacy.row_keys`)."""

    source: str
    council: str
    source_row: int

    def __str__(self) -> str:
        return f"{self.source}/{self.council}/{format_row_number(self.source_row)}"


def parse_row(text: str) -> NamedRow:
    """Parse `SOURCE/COUNCIL/ROW`, where ROW is `12`, or `3:12` for row 12 of part 3. Raises `Refused`."""
    source, _, rest = text.partition("/")
    council, _, row = rest.partition("/")
    number = parse_row_number(row)
    if number is None or not council:
        raise Refused(f"{text!r} is not SOURCE/COUNCIL/ROW, such as hv_reviews/leeds/12, or 3:12 of part 3")
    if source not in CONTRACTS:
        raise Refused(f"there is no source {source!r}; linked are {', '.join(SERVICES)}")
    if source not in SERVICES:
        raise Refused(f"{source} is never linked to children; linked are {', '.join(SERVICES)}")
    return NamedRow(source, council, number)


def explain_link(store: CohortStore, first: NamedRow, second: NamedRow, keys: KeyRing) -> dict[str, Any]:
    """Return the facts of `privacy.linkage.explain` about two rows by linking again. Raises `Refused`."""
    if not store.links.exists():
        raise Refused(f"cohort {store.cohort} has not been linked yet in {store.home.root}")
    if first == second:
        raise Refused(f"{first} is one row; name two")
    links = pyarrow.parquet.read_table(store.links, columns=list(LINK_COLUMNS))
    councils = links["council"].unique().to_pylist()
    again = f"the links of cohort {store.cohort} are not those of the extracts that are in; link the cohort again first"
    if inputs.find_changes_since_linkage(store, councils):
        raise Refused(again)
    numbers = RowNumbers(store, keys)
    one, other = (_find_linked_row(store, links, row, numbers) for row in (first, second))
    extracts_named = " and ".join(f"{row.council}/{row.source}" for row in (first, second))
    record(store.home, Processing.EXPLANATION, cohort=store.cohort, note=extracts_named)
    extracts = {source: inputs.list_extract_paths(store, source, councils) for source in SERVICES}
    children = inputs.read_link_parameters(store)[1]
    facts, now = explain(open_readers(store, keys, extracts), one, other, numbers.name, children)
    # Links that differ from those on disk would explain other decisions than the ones that were made.
    if not now.select(_ROW_AND_RULE_COLUMNS).equals(links.select(_ROW_AND_RULE_COLUMNS)):
        raise Refused(again)
    return facts


def _find_linked_row(store: CohortStore, links: pa.Table, row: NamedRow, numbers: RowNumbers) -> Row:
    """Return a linked row. Raises `Refused`, with the reason as far as it is known, if the row is not linked."""
    extract = f"{row.council}/{row.source}"
    sent = links.filter((pc.field("source") == row.source) & (pc.field("council") == row.council))
    if not sent.num_rows:
        raise Refused(f"{extract} has no row among the links of cohort {store.cohort}: no such extract was linked")
    found = numbers.find_row(row.source, row.council, row.source_row)
    if found.row_key in sent[ROW_KEY].to_numpy():
        return found
    rules = _list_broken_rules(store, found)
    why = (
        f"it was set aside at intake ({', '.join(rules)})" if rules else "the file has no such row, or it was set aside"
    )
    raise Refused(f"row {format_row_number(row.source_row)} of {extract} is not linked: {why}")


def _list_broken_rules(store: CohortStore, row: Row) -> list[str]:
    path = store.get_extract(row.source, row.council).quarantine
    if not path.exists():
        return []
    own = (pc.field(ROW_KEY) == pa.scalar(row.row_key, pa.uint64())) & (pc.field("severity") == Severity.REJECT.value)
    found = pyarrow.parquet.read_table(path, columns=["rule"], filters=own, partitioning=None)
    return sorted({*found["rule"].to_pylist()})
