"""Opens the published releases that questions are about: a release directory here, or its copy behind a URL.

Every release is checked against its signature before anything else in it is read; `readiness verify` checks a release
completely. A server may be anybody's, so what is read from it is limited.
"""

import contextlib
import json
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from ndl_export.analyst_db.build import NothingReleased, add_all
from ndl_export.analyst_db.database import Database
from ndl_export.facts import description, directory_files
from ndl_export.facts.known_publishers import SIGNED, Trust, check_releases
from ndl_export.facts.release_facts import (
    WITHDRAWN_FILE,
    PublishedRelease,
    Version,
    list_versions,
    read_releases,
)
from ndl_export.files import signing, stores
from privacy.doors.database import open_in_memory

_LARGEST_LIST = 2**24
"""Largest list file that is read, in bytes."""
_MOST_VERSIONS = 100
_MOST_BYTES, _LONGEST = 2**29, 300.0
"""Limits in bytes and seconds of all that is read from a web server: a release of the pilot has 30 million bytes."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """An analyst database, which is only read, its releases, oldest first, and the directory of their bundles."""

    connection: duckdb.DuckDBPyConnection
    releases: Sequence[PublishedRelease]
    folder: Path = Path()
    signature: str = ""
    """A sentence on whether the signatures were checked, and with which key; every answer has it."""

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
    def bundles(self) -> dict[str, PublishedRelease]:
        """The releases by version, oldest first."""
        return {release.version: release for release in self.releases}


@contextlib.contextmanager
def open_published(place: str, signers: Collection[str] = (), known: Path | None = None) -> Iterator[Published]:
    """Yield the releases in a release directory: a path, or a URL that `files.stores` accepts.

    `signers` are fingerprints of keys that may have signed them, `known` the file of known publishers. Raises
    `NothingReleased`, `StoreError`, `UnreadableWithdrawals`, `UnknownPublisher`, and ValueError if a file is not as it
    was signed.
    """
    with contextlib.ExitStack() as stack:
        folder, is_remote = Path(place), stores.is_url(place)
        trust = Trust(stores.hide_query(place).rstrip("/") if is_remote else str(folder.resolve()), signers, known)
        if is_remote:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            _fetch_releases(stores.open_store(place, allowance=stores.Allowance(_MOST_BYTES, _LONGEST)), folder, trust)
        if not list_versions(folder):
            raise NothingReleased(f"{place} holds no release bundle")
        signature = check_releases(folder, trust)
        # Built anew, because no signature covers the database of a release directory.
        connection = stack.enter_context(open_in_memory())
        releases = read_releases(folder)
        add_all(Database(connection, comments=False), releases)
        # Macros need no files, and a stranger's query must not read any.
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        yield Published(connection, releases, folder, signature)


def _fetch_releases(store: stores.Store, folder: Path, trust: Trust) -> None:
    """Copy every release that the store's API lists; without an API, the current one.

    A release is copied only after its signature was checked, and only the files that are signed.
    """
    latest = store.read(directory_files.LATEST_FILE, _LARGEST_LIST)
    if latest is None:
        raise NothingReleased(f"{store.url} holds no current release")
    listed = store.read(f"{description.API_FOLDER}/releases.json", _LARGEST_LIST)
    try:
        versions = {json.loads(latest)["version"]}
        versions |= {each["release"] for each in json.loads(listed)["releases"]} if listed else set()
        names = list(map(str, map(Version.parse, versions)))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{store.url}: its lists of releases cannot be read") from None
    if len(names) > _MOST_VERSIONS:
        raise ValueError(f"{store.url} lists more than {_MOST_VERSIONS} releases, so none was read")
    if (withdrawn := store.read(WITHDRAWN_FILE, _LARGEST_LIST)) is not None:
        (folder / WITHDRAWN_FILE).write_bytes(withdrawn)
    for version in names:
        head = store.read_all([f"{version}/{name}" for name in SIGNED], _LARGEST_LIST)
        try:
            sums, fingerprint = signing.read_signed(dict(zip(SIGNED, head.values(), strict=True)))
        except ValueError as error:
            raise ValueError(f"{store.url}, release {version}: {error}") from None
        trust.check_key(version, fingerprint)
        found = store.read_all([f"{version}/{name}" for name in sums], _MOST_BYTES)
        for name, content in (head | found).items():
            if content is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
