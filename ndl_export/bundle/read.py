"""Lists the files that a bundle should have, and reads those it has: from a folder, an archive, or a URL of either.

Sizes are limited, because the maker of an archive or the server of a URL may not be the publisher.

A bundle is an anchor of the budget ledger in any form: as a folder, or as an archive whose folder is gone; in the
release directory, or at the place where readers get it; withdrawn or not. Only its signed privacy statement is read for
that. When a release is published its statement is sent first (`ANCHOR_FILES`), so a place that has any part of a
release has its statement.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ndl_export.documents.bundle_files import FIXED_NAMES
from ndl_export.facts.directory_files import CATALOGUE_FILE
from ndl_export.facts.noisy_counts import list_plan_files
from ndl_export.facts.on_request import ON_REQUEST_FILE, OnRequest
from ndl_export.facts.release_facts import (
    DATAPACKAGE_FILE,
    PRIVACY_RECORD_FILE,
    WITHDRAWN_FILE,
    Version,
    Withdrawal,
    load_withdrawals,
    read_withdrawals,
)
from ndl_export.facts.synthetic import SYNTHETIC_FOLDER
from ndl_export.files.archive import ARCHIVES, LARGEST, unpack
from ndl_export.files.signing import (
    PUBLIC_KEY_FILE,
    SIGNATURE_FILE,
    SUMS_FILE,
    compute_fingerprint,
    is_signed,
    list_changed,
    read_sums,
)
from ndl_export.files.stores import Store, hide_query, is_url, open_store
from ndl_export.metadata.catalogue import is_announced
from ndl_export.site import SITE_FOLDER, list_site_names
from ndl_export.tables import TABLES
from ndl_export.tables.csv_files import ALL_ROWS
from sources.reference.places import PILOT

MOST_FILES = 1000
TABLE_SUFFIXES = (".parquet", ALL_ROWS, ".csv", ".meta.csv")


def list_bundle_files(
    cohorts: Collection[str], councils: Collection[str], requested: Collection[str] = (), for_them: Collection[str] = ()
) -> frozenset[str]:
    """Return the names of all files; `for_them` are those that `on_request` adds for `requested` tables."""
    tables = (name + suffix for name in (*TABLES, *requested) for suffix in TABLE_SUFFIXES)
    others = frozenset((*FIXED_NAMES, *list_plan_files(cohorts).values(), *for_them, *tables))
    return others.union(f"{SITE_FOLDER}/{name}" for name in list_site_names(cohorts, councils, others, requested))


BUNDLE_FILES = list_bundle_files([""], PILOT)
"""Names of all files of a bundle of the pilot's councils and one cohort; the same for any cohort."""


def list_expected_files(files: Mapping[str, bytes]) -> frozenset[str]:
    """Return the names of the files that a bundle should have by its own records; the pilot's if unreadable."""
    listed = {ON_REQUEST_FILE} if f"  {ON_REQUEST_FILE}\n".encode() in files.get(SUMS_FILE, b"") else set()
    on_request = OnRequest.list_table_names(files), OnRequest.list_named_files(files) | listed
    try:
        package = json.loads(files[DATAPACKAGE_FILE])
        cohorts, councils = ([str(each) for each in package[name]] for name in ("cohorts", "councils"))
        return list_bundle_files(cohorts, councils, *on_request)
    except (KeyError, TypeError, ValueError):
        return list_bundle_files([""], PILOT, *on_request)


@dataclass(frozen=True)
class BundlePlace:
    """The place of a bundle: a local path, or a URL that `files.stores` accepts."""

    place: Path | str

    @classmethod
    def parse(cls, text: str) -> BundlePlace:
        """Return the place given as text."""
        return cls(text if is_url(text) else Path(text))

    @property
    def shown(self) -> str:
        """The name of the place in messages."""
        return hide_query(self.place).rstrip("/") if isinstance(self.place, str) else str(self.place)

    @property
    def name(self) -> str:
        return self.shown.rpartition("/")[2]

    def read_files(self) -> tuple[str | None, dict[str, bytes]]:
        """Return the name of the folder in an archive (else None), and the content of every file by name.

        Raises ValueError if it is neither a folder of plain files nor an archive packed by this project, OSError if a
        path cannot be read, and `StoreError` for a URL.
        """
        if isinstance(self.place, Path):
            if self.place.is_dir():
                return None, _read_folder(self.place)
            if self.place.stat().st_size > LARGEST:
                raise ValueError(f"it is larger than a bundle can be, {LARGEST:,} bytes, so it was not read")
            return unpack(self.place.read_bytes())
        if self.name.rpartition(".")[2] in ARCHIVES:
            content = self._open_directory().read(self.name, LARGEST)
            if content is None:
                raise ValueError("there is no such file")
            return unpack(content)
        return None, fetch_folder(open_store(self.place))

    def read_withdrawal(self, version: str) -> Withdrawal | None:
        """Return the withdrawal of `version`, or None. Raises `UnreadableWithdrawals` and `StoreError`."""
        if isinstance(self.place, Path):
            beside = self.place.resolve().parent
            # Synthetic children are one folder deeper in the release directory.
            return load_withdrawals(beside.parent if beside.name == SYNTHETIC_FOLDER else beside).get(version)
        directory = self._open_directory()
        content = directory.read(WITHDRAWN_FILE, LARGEST)
        found = read_withdrawals(content, directory.format_address(WITHDRAWN_FILE)) if content is not None else {}
        return found.get(version)

    def _open_directory(self) -> Store:
        # The query may hold a key to the store, which the directory above needs as well.
        address, mark, query = str(self.place).partition("?")
        return open_store(address.rstrip("/").rpartition("/")[0] + mark + query)


def _read_folder(bundle: Path) -> dict[str, bytes]:
    found = {path.relative_to(bundle).as_posix(): path for path in bundle.rglob("*")}
    plain = {name: path for name, path in found.items() if path.is_file() and not path.is_symlink()}
    folders = {name for name, path in found.items() if path.is_dir() and not path.is_symlink()}
    # A link could lead to a file outside the bundle.
    if odd := sorted(found.keys() - plain.keys() - (folders & {SITE_FOLDER})):
        raise ValueError(f"it holds things that are not plain files: {', '.join(odd)}")
    # Before anything is read into memory.
    _check_bounds({name: path.stat().st_size for name, path in plain.items()})
    return {name: path.read_bytes() for name, path in plain.items()}


def fetch_folder(store: Store, below: str = "") -> dict[str, bytes]:
    """Return the files of a bundle that the store lists or, if it cannot list files, those that it should have.

    `below` is the prefix of the names in the store, and is removed from those returned. Raises ValueError and
    `StoreError`.
    """
    sizes = store.list_sizes(below)
    sums = f"{below}{SUMS_FILE}"
    if sums not in sizes if sizes is not None else store.read(sums, LARGEST) is None:
        raise ValueError(f"there is no {SUMS_FILE} there: it is not the folder of a bundle")
    if sizes is None:
        found = store.read_all([f"{below}{name}" for name in (DATAPACKAGE_FILE, ON_REQUEST_FILE, SUMS_FILE)], LARGEST)
        stated = {name.removeprefix(below): content for name, content in found.items() if content is not None}
        sizes = dict.fromkeys((f"{below}{name}" for name in list_expected_files(stated)), 0)
    _check_bounds(sizes)
    found = store.read_all(sizes, LARGEST)
    files = {name.removeprefix(below): content for name, content in found.items() if content is not None}
    # A store that lists nothing gave no sizes, so the content read is measured too.
    _check_bounds({name: len(content) for name, content in files.items()})
    return files


def _check_bounds(sizes: dict[str, int]) -> None:
    if len(sizes) > MOST_FILES or sum(sizes.values()) > LARGEST:
        raise ValueError(f"it has more than {MOST_FILES} files or {LARGEST:,} bytes, which no bundle has")


ANCHOR_FILES = (PRIVACY_RECORD_FILE, PUBLIC_KEY_FILE, SUMS_FILE, SIGNATURE_FILE)
"""In the order in which they are sent: the privacy statement before anything else."""
_OF_ARCHIVES = tuple(f".{suffix}" for suffix in ARCHIVES)

Files = Mapping[str, bytes | None]


class UnreadableAnchor(Exception):
    """A bundle whose statement cannot be read or is not as signed; the message says which and what to do."""


@dataclass(frozen=True)
class Anchor:
    """A bundle: its name in messages, its privacy statement, and the fingerprint of the key that signed it.

    The fingerprint is None if publication was interrupted before the signature was sent.
    """

    place: str
    statement: Mapping[str, Any]
    fingerprint: str | None


def read_anchors(release_dir: Path, leaving_out: str | None = None) -> list[Anchor]:
    """Return every bundle of a release directory, except that of version `leaving_out`. Raises `UnreadableAnchor`."""
    names = {path.name: path for path in release_dir.iterdir()} if release_dir.is_dir() else {}
    folders = [
        name
        for name, path in names.items()
        # `latest` is a link to a bundle that is in the list; a renamed bundle still has its sums.
        if path.is_dir() and not path.is_symlink() and (Version.is_valid(name) or (path / SUMS_FILE).exists())
    ]
    found = []
    for name in _select_visible(folders, leaving_out):
        paths = {file: names[name] / file for file in ANCHOR_FILES}
        files = {file: path.read_bytes() if path.is_file() else None for file, path in paths.items()}
        found.append(_build_anchor(f"{release_dir / name}", files))
    for name in _select_lone_archives(names, folders, leaving_out):
        found.append(_build_anchor(f"{names[name]}", _read_archive(names[name].read_bytes(), str(names[name]))))
    return found


def fetch_anchors(store: Store, arriving: str | None = None) -> list[Anchor]:
    """Return every bundle at a place, from its listing and its catalogue.

    The version `arriving` may be there in part, without its statement. Raises `UnreadableAnchor` and `StoreError`.
    """
    names = store.list_sizes() or {}
    parts = {name.partition("/")[0] for name in names if "/" in name}
    folders = [name for name in parts if Version.is_valid(name) or f"{name}/{SUMS_FILE}" in names]
    found = []
    # A release that the catalogue lists but whose folder is gone is an error, not one charge fewer.
    for name in _select_visible({*folders, *map(str, fetch_catalogued(store))}):
        read = store.read_all([f"{name}/{file}" for file in ANCHOR_FILES], LARGEST)
        if name != arriving or read[f"{name}/{PRIVACY_RECORD_FILE}"] is not None:
            found.append(
                _build_anchor(store.format_address(name), {file: read[f"{name}/{file}"] for file in ANCHOR_FILES})
            )
    for name in _select_lone_archives(names, folders):
        content = store.read(name, LARGEST) or b""
        found.append(_build_anchor(store.format_address(name), _read_archive(content, store.format_address(name))))
    return found


def _select_visible(names: Iterable[str], leaving_out: str | None = None) -> list[str]:
    """Return the sorted names without those of unfinished bundles, which begin with a dot."""
    return sorted(name for name in names if name != leaving_out and not name.startswith("."))


def _select_lone_archives(names: Iterable[str], folders: Collection[str], leaving_out: str | None = None) -> list[str]:
    """Return one archive of each bundle whose folder is missing."""
    archives = {name.rpartition(".")[0]: name for name in names if name.endswith(_OF_ARCHIVES) and "/" not in name}
    return [archives[name] for name in _select_visible(set(archives) - set(folders), leaving_out)]


def _read_archive(content: bytes, place: str) -> Files:
    try:
        files = unpack(content)[1]
    except ValueError as error:
        raise _build_unreadable_error(place, str(error)) from None
    return {name: files.get(name) for name in ANCHOR_FILES}


def fetch_catalogued(store: Store) -> set[Version]:
    """Return the releases in the catalogue at a place; empty if it has no catalogue. Raises `UnreadableAnchor`."""
    content = store.read(CATALOGUE_FILE, LARGEST)
    if content is None:
        return set()
    try:
        listed = json.loads(content)["@graph"][0]["dcat:dataset"]
        return {Version.parse(each["dcat:version"]) for each in listed if not is_announced(each)}
    except (ValueError, TypeError, KeyError, IndexError):
        raise UnreadableAnchor(
            f"{store.format_address(CATALOGUE_FILE)} is not a catalogue of releases that this software made"
        ) from None


def _build_anchor(place: str, files: Files) -> Anchor:
    """Return the anchor of a bundle. Raises `UnreadableAnchor`."""
    statement, key, sums, signature = (files[name] for name in ANCHOR_FILES)
    if statement is None:
        raise _build_unreadable_error(place, f"{PRIVACY_RECORD_FILE} is missing")
    try:
        record = json.loads(statement)
        if not isinstance(record, dict):
            raise ValueError(f"{PRIVACY_RECORD_FILE} is not a privacy statement")
        # The statement is sent before these three: an interrupted publication leaves it without them.
        if key is None or sums is None or signature is None:
            return Anchor(place, record, None)
        covered, listed = {PRIVACY_RECORD_FILE: statement, PUBLIC_KEY_FILE: key}, read_sums(sums)
        # `list_changed` looks at listed files only: one that the sums leave out is not covered by the signature.
        if not is_signed(key, sums, signature) or not covered.keys() <= listed.keys() or list_changed(covered, listed):
            raise ValueError("it is not as it was signed")
        return Anchor(place, record, compute_fingerprint(key))
    except ValueError as error:
        raise _build_unreadable_error(place, str(error)) from None


def _build_unreadable_error(place: str, why: str) -> UnreadableAnchor:
    return UnreadableAnchor(
        f"{place}: {why}, so nobody can tell what it was charged; put back a copy of the bundle as it was published,"
        " and run again: until then nothing is charged or published"
    )
