"""Reads the files of a bundle: from a folder, an archive, or a URL of either.

Sizes are limited, because the maker of an archive or the server of a URL may not be the publisher.

A bundle is an anchor of the budget ledger in any form: as a folder, or as an archive whose folder is gone; in the
release directory, or at the place where readers get it; withdrawn or not. Only its signed privacy statement is read for
that. When a release is published its statement is sent first (`ANCHOR_FILES`), so a place that has any part of a
release has its statement.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ndl_export.facts import release_facts, synthetic_folder
from ndl_export.facts.directory_files import CATALOGUE_FILE, is_announced
from ndl_export.facts.release_facts import PRIVACY_RECORD_FILE, SITE_FOLDER, WITHDRAWN_FILE, Version
from ndl_export.files import signing
from ndl_export.files.archive import ARCHIVES, LARGEST, unpack
from ndl_export.files.stores import Store, hide_query, open_store

MOST_FILES = 1000


def read_files(place: Path | str) -> tuple[str | None, dict[str, bytes]]:
    """Read the bundle at a local path, or at a URL that `files.stores` accepts.

    Returns the name of the folder in an archive (else None), and the content of every file by name. Raises ValueError
    if it is neither a folder of plain files nor an archive packed by this project, OSError if a path cannot be read,
    and `StoreError` for a URL.
    """
    if isinstance(place, Path):
        if place.is_dir():
            return None, _read_folder(place)
        if place.stat().st_size > LARGEST:
            raise ValueError(f"it is larger than a bundle can be, {LARGEST:,} bytes, so it was not read")
        return unpack(place.read_bytes())
    name = hide_query(place).rstrip("/").rpartition("/")[2]
    if name.rpartition(".")[2] in ARCHIVES:
        content = _open_directory(place).read(name, LARGEST)
        if content is None:
            raise ValueError("there is no such file")
        return unpack(content)
    return None, fetch_folder(open_store(place))


def read_withdrawal(place: Path | str, version: str) -> release_facts.Withdrawal | None:
    """Return the withdrawal of the bundle at a place, or None. Raises `UnreadableWithdrawals` and `StoreError`."""
    if isinstance(place, Path):
        parent = place.resolve().parent
        # Synthetic children are one folder deeper in the release directory.
        release_dir = parent.parent if parent.name == synthetic_folder.SYNTHETIC_FOLDER else parent
        return release_facts.load_withdrawals(release_dir).get(version)
    return fetch_withdrawals(_open_directory(place)).get(version)


def _open_directory(url: str) -> Store:
    """Open the release directory of the bundle at a URL."""
    # The query may hold a key to the store, which the directory above needs as well.
    address, mark, query = url.partition("?")
    return open_store(address.rstrip("/").rpartition("/")[0] + mark + query)


def read_contents(folder: Path) -> dict[str, bytes]:
    """Return the content of all files in a bundle's own folder, by relative path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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


def fetch_withdrawals(store: Store) -> dict[str, release_facts.Withdrawal]:
    """Return the withdrawals at a place, by version. Raises `UnreadableWithdrawals` and `StoreError`."""
    content = store.read(WITHDRAWN_FILE, LARGEST)
    if content is None:
        return {}
    return release_facts.read_withdrawals(content, store.format_address(WITHDRAWN_FILE))


def fetch_folder(store: Store, below: str = "") -> dict[str, bytes]:
    """Return the files of a bundle that the store lists or, if it cannot list files, those that its sums name.

    `below` is the prefix of the names in the store, and is removed from those returned. Raises ValueError and
    `StoreError`.
    """
    sizes = store.list_sizes(below)
    sums = store.read(f"{below}{signing.SUMS_FILE}", LARGEST)
    if sums is None:
        raise ValueError(f"there is no {signing.SUMS_FILE} there: it is not the folder of a bundle")
    if sizes is None:
        try:
            names = (*signing.read_sums(sums), *signing.UNCOVERED)
        except ValueError as error:
            raise ValueError(f"{signing.SUMS_FILE} cannot be read: {error}") from None
        sizes = dict.fromkeys((f"{below}{name}" for name in names), 0)
    _check_bounds(sizes)
    found = store.read_all(sizes, LARGEST)
    files = {name.removeprefix(below): content for name, content in found.items() if content is not None}
    # A store that lists nothing gave no sizes, so the content read is measured too.
    _check_bounds({name: len(content) for name, content in files.items()})
    return files


def _check_bounds(sizes: dict[str, int]) -> None:
    if len(sizes) > MOST_FILES or sum(sizes.values()) > LARGEST:
        raise ValueError(f"it has more than {MOST_FILES} files or {LARGEST:,} bytes, which no bundle has")


ANCHOR_FILES = (PRIVACY_RECORD_FILE, signing.PUBLIC_KEY_FILE, signing.SUMS_FILE, signing.SIGNATURE_FILE)
"""In the order in which they are sent: the privacy statement before anything else."""
_OF_ARCHIVES = tuple(f".{suffix}" for suffix in ARCHIVES)


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
        if path.is_dir() and not path.is_symlink() and (Version.is_valid(name) or (path / signing.SUMS_FILE).exists())
    ]

    def read_all(wanted: Sequence[str]) -> list[bytes | None]:
        paths = [release_dir / name for name in wanted]
        return [path.read_bytes() if path.is_file() else None for path in paths]

    archives = _select_lone_archives(names, folders)
    return list(_iter_anchors(folders, archives, read_all, lambda name: str(release_dir / name), leaving_out))


def fetch_anchors(store: Store, arriving: str | None = None) -> list[Anchor]:
    """Return every bundle at a place, from its listing and its catalogue.

    The version `arriving` may be there in part, without its statement. Raises `UnreadableAnchor` and `StoreError`.
    """
    names = store.list_sizes() or {}
    parts = {name.partition("/")[0] for name in names if "/" in name}
    folders = [name for name in parts if Version.is_valid(name) or f"{name}/{signing.SUMS_FILE}" in names]
    # A release that the catalogue lists but whose folder is gone is an error, not one charge fewer.
    listed = {*folders, *map(str, fetch_catalogued(store))}

    def read_all(wanted: Sequence[str]) -> list[bytes | None]:
        return list(store.read_all(wanted, LARGEST).values())

    archives = _select_lone_archives(names, folders)
    return list(_iter_anchors(listed, archives, read_all, store.format_address, arriving=arriving))


def _select_lone_archives(names: Iterable[str], folders: Collection[str]) -> dict[str, str]:
    """Return one archive of each bundle whose folder is missing, by the name of that folder."""
    archives = {name.rpartition(".")[0]: name for name in names if name.endswith(_OF_ARCHIVES) and "/" not in name}
    return {folder: name for folder, name in archives.items() if folder not in folders}


def _iter_anchors(
    folders: Iterable[str],
    archives: Mapping[str, str],
    read_all: Callable[[Sequence[str]], list[bytes | None]],
    format_place: Callable[[str], str],
    leaving_out: str | None = None,
    arriving: str | None = None,
) -> Iterator[Anchor]:
    """Yield the bundles in these folders and archives; `read_all` returns the content of files, None if missing."""

    def select_visible(names: Iterable[str]) -> list[str]:
        # The names of unfinished bundles begin with a dot.
        return sorted(name for name in names if name != leaving_out and not name.startswith("."))

    for name in select_visible(folders):
        statement, *others = read_all([f"{name}/{file}" for file in ANCHOR_FILES])
        if statement is not None or name != arriving:
            yield _build_anchor(format_place(name), statement, *others)
    for name in map(archives.__getitem__, select_visible(archives)):
        [content], place = read_all([name]), format_place(name)
        try:
            files = unpack(content or b"")[1]
        except ValueError as error:
            raise _build_unreadable_error(place, str(error)) from None
        yield _build_anchor(place, *map(files.get, ANCHOR_FILES))


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


def _build_anchor(
    place: str, statement: bytes | None, key: bytes | None, sums: bytes | None, signature: bytes | None
) -> Anchor:
    """Return the anchor of a bundle. Raises `UnreadableAnchor`."""
    if statement is None:
        raise _build_unreadable_error(place, f"{PRIVACY_RECORD_FILE} is missing")
    try:
        record = json.loads(statement)
        if not isinstance(record, dict):
            raise ValueError(f"{PRIVACY_RECORD_FILE} is not a privacy statement")
        # The statement is sent before these three: an interrupted publication leaves it without them.
        if key is None or sums is None or signature is None:
            return Anchor(place, record, None)
        signed = {signing.SUMS_FILE: sums, signing.SIGNATURE_FILE: signature, signing.PUBLIC_KEY_FILE: key}
        listed, fingerprint = signing.read_signed(signed)
        # `list_changed` looks at listed files only: one that the sums leave out is not covered by the signature.
        if PRIVACY_RECORD_FILE not in listed or signing.list_changed({PRIVACY_RECORD_FILE: statement}, listed):
            raise ValueError(f"{PRIVACY_RECORD_FILE} is not as it was signed")
        return Anchor(place, record, fingerprint)
    except ValueError as error:
        raise _build_unreadable_error(place, str(error)) from None


def _build_unreadable_error(place: str, why: str) -> UnreadableAnchor:
    return UnreadableAnchor(
        f"{place}: {why}, so nobody can tell what it was charged; put back a copy of the bundle as it was published,"
        " and run again: until then nothing is charged or published"
    )
