"""Identity of the running program, for results that are rebuilt if the code that makes them changes."""

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from privacy.doors.environment import PROJECT

# Rules and parameters in data files decide results as much as code does.
_SOURCE_SUFFIXES = (".py", ".sql", ".yaml", ".json", ".csv")


@cache
def compute_program_sha256(
    folders: tuple[str, ...], libraries: tuple[str, ...], templates: tuple[str, ...] = ()
) -> str:
    """Return the SHA-256 (hexadecimal) of the source files in project folders and the versions of libraries.

    `templates` are suffixes of further files that count.
    """
    suffixes = (*_SOURCE_SUFFIXES, *templates)
    sources = (path for part in folders for path in (PROJECT / part).rglob("*") if path.suffix in suffixes)
    lines = [*(f"{name} {version(name)}" for name in libraries), *list_digests(sources, PROJECT)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def list_digests(files: Iterable[Path], folder: Path) -> list[str]:
    """Return one line for each existing file: its path in `folder` and its SHA-256."""
    return [
        f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(files)
        if path.is_file()
    ]
