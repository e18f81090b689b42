"""Translates row keys into the row numbers that people know, for links, explanations and audits."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from assets.home.errors import check_readable
from assets.home.home_lock import while_in_use, with_cohort_lock
from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.intake.deliveries import row_keys_of
from assets.linkage.freshness import changed_since_linked
from assets.linkage.inputs import councils_in, named
from privacy.doors import files
from privacy.keys import KeyRing
from privacy.linkage.explain import Row
from privacy.row_keys import ROW_KEY, RowKeys, part_and_row, written
from sources.extract.table import SOURCE_ROW


class NotLinkedAsIs(Exception):
    """Raised if the links were made from extracts other than today's; the message says what to do."""


class RowNumbers:
    """Row numbers and keys of a cohort's extracts. Methods raise `KeyProblem`."""

    def __init__(self, home: Home, keys: KeyRing, cohort: str) -> None:
        self._of = cache(lambda source, council: row_keys_of(home, keys, source, cohort, council))

    def of_extract(self, source: str, council: str) -> RowKeys:
        """Return the row keys of an extract."""
        return self._of(source, council)

    def row(self, source: str, council: str, number: int) -> Row:
        """Return the row with this number."""
        return Row(source, council, int(self._of(source, council).of(np.array([number]))[0]))

    def name(self, row: Row) -> str:
        """Return `SOURCE/COUNCIL/ROW`, where ROW is a number or `PART:ROW`."""
        (number,) = self._of(row.source, row.council).rows(np.array([row.row_key], np.uint64))
        return f"{row.source}/{row.council}/{written(int(number))}"

    def numbers(self, rows: pa.Table) -> pa.Array:
        """Return the number of each row (source, council, row_key)."""
        keys = rows[ROW_KEY].to_numpy()
        found = np.empty(len(keys), np.int64)
        extracts = pc.binary_join_element_wise(rows["source"], rows["council"], "/")
        for name in extracts.unique().to_pylist():
            its = pc.equal(extracts, name).to_numpy()
            found[its] = self._of(*name.split("/")).rows(keys[its])
        return pa.array(found)

    def numbered(self, links: pa.Table) -> pa.Table:
        """Return the table with `source_row` in place of `row_key`, sorted by source, council and number."""
        numbered = links.set_column(links.column_names.index(ROW_KEY), SOURCE_ROW, self.numbers(links))
        return numbered.sort_by([(name, "ascending") for name in ("source", "council", SOURCE_ROW)])


def _by_part(rows: pa.Table) -> pa.Table:
    """Return the rows with their number in the file and, if any extract came in parts, `part` (0 for whole files)."""
    parts, numbers = part_and_row(rows[SOURCE_ROW].to_numpy())
    at = rows.column_names.index(SOURCE_ROW)
    rows = rows.set_column(at, SOURCE_ROW, pa.array(numbers))
    return rows.add_column(at, "part", pa.array(parts)) if parts.any() else rows


@while_in_use
@with_cohort_lock
def write_linked_rows(home: Home, cohort: str, out: Path, keys: KeyRing) -> int:
    """Write the links of a cohort by row number to `out`, and return the number of rows.

    `out` is CSV or Parquet, depending on its suffix. Only its owner can read it, and the processing log records it.
    Raises `NotLinkedAsIs`, `Damaged` and `KeyProblem`.
    """
    if not home.links(cohort).exists():
        raise NotLinkedAsIs(f"cohort {cohort} has not been linked yet in {home.root}")
    if moved := changed_since_linked(home, cohort, councils_in(home, cohort)):
        raise NotLinkedAsIs(
            f"cohort {cohort}: {named(moved)} came in or changed since it was linked; link the cohort again first"
        )
    check_readable(home, home.links(cohort))
    rows = RowNumbers(home, keys, cohort).numbered(pyarrow.parquet.read_table(home.links(cohort)))
    rows = _by_part(rows.replace_schema_metadata(None))
    record(home, Processing.AUDIT, cohort=cohort, note="rows of every child, by number")
    buffer = pa.BufferOutputStream()
    if out.suffix.lower() == ".csv":
        pyarrow.csv.write_csv(rows, buffer)
    else:
        pyarrow.parquet.write_table(rows, buffer, compression="zstd")
    files.write(out, buffer.getvalue().to_pybytes())
    return rows.num_rows
