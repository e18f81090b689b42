"""What a landed file, or folder of files, holds: its identity, and a cheap look at whether it moved."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sources.extract.errors import ExtractStopped
from sources.extract.landed import files_in


def content_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, streamed; of a folder, of the names and hashes of its files.

    Raises `ExtractStopped` where it cannot be read.
    """
    try:
        if path.is_dir():
            lines = (f"{_file_sha256(file)}  {file.name}\n" for file in files_in(path))
            return hashlib.sha256("".join(lines).encode()).hexdigest()
        return _file_sha256(path)
    except OSError as error:
        raise ExtractStopped(f"{path.name}: cannot be read ({error.strerror}); check its owner and mode") from None


def state(path: Path) -> list[list[int]]:
    """Size and time of change of each file: equal over two looks when nothing is being written."""
    return [[stat.st_size, stat.st_mtime_ns] for stat in (file.stat() for file in files_in(path))]


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
