"""A bundle as one ZIP or tar file. The same content gives the same bytes: sorted names, fixed times, modes and owner.

Nothing is compressed: Parquet already is, and compressed bytes depend on the machine's library.
"""

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping

Files = Mapping[str, bytes]
"""Content by name."""

LARGEST = 2 * 2**30
"""Size limit of a bundle or archive, in bytes: a hundred times the largest made so far."""
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the earliest time that ZIP can hold
_EARLIEST_SECONDS = 315_532_800  # the same for tar, in seconds since 1970
_UNIX = 3  # the ZIP code for Unix; the default of zipfile depends on the machine's system
_MODE = 0o644
_DEEPEST = 2  # parts of a name: a file in the folder itself, or in a folder of it


def pack_zip(files: Files, folder: str) -> bytes:
    """Return the ZIP archive of `files`, all in `folder`."""
    return pack_flat_zip({f"{folder}/{name}": files[name] for name in sorted(files)})


def pack_flat_zip(files: Files) -> bytes:
    """Return the ZIP archive of `files`, keeping their order and names."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.create_system = _UNIX
            entry.external_attr = (0o100000 | _MODE) << 16  # a regular file; the upper 16 bits hold the Unix mode
            archive.writestr(entry, content)
    return stream.getvalue()


def pack_tar(files: Files, folder: str) -> bytes:
    """Return the tar archive of `files`, all in `folder`, in POSIX.1-1988 (ustar) format."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mtime, entry.mode = len(files[name]), _EARLIEST_SECONDS, _MODE
            archive.addfile(entry, io.BytesIO(files[name]))
    return stream.getvalue()


ARCHIVES: dict[str, Callable[[Files, str], bytes]] = {"zip": pack_zip, "tar": pack_tar}
"""Packing function of each kind of archive, by suffix."""


def unpack(content: bytes) -> tuple[str, dict[str, bytes]]:
    """Return folder and files of an archive. Raises ValueError unless this module could have packed it."""
    read, pack, kind = (_unzip, pack_zip, "ZIP") if content[:2] == b"PK" else (_untar, pack_tar, "ZIP or tar")
    try:
        members = read(content)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"it cannot be read as a {kind} file: {error}") from None
    folders = {name.partition("/")[0] for name in members}
    files = {name.partition("/")[2]: data for name, data in members.items()}
    # `..`, or the empty part of a second slash, would lead out of the folder.
    odd = any(part in ("", ".", "..") for name in files for part in name.split("/"))
    if len(folders) != 1 or odd or any(name.count("/") >= _DEEPEST for name in files):
        raise ValueError("it does not hold one folder of files and folders of files")
    folder = folders.pop()
    # Readers skip gaps, comments and trailing bytes; an archive that is equal when packed again has none.
    if pack(files, folder) != content:
        raise ValueError("it was not packed by the publisher: names, times, modes or order differ")
    return folder, files


def _unzip(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("its files are compressed")
        _check_sizes([entry.file_size for entry in archive.infolist()], content)
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def _untar(content: bytes) -> dict[str, bytes]:
    # `r:` reads no compressed tar, which could unpack to any size.
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        entries = archive.getmembers()
        # A sparse file is longer than its content in the archive.
        if not all(entry.isreg() and not entry.issparse() for entry in entries):
            raise ValueError("it holds things that are not plain files")
        _check_sizes([entry.size for entry in entries], content)
        members = {entry.name: archive.extractfile(entry) for entry in entries}
        return {name: file.read() for name, file in members.items() if file}


def _check_sizes(sizes: list[int], content: bytes) -> None:
    """Raise ValueError if the files claim to be larger than the archive."""
    # Nothing is compressed, so this would be an attempt to exhaust memory.
    if sum(sizes) > len(content):
        raise ValueError("its files claim to be larger than the archive itself")
