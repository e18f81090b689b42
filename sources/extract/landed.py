"""One landed extract: its name, its format suffix, and the size and hash of its files."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from privacy.doors.regular import LeadsOut, open_regular
from sources import errors
from sources.contracts.model import Rule
from sources.errors import ExtractStopped
from sources.reference.cohorts import Cohort, InvalidCohort

TOKENS_SUFFIX = ".tokens.parquet"
"""Suffix of a file whose identifiers the sender has replaced with tokens."""
SPREADSHEET_SUFFIXES = (".xlsx", ".xls", ".xlsb", ".ods")
SUFFIXES = (
    *(suffix + packed for suffix in (".csv", ".txt", ".tsv", ".psv") for packed in ("", ".gz")),
    TOKENS_SUFFIX,
    ".parquet",
    *SPREADSHEET_SUFFIXES,
    ".xml",
    ".zip",
    ".csv.zip",
    ".xlsx.zip",
)
"""Suffixes of extracts, in upper or lower case. How a file is read depends on its first bytes, not on its suffix."""
REFUSED_SUFFIXES: dict[str, Rule] = {
    ".xlsm": errors.MACRO_WORKBOOK,
    **dict.fromkeys((".7z", ".rar", ".tar", ".tar.gz", ".tgz", ".bz2", ".gpg", ".pgp", ".age"), errors.OTHER_ARCHIVE),
    **dict.fromkeys((".doc", ".docx", ".pdf", ".mdb", ".accdb", ".json", ".html"), errors.OTHER_FORMAT),
}
"""Suffixes of files that people send in place of an extract, each with the rule that refuses it."""
READY = ".ready"
"""Suffix of the empty file that a sender may put next to an extract once it is complete."""
TABLE_NAME = re.compile(r"(?<![A-Z])CYP[ _-]?([0-9]{3})(?![0-9])", re.IGNORECASE)
"""Matches a CSDS table in a file name."""
_CLUTTER = {
    *(".ds_store", ".localized", ".spotlight-v100", ".trashes", ".fseventsd", ".temporaryitems", "__macosx"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
    *(".directory", "lost+found", "@eadir"),
}
"""Names, in lower case, created by macOS, Windows, Linux and network storage."""
_CLUTTER_STARTS = ("._", "~$", ".~lock.", ".nfs", ".fuse_hidden", ".trash-")
"""Resource forks on macOS, lock files of Office and LibreOffice, deleted files that are still open."""
_UNFINISHED_ENDS = (".part", ".filepart", ".tmp")


@dataclass(frozen=True)
class Landed:
    """One extract in landing, or one part of it.

    `parts` are the files of an extract that arrives in parts, in the folder `path`; a whole extract has none.
    `several` are files next to that folder that may contain rows of several cohorts. For a part, `path` is its file
    and `part` its number. Links out of `within`, the council's folder, are not followed; a file outside landing has no
    such folder.
    """

    council: str
    source: str
    cohort: str
    path: Path
    parts: tuple[Path, ...] = ()
    part: int = 0
    several: tuple[Path, ...] = ()
    within: Path | None = None

    @property
    def name(self) -> str:
        """Name in messages: the path below landing if the file is named as the contract says. The sender chose any
        other name, which may be a child's."""
        place = f"{self.council}/{self.source}"
        if self.part:
            return f"{place}/{self.cohort}, part {self.part}"
        if self.in_parts:
            return f"{place}/{self.cohort}"
        return f"{place}/{self.path.name}" if is_extract_name(self.path.name) else f"a file of {place}"

    @property
    def in_parts(self) -> bool:
        """Whether the extract is built from parts, even if there is only one."""
        return bool(self.parts or (self.several and not is_there(self.path)))

    @property
    def paths(self) -> tuple[Path, ...]:
        """Files that contain it or may contain rows of it: its parts, or itself."""
        return (*self.parts, *self.several) if self.in_parts else (self.path,)

    @property
    def key(self) -> tuple[str, str, str]:
        """Source, cohort and council: the key of its results in a home folder."""
        return self.source, self.cohort, self.council

    @property
    def holds_tokens(self) -> bool:
        """Whether the sender has replaced the identifiers with tokens."""
        return self.path.name.lower().endswith(TOKENS_SUFFIX)


def list_entries(folder: Path) -> list[Path]:
    """List a folder by name, except files that operating systems and office programs leave there."""
    return sorted(path for path in folder.iterdir() if not is_clutter(path.name))


def list_arrived(folder: Path) -> list[Path]:
    """List a folder by name, except files that are still being written and the markers of complete ones."""
    return [path for path in list_entries(folder) if not is_unfinished(path.name) and not path.name.endswith(READY)]


def strip_endings(name: str) -> str:
    """Return a file's name without its format suffix."""
    endings = [suffix for suffix in SUFFIXES if name.lower().endswith(suffix)]
    return name[: -len(max(endings, key=len))] if endings else name


def is_cohort(name: str) -> bool:
    """Return whether a name is the code of a cohort."""
    try:
        Cohort(name)
    except InvalidCohort:
        return False
    return True


def is_extract_name(name: str) -> bool:
    """Return whether a file is named as the contract says: by its cohort and its format suffix."""
    cohort, dot, suffix = name.removesuffix(READY).lower().partition(".")
    return is_cohort(cohort) and dot + suffix in ("", *SUFFIXES, *REFUSED_SUFFIXES)


def is_there(path: Path) -> bool:
    # true of a broken link too, which is refused and not overlooked
    return bool(list_entries(path)) if path.is_dir() else os.path.lexists(path)


def list_files(path: Path) -> list[Path]:
    """List the file itself, or the regular files of a folder of tables, by name."""
    return [file for file in list_entries(path) if file.is_file()] if path.is_dir() else [path]


def is_unfinished(name: str) -> bool:
    """Return whether a transfer tool gave the file a name that it uses while writing."""
    return (name.startswith(".") and not is_clutter(name)) or name.lower().endswith(_UNFINISHED_ENDS)


def hash_content(path: Path, name: str = "a file", within: Path | None = None) -> str:
    """Return the SHA-256 of a file's bytes, read as a stream; for a folder, of its files' names and hashes.

    Raises `ExtractStopped` if it cannot be read; `name` is its name in messages, `within` as in `Landed`.
    """
    try:
        if path.is_dir():
            lines = (f"{_hash_file(file, within)}  {file.name}\n" for file in list_files(path))
            # file names need not be valid UTF-8
            return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()
        return _hash_file(path, within)
    except LeadsOut:
        raise errors.build_error(name, errors.LINK) from None
    except OSError as error:
        raise ExtractStopped(f"{name} cannot be read ({error.strerror}); check its owner and mode") from None


def get_state(*paths: Path) -> list[list[int]]:
    """Return size and modification time of each file; if two calls return the same, nothing is being written."""
    files = (file for path in paths for file in list_files(path))
    return [[stat.st_size, stat.st_mtime_ns] for stat in (file.stat() for file in files)]


def get_size(path: Path) -> int:
    """Return the size in bytes; 0 if it cannot be determined yet."""
    try:
        return sum(size for size, _ in get_state(path))
    except OSError:  # reported when the file is opened
        return 0


def _hash_file(path: Path, within: Path | None) -> str:
    # the file may have been replaced by a link since it was found
    with open_regular(path, within) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_clutter(name: str) -> bool:
    """Return whether a file or folder was created by an operating system or office program, by its name."""
    return name.lower() in _CLUTTER or name.startswith(_CLUTTER_STARTS)
