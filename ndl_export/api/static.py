"""Writes the files of the API into a release directory.

The files of figures of a release are made again only if its bundle, its withdrawal or the program changed, and are
replaced only if their content did. They are written first, then the documents that lead to them, and the index last.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote

import duckdb

from ndl_export.analyst_db.build import add_all
from ndl_export.analyst_db.database import Database
from ndl_export.api.documents import FIGURES, INDEX, build_documents, build_release_files, iter_release_files
from ndl_export.facts.description import API_FOLDER, DATABASE_FILE
from ndl_export.facts.release_facts import Release, read_releases
from ndl_export.files.signing import SUMS_FILE
from ndl_export.files.whole_files import FILE_MODE, FOLDER_MODE, format_json, replace_folder, set_modes, write_whole
from privacy.doors.database import open_in_memory
from privacy.doors.program import compute_program_sha256
from privacy.doors.sql import quote_text

RELEASES_FOLDER = "releases"
FIGURES_FOLDER = f"{API_FOLDER}/{RELEASES_FOLDER}/"
"""Folder of the files of figures, by release, in a release directory."""
MADE_FROM_FILE = ".made_from.json"
"""Record of what the files were made from. It is not published, because readers have no use for it."""
_PROGRAM, _LIBRARIES = ("ndl_export", "sources/reference"), ("duckdb", "pyarrow")


def publish_api(release_dir: Path) -> None:
    """Update the files of the API from the analyst database; the caller holds the lock of the release directory.

    Raises `UnreadableWithdrawals`.
    """
    place, found = release_dir / API_FOLDER, read_releases(release_dir)
    sums = {each.version: hash_sums_file(release_dir, each.version) for each in found}
    wanted = {each.version: _hash_inputs(each, sums[each.version]) for each in found}
    made, documents_made = _read_made_from(place)
    if made == wanted and documents_made and documents_made == _hash_files(place, documents_made):
        return
    for folder in (place, place / RELEASES_FOLDER, place / "schemas"):
        folder.mkdir(parents=True, exist_ok=True)
    for folder in (place.parent, place, place / RELEASES_FOLDER, place / "schemas"):
        folder.chmod(FOLDER_MODE)
    for release in found:
        if made.get(release.version) != wanted[release.version]:
            _write_figures(release_dir, release)
    for gone in {path.name for path in (place / RELEASES_FOLDER).iterdir()} - sums.keys():
        shutil.rmtree(place / RELEASES_FOLDER / gone)
    documents = build_documents(found, sums)
    for name in sorted(documents, key=lambda name: (name == INDEX, name)):
        write_whole(place / name, documents[name])
    written = {"releases": wanted, "documents": _hash_files(place, documents)}
    write_whole(place / MADE_FROM_FILE, format_json(written))


def load_figures(connection: duckdb.DuckDBPyConnection, found: Sequence[Release]) -> None:
    """Build the analyst database of these releases, oldest first, and the table `figures` of `select_figures`."""
    add_all(Database(connection, comments=False), list(found))
    select_figures(connection)


def select_figures(connection: duckdb.DuckDBPyConnection, version: str | None = None) -> None:
    """Create the table `figures` in memory, in order of `position`, from an analyst database: of one release or all."""
    connection.execute(
        f"""CREATE TABLE memory.figures AS
        SELECT f.*, row_number() OVER (ORDER BY r.position, t.rowid, "row", m.rowid) AS position
        FROM ({FIGURES}) AS f
        JOIN releases.release AS r ON r.release_version = f.release
        JOIN dimension.published_table AS t ON t.table_name = f."table"
        JOIN dimension.measure AS m ON m.table_name = f."table" AND m.measure = f.measure
        WHERE f.release = coalesce($version, f.release)""",
        {"version": version},
    )


def is_figure_file(name: str) -> bool:
    """Return whether a file of the release directory, by relative path, is one of the files of figures."""
    return name.startswith(FIGURES_FOLDER) and not is_list_of_files(name)


def is_list_of_files(name: str) -> bool:
    """Return whether a file of the release directory is the list of a release's files of figures."""
    return name.startswith(FIGURES_FOLDER) and name.endswith(f"/{INDEX}")


def hash_sums_file(release_dir: Path, version: str) -> str:
    """Return the SHA-256 of a bundle's file of checksums."""
    return hashlib.sha256((release_dir / version / SUMS_FILE).read_bytes()).hexdigest()


def _hash_inputs(release: Release, sums: str) -> str:
    """Return the SHA-256 of what determines the files of figures of a release."""
    withdrawal = asdict(release.withdrawal) if release.withdrawal else None
    parts = [compute_program_sha256(_PROGRAM, _LIBRARIES), sums, withdrawal]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _hash_files(place: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of each file that exists, by name."""
    there = (name for name in names if (place / name).is_file())
    return {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in there}


def _read_made_from(place: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return what each version's files of figures were made from, and the SHA-256 of each document by name.

    Both are empty if that is not known, so that everything is made again. A release that lacks a file is left out.
    """
    try:
        found = json.loads((place / MADE_FROM_FILE).read_bytes())
        releases, documents = dict(found["releases"]), dict(found["documents"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}, {}
    return {name: each for name, each in releases.items() if _is_whole(place / RELEASES_FOLDER / name)}, documents


def _is_whole(folder: Path) -> bool:
    """Return whether a release's folder has its list of files, and every file on it."""
    try:
        listed = json.loads((folder / INDEX).read_bytes())["files"]
    except (OSError, ValueError, KeyError):
        return False
    return all((folder / unquote(file)).is_file() for table in listed for file in table["areas"].values())


def _write_figures(release_dir: Path, release: Release) -> None:
    """Write the files of figures of a release, and the list of them."""
    with open_in_memory() as connection, tempfile.TemporaryDirectory(prefix=".api.", dir=release_dir) as scratch:
        connection.execute(f"ATTACH {quote_text(release_dir / DATABASE_FILE)} AS built (READ_ONLY); USE built")
        select_figures(connection, release.version)
        connection.execute("USE memory")
        staged, digests = Path(scratch) / release.version, {}
        for name, content in iter_release_files(connection, release):
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).write_bytes(content)
            digests[name] = hashlib.sha256(content).digest()
        (staged / INDEX).write_bytes(build_release_files(release, digests))
        set_modes(staged, FOLDER_MODE, FILE_MODE)
        replace_folder(staged, release_dir / API_FOLDER / RELEASES_FOLDER / release.version)
