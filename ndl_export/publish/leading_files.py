"""Files that lead readers to the published releases: catalogue, feed, site, database and `latest.json`.

They are built as in a release directory, from the bundles published at the place and no others, so that no link is
broken. Two databases are compared by their content, because their bytes differ with every build.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import duckdb

from ndl_export.analyst_db import DATABASE_FILE, build_database
from ndl_export.bundle.release_directory import CATALOGUE_FILE, FEED_FILE, LATEST_FILE, refresh
from ndl_export.facts.directory_files import (
    REGISTER_FILE,
    UPCOMING_FILE,
    WITHDRAWN_FILE,
    Withdrawal,
    record_withdrawals,
)
from ndl_export.facts.release_facts import Version
from ndl_export.facts.synthetic import SYNTHETIC_FOLDER
from ndl_export.site import SITE_FOLDER
from privacy.doors.database import in_memory
from privacy.doors.sql import identifier, quoted

_FIRST_PAGE = f"{SITE_FOLDER}/index.html"
_ORDER = (
    WITHDRAWN_FILE,
    UPCOMING_FILE,
    REGISTER_FILE,
    CATALOGUE_FILE,
    DATABASE_FILE,
    FEED_FILE,
    f"{SITE_FOLDER}/",
    _FIRST_PAGE,
    LATEST_FILE,
)
"""The catalogue is replaced before the pages, because the next run reads from it which releases are published."""


def leading_files(
    bundles: Mapping[Version, Path],
    synthetic: Mapping[Version, Path],
    withdrawn: Mapping[str, Withdrawal],
    release_dir: Path,
    scratch: Path,
) -> dict[str, Path]:
    """Write the leading files below `scratch`, and return their paths by name in the order of replacement.

    `bundles` are the folders of all published releases (at least one), and `synthetic` those of synthetic children.
    `release_dir` has the announcements and the register of requests. Raises `UnreadableRegister`.
    """
    for version, folder in bundles.items():
        (scratch / str(version)).symlink_to(folder.resolve(), target_is_directory=True)
    for version, folder in synthetic.items():
        place = scratch / SYNTHETIC_FOLDER / str(version)
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(folder.resolve(), target_is_directory=True)
    if withdrawn:
        record_withdrawals(scratch, {}, *withdrawn.values())
    for name in (UPCOMING_FILE, REGISTER_FILE):
        if (release_dir / name).exists():
            shutil.copyfile(release_dir / name, scratch / name)
    refresh(scratch)
    build_database(scratch)
    made = [path for path in scratch.iterdir() if not path.is_symlink() and path.name != SYNTHETIC_FOLDER]
    files = [file for path in made for file in (path.iterdir() if path.is_dir() else (path,))]
    return dict(
        sorted(((file.relative_to(scratch).as_posix(), file) for file in files), key=lambda each: _rank(each[0]))
    )


def is_leading(name: str) -> bool:
    """Return whether a file is a leading file, rather than part of a bundle or unknown."""
    return name in _ORDER or name.startswith(f"{SITE_FOLDER}/")


def _rank(name: str) -> tuple[int, str]:
    folder = f"{SITE_FOLDER}/" if name.startswith(f"{SITE_FOLDER}/") else name
    return _ORDER.index(name if name in _ORDER else folder), name


_DEFINED = """
SELECT 'table', schema_name, table_name, sql, comment FROM duckdb_tables() WHERE database_name = 'built'
UNION ALL
SELECT 'view', schema_name, view_name, sql, comment FROM duckdb_views() WHERE database_name = 'built' AND NOT internal
UNION ALL
SELECT 'column', schema_name, table_name || '.' || column_name, data_type, comment
FROM duckdb_columns() WHERE database_name = 'built' AND NOT internal
UNION ALL
SELECT 'function', schema_name, function_name, concat(parameters::VARCHAR, macro_definition), comment
FROM duckdb_functions() WHERE database_name = 'built' AND NOT internal
UNION ALL
SELECT 'type', schema_name, type_name, labels::VARCHAR, comment
FROM duckdb_types() WHERE database_name = 'built' AND NOT internal
ORDER BY ALL
"""


def same_database(one: Path, other: Path) -> bool:
    """Return whether two DuckDB files have the same definitions and rows; False if one is not a DuckDB file."""
    try:
        return _digest(one) == _digest(other)
    except duckdb.Error:
        return False


def _digest(path: Path) -> str:
    """Return a hash of a database's definitions and rows, independent of the order of rows."""
    with in_memory() as connection:
        connection.execute(f"ATTACH {quoted(path)} AS built (READ_ONLY)")
        connection.execute("SET enable_external_access = false")
        defined = connection.execute(_DEFINED).fetchall()
        tables = [(schema, name) for kind, schema, name, *_ in defined if kind == "table"]
        rows = [
            connection.execute(
                f"SELECT count(*), sum(hash(t)::HUGEINT) FROM built.{identifier(schema)}.{identifier(name)} AS t"
            ).fetchall()
            for schema, name in tables
        ]
    return hashlib.sha256(repr((defined, rows)).encode()).hexdigest()
