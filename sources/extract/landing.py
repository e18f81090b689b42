"""The landing folder: which files of a council are an extract, a part of one, or not read.

`<council>/<source>/<cohort>.<ext>` is a whole extract. In `hv_reviews`, a folder `<cohort>` with a file named after a
CSDS table holds the tables of one extract. In any other folder `<cohort>`, every file is a part, and so is every folder
of CSDS tables. A file with any other name, `<council>/<source>/<any name>.<ext>`, is a part of every
cohort that has rows in it.
"""

import difflib
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from privacy.doors import clock
from privacy.doors.regular import LeadsOut, is_link_out, open_regular
from sources.contracts.sources import CONTRACTS
from sources.errors import ExtractStopped, build_error
from sources.reference.cohorts import Cohort, InvalidCohort, list_born_cohorts
from sources.reference.places import load_places

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
REFUSED_SUFFIXES: dict[str, str] = {
    ".xlsm": "macro-workbook",
    **dict.fromkeys((".7z", ".rar", ".tar", ".tar.gz", ".tgz", ".bz2", ".gpg", ".pgp", ".age"), "other-archive"),
    **dict.fromkeys((".doc", ".docx", ".pdf", ".mdb", ".accdb", ".json", ".html"), "other-format"),
}
"""Suffixes of files that people send in place of an extract, each with the rule that refuses it."""
REFERENCE = "reference"
"""Folder in landing with public look-ups; not a council's."""
SYNTHETIC_MARKER = Path(REFERENCE, "synthetic.json")
"""File in landing that lists the SHA-256 of each file written there by `readiness synth`. All other
files count as real."""
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
SHREDDING_PREFIX = ".shredding-"
_CLUTTER_STARTS = ("._", "~$", ".~lock.", ".nfs", ".fuse_hidden", ".trash-", SHREDDING_PREFIX)
"""Resource forks on macOS, lock files of Office and LibreOffice, deleted files that are still open, and the rest of an
interrupted shredding, which the next one destroys."""
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
        """Name in messages: the path below landing if the file is named as the contract says. Any other name is left
        out, because the sender chose it and it may be a child's."""
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
        """Files that contain the extract or may contain rows of it: its parts, or the file itself."""
        return (*self.parts, *self.several) if self.in_parts else (self.path,)

    @property
    def key(self) -> tuple[str, str, str]:
        """Source, cohort and council: the key of its results in a home folder."""
        return self.source, self.cohort, self.council

    @property
    def holds_tokens(self) -> bool:
        """Whether the sender has replaced the identifiers with tokens."""
        return self.path.name.lower().endswith(TOKENS_SUFFIX)


def is_clutter(name: str) -> bool:
    """Return whether a name is one that operating systems or office programs give to files and folders they create."""
    return name.lower() in _CLUTTER or name.startswith(_CLUTTER_STARTS)


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
    # also true for a broken link, so that it is refused rather than overlooked
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
        raise build_error(name, "link-out-of-landing") from None
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


def list_councils(landing: Path) -> list[str]:
    """Return the councils that have a folder in landing, sorted by name."""
    known = load_places()
    return sorted(folder.name for folder in landing.iterdir() if folder.is_dir() and folder.name in known)


def list_unknown_folders(landing: Path) -> list[str]:
    """Return folders of landing that are not named after an English authority."""
    known = {*load_places(), REFERENCE}
    return sorted(folder.name for folder in list_arrived(landing) if folder.is_dir() and folder.name not in known)


def describe_unread_entries(landing: Path) -> list[str]:
    """Describe entries of landing that are not named like an extract: how many in which folder, never their names."""
    return [describe_unread_folder(folder, paths) for folder, paths in list_unread_entries(landing).items()]


def describe_unread_folder(folder: str, paths: Sequence[Path]) -> str:
    """Return the sentence about a folder's entries that are not read."""
    if folder == "landing":
        folders = [path for path in paths if path.is_dir()]
        councils = f"no name of a council{_suggest_names(folders, load_places())}"
        unread = [
            (len(folders), "entry", "of landing", councils),
            (len(paths) - len(folders), "file", "in landing itself", _OF_NOBODY),
        ]
    elif is_cohort(Path(folder).name):
        unread = [(len(paths), "entry", f"of {folder}", _NO_PART)]
    elif "/" in folder:
        unread = [(len(paths), "file", f"of {folder}", _NO_EXTRACT)]
    else:
        unread = [(len(paths), "entry", f"of {folder}", f"no name of a source{_suggest_names(paths, CONTRACTS)}")]
    return "; ".join(
        f"{count} {noun if count == 1 else _SEVERAL[noun]} {where} {'is' if count == 1 else 'are'} not read: {reason}"
        for count, noun, where, reason in unread
        if count
    )


_SEVERAL = {"entry": "entries", "file": "files"}
_NO_PART = "a part is a file with the ending of an extract, such as .csv, or a folder of CSDS tables"
_NO_EXTRACT = "an extract has the ending of its format and is named after its cohort, as 202425.csv, or holds several"
_OF_NOBODY = (
    "nothing says which council sent it; put each into the folder of its council and source, as"
    " leeds/eyfsp/202425.csv, or take it out of landing"
)


def _suggest_names(paths: Sequence[Path], known: Collection[str]) -> str:
    near = sorted({match for path in paths for match in difflib.get_close_matches(path.name, known, n=1)})
    return f"; perhaps {' or '.join(near)}" if near else ""


def list_unread_entries(landing: Path) -> dict[str, list[Path]]:
    """Return the entries that `describe_unread_entries` describes, by the name of their folder."""
    loose = (path for path in list_arrived(landing) if not path.is_dir())
    found = {"landing": [*(landing / name for name in list_unknown_folders(landing)), *loose]}
    for council in list_councils(landing):
        within = list_arrived(landing / council)
        sources = [entry for entry in within if entry.name in CONTRACTS and entry.is_dir()]
        for source in sources:
            arrived, mixed = list_arrived(source), _list_mixed_paths(source)
            unread = [path for path in arrived if not (is_extract_name(path.name) or path in mixed)]
            found[f"{council}/{source.name}"] = unread
            for inside in (path for path in arrived if is_cohort(path.name) and path.is_dir()):
                read, has_tables = list_parts(inside, source.name), _has_tables(inside, source.name)
                found[f"{council}/{source.name}/{inside.name}"] = [
                    path
                    for path in list_arrived(inside)
                    if not (TABLE_NAME.search(path.name) if has_tables else path in read)
                ]
        found[council] = [entry for entry in within if entry not in sources]
    return {folder: paths for folder, paths in found.items() if paths}


def _has_tables(path: Path, source: str) -> bool:
    """Return whether a folder contains CSDS tables: at least one file is named after one."""
    return source == "hv_reviews" and path.is_dir() and any(TABLE_NAME.search(file.name) for file in list_entries(path))


def _find_refusal(name: str) -> str | None:
    """Return the rule that refuses a file for its extension."""
    return next((rule for ending, rule in REFUSED_SUFFIXES.items() if name.lower().endswith(ending)), None)


def list_parts(folder: Path, source: str) -> list[Path]:
    """List the parts in a cohort's folder by name, including refused ones, which are reported to their sender."""
    if not folder.is_dir() or _has_tables(folder, source):
        return []
    return [
        path
        for path in list_arrived(folder)
        if (_has_tables(path, source) if path.is_dir() else path.name.lower().endswith(SUFFIXES))
        or _find_refusal(path.name)
    ]


def _list_mixed_paths(folder: Path) -> list[Path]:
    """List the files of a source's folder that may contain several cohorts, by name."""
    if not folder.is_dir():
        return []
    return [
        path
        for path in list_arrived(folder)
        if not path.is_dir() and path.name.lower().endswith(SUFFIXES) and not is_extract_name(path.name)
    ]


def list_mixed_files(landing: Path, council: str, source: str) -> list[Landed]:
    """List the files of a council's source that may contain several cohorts; their cohorts are not known yet."""
    folder = landing / council
    return [Landed(council, source, "", path, within=folder) for path in _list_mixed_paths(folder / source)]


def list_cohort_files(landing: Path, council: str, source: str, cohort: str) -> list[Path]:
    """List the entries named after the cohort: a folder, or files with a suffix that is accepted or refused. An empty
    folder counts as nothing sent."""
    folder = landing / council / source
    names = {cohort, *(cohort + suffix for suffix in (*SUFFIXES, *REFUSED_SUFFIXES))}
    found = list_entries(folder) if folder.is_dir() else []
    return [path for path in found if path.name.lower() in names and (path.name != cohort or is_there(path))]


def find(landing: Path, council: str, source: str, cohort: str) -> Landed | None:
    """Find the extract of a council, source and cohort; None if it has not arrived.

    Raises `ExtractStopped` if two have arrived, or if its suffix or link target shows that it cannot be an extract.
    Links are followed only within the council's folder, because others may lead to files that the sender is not allowed
    to read.
    """
    found = list_cohort_files(landing, council, source, cohort)
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise ExtractStopped(f"{council}/{source}: {names} are both in the folder; keep only the right one")
    within = landing / council
    several = tuple(_list_mixed_paths(within / source))
    if not found and not several:
        return None
    path = found[0] if found else within / source / cohort
    parts = tuple(list_parts(path, source))
    landed = Landed(council, source, cohort, path, parts, several=several, within=within)
    named = [(f"a file of {council}/{source}", each) for each in several]
    named += [(f"a part of {landed.name}", part) for part in parts] + [(landed.name, each) for each in found]
    # refused by name before it is opened, with the advice for that kind of file
    for name, each in named:
        if refused := _find_refusal(each.name):
            raise build_error(name, refused)
        if is_link_out(each, within):
            raise build_error(name, "link-out-of-landing")
    if not found:
        return landed
    if not landed.path.is_file() and not (landed.path.is_dir() and landed.path.name == cohort):
        raise build_error(landed.name, "not-a-file")
    if not os.access(landed.path, os.R_OK):
        raise build_error(landed.name, "not-allowed")
    return landed


def list_cohorts() -> list[str]:
    """Return the cohorts with children born by today, any of which may be in a file of several cohorts."""
    return [cohort.code for cohort in list_born_cohorts(clock.today())]


def has_arrivals(landing: Path, cohort: str) -> bool:
    """Return whether any council has sent a file that is, or may be, for a cohort, usable or not."""
    places = [(council, source) for council in list_councils(landing) for source in CONTRACTS]
    return any(
        list_cohort_files(landing, *place, cohort) or _list_mixed_paths(landing.joinpath(*place)) for place in places
    )


def iter_candidates(landing: Path) -> Iterator[Landed]:
    """Yield every extract in landing, of any cohort; if a council sent two for one source and cohort, both."""
    for council in list_councils(landing):
        for source in CONTRACTS:
            by_cohort: dict[str, list[Path]] = {}
            folder = landing / council / source
            for path in list_arrived(folder) if folder.is_dir() else []:
                by_cohort.setdefault(path.name.partition(".")[0], []).append(path)
            if _list_mixed_paths(folder):
                by_cohort = {code: [] for code in list_cohorts()} | by_cohort
            for cohort, paths in by_cohort.items():
                try:
                    found = find(landing, council, source, cohort)
                except ExtractStopped:
                    within = landing / council
                    yield from (Landed(council, source, cohort, path, within=within) for path in paths)
                else:
                    yield from [found] if found else []


def read_synthetic_hashes(landing: Path) -> frozenset[str]:
    """Return the hashes in the marker of synthetic extracts; none if it is missing or cannot be read."""
    try:
        return frozenset(json.loads((landing / SYNTHETIC_MARKER).read_bytes()))
    except (OSError, ValueError, TypeError):
        return frozenset()


def mark_as_synthetic(landing: Path, files: Iterable[Path]) -> None:
    """Add files to the marker of synthetic extracts. Only generators of such extracts may call this."""
    path = landing / SYNTHETIC_MARKER
    path.parent.mkdir(parents=True, exist_ok=True)
    hashes = sorted({*read_synthetic_hashes(landing), *(hash_content(file) for file in files)})
    path.write_text(json.dumps(hashes, indent=0), encoding="utf-8")
