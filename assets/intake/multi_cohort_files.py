"""Assigns the rows of multi-cohort files to cohorts, and stores which files have been sorted.

A row belongs to the cohort given by its date of birth. If its academic year is at most one year away from that, as for
a child who starts school a year late, or if it has no date of birth, the academic year decides. A row with neither
belongs to the cohort in which an earlier part has its record. Other rows are set aside and counted.
"""

import datetime as dt
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from assets.home.paths import Home
from assets.home.retention_policy import get_retention
from privacy.doors.files import make_folder, write_json
from privacy.doors.locks import hold_lock
from sources.errors import ExtractStopped
from sources.extract.landing import Landed, get_state, list_cohorts
from sources.extract.table import SOURCE_ROW, OpenExtract
from sources.reference.cohorts import Cohort

MAX_BYTES = 1 << 30
"""Limit on the text of a multi-cohort file (1 GiB), which is held in memory until its rows are sorted."""
MAX_EXAMPLE_ROWS = 100
"""Most row numbers stored of the rows set aside."""


@dataclass(frozen=True)
class Sorted:
    """A sorted multi-cohort file: its cohorts, and the number of rows set aside with the row numbers of the first.

    A file without cohorts has no rows here and is not read again. `state` is its size and modification time, which
    identify it without a key until it is rewritten.
    """

    state: list[list[int]]
    made_under: dict[str, Any]
    cohorts: tuple[str, ...]
    rows_set_aside: int
    first_rows: tuple[int, ...]


_SORTED = TypeAdapter(dict[str, Sorted])


@dataclass(frozen=True)
class SortedFiles:
    """Store of the sorted multi-cohort files of one source and council, in a home folder."""

    home: Home
    source: str
    council: str

    @property
    def _path(self) -> Path:
        return self.home.get_sorted_files_path(self.source, self.council)

    def list_entries(self) -> dict[str, Sorted]:
        """Return the sorted files by their MAC."""
        return _SORTED.validate_json(self._path.read_bytes()) if self._path.exists() else {}

    def is_waiting(self, landed: Landed) -> bool:
        """Return whether a file of `landed` is not sorted yet, or holds rows of the cohort of `landed`."""
        entries = self.list_entries().values()
        found = ([entry.cohorts for entry in entries if entry.state == get_state(path)] for path in landed.several)
        return any(not cohorts or any(landed.cohort in each for each in cohorts) for cohorts in found)

    def remember(self, mac: str, entry: Sorted) -> None:
        """Store an entry, durable on return."""
        write_json(self._path, {each: asdict(of) for each, of in (self.list_entries() | {mac: entry}).items()})

    def close(self, mac: str) -> None:
        """Mark a file as sorted and without rows here, so that it is not read again."""
        if entry := self.list_entries().get(mac):
            self.remember(mac, replace(entry, cohorts=(), rows_set_aside=0, first_rows=()))

    def close_cohort(self, cohort: str) -> None:
        """Remove a cohort from every file's entry."""
        for mac, entry in self.list_entries().items():
            left = tuple(each for each in entry.cohorts if each != cohort)
            if not left:
                self.close(mac)
            elif left != entry.cohorts:
                self.remember(mac, replace(entry, cohorts=left))

    def lock_files(self) -> AbstractContextManager[int]:
        """Hold a lock, so that one process at a time sorts these files."""
        make_folder(self._path.parent)
        return hold_lock(self._path.with_suffix(".lock"))


def read_text(name: str, extract: OpenExtract) -> pa.Table:
    """Read the whole file as text. Raises `ExtractStopped` if it is longer than `MAX_BYTES`."""
    batches: list[pa.RecordBatch] = []
    length = 0
    for batch in extract.batches:
        length += batch.nbytes
        if length > MAX_BYTES:
            raise ExtractStopped(f"{name}: is too long for a file of several cohorts; send a file for each")
        batches.append(batch)
    return pa.Table.from_batches(batches, extract.schema)


def split_by_cohort(found: pa.Table) -> dict[str, np.ndarray]:
    """Split row numbers by cohort, from the first year of each row's cohort; rows without one are under ""."""
    numbers, years = found[SOURCE_ROW].to_numpy(), found["first_year"].fill_null(0).to_numpy()
    # not cohorts whose children are not born yet, or whose data may no longer be held
    policy, today = get_retention(), dt.date.today()
    of_year = {Cohort(code).first_year: code for code in list_cohorts() if today < policy.compute_end(Cohort(code))}
    split = {of_year[year]: numbers[years == year] for year in np.unique(years).tolist() if year in of_year}
    return split | {"": numbers[~np.isin(years, list(of_year))]}


def assign_by_earlier_parts(
    rows: Mapping[str, np.ndarray], records: pa.Table, earlier: Mapping[str, pa.Table]
) -> dict[str, np.ndarray]:
    """Assign rows without a cohort to the cohort whose earlier parts have their record, if there is exactly one.

    `records` has columns `source_row` and `record` (mark of the record, or null).
    """
    numbers, marks = records[SOURCE_ROW].to_numpy(), records["record"].fill_null(0).to_numpy()
    there = {code: (marks != 0) & np.isin(marks, table["record"].fill_null(0)) for code, table in earlier.items()}
    # a record in several cohorts cannot decide
    alone = np.sum([*there.values(), np.zeros(len(marks), bool)], axis=0) == 1
    assigned = {code: numbers[found & alone] for code, found in there.items() if (found & alone).any()}
    own = {code: np.concatenate([rows.get(code, numbers[:0]), more]) for code, more in assigned.items()}
    return {**rows, **own, "": numbers[~alone]}
