"""What lies in the landing folder: `landing/<council>/<source>/<cohort>.<ext>`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sources.contracts import CONTRACTS
from sources.extract.errors import ExtractStopped
from sources.reference.places import places

SUFFIXES = (".csv", ".csv.gz", ".parquet")
REFERENCE = "reference"
"""Folder of landing that holds public look-ups, not a council's."""
READY = ".ready"
"""Ends the name of the empty file that a sender may put beside an extract once it is complete."""
_UNFINISHED_STARTS, _UNFINISHED_ENDS = (".", "~$"), (".part", ".filepart", ".tmp")


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


def candidates(landing: Path) -> Iterator[Landed]:
    """Every extract that lies there, of any cohort; of a council and source with two of one cohort, both."""
    for council in taking_part(landing):
        for source in CONTRACTS:
            by_cohort: dict[str, list[Path]] = {}
            for path in sorted((landing / council / source).glob("*")):
                if not is_unfinished(path.name) and not path.name.endswith(READY):
                    by_cohort.setdefault(path.name.partition(".")[0], []).append(path)
            for cohort, paths in by_cohort.items():
                try:
                    found = find(landing, council, source, cohort)
                except ExtractStopped:
                    yield from (Landed(council, source, cohort, path) for path in paths)
                else:
                    yield from [found] if found else []


def is_unfinished(name: str) -> bool:
    """Whether a file's name is one that transfer tools and office programs give to what they are still writing."""
    return name.startswith(_UNFINISHED_STARTS) or name.lower().endswith(_UNFINISHED_ENDS)


def check_extract_name(name: str) -> None:
    """Raises ValueError where `name` is not `council/source`."""
    council, _, source = name.partition("/")
    if council not in places() or source not in CONTRACTS:
        raise ValueError(f"{name!r} is not a council and source such as halton/eyfsp")
