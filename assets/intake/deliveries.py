"""What was delivered, and what became of it: the result of each intake, of those superseded and of those stopped.

A delivery is known by the MAC of its file's content under a key of the pipeline's own. Nothing here holds a value of an
extract.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from assets.home.paths import Home
from assets.intake.findings import Finding
from assets.intake.one_pass import RuleCount
from assets.intake.profile import Profile
from privacy.doors.files import promote, write_json
from privacy.keys import KeyRing
from sources.extract.landed import Landed
from sources.reference.cohorts import Cohort

MAC_KEY = "file_mac"
"""Name, in the metadata of a pseudonymised extract, of the MAC of the file it was made from."""


@dataclass(frozen=True)
class ExtractQuality:
    """What intake found in one extract. Holds the file's own counts and row numbers, no values.

    `taken_at` is an ISO 8601 time. `headings` are the file's own names of contract columns, where they differ.
    `rows_warned` counts kept rows with a warning.
    """

    council: str
    source: str
    cohort: str
    file: str
    file_sha256: str
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
    unchanged: bool = field(default=False)

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "critical" and not finding.passed)


@dataclass(frozen=True)
class StoppedExtract:
    """A delivery that was not taken, and why."""

    council: str
    source: str
    cohort: str
    file: str
    file_mac: str
    stopped_at: str
    sentence: str


def file_mac(keys: KeyRing, sha256: str) -> str:
    """HMAC-SHA256 of a file's SHA-256 under the pipeline's own key, hexadecimal: who has no key cannot test a guess."""
    return hmac.digest(keys.subkey("input-mac", "extract"), bytes.fromhex(sha256), hashlib.sha256).hex()


def read(path: Path) -> ExtractQuality | None:
    """The stored result of an intake, if there is one; one that is damaged counts as none, and is made again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    rules = (
        RuleCount(**rule | {"columns": tuple(rule["columns"]), "first_rows": tuple(rule["first_rows"])})
        for rule in content["rules"]
    )
    findings = (Finding(**finding) for finding in content["findings"])
    profile = Profile.read(content["profile"])
    return ExtractQuality(**content | {"rules": tuple(rules), "findings": tuple(findings), "profile": profile})


def current(home: Home, landed: Landed) -> ExtractQuality | None:
    """The delivery whose rows stand in the restricted zone; None where they are of another one, damaged, or there are
    none."""
    key = (landed.source, landed.cohort, landed.council)
    quality = read(home.quality(*key))
    try:
        held = pyarrow.parquet.read_metadata(home.pseudonymised(*key)).metadata or {}
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
    if quality is None:
        return None
    return quality if held.get(MAC_KEY.encode()) == quality.file_mac.encode() else None


def last(home: Home, landed: Landed, mac: str) -> ExtractQuality | None:
    """What to compare a delivery of MAC `mac` with: the one before it of this cohort, else of the cohort before."""
    key = (landed.source, landed.cohort, landed.council)
    standing = read(home.quality(*key))
    if standing and standing.file_mac != mac:
        return standing  # whatever the clock said when it was taken
    superseded = [quality for path in home.history(*key).glob("*.json") if (quality := read(path))]
    if of_this_cohort := [quality for quality in superseded if quality.file_mac != mac]:
        return max(of_this_cohort, key=lambda quality: quality.taken_at)
    before = Cohort(landed.cohort).previous
    return read(home.quality(landed.source, before.code, landed.council)) if before else None


def accept(home: Home, landed: Landed, quality: ExtractQuality, kept: Path, quarantine: Path) -> None:
    """Put a judged extract in place of the earlier one.

    The quality result goes last: it is what says that the extract is in.
    """
    key = (landed.source, landed.cohort, landed.council)
    earlier = read(home.quality(*key))
    if earlier and earlier.file_mac != quality.file_mac:
        write_json(home.history(*key) / f"{earlier.file_mac}.json", asdict(earlier))
    promote(kept, home.pseudonymised(*key))
    promote(quarantine, home.quarantine(*key))
    write_json(home.quality(*key), asdict(quality))
    home.stopped(*key).unlink(missing_ok=True)


def stopped(home: Home, landed: Landed) -> StoppedExtract | None:
    """The newest delivery, where it was stopped."""
    path = home.stopped(landed.source, landed.cohort, landed.council)
    return StoppedExtract(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def note_stopped(home: Home, landed: Landed, note: StoppedExtract) -> None:
    """Keep why a delivery was stopped; the earlier good one stays in place."""
    write_json(home.stopped(landed.source, landed.cohort, landed.council), asdict(note))
