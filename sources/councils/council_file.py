"""A council's file: where it lies and what it says of each source.

    council: leeds
    sources:
      eyfsp:
        delimiter: "|"                     # default ","
        encoding: windows-1252             # default utf-8
        date_format: "%d/%m/%Y"            # default %Y-%m-%d (strptime); or a list
        columns: {upn: Pupil UPN}          # contract column: the council's own heading
        codes: {sex: {Male: M}}            # contract column: {the council's value: contract code}
        constants: {la_code: 383}
        derived: {surname: {from: Child name, pattern: '^([^,]+),'}}

Every value is read as text, so `No`, `0383` and `1` mean what they say. docs/council-files.md has all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from privacy.doors.environment import settings
from sources.councils.dialect import CONTRACT_DIALECT, Dialect
from sources.councils.load import load as _load
from sources.councils.problems import InvalidCouncilFile, Problem
from sources.reference.places import place

__all__ = ["CONTRACT_DIALECT", "CouncilFile", "Dialect", "InvalidCouncilFile", "council_file", "load"]

SHIPPED = Path(__file__).parent


@dataclass(frozen=True)
class CouncilFile:
    """A council and its dialect of each source it sends."""

    council: str
    sources: Mapping[str, Dialect] = field(default_factory=dict)

    def dialect(self, source: str) -> Dialect:
        return self.sources.get(source, CONTRACT_DIALECT)


def council_file(council: str) -> CouncilFile:
    """The dialects of `council`; the contract's own form where it has no file.

    Raises `UnknownCouncil` and `InvalidCouncilFile`.
    """
    place(council)
    for folder in (*_operators_folder(council), SHIPPED):
        path = folder / f"{council}.yaml"
        if path.is_file():
            status = path.stat()
            return _load_once(path, status.st_mtime_ns, status.st_size)
    return CouncilFile(council)


def load(path: Path) -> CouncilFile:
    """Read and check one council file; raises `InvalidCouncilFile`."""
    return CouncilFile(path.stem, _load(path))


@lru_cache(maxsize=512)
def _load_once(path: Path, mtime_ns: int, size: int) -> CouncilFile:
    """`load`, again only when the file has changed."""
    return load(path)


def _operators_folder(council: str) -> tuple[Path, ...]:
    """The installation's own folder, before the shipped one; a file there that would be passed over for its name is
    refused."""
    folder = settings().councils
    if folder is None:
        return ()
    for path in folder.iterdir():
        stem, ending = path.stem.lower(), path.suffix.lower()
        if ending in (".yaml", ".yml") and stem == council and path.name != f"{council}.yaml":
            raise InvalidCouncilFile([Problem(path.name, 1, 1, f"the file must be called {council}.yaml")])
    return (folder,)
