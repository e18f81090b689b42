"""The database file: rebuilt as a whole from the Parquet files of the bundles, beside the old one, and renamed over it.

A reader that has the old file open keeps it. The storage format is that of DuckDB 1.2, which every later version reads.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import duckdb

from ndl_export.analyst_db.ddl import create_written_tables
from ndl_export.analyst_db.dimensions import add_dimensions, add_types
from ndl_export.analyst_db.facts import add_facts
from ndl_export.analyst_db.help import add_help, add_macros
from ndl_export.analyst_db.names import add_names
from ndl_export.analyst_db.published import Release, releases
from ndl_export.analyst_db.requested import add_requested
from ndl_export.analyst_db.short_views import add_short_views
from ndl_export.facts.description import DATABASE_FILE
from ndl_export.facts.directory_files import WITHDRAWN_FILE
from ndl_export.facts.released import versions
from ndl_export.files.signing import SUMS_FILE
from ndl_export.files.whole_files import alone
from privacy.doors.database import in_memory
from privacy.doors.files import sync
from privacy.doors.program import digests, program_sha256
from privacy.doors.sql import quoted

STORAGE_VERSION = "v1.2.0"
BLOCK_SIZE = 16_384
"""The smallest there is: an index takes whole blocks; with those of the default size the file is ten times as large."""
_PROGRAM, _LIBRARIES = ("ndl_export", "sources/reference"), ("duckdb",)
SCHEMAS = ("releases", "latest", "dimension", "official", "help")


class NothingReleased(Exception):
    """There is no bundle to build the database from."""


def build_database(release_dir: Path) -> Path:
    """The database of every bundle in `release_dir`, built again if it is of other bundles, of other withdrawals or by
    another program; returns its path.

    Raises `NothingReleased` and `UnreadableWithdrawals`.
    """
    if not versions(release_dir):
        raise NothingReleased(f"{release_dir} holds no release bundle")
    place = release_dir / DATABASE_FILE
    with alone(release_dir), tempfile.TemporaryDirectory(prefix=f".{DATABASE_FILE}.", dir=release_dir) as scratch:
        if database_stands(release_dir):
            return place
        found, content = releases(release_dir), made_from(release_dir)
        building = Path(scratch) / DATABASE_FILE
        with in_memory() as connection:
            target = f"{quoted(building)} AS building (STORAGE_VERSION '{STORAGE_VERSION}', BLOCK_SIZE {BLOCK_SIZE})"
            connection.execute(f"ATTACH {target}; USE building; BEGIN")
            add_all(connection, found)
            connection.execute("INSERT INTO help.made_from VALUES (?)", [content])
            connection.execute("COMMIT; USE memory; DETACH building")
        sync(building)
        building.replace(place)
    sync(release_dir)
    return place


def releases_held(database: Path) -> set[str]:
    """Versions of the releases that a database holds."""
    with in_memory() as con:
        con.execute(f"ATTACH {quoted(database)} AS held (READ_ONLY)")
        return {version for (version,) in con.execute("SELECT release_version FROM held.releases.release").fetchall()}


def made_from(release_dir: Path) -> str:
    """SHA-256, hexadecimal, over what decides the content: checksums of each bundle, withdrawals, and the program."""
    sums = [release_dir / str(version) / SUMS_FILE for version in versions(release_dir)]
    withdrawn = release_dir / WITHDRAWN_FILE
    said = [program_sha256(_PROGRAM, _LIBRARIES), *digests([*sums, withdrawn], release_dir)]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def database_stands(release_dir: Path) -> bool:
    """Whether the database that is there was made from the same."""
    place = release_dir / DATABASE_FILE
    if not place.is_file():
        return False
    try:
        with in_memory() as con:
            con.execute(f"ATTACH {quoted(place)} AS held (READ_ONLY)")
            said = con.execute("SELECT content_sha256 FROM held.help.made_from").fetchall()
    except duckdb.Error:
        return False
    return bool(said == [(made_from(release_dir),)])


def add_all(connection: duckdb.DuckDBPyConnection, found: list[Release]) -> None:
    """Everything in the database, in the one that is current; `found` as from `published.releases`."""
    for schema in SCHEMAS:
        connection.execute(f"CREATE SCHEMA {schema}")
    categories = add_types(connection, found)
    create_written_tables(connection)
    add_dimensions(connection, found, categories)
    add_names(connection)
    add_facts(connection, found)
    add_macros(connection)
    add_short_views(connection)
    add_requested(connection, found)
    add_help(connection, dict.fromkeys(release.notice for release in found if release.notice))
