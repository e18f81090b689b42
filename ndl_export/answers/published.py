"""Opens the published releases that questions are about: a release directory here, or its copy behind a URL.

Every release is checked against its signature before anything else in it is read; `readiness verify` checks a release
completely. A server may be anybody's, so what is read from it is limited.
"""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ndl_export.analyst_db.build import NothingReleased, add_all
from ndl_export.analyst_db.database import Database
from ndl_export.answers.known_publishers import Trust
from ndl_export.facts import description, directory_files
from ndl_export.facts.release_facts import (
    DATAPACKAGE_FILE,
    WITHDRAWN_FILE,
    Release,
    Version,
    list_versions,
    load_withdrawals,
    read_releases,
)
from ndl_export.files import signing, stores
from privacy.doors.database import open_in_memory

_LARGEST_LIST = 2**24
"""Largest list file that is read, in bytes."""
_MOST_VERSIONS, _MOST_ROWS = 100, 2_000_000
"""Limits of a release directory and of a release's tables: the pilot's have 10,000 rows."""
_MOST_BYTES, _LONGEST = 2**29, 300.0
"""Limits in bytes and seconds of all that is read from a web server: a release of the pilot has 30 million bytes."""
_SIGNED = (signing.SUMS_FILE, signing.SIGNATURE_FILE, signing.PUBLIC_KEY_FILE)
Row = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """An analyst database, which is only read, its releases, oldest first, and the directory of their bundles."""

    connection: duckdb.DuckDBPyConnection
    releases: Sequence[Release]
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
    def bundles(self) -> dict[str, Release]:
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
        folder, shown = Path(place), stores.hide_query(place).rstrip("/")
        if not stores.is_url(place):
            shown = str(folder.resolve())
        trust = Trust(shown, signers, known)
        if stores.is_url(place):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            _fetch_releases(stores.open_store(place, allowance=stores.Allowance(_MOST_BYTES, _LONGEST)), folder, trust)
        versions = list(map(str, list_versions(folder)))
        if not versions:
            raise NothingReleased(f"{shown} holds no release bundle")
        for version in versions:
            try:
                _check_bundle(folder / version, trust)
            except (ValueError, OSError, pa.ArrowException) as error:
                raise ValueError(f"{shown}, release {version}: {error}") from None
        signature = trust.conclude(versions, load_withdrawals(folder))
        # Built anew, because no signature covers the database of a release directory.
        connection = stack.enter_context(open_in_memory())
        releases = read_releases(folder)
        add_all(Database(connection, comments=False), releases)
        # Macros need no files, and a stranger's query must not read any.
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        yield Published(connection, releases, folder, signature)


def _check_bundle(bundle: Path, trust: Trust) -> None:
    """Raise ValueError if a bundle is not as it was signed, or `UnknownPublisher` if it is signed by somebody else."""
    there = {path.relative_to(bundle).as_posix(): path for path in bundle.rglob("*") if path.is_file()}
    sums, fingerprint = signing.read_signed({name: there[name].read_bytes() for name in _SIGNED if name in there})
    trust.check_key(bundle.name, fingerprint)
    expected = sums.keys() | set(signing.UNCOVERED)
    changed = [name for name in sums if name in there and _compute_sum(there[name]) != sums[name]]
    if wrong := sorted({*changed, *(expected ^ there.keys())}):
        raise ValueError(f"not as in {signing.SUMS_FILE}: {', '.join(wrong)}")
    # Under another name, a withdrawn release would look like one that is not.
    if json.loads(there[DATAPACKAGE_FILE].read_bytes())["version"] != bundle.name:
        raise ValueError("its files are those of another release")
    _check_rows(path for name, path in there.items() if name.endswith(".parquet"))


def _compute_sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_rows(paths: Iterable[Path]) -> None:
    """Raise ValueError if Parquet files say that they unpack to more than a release has, before a row is read."""
    rows = size = 0
    for path in paths:
        with pq.ParquetFile(path) as opened:
            found = opened.metadata
        rows += found.num_rows
        size += sum(found.row_group(group).total_byte_size for group in range(found.num_row_groups))
    if rows > _MOST_ROWS or size > _MOST_BYTES:
        raise ValueError(
            f"its tables have more than {_MOST_ROWS:,} rows or {_MOST_BYTES:,} bytes, so they were not read"
        )


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
        head = store.read_all([f"{version}/{name}" for name in _SIGNED], _LARGEST_LIST)
        try:
            sums, fingerprint = signing.read_signed(dict(zip(_SIGNED, head.values(), strict=True)))
        except ValueError as error:
            raise ValueError(f"{store.url}, release {version}: {error}") from None
        trust.check_key(version, fingerprint)
        found = store.read_all([f"{version}/{name}" for name in sums], _MOST_BYTES)
        for name, content in (head | found).items():
            if content is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
