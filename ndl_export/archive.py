"""One deterministic ZIP file of a bundle: stored (Parquet is compressed), names sorted, fixed times and modes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

_EARLIEST = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_MODE = 0o100644
_DEEPEST = 2


def zip_bytes(files: Mapping[str, bytes], folder: str) -> bytes:
    """The archive of `files` (content by name), all in `folder`: the same bytes for the same content."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{folder}/{name}", _EARLIEST)
            entry.create_system = _UNIX
            entry.external_attr = _MODE << 16
            archive.writestr(entry, files[name])
    return stream.getvalue()


def unzip(content: bytes) -> tuple[str, dict[str, bytes]]:
    """Folder and files of an archive made by `zip_bytes`. Raises ValueError for any other ZIP file, byte for byte."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("its files are compressed")
            members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"it cannot be read as a ZIP file: {error}") from None
    folders = {name.partition("/")[0] for name in members}
    files = {name.partition("/")[2]: data for name, data in members.items()}
    if len(folders) != 1 or not all(_is_plain(name) for name in files):
        raise ValueError("it does not hold one folder of files and folders of files")
    folder = folders.pop()
    if zip_bytes(files, folder) != content:
        raise ValueError("it was not packed by the publisher: names, times, modes or order differ")
    return folder, files


def _is_plain(name: str) -> bool:
    """Whether a file lies in the folder, or in a folder in it, and nowhere else."""
    parts = name.split("/")
    return len(parts) <= _DEEPEST and all(part not in ("", ".", "..") for part in parts)
