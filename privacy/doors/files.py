"""Files of the restricted zone: readable only by their owner, durable, and written completely or not at all.

A file is written under a temporary name, synced and renamed into place, and its folder is synced: after a power cut
either the old or the new file exists, and a write that had returned is kept. Works on Windows, where senders run it.
"""

import json
import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO

OWNER_ONLY_FILE = 0o600
OWNER_ONLY_FOLDER = 0o700
_CHUNK_BYTES = 1 << 20
_SYNCED_AT_ONCE = 8


def make_folder(folder: Path) -> None:
    """Create `folder` and its missing parents, accessible only to their owner and durable on return."""
    missing = list(takewhile(lambda each: not each.exists(), (folder, *folder.parents)))
    for each in reversed(missing):
        # The entry of a new folder is in its parent, so the parent is what must reach the disk.
        each.mkdir(mode=OWNER_ONLY_FOLDER, exist_ok=True)
        sync(each.parent)


def close_to_others(folder: Path) -> None:
    """Make a folder accessible only to its owner, unless someone else owns it, such as the root of a mounted volume."""
    found = folder.stat()
    if stat.S_IMODE(found.st_mode) != OWNER_ONLY_FOLDER and found.st_uid == os.geteuid():
        folder.chmod(OWNER_ONLY_FOLDER)


def create(path: Path) -> BinaryIO:
    """Create and open a file that only its owner can read. Raises `FileExistsError`: no file is ever replaced."""
    # O_EXCL also refuses a symbolic link at the path, wherever it leads.
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY_FILE), "wb")


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path`, durable on return; creates the folder if it is missing."""
    write_all({path: content})


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write several files, each completely or not at all, and all durable on return."""
    for path, content in contents.items():
        make_folder(path.parent)
        staged = get_unfinished_path(path)
        # A process that died may have left one, and `create` replaces no file.
        staged.unlink(missing_ok=True)
        with create(staged) as file:
            file.write(content)
    promote_all([(get_unfinished_path(path), path) for path in contents])


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, durable on return."""
    write(path, encode_json(content))


def encode_json(content: Any) -> bytes:
    """Return the bytes that `write_json` writes: an object with one member per line."""
    if not isinstance(content, dict):
        return json.dumps(content).encode()
    members = (f" {json.dumps(str(name))}: {json.dumps(value)}" for name, value in content.items())
    return ("{\n" + ",\n".join(members) + "\n}").encode()


def append(handle: int, content: bytes) -> None:
    """Append `content` to an open file, durable on return."""
    os.pwrite(handle, content, os.fstat(handle).st_size)
    os.fsync(handle)


def get_unfinished_path(path: Path) -> Path:
    """Return the temporary name under which `write` may leave an unfinished file if the process dies."""
    return path.with_name(f".{path.name}.unfinished")


def promote(staged: Path, final: Path) -> None:
    """Move a finished file into place, durable on return. Both paths must be on one file system."""
    promote_all([(staged, final)])


def promote_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Move finished files into place in this order, all of them durable on return."""
    for staged, final in moves:
        make_folder(final.parent)
        staged.chmod(OWNER_ONLY_FILE)
    # Content before names: after a power cut no final name may lead to an incomplete file.
    sync_all([staged for staged, _ in moves])
    for staged, final in moves:
        staged.replace(final)
    sync_all(list(dict.fromkeys(final.parent for _, final in moves)))


def overwrite(handle: int) -> None:
    """Replace the bytes of an open file with random ones, durable on return, so that it can then be removed."""
    left = os.fstat(handle).st_size
    while left > 0:
        left -= os.write(handle, secrets.token_bytes(min(left, _CHUNK_BYTES)))
    os.fsync(handle)


def sync_all(paths: Sequence[Path]) -> None:
    """Sync files and folders to disk in parallel."""
    # A journalling file system writes all pending data at once: 200 files take a twentieth of the time that they take
    # one by one.
    if len(paths) == 1:
        return sync(paths[0])
    list(_get_sync_pool().map(sync, paths))


@cache
def _get_sync_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_SYNCED_AT_ONCE, "sync")


def sync(path: Path) -> None:
    """Sync a file or a folder to disk. Windows cannot open folders, and syncs only files that are open for writing."""
    if os.name != "posix" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
