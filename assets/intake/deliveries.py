"""Stored intake results for current, superseded and stopped deliveries.

A delivery is identified by a MAC of its file's content under a pipeline key. No result holds a value from an extract.
"""

import datetime as dt
import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from pydantic import TypeAdapter

from assets.home.paths import ExtractStore, Home
from assets.intake.quality import CRITICAL, HOLD, Finding
from assets.intake.quality_report.profile import Profile
from assets.pseudonymise.findings import RuleCount, Staged
from privacy import row_keys
from privacy.doors import files, sealed
from privacy.keys import KeyProblem, KeyRing
from privacy.services import SERVICES
from sources.diagnosis.wrong_rows import OtherOrigin
from sources.errors import HeadingsMissing
from sources.extract.table import SheetTaken
from sources.reference.cohorts import Cohort

MAC_KEY = "file_mac"
"""Metadata key of a pseudonymised extract: the MAC of the file that it was made from."""
PARTS_KEY = "parts"
"""Metadata key of the tokens of an extract in parts: the stems of the files that hold the tokens."""
TOKENS_KEY = "tokens_made_under"
"""Metadata key of payload and tokens: the keys and versions that the tokens were made under. With the MAC, this
identifies the tokens. The encrypted files do not, because encrypting the same tokens twice gives different files."""


@dataclass(frozen=True, kw_only=True)
class PartFile:
    """The file of one part of an extract.

    `number` never changes, because rows are identified by part and row number. `file` is the sender's file name, which
    no message repeats. `sender_mac` identifies the sender's original file, even if the sender delivered tokens.
    """

    number: int
    file: str
    sender_mac: str
    file_mac: str
    read_at: str
    of_several: bool = False
    """True if the file also held rows of other cohorts."""
    sheet: SheetTaken | None = None
    """Workbook sheet that it was read from."""
    withdrawn: str = ""
    """Reason for withdrawal, or empty. No rows of a withdrawn part are kept, and its file is not read again."""


@dataclass(frozen=True, kw_only=True)
class PartRows(PartFile):
    """One part of an extract, and the outcome of its rows.

    A row is set aside (`rejected`), `in_force`, `repeated` from an earlier part, or was `replaced` or deleted by a
    later part. `sent_last` counts rows in force that are here and that no later part repeats, `deletions` rows that
    delete a record, `of_nothing` those of a record that was not held. `sent_again` is the number of the part of the
    same name that replaced this one, or 0. In a multi-cohort file, `of_no_cohort` rows belong to no cohort;
    `first_of_no_cohort` holds the first of their row numbers.
    """

    rows_read: int
    rejected: int
    in_force: int = 0
    sent_last: int = 0
    repeated: int = 0
    replaced: int = 0
    deletions: int
    of_nothing: int = 0
    sent_again: int
    of_no_cohort: int = 0
    first_of_no_cohort: tuple[int, ...] = ()


@dataclass(frozen=True)
class FromParts:
    """How an extract was built from its parts.

    `how` is a value of `Parts`; `seen` means that it was inferred and not stated. `order` describes what the parts were
    sorted by. `parts` are in that order, after withdrawn and replaced parts.
    """

    how: str
    seen: bool
    order: str
    parts: tuple[PartRows, ...]


@dataclass(frozen=True)
class ExtractQuality:
    """Intake result for one extract: counts and row numbers from the file, but no values.

    `taken_at` is an ISO 8601 time. `headings` maps contract columns to the file's headings that differ from them.
    `rows_warned` counts kept rows with a warning. `rows_expected` is the expected number of rows, if known. `rows_last`
    is the number kept from the last delivery that did not hold a release. For an extract in parts, `rows_read` counts
    rows in force and rows set aside, and `file_mac` covers all parts. `sender_mac` identifies the sender's original
    file, even if the sender delivered tokens. `sheet` is the workbook sheet that a whole extract was read from.
    `other_origins` are other cohorts or councils that its rows seem to come from.
    """

    council: str
    source: str
    cohort: str
    file: str
    sender_mac: str
    file_mac: str
    made_under: dict[str, Any]
    taken_at: str
    headings: dict[str, str]
    rows_read: int
    rows_kept: int
    rows_warned: int
    rules: tuple[RuleCount, ...]
    findings: tuple[Finding, ...]
    profile: Profile
    rows_expected: int | None = None
    rows_last: int | None = None
    unchanged: bool = field(default=False)
    parts: FromParts | None = None
    sheet: SheetTaken | None = None
    other_origins: tuple[OtherOrigin, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """Source, cohort and council, which identify an extract in a home folder."""
        return self.source, self.cohort, self.council

    @property
    def rows_rejected(self) -> int:
        return self.rows_read - self.rows_kept

    @property
    def part_numbers(self) -> dict[str, int]:
        """Part number of each file by MAC; 0 for a whole extract."""
        return {part.file_mac: part.number for part in self.parts.parts} if self.parts else {self.file_mac: 0}

    @property
    def days_read(self) -> dict[int, dt.date]:
        """Day on which each part was read, by its number; 0 for a whole extract."""
        times = {part.number: part.read_at for part in self.parts.parts} if self.parts else {}
        return {number: dt.datetime.fromisoformat(at).date() for number, at in (times or {0: self.taken_at}).items()}

    def has_row(self, number: int) -> bool:
        """Return whether the extract had a row with this number. For parts, the number includes the part."""
        part, row = row_keys.split_number(number)
        read = {each.number: each.rows_read for each in self.parts.parts} if self.parts else {0: self.rows_read}
        return 0 < row <= read.get(part, 0)

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == CRITICAL and not finding.passed)

    @property
    def holds(self) -> tuple[Finding, ...]:
        """Failed findings that can hold a release."""
        return tuple(finding for finding in self.findings if finding.severity == HOLD and not finding.passed)


@dataclass(frozen=True)
class StoppedExtract:
    """A delivery that was stopped, with the reason worded for operators (`sentence`) and for the sender."""

    council: str
    source: str
    cohort: str
    file: str
    file_mac: str
    stopped_at: str
    sentence: str
    for_sender: str
    headings: HeadingsMissing | None = None


def compute_file_mac(keys: KeyRing, sha256: str) -> str:
    """Return the HMAC-SHA256 of a file's SHA-256, so that nobody without the pipeline's key can test a guess."""
    return hmac.digest(keys.derive_subkey("input-mac", "extract"), bytes.fromhex(sha256), hashlib.sha256).hex()


def hash_inputs(quality: ExtractQuality) -> str:
    """Return a SHA-256 of an extract's inputs: the delivery's MAC and the settings that its rows depend on."""
    return hashlib.sha256(json.dumps([quality.file_mac, quality.made_under], sort_keys=True).encode()).hexdigest()


def read_mac(pseudonymised: Path) -> str:
    """Return the MAC of the delivery that a pseudonymised extract was made from, or an empty string."""
    metadata = pyarrow.parquet.read_metadata(pseudonymised).metadata or {}
    return bytes(metadata.get(MAC_KEY.encode(), b"")).decode()


_EXTRACT_QUALITY, _STOPPED_EXTRACT = TypeAdapter(ExtractQuality), TypeAdapter(StoppedExtract)


def read(path: Path) -> ExtractQuality | None:
    """Read a stored intake result. Return None if it is missing or damaged, so that the extract is ingested again."""
    try:
        return _parse_quality(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


@lru_cache(maxsize=1024)
def _parse_quality(content: bytes) -> ExtractQuality:
    """Parse a stored result. Cached, because a release reads each several times, and England has 765 of them."""
    return _EXTRACT_QUALITY.validate_json(content)


def keep(path: Path, quality: ExtractQuality) -> None:
    """Store an intake result, durable on return."""
    files.write(path, _EXTRACT_QUALITY.dump_json(quality, indent=1))


def read_current(store: ExtractStore) -> ExtractQuality | None:
    """Return the result of the delivery whose rows are in the home folder.

    Return None if the rows are missing, damaged, without their tokens, or from another delivery.
    """
    quality = read(store.quality)
    try:
        mac = read_mac(store.pseudonymised)  # the MAC in the payload itself
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
    # without its key a tokens file can only be checked for truncation
    if store.source in SERVICES and not sealed.is_whole(store.tokens):
        return None
    return quality if quality and quality.file_mac == mac else None


def read_delivered(store: ExtractStore, mac: str) -> ExtractQuality | None:
    """Return the result of the delivery with this MAC, current or superseded; None if there is none."""
    current = read(store.quality)
    return current if current and current.file_mac == mac else read(store.history / f"{mac}.json")


def read_previous(store: ExtractStore, mac: str) -> list[ExtractQuality]:
    """Return the deliveries before the one with this MAC, newest first; the previous cohort's comes last."""
    before = Cohort(store.cohort).previous
    superseded = [quality for path in store.history.glob("*.json") if (quality := read(path))]
    found = [
        read(store.quality),  # first, whatever the clock said when it was ingested
        *sorted(superseded, key=lambda quality: quality.taken_at, reverse=True),
        read(replace(store, cohort=before.code).quality) if before else None,
    ]
    return [quality for quality in found if quality and (quality.file_mac != mac or quality.cohort != store.cohort)]


def accept(home: Home, quality: ExtractQuality, staged: Staged) -> None:
    """Replace the earlier extract with a validated one, so that an interruption leaves no mixture of the two."""
    store = home.get_extract(*quality.key)
    earlier = read(store.quality)
    if earlier and earlier.file_mac != quality.file_mac:
        keep(store.history / f"{earlier.file_mac}.json", earlier)
    # first: if the process dies later on, no tokens remain next to another delivery's rows
    store.tokens.unlink(missing_ok=True)
    files.promote_all(staged.list_moves(store.pseudonymised, store.quarantine, store.tokens))
    # after all rows: a stored result proves that the extract is complete
    keep(store.quality, quality)
    store.stopped.unlink(missing_ok=True)


def take_out(store: ExtractStore) -> None:
    """Remove an extract's current files, and move its result to the superseded ones."""
    earlier = read(store.quality)
    # tokens first, for the same reason as in `accept`
    for path in (store.tokens, store.pseudonymised, store.quarantine):
        path.unlink(missing_ok=True)
    if earlier:
        keep(store.history / f"{earlier.file_mac}.json", earlier)
        store.quality.unlink()


def derive_row_keys(store: ExtractStore, keys: KeyRing) -> row_keys.RowKeys:
    """Return the row keys of the current extract. Raises `KeyProblem` if it was ingested under another row key."""
    quality = read(store.quality)
    made_under = quality.made_under.get("keys", {}).get("row") if quality else None
    if made_under != keys.fingerprints["row"]:
        raise KeyProblem(
            f"{store.name} was ingested under another row key; use the keys of that time, or ingest it again"
        )
    if quality and quality.parts:
        return row_keys.derive_part_keys(keys, *store.key)
    return row_keys.derive_delivery_keys(keys, *store.key, quality.file_mac if quality else "")


def read_stopped(store: ExtractStore) -> StoppedExtract | None:
    """Return the latest delivery if it was stopped, else None."""
    path = store.stopped
    return _STOPPED_EXTRACT.validate_json(path.read_bytes()) if path.exists() else None


def note_stopped(home: Home, note: StoppedExtract) -> None:
    """Store the reason for a stop. The earlier good delivery stays in place."""
    files.write_json(home.get_extract(note.source, note.cohort, note.council).stopped, asdict(note))
