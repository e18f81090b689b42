"""Results of intakes: of each delivery that is in, of superseded ones and of those that were stopped.

A delivery is known by the MAC of its file's content under a key of the pipeline. Nothing here holds a value of an
extract.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from pydantic import TypeAdapter

from assets.home.paths import Home
from assets.intake.quality import CRITICAL, HOLD, Finding
from assets.intake.quality_report.profile import Profile
from assets.pseudonymise.findings import RuleCount, Staged
from privacy import pseudonyms, row_keys
from privacy.doors import sealed
from privacy.doors.files import promote_all, write, write_json
from privacy.keys import KeyProblem, KeyRing
from privacy.row_keys import RowKeys, part_and_row
from privacy.services import SERVICES
from sources.diagnosis.wrong_cohort_or_council import OtherOrigin
from sources.errors import HeadingsMissing
from sources.extract.table import SheetTaken
from sources.reference.cohorts import Cohort

MAC_KEY = "file_mac"
"""Name, in the metadata of a pseudonymised extract, of the MAC of the file it was made from."""
PARTS_KEY = "parts"
"""Name, in the metadata of the tokens of an extract in parts, of the stems of the files that its tokens lie in."""
TOKENS_KEY = "tokens_made_under"
"""Name, in the metadata of payload and tokens, of what the tokens of their rows were made under: with the MAC, it says
what they are, though no two encrypted files are the same."""


@dataclass(frozen=True)
class PartRows:
    """One part of an extract, and what became of its rows when the parts were put together.

    Of the rows that were not set aside, some are `in_force`; others repeat what an earlier part says, or were
    `replaced` or deleted by a later one. `deletions` are rows that delete a record, `of_nothing` those among them whose
    record was not held. `sent_again` is the number of the part of the same name that took its place, or 0.
    `sender_mac` is of the file that the sender holds, also where it handed over tokens in its place. Of a file of
    several cohorts, `of_no_cohort` rows are in none of them, the first of them by number.
    """

    number: int
    file: str
    file_mac: str
    read_at: str
    rows_read: int
    in_force: int
    repeated: int
    replaced: int
    rejected: int
    deletions: int
    of_nothing: int
    sent_again: int
    sender_mac: str
    of_no_cohort: int = 0
    first_of_no_cohort: tuple[int, ...] = ()
    withdrawn: str = ""
    """Why, if it was; its rows are not counted then."""
    sheet: SheetTaken | None = None


@dataclass(frozen=True)
class FromParts:
    """How an extract was built from its parts.

    `how` says how the parts belong together, and `seen` that this was inferred rather than stated. `order` is what
    their order is by. `parts` are in order, withdrawn and repeated ones first.
    """

    how: str
    seen: bool
    order: str
    parts: tuple[PartRows, ...]


@dataclass(frozen=True)
class ExtractQuality:
    """What intake found in one extract. Holds the file's own counts and row numbers, no values.

    `taken_at` is an ISO 8601 time. `headings` are the file's own names of contract columns, where they differ.
    `rows_warned` counts kept rows with a warning; `rows_expected` is how many there should be, where anybody knows, and
    `rows_last` how many were kept of the last delivery that no release had to wait for. Of an extract in parts,
    `rows_read` are the rows in force and those set aside, and `file_mac` is of the parts together. `sender_mac` is of
    the file that the sender holds, also where it handed over tokens in its place. `sheet` is the one that a whole
    extract was read from, of a workbook. `elsewhere` says which other year or council its rows look to be of.
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
    rows_rejected: int
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
        """Source, cohort and council, by which a home folder knows it."""
        return self.source, self.cohort, self.council

    @property
    def part_numbers(self) -> dict[str, int]:
        """The number of each of its files by MAC: those of its parts, or 0 of a whole one."""
        return {part.file_mac: part.number for part in self.parts.parts} if self.parts else {self.file_mac: 0}

    def has_row(self, number: int) -> bool:
        """Return whether a row of this number in the whole extract was read."""
        part, row = part_and_row(number)
        read = {each.number: each.rows_read for each in self.parts.parts} if self.parts else {0: self.rows_read}
        return 0 < row <= read.get(part, 0)

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == CRITICAL and not finding.passed)

    @property
    def holds(self) -> tuple[Finding, ...]:
        """What a release waits for."""
        return tuple(finding for finding in self.findings if finding.severity == HOLD and not finding.passed)


@dataclass(frozen=True)
class StoppedExtract:
    """A delivery that was not taken, and why, in words for operators and in words for the sender."""

    council: str
    source: str
    cohort: str
    file: str
    file_mac: str
    stopped_at: str
    sentence: str
    for_sender: str
    headings: HeadingsMissing | None = None


def file_mac(keys: KeyRing, sha256: str) -> str:
    """Return the HMAC-SHA256 of a file's SHA-256: nobody without the pipeline's key can test a guess."""
    return hmac.digest(keys.subkey("input-mac", "extract"), bytes.fromhex(sha256), hashlib.sha256).hex()


def made_of(quality: ExtractQuality) -> str:
    """Return a SHA-256 of what an extract was made of: the delivery's MAC, and the settings that its rows depend on."""
    return hashlib.sha256(json.dumps([quality.file_mac, quality.made_under], sort_keys=True).encode()).hexdigest()


def tokens_made_under(keys: KeyRing) -> str:
    """Return what tokens of the same identifiers depend on."""
    return json.dumps(pseudonyms.manifest(keys), sort_keys=True)


def mac_of(pseudonymised: Path) -> str:
    """Return the MAC of the delivery that a pseudonymised extract was made from, or an empty text."""
    metadata = pyarrow.parquet.read_metadata(pseudonymised).metadata or {}
    return bytes(metadata.get(MAC_KEY.encode(), b"")).decode()


_EXTRACT_QUALITY, _STOPPED_EXTRACT = TypeAdapter(ExtractQuality), TypeAdapter(StoppedExtract)


def read(path: Path) -> ExtractQuality | None:
    """Read the stored result of an intake; None if there is none or it is damaged, so that it is made again."""
    try:
        return _quality(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


@lru_cache(maxsize=1024)
def _quality(content: bytes) -> ExtractQuality:
    """Parse a stored result. A release looks several times at each, of which England has 765."""
    return _EXTRACT_QUALITY.validate_json(content)


def keep(path: Path, quality: ExtractQuality) -> None:
    """Store the result of an intake, durable on return."""
    write(path, _EXTRACT_QUALITY.dump_json(quality, indent=1))


def current(home: Home, source: str, cohort: str, council: str) -> ExtractQuality | None:
    """Return the delivery whose rows are in, or None.

    None if the rows are of another delivery, damaged or without their tokens.
    """
    quality = read(home.quality(source, cohort, council))
    try:
        held = mac_of(home.pseudonymised(source, cohort, council))
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
    if source in SERVICES and not sealed.is_whole(home.tokens(source, cohort, council)):
        return None
    return quality if quality and quality.file_mac == held else None


def last(
    home: Home, source: str, cohort: str, council: str, mac: str, *, that_stood: bool = False
) -> ExtractQuality | None:
    """Return what to compare a delivery with: the one before it of this cohort, else of the cohort before.

    With `that_stood`, the latest that no release had to wait for. `mac` is the delivery's own.
    """
    key, before = (source, cohort, council), Cohort(cohort).previous
    superseded = [quality for path in home.history(*key).glob("*.json") if (quality := read(path))]
    found = [
        read(home.quality(*key)),  # whatever the clock said when it was taken
        *sorted(superseded, key=lambda quality: quality.taken_at, reverse=True),
        read(home.quality(source, before.code, council)) if before else None,
    ]
    others = (quality for quality in found if quality and (quality.file_mac != mac or quality.cohort != cohort))
    return next((quality for quality in others if not (that_stood and quality.holds)), None)


def accept(home: Home, quality: ExtractQuality, staged: Staged) -> None:
    """Put a judged extract in place of the earlier one.

    The earlier tokens go first and the quality result comes last: whatever a death leaves, no tokens stand beside rows
    of another delivery, and the result says that the extract is in.
    """
    key = quality.key
    earlier = read(home.quality(*key))
    if earlier and earlier.file_mac != quality.file_mac:
        keep(home.history(*key) / f"{earlier.file_mac}.json", earlier)
    home.tokens(*key).unlink(missing_ok=True)
    promote_all(staged.moves(home.pseudonymised(*key), home.quarantine(*key), home.tokens(*key)))
    keep(home.quality(*key), quality)
    home.stopped(*key).unlink(missing_ok=True)


def take_out(home: Home, key: tuple[str, str, str]) -> None:
    """Remove what is in of an extract; its result stays among the superseded ones."""
    earlier = read(home.quality(*key))
    for path in (home.tokens(*key), home.pseudonymised(*key), home.quarantine(*key)):
        path.unlink(missing_ok=True)
    if earlier:
        keep(home.history(*key) / f"{earlier.file_mac}.json", earlier)
        home.quality(*key).unlink()


def row_keys_of(home: Home, keys: KeyRing, source: str, cohort: str, council: str) -> RowKeys:
    """Return the row keys of the extract that is in. Raises `KeyProblem` if it was ingested under another row key."""
    quality = read(home.quality(source, cohort, council))
    made_under = quality.made_under.get("keys", {}).get("row") if quality else None
    if made_under != keys.fingerprints["row"]:
        raise KeyProblem(
            f"{council}/{source}/{cohort} was taken in under another row key: give the key set of that time, or take it"
            " in again"
        )
    if quality and quality.parts:
        return row_keys.of_parts(keys, source, cohort, council)
    return row_keys.of_delivery(keys, source, cohort, council, quality.file_mac if quality else "")


def stopped(home: Home, source: str, cohort: str, council: str) -> StoppedExtract | None:
    """Return the latest delivery if it was stopped."""
    path = home.stopped(source, cohort, council)
    return _STOPPED_EXTRACT.validate_json(path.read_bytes()) if path.exists() else None


def note_stopped(home: Home, note: StoppedExtract) -> None:
    """Keep why a delivery was stopped; the earlier good one stays in place."""
    write_json(home.stopped(note.source, note.cohort, note.council), asdict(note))
