"""Whether a release stands as it was made: measured of what is in, published, and everything in the release directory
as it was then.

What decides a bundle, and what became of it, is kept by hash once it is verified. A release that stands is not made
again: the same bytes would come of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from assets.home.paths import Home
from assets.linkage.inputs import sha256_of
from assets.release.anchors import published_charges
from assets.release.begin import Asked, stands
from assets.release.imprint import publisher_of
from assets.release.record import read_record, releases_of, requested_tables
from ndl_export.facts.directory_files import calendar
from ndl_export.files.signing import fingerprint, public_pem
from ndl_export.tables import FAMILIES
from privacy.doors import files
from privacy.doors.environment import settings
from privacy.doors.program import program_sha256
from privacy.keys import KeyRing
from privacy.release.canonical import canonical_json
from privacy.release.ledger import Ledger
from privacy.release.policy import load_policy
from privacy.release.store import path_of

_CODE = ("assets/release", "ndl_export", "privacy", "sources/reference")
_LIBRARIES = ("numpy", "opendp", "pyarrow", "scipy")
_MADE_BY_ITSELF = ".duckdb"
"""Ends the name of what says by itself from what it was made."""


@dataclass(frozen=True)
class _Made:
    """SHA-256 of what decides a release, and the content, by hash, of every measurement and of everything in the
    release directory once it was published, by place in the home folder."""

    made_from: str
    files: Mapping[str, str]


_MADE: TypeAdapter[_Made] = TypeAdapter(_Made)


def release_stands(home: Home, keys: KeyRing, cohort: str, version: str, councils: Sequence[str], asked: Asked) -> bool:
    """Whether what is asked of a release is what was made, and all of it is as it was when it was published.

    Raises `LedgerError`, and what `published_charges` does.
    """
    record = read_record(home, version)
    own = [each for each, entry in record.items() if entry.measured_in == version]
    if cohort not in record or (asked.share is not None and asked.share != record[cohort].share):
        return False
    if not set(asked.requests) <= {table.name for table in requested_tables(record)}:
        return False
    if not all(stands(home, each, version, councils) for each in own):
        return False
    return bundle_stands(home, keys, version, councils)


def bundle_stands(home: Home, keys: KeyRing, version: str, councils: Sequence[str]) -> bool:
    """Whether the bundle of a release, and everything beside it, is as it was when the bundle was last verified, and
    would come out the same. Raises `LedgerError`, and what `published_charges` does."""
    path = home.release_made(version)
    if not path.exists() or not (home.release / version).is_dir():
        return False
    if _MADE.validate_json(path.read_bytes()) != _made(home, keys, version, councils):
        return False
    Ledger(home.ledger).check_known(published_charges(home, keys))
    return True


def note_sound(home: Home, keys: KeyRing, version: str, councils: Sequence[str]) -> None:
    """Keep what `bundle_stands` compares with, of a bundle that was verified and all that is beside it."""
    files.write_json(home.release_made(version), asdict(_made(home, keys, version, councils)))


def _made(home: Home, keys: KeyRing, version: str, councils: Sequence[str]) -> _Made:
    held = {str(path.relative_to(home.root)): _content(path) for path in _files(home)}
    return _Made(_made_from(home, keys, version, councils), held)


def _content(path: Path) -> str:
    return f"-> {path.readlink()}" if path.is_symlink() else sha256_of(path)


def _made_from(home: Home, keys: KeyRing, version: str, councils: Sequence[str]) -> str:
    ledger, record = Ledger(home.ledger), read_record(home, version)
    said = {
        "records": {each: _as_json(home, each) for each in releases_of(record, version)},
        "councils": sorted(councils),
        "ledger": [line.entry_hash for line in ledger.entries()[-1:]],
        "signed": [line.entry_hash for line in ledger.sign_offs()[-1:]],
        "policy": load_policy().sha256,
        "publisher": asdict(publisher_of(home, keys, version)),
        "calendar": [(each.version, str(each.date)) for each in calendar(settings().calendar)],
        "key": fingerprint(public_pem(keys.signing_key)),
        "program": program_sha256(_CODE, _LIBRARIES),
    }
    return hashlib.sha256(canonical_json(said)).hexdigest()


def _as_json(home: Home, version: str) -> dict[str, object]:
    return {cohort: asdict(entry) for cohort, entry in read_record(home, version).items()}


def _files(home: Home) -> Iterator[Path]:
    """The measurements of every release, and what lies in the release directory."""
    for folder in (path_of(home.restricted, "c", "r", next(iter(FAMILIES))).parents[2], home.release):
        for path in folder.rglob("*"):
            if path.is_symlink() or (path.is_file() and path.suffix != _MADE_BY_ITSELF):
                yield path
