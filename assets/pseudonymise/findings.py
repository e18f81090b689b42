"""Counts broken rules and their first rows during the pass over one extract, and decides whether to stop the file."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import Field

from assets.pseudonymise.split_writer import RowWriter
from privacy import row_keys
from privacy.doors.counts import describe_row_share
from privacy.services import MAX_CHILDREN_A_NUMBER
from sources.contracts import CONTRACTS, Role, Rule, Severity, SourceContract
from sources.contracts.extract_rules import MANY_ROWS, MAX_REJECTED_SHARE, TOO_MANY_REJECTED, select_rules_of_many
from sources.contracts.people import BORN_IN_ANOTHER_COHORT, BORN_OUTSIDE_COHORT, NUMBERS, OF_MANY, UPN_OF_TWO
from sources.contracts.sources import ANOTHER_COUNCIL, ANOTHER_YEAR
from sources.diagnosis.wrong_rows import OriginCounter, OtherOrigin, Suspicion
from sources.errors import FILE_RULES, ExtractStopped, build_error
from sources.extract.landing import Landed
from sources.extract.project import BITS, Projection
from sources.extract.table import SOURCE_ROW, SheetTaken

ROW_HASH = "row_hash"
"""Name of the hash column that detects repeated rows; NULL in rows that cannot repeat another."""
MAX_EXAMPLE_ROWS = 100
"""Most row numbers stored for each broken rule."""
_MOST_OF_THE_ROWS = 0.5
FEW_ROWS = 5
"""Number of rows that may break a rule before it can stop the file."""
GARBLED_AT = 3
"""Number of blank or wrong identifying columns from which a rejected row is reported once, as garbled. Such a row has
values under the wrong headings, or is a total or a note. Hardly any record of a child lacks three."""
_BROKEN_BY_OTHERS = {
    True: (BORN_OUTSIDE_COHORT.id, BORN_IN_ANOTHER_COHORT.id, ANOTHER_YEAR.id),
    False: (ANOTHER_COUNCIL.id,),
}
"""Rules that rows from another year (True) or another council (False) break."""
_SENTENCES = {
    rule.sentence
    for rule in (*FILE_RULES.values(), *(rule for one in CONTRACTS.values() for rule in (*one.rules, one.repeated)))
}
"""Sentences of rules that are the same for every file. Others may quote the sender's column headings."""
QUARANTINE = pa.schema(
    {
        SOURCE_ROW: pa.int64(),
        "rule": pa.string(),
        "columns": pa.string(),
        "severity": pa.string(),
        "row_kept": pa.bool_(),
    }
)
"""Schema of the quarantine during the pass: one line for each row and broken rule, for rejected and kept rows."""


Name = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,80}$")]
Text = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
"""Short text without control characters, which a terminal would act on."""
Count = Annotated[int, Field(ge=0, lt=1 << 62)]


@dataclass(frozen=True)
class RuleCount:
    """Number of rows that break a rule, and the first of their row numbers."""

    rule: Name
    severity: str
    sentence: Text
    columns: tuple[Name, ...]
    rows: Count
    first_rows: tuple[Count, ...]


@dataclass(frozen=True)
class Staged:
    """Result of the pass: counts, and the staged files `kept` (payload), `tokens` (if separate) and `quarantine`.

    `sheet` is the workbook sheet that a whole extract was read from.
    """

    kept: Path
    tokens: Path | None
    quarantine: Path
    headings: Mapping[str, str]
    rows_read: int
    rows_kept: int
    rules: tuple[RuleCount, ...]
    stop_shares: Mapping[str, float]
    suspicions: tuple[Suspicion, ...] = ()
    rows_forgotten: int = 0
    sheet: SheetTaken | None = None
    other_origins: tuple[OtherOrigin, ...] = ()
    """Other years and councils that the rows seem to come from."""

    def list_moves(self, kept: Path, quarantine: Path, tokens: Path) -> list[tuple[Path, Path]]:
        """Return pairs of staged file and destination, tokens last."""
        found = [(self.kept, kept), (self.quarantine, quarantine)]
        return [*found, (self.tokens, tokens)] if self.tokens else found

    @property
    def renamed_headings(self) -> dict[str, str]:
        """The file's headings that differ from the contract's column names, by column."""
        return {column: heading for column, heading in self.headings.items() if heading != column}

    @property
    def rows_rejected(self) -> int:
        return self.rows_read - self.rows_kept

    @property
    def rejected_share(self) -> float | None:
        """Share of the rows read that were rejected, without rows forgotten on request; None below `MANY_ROWS` rows."""
        wrong = self.rows_rejected - self.rows_forgotten
        return wrong / self.rows_read if wrong >= MANY_ROWS else None

    def compute_share_of_many(self, contract: SourceContract) -> float | None:
        """Return the share of rows whose number belongs to many children; None below `MANY_ROWS` rows."""
        of_many = {rule.id for rule in select_rules_of_many(contract)}
        most = max((count.rows for count in self.rules if count.rule in of_many), default=0)
        return most / self.rows_read if most >= MANY_ROWS else None

    def check_rejected(self, name: str) -> None:
        """Raise `ExtractStopped` if the share of rejected rows is above `MAX_REJECTED_SHARE`."""
        if self.rejected_share is not None and self.rejected_share > MAX_REJECTED_SHARE:
            plain, own = (f"{name}: {TOO_MANY_REJECTED.sentence}{why}" for why in self.why_rejected)
            raise ExtractStopped(plain, own)

    @property
    def hints(self) -> tuple[str, str]:
        """Guesses at the content of mostly wrong columns, to end a sentence (for operators, for the sender)."""
        plain, own = ([getattr(each, to) for each in self.suspicions] for to in ("sentence", "for_sender"))
        return "".join(f" {sentence}" for sentence in plain), "".join(f" {sentence}" for sentence in own)

    @property
    def why_rejected(self) -> tuple[str, str]:
        """The rule that most rejected rows break, with hints, to end a sentence (for operators, for the sender)."""
        rejecting = [count for count in self.rules if count.severity == Severity.REJECT]
        most = max(rejecting, key=lambda count: count.rows, default=None)
        plain, own = (f" {sentence}" for sentence in self.describe_frequency(most)) if most else ("", "")
        return plain + self.hints[0], own + self.hints[1]

    def describe_frequency(self, count: RuleCount) -> tuple[str, str]:
        """Return how many rows break a rule: as a rounded share for operators, and as exact counts for the sender."""
        # operators see shares and fixed sentences only: others may quote the sender's headings
        public = f" {count.sentence}" if count.sentence in _SENTENCES else ""
        return (
            f"{describe_row_share(count.rows, self.rows_read)} break {count.rule}{':' if public else '.'}{public}",
            f"{count.rows:,} of {self.rows_read:,} rows: {count.sentence.removesuffix('.')} ({count.rule}).",
        )


def stop_if_wrong(landed: Landed, staged: Staged, *, moved: bool) -> None:
    """Raise `ExtractStopped` if the pass shows that the file cannot be accepted.

    The file may have changed during the pass (`moved`), be the wrong one, or have columns under others' headings.
    """
    if moved:
        raise ExtractStopped(f"{landed.name}: the file changed while it was read; run again when it is complete")
    limits = {rule: max(share * staged.rows_read, FEW_ROWS) for rule, share in staged.stop_shares.items()}
    if count := next((count for count in staged.rules if count.rows > limits.get(count.rule, count.rows)), None):
        plain, own = staged.describe_frequency(count)
        # most rows may come from another year or council, which explains why they break the rule
        for other in staged.other_origins:
            if other.mostly and count.rule in _BROKEN_BY_OTHERS[other.is_year]:
                raise ExtractStopped(
                    f"{landed.name}: {other.looks_like}: {plain}",
                    f"{landed.name}: {other.for_sender} Send the file of {other.should_be}.",
                )
        row = count.first_rows[0]
        first = f"Is it the right file? First row: {staged.sheet.get_row(row) if staged.sheet else row}"
        of_sheet = f" of sheet {staged.sheet.number}" if staged.sheet and staged.sheet.number else ""
        raise ExtractStopped(
            f"{landed.name}: {plain} {first}.{staged.hints[0]}",
            f"{landed.name}: {own} {first}{of_sheet}.{staged.hints[1]}",
        )
    if any(suspicion.moved for suspicion in staged.suspicions):
        raise build_error(landed.name, "moved-columns", *(hints.strip() for hints in staged.hints))


_TELLING = ("date_of_birth", "surname", "forename")
"""Two rows that differ in all of these belong to different children."""
_CHILD = "hash(date_of_birth, lower(coalesce(forename, surname, postcode)))"
"""SQL that identifies a child, as in the linkage's count of children who share a number."""


HASHES = (*(f"{name}_hash" for name in (*NUMBERS, *_TELLING)), *(f"{number}_child_hash" for number in NUMBERS))


def build_hashes_sql(contract: SourceContract) -> str:
    """Return SQL, each term after a comma, for the columns of `find_shared_numbers`; empty if there are no numbers."""
    numbers = [number for number in NUMBERS if number in contract]
    # hashes include the part, so that a part's findings do not depend on the parts that are read with it
    part = row_keys.build_part_sql(SOURCE_ROW)
    # the same number may be written with or without spaces or hyphens
    plain = {name: f"translate(lower({name}::VARCHAR), ' -', '')" for name in numbers}
    columns = {f"{name}_hash": f"hash({sql}, {part})" for name, sql in plain.items()}
    if "upn" in numbers:
        columns |= {f"{name}_hash": f"hash(lower({name}::VARCHAR), {part})" for name in _TELLING}
    # a row that does not identify a child counts as a separate child
    nobody = "date_of_birth IS NULL OR coalesce(forename, surname, postcode) IS NULL"
    child = f"CASE WHEN {nobody} THEN hash({SOURCE_ROW}) ELSE {_CHILD} END"
    columns |= {f"{name}_child_hash": f"hash({sql}, {part}, {child})" for name, sql in plain.items()}
    filled = {column: column.removesuffix("_hash").removesuffix("_child") for column in columns}
    return "".join(f", CASE WHEN {filled[to]} IS NULL THEN 0 ELSE {sql} END AS {to}" for to, sql in columns.items())


def find_shared_numbers(rows: pa.Table) -> dict[Rule, np.ndarray]:
    """Return row numbers by broken rule, from the columns `HASHES` of an extract's rows.

    Such rows share a UPN with a row of different date of birth and names, or have a number of many children.
    """
    seen = {name: rows[name].to_numpy() for name in rows.column_names}
    numbers = [number for number in NUMBERS if f"{number}_hash" in seen]
    found = {OF_MANY[number]: seen[SOURCE_ROW][_mask_of_many(seen, number)] for number in numbers}
    if "upn" in numbers:
        # a number of many children is reported once
        found = {UPN_OF_TWO: np.setdiff1d(_find_of_two(seen), found[OF_MANY["upn"]])} | found
    return {rule: np.sort(rows) for rule, rows in found.items() if len(rows)}


def _mask_of_many(seen: Mapping[str, np.ndarray], number: str) -> np.ndarray:
    """Return a mask of the rows whose number belongs to more than `MAX_CHILDREN_A_NUMBER` children."""
    # the hash of number and child counts each child of a number once, however many rows it has
    _, first = np.unique(seen[f"{number}_child_hash"], return_index=True)
    numbers, children = np.unique(seen[f"{number}_hash"][first], return_counts=True)
    return np.isin(seen[f"{number}_hash"], numbers[(children > MAX_CHILDREN_A_NUMBER) & (numbers != 0)])


def _find_of_two(seen: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the rows that belong to another child than the first row with their UPN, and those first rows."""
    _, first, of_row = np.unique(seen["upn_hash"], return_index=True, return_inverse=True)
    first, other = first[of_row], seen["upn_hash"] != 0
    for hashes in (seen[f"{name}_hash"] for name in _TELLING):
        # 0 is a missing value, which never counts as different
        other &= (hashes != hashes[first]) & (hashes != 0) & (hashes[first] != 0)
    return seen[SOURCE_ROW][np.union1d(np.flatnonzero(other), first[other])]


class Findings:
    """Counts broken rules and keeps their first rows, over all chunks of one file."""

    def __init__(self, projection: Projection, contract: SourceContract) -> None:
        self._checks, self._repeated = projection.checks, contract.repeated
        self.issue_columns = projection.issue_columns
        rules = [*(check.rule for check in projection.checks), contract.repeated]
        self._rules = {rule.id: rule for rule in rules}
        self._totals: Counter[str] = Counter()
        self._first: dict[str, list[int]] = {}
        self._seen = np.empty(0, np.uint64)
        self._rejected: list[np.ndarray] = []
        # 24 bytes of memory for each row and number, and 24 more for each row of an extract with UPNs
        self._hashes: list[pa.Table] = []
        self.origins = OriginCounter()
        # columns that identify a child
        person = [column.name for column in contract.columns if column.role is Role.IDENTIFIER or column.name == "sex"]
        self._person = person if "date_of_birth" in contract else []
        self.rows_read = 0
        self.stop_shares = {rule.id: rule.stop_share for rule in rules if rule.stop_share is not None}

    def add(self, chunk: pa.Table, out: RowWriter) -> pa.ChunkedArray:
        """Count broken rules in a chunk, write them to the quarantine, and return a mask of the rows to keep."""
        self.rows_read += chunk.num_rows
        rows = chunk[SOURCE_ROW].to_numpy()
        # each issue column is a bit mask, with one bit for each check
        masks = [chunk[name].to_numpy() for name in self.issue_columns]
        # most rules are broken by no row of a chunk: one OR for each mask finds those, without a pass for each rule
        present = [int(np.bitwise_or.reduce(mask)) for mask in masks]
        broken = {}
        for check in self._checks:
            mask, bit = check.position // BITS, 1 << check.position % BITS
            if present[mask] & bit:
                broken[check.rule] = masks[mask] & bit != 0
        rejects = [found for rule, found in broken.items() if rule.severity is Severity.REJECT]
        rejected = reduce(np.logical_or, rejects, np.zeros(len(rows), bool))
        # a garbled row is reported once, and a rejected row is not reported as a repeat as well
        if (garbled := self._find_garbled(broken, rejected)).any():
            broken = {rule: found & ~garbled for rule, found in broken.items()} | {FILE_RULES["garbled-row"]: garbled}
        if (repeats := self._find_repeats(chunk[ROW_HASH]) & ~rejected).any():
            broken[self._repeated] = repeats
            rejected |= repeats & (self._repeated.severity is Severity.REJECT)
        for rule, found in broken.items():
            self._note(rule, rows[found], ~rejected[found], out)
        self._rejected.append(rows[rejected])
        return pa.chunked_array([pa.array(~rejected)])

    def see(self, chunk: pa.Table) -> None:
        """Collect hashes of numbers and the origin of rows from a chunk with all its rows, kept or not."""
        self._hashes.append(chunk.select([name for name in (SOURCE_ROW, *HASHES) if name in chunk.column_names]))
        self.origins.see(chunk)

    def finish(self, set_aside: Mapping[Rule, list[int]], out: RowWriter) -> None:
        """Count unreadable rows as rejected, and count rows with a shared number, which alone rejects no row."""
        for rule, numbers in set_aside.items():
            self.rows_read += len(numbers)
            self._note(rule, np.array(numbers, np.int64), np.zeros(len(numbers), bool), out)
        for rule, rows in find_shared_numbers(pa.concat_tables(self._hashes)).items():
            # the quarantine must not call a row kept that another rule rejected
            self._note(rule, rows, ~np.isin(rows, np.concatenate(self._rejected)), out)

    def list_counts(self) -> tuple[RuleCount, ...]:
        """Return the broken rules, in the order of the contract."""
        return tuple(
            RuleCount(
                rule.id, rule.severity, rule.sentence, rule.columns, self._totals[rule.id], tuple(self._first[rule.id])
            )
            for rule in self._rules.values()
            if self._totals[rule.id]
        )

    def find_mostly_wrong(self, contract: SourceContract) -> tuple[str, ...]:
        """Return the contract columns that are wrong in most of their filled rows.

        A value is wrong if it is invalid or malformed, or breaks a rule about this column alone that can stop the file.
        """
        found, stopping = [], [rule for rule in self._rules.values() if rule.stop_share is not None]
        for name in (column.name for column in contract.columns):
            own = [f"{name}-invalid", f"{name}-malformed", *(rule.id for rule in stopping if rule.columns == (name,))]
            filled = self.rows_read - self._totals[f"{name}-blank"]
            if max(self._totals[rule] for rule in own) > max(_MOST_OF_THE_ROWS * filled, FEW_ROWS):
                found.append(name)
        return tuple(found)

    def _find_garbled(self, broken: Mapping[Rule, np.ndarray], rejected: np.ndarray) -> np.ndarray:
        """Return a mask of rejected rows that do not describe a child, such as rows shifted by a cell.

        The mask is empty if most rows are garbled: then the file is wrong, and the broken rules show how.
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
        self._totals[rule.id] += len(rows)
        first = self._first.setdefault(rule.id, [])
        first += rows[: MAX_EXAMPLE_ROWS - len(first)].tolist()
        same = [pa.repeat(text, len(rows)) for text in (rule.id, ", ".join(rule.columns), rule.severity.value)]
        out.note(pa.table([pa.array(rows), *same, pa.array(kept)], schema=QUARANTINE))

    def _find_repeats(self, hashes: pa.ChunkedArray) -> np.ndarray:
        """Return a mask of rows with the hash of an earlier row. Two different rows share one with chance 2**-64."""
        known, values = hashes.is_valid().to_numpy(), hashes.fill_null(0).to_numpy()
        seen, self._seen = self._seen, np.concatenate([self._seen, np.sort(values[known])])
        self._seen.sort(kind="stable")  # a stable sort merges the two sorted runs
        if not (self._seen[1:] == self._seen[:-1]).any():
            return np.zeros(len(values), bool)
        self._seen = np.unique(self._seen)
        first = np.zeros(len(values), bool)
        first[np.unique(values, return_index=True)[1]] = True
        return known & ~(first & ~np.isin(values, seen))
