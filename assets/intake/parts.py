"""Store for the parts of an extract that have been read, for their rows, and for sorted multi-cohort files.

A part is identified by the MAC of its content, and read again only if settings change. Parts that are found together
are read in one pass and share files. Payload, quarantine and marks are in a folder of the extract; tokens are in the
tokens zone, encrypted for the linkage. Marks are encrypted for the intake, which alone resolves parts
(`resolve_parts`). A part's note is written last and proves that the part is complete.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from assets.home.paths import ExtractStore, Home
from assets.intake.deliveries import PartFile, compute_file_mac
from assets.pseudonymise.findings import RuleCount, Staged
from privacy import row_keys
from privacy.doors import sealed
from privacy.doors.files import make_folder, promote_all, write_json
from privacy.doors.locks import hold_lock
from privacy.keys import KeyRing
from sources.extract.landing import Landed, get_state

NUMBER = "number"
"""Name of the column, beside the marks, that holds a row's number within its part."""


@dataclass(frozen=True, kw_only=True)
class Part(PartFile):
    """One part of an extract as it was read.

    `arrived` is the number of the run that found the part, counting only runs that found new parts. `rows_deleted` are
    rows that delete a record.
    """

    arrived: int
    made_under: dict[str, Any]
    headings: dict[str, str] = field(default_factory=dict)
    rows_read: int = 0
    rows_kept: int = 0
    rows_deleted: int = 0
    rules: tuple[RuleCount, ...] = ()
    rows_forgotten: int = 0
    kept_in: str = ""
    """Stem of the files that hold its rows."""
    moved: bool = False
    """True for a part without rows that lists the records a multi-cohort file now gives to other cohorts."""

    @property
    def rows_rejected(self) -> int:
        return self.rows_read - self.rows_kept

    @property
    def has_rows(self) -> bool:
        """True if its file holds rows of the extract. An empty file means a month without changes."""
        return not self.moved and self.rows_read + self.rows_deleted > 0


_PART = TypeAdapter(Part)


@dataclass(frozen=True)
class PartFiles:
    """Files with the rows of parts that were read together. A source that is not linked has no tokens."""

    payload: Path
    quarantine: Path
    marks: Path
    tokens: Path

    @property
    def holders(self) -> dict[Path, str]:
        """The name of the key that opens each file; empty if the file is not encrypted."""
        return {self.payload: "", self.quarantine: "", self.tokens: "tokens", self.marks: "intake"}


@dataclass(frozen=True)
class PartStore:
    """Store of the parts of one extract in a home folder."""

    extract: ExtractStore

    @property
    def _folders(self) -> tuple[Path, Path]:
        return self.extract.parts, self.extract.tokens_of_parts

    def get_files(self, stem: str) -> PartFiles:
        kinds = ("payload", "quarantine", "marks")
        payload, quarantine, marks = (self.extract.parts / f"{stem}.{kind}.parquet" for kind in kinds)
        return PartFiles(payload, quarantine, marks, self.extract.get_part_tokens(stem))

    def list_all(self) -> list[Part]:
        """Return the parts that have been read, including withdrawn ones, by number."""
        notes = (_PART.validate_json(path.read_bytes()) for path in self._folders[0].glob("*.json"))
        return sorted(notes, key=lambda part: part.number)

    def list_kept(self) -> list[Part]:
        """Return the parts whose rows are kept, by number."""
        return [part for part in self.list_all() if not part.withdrawn]

    def compute_next_run(self) -> int:
        """Return the number of the current run if it finds new parts."""
        return 1 + max((part.arrived for part in self.list_all()), default=0)

    def keep(self, parts: Sequence[Part], staged: Staged | None, marks: Path) -> None:
        """Store parts that were read together, then remove the files that they replace.

        `staged` is None for a part without rows, which lists records that now belong to other cohorts.
        """
        # settings count too: a part that is read again must not overwrite files that its note still names
        content = json.dumps([[part.file_mac, part.made_under] for part in parts], sort_keys=True)
        stem = f"{parts[0].number}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        place = self.get_files(stem)
        rows = staged.list_moves(place.payload, place.quarantine, place.tokens) if staged else []
        promote_all([(marks, place.marks), *rows])
        for part in parts:  # last: a note proves that the part is complete
            self.note(replace(part, kept_in=stem))
        self.clear()

    def clear(self) -> None:
        """Remove files that hold the rows of no current part."""
        in_use = {part.kept_in for part in self.list_kept()}
        for folder in self._folders:
            for path in folder.glob("*-*.parquet"):
                if path.name.partition(".")[0] not in in_use:
                    path.unlink()

    def drop(self) -> None:
        """Remove all parts after a whole file replaced them. Their numbers are not reused."""
        for folder in self._folders:
            # the file `numbers` has no suffix, and stays
            for path in (*folder.glob("*.json"), *folder.glob("*.parquet")):
                path.unlink()

    def note(self, part: Part) -> None:
        """Write the note of a part if it has changed."""
        path = self._folders[0] / f"{part.number}.json"
        # every intake notes all parts, and a durable write is slow
        if not path.exists() or _PART.validate_json(path.read_bytes()) != part:
            write_json(path, asdict(part))

    def give_numbers(self, macs: Sequence[str]) -> dict[str, int]:
        """Return the number of every part ever found, by MAC, after numbering new ones. Numbers are never reused."""
        path = self._folders[0] / "numbers"
        known: dict[str, int] = json.loads(path.read_bytes()) if path.exists() else {}
        new = [mac for mac in dict.fromkeys(macs) if mac not in known]
        following = max(known.values(), default=0) + 1
        if new:
            known |= {mac: following + place for place, mac in enumerate(new)}
            write_json(path, known)
        return known

    def read_marks(self, keys: KeyRing, parts: Iterable[Part]) -> dict[int, pa.Table]:
        """Return the marks of the rows of parts, by part number."""
        opens, of_extract = keys.get_private_key("intake"), row_keys.derive_part_keys(keys, *self.extract.key)
        found: dict[int, pa.Table] = {}
        for stem, together in group_by_stem(parts).items():
            marks = sealed.open_sealed(self.get_files(stem).marks, opens).read()
            of, numbers = row_keys.split_number(of_extract.find_rows(marks[row_keys.ROW_KEY].to_numpy()))
            marks = marks.append_column(NUMBER, pa.array(numbers))
            found |= {part.number: marks.filter(pa.array(of == part.number)) for part in together}
        return found

    def read_records(self, keys: KeyRing, parts: Iterable[Part]) -> np.ndarray:
        """Return the `record` marks of the rows of parts, without rows that have none."""
        marks = self.read_marks(keys, parts).values()
        return pa.concat_tables(table.select(["record"]) for table in marks)["record"].drop_null().to_numpy()


def group_by_stem(parts: Iterable[Part]) -> dict[str, list[Part]]:
    """Group parts by the files that hold their rows."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(part.kept_in, []).append(part)
    return found


def compute_moved_mac(keys: KeyRing, mac: str) -> str:
    """Return the MAC that identifies a multi-cohort file in the cohorts that it moves records out of."""
    # not the file's own MAC, under which the same cohort may hold other rows of it
    return compute_file_mac(keys, hashlib.sha256(f"moved {mac}".encode()).hexdigest())


@dataclass(frozen=True)
class Sorted:
    """A sorted multi-cohort file: its cohorts, the number of rows set aside, and the first of their row numbers.

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

    def close(self, mac: str, cohort: str = "") -> None:
        """Mark a file as having no rows of a cohort, or none at all. If no cohort is left, it is not read again."""
        if entry := self.list_entries().get(mac):
            left = tuple(each for each in entry.cohorts if cohort and each != cohort)
            entry = entry if left else replace(entry, rows_set_aside=0, first_rows=())
            self.remember(mac, replace(entry, cohorts=left))

    def lock_files(self) -> AbstractContextManager[int]:
        """Hold a lock, so that one process at a time sorts these files."""
        make_folder(self._path.parent)
        return hold_lock(self._path.with_suffix(".lock"))
