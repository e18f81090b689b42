"""The privacy charges that published bundles state. Only the signed privacy statement of each is read.

A bundle is an anchor of the budget ledger in any form: as a folder, or as an archive whose folder is gone; in the
release directory, or at the place where readers get it; withdrawn or not. When a release is published its statement is
sent first (`ANCHOR_FILES`), so a place that has any part of a release has its statement.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ndl_export.facts.directory_files import CATALOGUE_FILE
from ndl_export.facts.release_facts import Version
from ndl_export.facts.released import PRIVACY_RECORD_FILE
from ndl_export.files.archive import ARCHIVES, LARGEST, unpack
from ndl_export.files.signing import (
    PUBLIC_KEY_FILE,
    SIGNATURE_FILE,
    SUMS_FILE,
    fingerprint,
    is_signed,
    list_changed,
    read_sums,
)
from ndl_export.files.stores import Store
from ndl_export.metadata.catalogue import is_announced

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
        # `latest` is a link to a bundle that is in the list; a bundle under another name still has its sums.
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
    # A release that the catalogue lists and whose folder is gone is an error, not one charge fewer.
    for name in _select_visible({*folders, *map(str, fetch_catalogued(store))}):
        read = store.read_all([f"{name}/{file}" for file in ANCHOR_FILES], LARGEST)
        if name != arriving or read[f"{name}/{PRIVACY_RECORD_FILE}"] is not None:
            found.append(_build_anchor(store.address(name), {file: read[f"{name}/{file}"] for file in ANCHOR_FILES}))
    for name in _select_lone_archives(names, folders):
        content = store.read(name, LARGEST) or b""
        found.append(_build_anchor(store.address(name), _read_archive(content, store.address(name))))
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
        return {name: unpack(content)[1].get(name) for name in ANCHOR_FILES}
    except ValueError as error:
        raise _build_unreadable_error(place, str(error)) from None


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
            f"{store.address(CATALOGUE_FILE)} is not a catalogue of releases as this makes it"
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
        return Anchor(place, record, fingerprint(key))
    except ValueError as error:
        raise _build_unreadable_error(place, str(error)) from None


def _build_unreadable_error(place: str, why: str) -> UnreadableAnchor:
    return UnreadableAnchor(
        f"{place}: {why}, so nobody can tell what it was charged; put back a copy of the bundle as it was published,"
        " and run again: until then nothing is charged or published"
    )
