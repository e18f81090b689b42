"""Files that a reader finds as they were or as they are now, never half written; and the form of JSON in them."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from privacy.doors.files import sync
from privacy.doors.locks import locked

_MODE = 0o644
_SCRATCH = re.compile(r"\.(?:.+\.[a-z0-9_]{8}|site)")
"""Names of folders in which things are made before they are moved beside them."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep every other process that writes to `folder` out for the block; what dead ones left half-made is removed."""
    with locked(folder):
        for left in folder.iterdir():
            if _SCRATCH.fullmatch(left.name) and left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
        yield


@contextmanager
def steady(folder: Path) -> Iterator[None]:
    """Keep everyone who writes to `folder` out for the block, and readers not; where there is no folder, nobody."""
    if not folder.is_dir():
        yield
        return
    with locked(folder, shared=True):
        yield


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


def indented_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys, two spaces of indent and a final newline. Raises ValueError for NaN and infinity."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"
