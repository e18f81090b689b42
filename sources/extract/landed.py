"""What lies in the landing folder: `landing/<council>/<source>/<cohort>.<ext>`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sources.contracts import CONTRACTS
from sources.extract.errors import ExtractStopped
from sources.reference.places import places

TOKENS_SUFFIX = ".tokens.parquet"
"""Ends the name of a file whose identifiers the sender has replaced by tokens."""
SUFFIXES = (".csv", ".csv.gz", ".parquet", TOKENS_SUFFIX)
REFERENCE = "reference"
"""Folder of landing that holds public look-ups, not a council's."""


@dataclass(frozen=True)
class Landed:
    """One extract as it lies in landing."""

    council: str
    source: str
    cohort: str
    path: Path

    @property
    def name(self) -> str:
        """How messages call it: the path below landing."""
        return f"{self.council}/{self.source}/{self.path.name}"

    @property
    def holds_tokens(self) -> bool:
        """Whether the sender has replaced the identifiers."""
        return self.path.name.lower().endswith(TOKENS_SUFFIX)


def taking_part(landing: Path) -> list[str]:
    """Councils with a folder in landing, in order of name."""
    known = places()
    return sorted(folder.name for folder in landing.iterdir() if folder.is_dir() and folder.name in known)


def unknown_folders(landing: Path) -> list[str]:
    """Folders of landing that are not the name of an English authority."""
    known = {*places(), REFERENCE}
    return sorted(folder.name for folder in landing.iterdir() if folder.is_dir() and folder.name not in known)


def find(landing: Path, council: str, source: str, cohort: str) -> Landed | None:
    """The extract of a council, source and cohort, if it has arrived; raises `ExtractStopped` where two have."""
    folder = landing / council / source
    found = [path for suffix in SUFFIXES if (path := folder / f"{cohort}{suffix}").is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise ExtractStopped(f"{council}/{source}: {names} both lie there; leave the one that counts")
    return Landed(council, source, cohort, found[0]) if found else None


def find_all(landing: Path, cohort: str) -> Iterator[Landed]:
    """Every extract of a cohort, by council and source."""
    for council in taking_part(landing):
        for source in CONTRACTS:
            if landed := find(landing, council, source, cohort):
                yield landed
