"""Remove from landing the files whose rows are in: overwritten once, then unlinked.

On flash storage, and on file systems that write changes elsewhere, the old bytes may outlive the overwriting: what
protects a removed file is encryption of the disk it lay on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assets.home.at_work import alone
from assets.home.paths import Home
from assets.home.processing_log import What, record
from assets.intake import deliveries
from privacy.doors.files import overwrite
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS
from sources.errors import ExtractStopped
from sources.extract.landed import READY, Landed, content_sha256, files_in, find, taking_part
from sources.reference.cohorts import cohort_codes


@dataclass(frozen=True)
class Shreddable:
    """A file, or folder of files, of landing whose rows are in force."""

    landed: Landed
    file_mac: str
    taken_at: str


@dataclass(frozen=True)
class Looked:
    """Files that may be shredded, and a sentence for each that may not."""

    ready: tuple[Shreddable, ...]
    kept: tuple[str, ...]


def shreddable(landing: Path, home: Home, keys: KeyRing, cohort: str | None = None) -> Looked:
    """What of landing, of one cohort or of all, has been taken in as it lies there."""
    ready: list[Shreddable] = []
    kept: list[str] = []
    for council in taking_part(landing):
        for source in CONTRACTS:
            for code in [cohort] if cohort else _cohorts_in(landing / council / source):
                try:
                    landed = find(landing, council, source, code)
                    found = _looked_at(home, keys, landed) if landed else None
                except ExtractStopped as stopped:
                    found = f"{stopped}; it stays"
                if isinstance(found, Shreddable):
                    ready.append(found)
                elif found:
                    kept.append(found)
    return Looked(tuple(ready), tuple(kept))


def shred_taken(landing: Path, home: Home, keys: KeyRing, cohort: str | None = None) -> Looked:
    """Shred what is `shreddable`; raises `InUse` where a run is at work."""
    with alone(home):
        found = shreddable(landing, home, keys, cohort)
        for file in found.ready:
            shred(home, file)
        for left in landing.glob(f"*/*/{_SHREDDING_PREFIX}*"):
            _destroy(left)
    return found


def shred(home: Home, file: Shreddable) -> None:
    """Overwrite and unlink; recorded before. A death on the way leaves a name that no extract has."""
    landed = file.landed
    record(home, What.SHREDDING, *landed.key, file_mac=file.file_mac)
    begun = landed.path.with_name(_SHREDDING_PREFIX + landed.path.name)
    landed.path.rename(begun)
    _destroy(begun)
    landed.path.with_name(landed.path.name + READY).unlink(missing_ok=True)


def _destroy(path: Path) -> None:
    for file in files_in(path):
        overwrite(file)
        file.unlink()
    if path.is_dir():
        path.rmdir()


_SHREDDING_PREFIX = ".shredding-"


def _looked_at(home: Home, keys: KeyRing, landed: Landed) -> Shreddable | str:
    """The extract as one that may be shredded, or why it stays."""
    files = files_in(landed.path)
    if any(path.is_symlink() for path in (landed.path, *files)):
        return f"{landed.name} is a link; what it leads to stays"
    if any(path.stat().st_nlink > 1 for path in files):
        return f"{landed.name} has another name elsewhere, whose content would go with it; it stays"
    if landed.path.is_dir() and any(path.is_dir() for path in landed.path.iterdir()):
        return f"{landed.name} holds folders; it stays"
    quality = deliveries.current(home, *landed.key)
    mac = deliveries.file_mac(keys, content_sha256(landed.path))
    if deliveries.stopped(home, *landed.key):
        return f"{landed.name} was stopped; it stays until a good one is in"
    if quality is None or quality.file_mac != mac:
        return f"{landed.name} has not been taken in as it lies there; it stays"
    return Shreddable(landed, mac, quality.taken_at)


def _cohorts_in(folder: Path) -> Iterator[str]:
    names = {path.name.partition(".")[0] for path in folder.iterdir()} if folder.is_dir() else set()
    yield from (code for code in cohort_codes(_LAST_YEAR) if code in names)


_LAST_YEAR = 2098
