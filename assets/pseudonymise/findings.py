"""What the pass finds wrong in the rows of one extract: counts of broken rules and their first rows, chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa

from assets.pseudonymise.duplicate_identifiers import DuplicateIdentifiers
from assets.pseudonymise.split_writer import RowWriter
from sources.contracts import Role, Rule, Severity, SourceContract
from sources.diagnosis.wrong_cohort_or_council import OriginCounter, OtherOrigin
from sources.extract.landed import Landed
from sources.extract.project import BITS, Projection
from sources.extract.rules import GARBLED_ROW
from sources.extract.table import SOURCE_ROW

ROW_HASH = "row_hash"
"""Name of the column by which a row is known to repeat an earlier one; NULL where it cannot."""
MAX_EXAMPLE_ROWS = 100
_MOST_OF_THE_ROWS = 0.5
FEW_ROWS = 5
"""Rows that break a rule without showing that the whole file is wrong."""
GARBLED_AT = 3
"""Columns by which a child is known, from so many on of which are blank or wrong in one row that is set aside, the row
is told of once: its values stand under the headings of others, or it is a sum or a note. Of records of children hardly
any lack three."""
QUARANTINE = pa.schema(
    {
        SOURCE_ROW: pa.int64(),
        "rule": pa.string(),
        "columns": pa.string(),
        "severity": pa.string(),
        "row_kept": pa.bool_(),
    }
)
"""One line for each row and rule broken, whether the row was rejected or kept; as the pass has it, by row number."""


@dataclass(frozen=True)
class RuleCount:
    """How often a rule was broken, with the first rows by number."""

    rule: str
    severity: str
    sentence: str
    columns: tuple[str, ...]
    rows: int
    first_rows: tuple[int, ...]


class Findings:
    """Counts of broken rules and their first rows, added up over the chunks of one file."""

    def __init__(self, projection: Projection, contract: SourceContract) -> None:
        self._checks, self._repeated = projection.checks, contract.repeated
        self.issue_columns = projection.issue_columns
        rules = [*(check.rule for check in projection.checks), contract.repeated]
        self._rules = {rule.id: rule for rule in rules}
        self._totals: dict[str, int] = {}
        self._first: dict[str, list[int]] = {}
        self._seen = np.empty(0, np.uint64)
        self._rejected: list[np.ndarray] = []
        self._shared, self._whose = DuplicateIdentifiers(), OriginCounter()
        self._person = _person(contract)
        self.rows_read = 0
        self.stop_shares = {rule.id: rule.stop_share for rule in rules if rule.stop_share is not None}

    def add(self, chunk: pa.Table, out: RowWriter) -> pa.ChunkedArray:
        """Count and note what is wrong in `chunk`; return which rows are kept."""
        self.rows_read += chunk.num_rows
        rows = chunk[SOURCE_ROW].to_numpy()
        masks = [chunk[name].to_numpy() for name in self.issue_columns]
        present = [int(np.bitwise_or.reduce(mask)) for mask in masks]
        broken = {}
        for check in self._checks:
            mask, bit = check.position // BITS, 1 << check.position % BITS
            if present[mask] & bit:
                broken[check.rule] = masks[mask] & bit != 0
        rejects = [found for rule, found in broken.items() if rule.severity is Severity.REJECT]
        rejected = reduce(np.logical_or, rejects, np.zeros(len(rows), bool))
        if (garbled := self._garbled(broken, rejected)).any():
            broken = {rule: found & ~garbled for rule, found in broken.items()} | {GARBLED_ROW: garbled}
        if (repeats := self._repeats(chunk[ROW_HASH]) & ~rejected).any():
            broken[self._repeated] = repeats
            rejected |= repeats & (self._repeated.severity is Severity.REJECT)
        for rule, found in broken.items():
            self._note(rule, rows[found], ~rejected[found], out)
        self._rejected.append(rows[rejected])
        return pa.chunked_array([pa.array(~rejected)])

    def see(self, chunk: pa.Table) -> None:
        """Look at all rows, kept or not, for numbers that children share and for whose children these are."""
        self._shared.see(chunk)
        self._whose.see(chunk)

    def other_origins(self, landed: Landed) -> tuple[OtherOrigin, ...]:
        """Return the other year and council that the rows look to be of."""
        return self._whose.other_origins(landed.council, landed.cohort)

    def note_shared_numbers(self, out: RowWriter) -> None:
        """Note the rows whose number is another child's too; no row is rejected for that alone."""
        for rule, rows in self._shared.rows.items():
            self._note(rule, rows, ~np.isin(rows, np.concatenate(self._rejected)), out)

    def set_aside(self, rows: Mapping[Rule, list[int]], out: RowWriter) -> None:
        """Add the rows that the reader could not give."""
        for rule, numbers in rows.items():
            self.rows_read += len(numbers)
            self._note(rule, np.array(numbers, np.int64), np.zeros(len(numbers), bool), out)

    def counts(self) -> tuple[RuleCount, ...]:
        """Return the rules that were broken, in the order of the contract."""
        return tuple(
            RuleCount(
                rule.id, rule.severity, rule.sentence, rule.columns, self._totals[rule.id], tuple(self._first[rule.id])
            )
            for rule in self._rules.values()
            if self._totals.get(rule.id)
        )

    def mostly_wrong(self, contract: SourceContract) -> tuple[str, ...]:
        """Return the contract columns that are wrong in most of the rows where they are filled.

        Wrong by the rule of their own values, or by one about them alone of which few may be broken.
        """
        return tuple(column.name for column in contract.columns if self._is_mostly_wrong(column.name))

    def _is_mostly_wrong(self, column: str) -> bool:
        filled = self.rows_read - self._totals.get(f"{column}-blank", 0)
        return self._wrong(column) > max(_MOST_OF_THE_ROWS * filled, FEW_ROWS)

    def _wrong(self, column: str) -> int:
        own = {f"{column}-invalid", f"{column}-malformed"}
        own |= {rule.id for rule in self._rules.values() if rule.columns == (column,) and rule.stop_share is not None}
        return max(self._totals.get(rule, 0) for rule in own)

    def _garbled(self, broken: Mapping[Rule, np.ndarray], rejected: np.ndarray) -> np.ndarray:
        """Return which rejected rows hold no child, such as rows whose values are shifted by a cell.

        None if most rows are such: then the file is wrong, and its rules say how.
        """
        wrong = np.zeros((len(self._person), len(rejected)), bool)
        for rule, found in broken.items():
            if len(rule.columns) == 1 and rule.columns[0] in self._person:
                wrong[self._person.index(rule.columns[0])] |= found
        garbled = rejected & (wrong.sum(axis=0) >= GARBLED_AT)
        return garbled & (garbled.sum() <= _MOST_OF_THE_ROWS * len(garbled))

    def _note(self, rule: Rule, rows: np.ndarray, kept: np.ndarray, out: RowWriter) -> None:
        if not len(rows):
            return
        self._rules.setdefault(rule.id, rule)
        self._totals[rule.id] = self._totals.get(rule.id, 0) + len(rows)
        first = self._first.setdefault(rule.id, [])
        first += rows[: MAX_EXAMPLE_ROWS - len(first)].tolist()
        same = [pa.repeat(text, len(rows)) for text in (rule.id, ", ".join(rule.columns), rule.severity.value)]
        out.note(pa.table([pa.array(rows), *same, pa.array(kept)], schema=QUARANTINE))

    def _repeats(self, hashes: pa.ChunkedArray) -> np.ndarray:
        """Return which rows have a hash that an earlier row has; two different rows share one with chance 2**-64."""
        known, values = hashes.is_valid().to_numpy(), hashes.fill_null(0).to_numpy()
        seen, self._seen = self._seen, np.concatenate([self._seen, np.sort(values[known])])
        self._seen.sort(kind="stable")  # merges the two sorted parts
        if not (self._seen[1:] == self._seen[:-1]).any():
            return np.zeros(len(values), bool)
        self._seen = np.unique(self._seen)
        first = np.zeros(len(values), bool)
        first[np.unique(values, return_index=True)[1]] = True
        return known & ~(first & ~np.isin(values, seen))


def _person(contract: SourceContract) -> tuple[str, ...]:
    """Return the columns that identify a child, and its sex."""
    if "date_of_birth" not in contract:
        return ()
    return tuple(c.name for c in contract.columns if c.role is Role.IDENTIFIER or c.name == "sex")
