"""Opens the published releases that questions are about: a release directory here, or its copy behind a URL.

Files are compared with the release's checksums; `readiness verify` checks a release completely.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from ndl_export.analyst_db.build import NothingReleased, add_all, is_database_current
from ndl_export.analyst_db.database import Database
from ndl_export.facts import description, directory_files
from ndl_export.facts.bundle_reader import fetch_folder
from ndl_export.facts.release_facts import WITHDRAWN_FILE, Release, Version, list_versions, read_releases
from ndl_export.files import signing, stores
from privacy.doors.database import open_in_memory, open_read_only

_LARGEST_LIST = 2**24
"""Largest list file that is read, in bytes."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """An analyst database, which is only read, its releases, oldest first, and the directory of their bundles."""

    connection: duckdb.DuckDBPyConnection
    releases: Sequence[Release]
    folder: Path = Path()

    def query(self, sql: str, *values: Any) -> list[Row]:
        """Return the rows of a query. Raises `duckdb.InvalidInputException` with a macro's own message."""
        # One cursor for each query, because several requests may run at once.
        with self.connection.cursor() as cursor:
            result = cursor.execute(sql, values)
            names = [column[0] for column in result.description or ()]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    @cached_property
    def current(self) -> dict[str, str]:
        """Version of the current release of each cohort, in order of the cohorts."""
        rows = self.query("SELECT time_period, release_version FROM releases.current ORDER BY time_period")
        return {row["time_period"]: row["release_version"] for row in rows}

    @cached_property
    def bundles(self) -> dict[str, Release]:
        """The releases by version, oldest first."""
        return {release.version: release for release in self.releases}


@contextlib.contextmanager
def open_published(place: str) -> Iterator[Published]:
    """Yield the releases in a release directory: a path, or a URL that `files.stores` accepts.

    Raises `NothingReleased`, `StoreError`, `UnreadableWithdrawals`, and ValueError if a file differs from its checksum.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(place)
        if stores.is_url(place):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            _fetch_releases(stores.open_store(place), folder)
        if not list_versions(folder):
            raise NothingReleased(f"{place} holds no release bundle")
        _check_sums(folder, place)
        if is_database_current(folder):
            connection = stack.enter_context(open_read_only(folder / description.DATABASE_FILE))
        else:
            connection = stack.enter_context(open_in_memory())
            add_all(Database(connection), read_releases(folder))
        # Macros need no files, and a stranger's query must not read any. If this process has the file open already, the
        # settings are shared, and locked.
        [(is_locked,)] = connection.execute("SELECT current_setting('lock_configuration')").fetchall()
        if not is_locked:
            connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        yield Published(connection, read_releases(folder), folder)


def _check_sums(folder: Path, place: str) -> None:
    """Raise ValueError if a file of a bundle is missing or differs from its checksum."""
    for version in map(str, list_versions(folder)):
        sums = signing.read_sums((folder / version / signing.SUMS_FILE).read_bytes())
        files = {name: path.read_bytes() for name in sums if (path := folder / version / name).is_file()}
        if wrong := [*signing.list_changed(files, sums), *sorted(sums.keys() - files.keys())]:
            raise ValueError(f"{place}, release {version}: not as in {signing.SUMS_FILE}: {', '.join(wrong)}")


def _fetch_releases(store: stores.Store, folder: Path) -> None:
    """Copy every release that the store's API lists; without an API, the current one."""
    latest = store.read(directory_files.LATEST_FILE, _LARGEST_LIST)
    if latest is None:
        raise NothingReleased(f"{store.url} holds no current release")
    listed = store.read(f"{description.API_FOLDER}/releases.json", _LARGEST_LIST)
    versions = {json.loads(latest)["version"]}
    versions |= {each["release"] for each in json.loads(listed)["releases"]} if listed else set()
    if (withdrawn := store.read(WITHDRAWN_FILE, _LARGEST_LIST)) is not None:
        (folder / WITHDRAWN_FILE).write_bytes(withdrawn)
    for version in map(str, map(Version.parse, versions)):
        files = fetch_folder(store, f"{version}/")
        for name, content in files.items():
            target = folder / version / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
