"""Files that a reader finds either as they were or as they are now, and never half written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_MODE = 0o644


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step; a file that holds it already is left alone."""
    if path.is_file() and path.read_bytes() == content:
        return
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        staged = Path(scratch) / path.name
        staged.write_bytes(content)
        staged.chmod(_MODE)
        sync(staged)
        staged.replace(path)
    sync(path.parent)


def point(link: Path, target: str) -> None:
    """Make `link` a symbolic link to `target`, in one step."""
    if link.is_symlink() and str(link.readlink()) == target:
        return
    with tempfile.TemporaryDirectory(prefix=f".{link.name}.", dir=link.parent) as scratch:
        staged = Path(scratch) / link.name
        staged.symlink_to(target)
        staged.replace(link)
    sync(link.parent)


def sync(path: Path) -> None:
    """Ask the system to put the file or folder on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
