"""Writes files and links in one step, so readers find the old or the new content; formats JSON, Parquet and CSV."""

import csv
import io
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from privacy.doors.files import sync, sync_all
from privacy.doors.locks import hold_lock

FOLDER_MODE, FILE_MODE = 0o755, 0o644
_SCRATCH = re.compile(r"\..+\.[a-z0-9_]{8}")
"""Names of temporary folders, whose content is moved beside them when it is complete."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock out other writers of `folder` for the block, and remove the temporary folders of dead processes."""
    with hold_lock(folder):
        for left in folder.iterdir():
            if _SCRATCH.fullmatch(left.name) and left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
        yield


@contextmanager
def lock_out_writers(folder: Path) -> Iterator[None]:
    """Lock out writers of `folder` for the block, but not readers; does nothing if the folder does not exist."""
    if not folder.is_dir():
        yield
        return
    with hold_lock(folder, shared=True):
        yield


@contextmanager
def stage(place: Path) -> Iterator[Path]:
    """Yield a path in a temporary folder next to `place` and with the same name, to be renamed to it in one step."""
    with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as scratch:
        yield Path(scratch) / place.name


def write_whole(path: Path, content: bytes) -> bool:
    """Write `content` to `path` in one step, and return whether it changed; the same content is left alone."""
    if path.is_file() and path.read_bytes() == content:
        return False
    with stage(path) as staged:
        staged.write_bytes(content)
        # Whatever the umask of the process, readers can open the file.
        staged.chmod(FILE_MODE)
        sync(staged)
        staged.replace(path)
    sync(path.parent)
    return True


def stage_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a new folder of files that everybody may read, whatever the umask of the process."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    set_modes(folder, FOLDER_MODE, FILE_MODE)


def set_modes(folder: Path, of_folders: int, of_files: int) -> None:
    """Set the modes of a folder and everything in it, and sync them to disk."""
    paths = [*folder.rglob("*"), folder]
    for path in paths:
        path.chmod(of_folders if path.is_dir() else of_files)
    sync_all(paths)


def replace_folder(staged: Path, place: Path) -> None:
    """Move a staged folder to `place`: in one step if nothing is there, else each changed file in one step.

    Files at the place that are not staged are removed.
    """
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        staged.rename(place)
        return sync(place.parent)
    new = {path.relative_to(staged) for path in staged.rglob("*") if path.is_file()}
    for name in sorted(new):
        if not (place / name).is_file() or (place / name).read_bytes() != (staged / name).read_bytes():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).replace(place / name)
    for path in [path for path in place.rglob("*") if path.is_file() and path.relative_to(place) not in new]:
        path.unlink()
    sync_all([path for path in place.rglob("*") if path.is_dir()] + [place])


def point(link: Path, target: str) -> None:
    """Point the symbolic link `link` to `target` in one step."""
    if link.is_symlink() and str(link.readlink()) == target:
        return
    with stage(link) as staged:
        staged.symlink_to(target)
        staged.replace(link)
    sync(link.parent)


def format_json(value: Any) -> bytes:
    """Format UTF-8 JSON with sorted keys, two spaces of indent and a final newline. Raises ValueError for NaN."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def format_parquet(data: pa.Table, **options: Any) -> bytes:
    """Return a Parquet file with further options of the writer; the same content gives the same bytes."""
    # Format and compression are stated, so that the bytes do not depend on the library's defaults.
    stream = io.BytesIO()
    pq.write_table(data.combine_chunks(), stream, version="2.6", compression="zstd", compression_level=9, **options)
    return stream.getvalue()


def format_csv(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Return a CSV file."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows((header, *lines))
    return stream.getvalue()
