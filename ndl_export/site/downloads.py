"""What the page of downloads lists: the files of a bundle, in the words of its own README, and what lies beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ndl_export.facts.released import DATAPACKAGE_FILE
from ndl_export.pages.words import size
from ndl_export.site.documents import address, is_document

README_FILE = "README.md"
_ABOUT_README = "what this release is, its files, and how to check them"
_LISTED = re.compile(r"^\| (`[^|]+`) \| ([^|]+) \|$", re.MULTILINE)
"""A row of the README's list of files: names between backticks, and what they are."""
_OF_MANY_TABLES = (".ods", ".zip")
"""Suffixes of files that hold many tables."""


Shelf = Literal["tables", "together", "documents", "checks", "records"]


@dataclass(frozen=True)
class File:
    """A file of the bundle: its name in it, where a page leads to for it, and its size in words, empty if not known."""

    name: str
    address: str
    size: str

    @property
    def is_page(self) -> bool:
        return is_document(self.name)


@dataclass(frozen=True)
class Kind:
    """Files that the README describes together; `names` are as it writes them."""

    names: tuple[str, ...]
    about: str
    files: tuple[File, ...]


@dataclass(frozen=True)
class Shelves:
    """The files of a bundle by what they are for, those of many tables in one `together`, and those of each table by
    its name."""

    tables: tuple[Kind, ...]
    together: tuple[Kind, ...]
    documents: tuple[Kind, ...]
    checks: tuple[Kind, ...]
    records: tuple[Kind, ...]
    of_table: Mapping[str, tuple[File, ...]]


def shelves(
    files: Mapping[str, bytes], names: Collection[str], checks: Collection[str], tables: Collection[str]
) -> Shelves:
    """`files` are those whose content is known already, `names` all of the bundle but its pages; `checks` are the
    names of checksums, signature and key, `tables` those of the tables. A file that the README does not name has the
    title of `datapackage.json`."""
    kinds = tuple(_kinds(files, names, tables))

    def on(shelf: Shelf) -> tuple[Kind, ...]:
        return tuple(kind for kind in kinds if _shelf(kind, checks) == shelf)

    return Shelves(
        tables=on("tables"),
        together=on("together"),
        documents=on("documents"),
        checks=on("checks"),
        records=on("records"),
        of_table={table: tuple(_of_table(table, on("tables"))) for table in tables},
    )


def _shelf(kind: Kind, checks: Collection[str]) -> Shelf:
    if any(file.name in checks for file in kind.files):
        return "checks"
    if any("<table>" in name for name in kind.names):
        return "tables"
    if all(file.name.endswith(_OF_MANY_TABLES) for file in kind.files):
        return "together"
    return "documents" if any(file.is_page for file in kind.files) else "records"


def _kinds(files: Mapping[str, bytes], names: Collection[str], tables: Collection[str]) -> Iterator[Kind]:
    left = sorted(names)
    readme, package = (files.get(name, b"").decode() for name in (README_FILE, DATAPACKAGE_FILE))
    listed = [(tuple(re.findall("`([^`]+)`", first)), about) for first, about in _LISTED.findall(readme)]
    exact = {name for written, _ in listed for name in written}
    for written, about in listed:
        found = [name for name in left if any(_is(name, each, exact, tables) for each in written)]
        left = [name for name in left if name not in found]
        if found:
            yield Kind(written, about, tuple(_file(name, files) for name in found))
    titles = {each["path"]: each["title"] for each in json.loads(package)["resources"]} if package else {}
    titles[README_FILE] = _ABOUT_README
    for name in left:
        yield Kind((name,), titles.get(name, ""), (_file(name, files),))


def _is(name: str, written: str, exact: Collection[str], tables: Collection[str]) -> bool:
    """Whether a file is one that the README writes so: by its name, or with `<table>` and the like for any word."""
    if name in exact or "<" not in written:
        return name == written
    if "<table>" in written:
        before, _, after = written.partition("<table>")
        return any(name == f"{before}{table}{after}" for table in tables)
    return re.fullmatch("[a-z0-9_]+".join(map(re.escape, re.split("<[a-z]+>", written))), name) is not None


def _of_table(table: str, kinds: Collection[Kind]) -> Iterator[File]:
    """The files of one table, in the order in which the README describes them."""
    for kind in kinds:
        wanted = [name.replace("<table>", table) for name in kind.names]
        yield from sorted(
            (file for file in kind.files if file.name in wanted), key=lambda file: wanted.index(file.name)
        )


def _file(name: str, files: Mapping[str, bytes]) -> File:
    return File(name, address(name), size(len(files[name])) if name in files else "")
