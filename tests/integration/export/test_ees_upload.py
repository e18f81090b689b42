"""The archive for Explore Education Statistics: against its checks of a bulk upload, and against the bundle's files."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ndl_export.tables import TABLES
from tests.support.export import ees_bulk

Entries = dict[str, bytes]
NAME = "ees_bulk_upload.zip"


@pytest.fixture(scope="module")
def entries(bundle: Path) -> Entries:
    with zipfile.ZipFile(bundle / NAME) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def test_the_upload_is_taken(bundle: Path) -> None:
    assert ees_bulk.faults(bundle / NAME) == []


def test_it_holds_the_files_of_every_table_as_they_are_in_the_bundle(entries: Entries, bundle: Path) -> None:
    pairs = {f"{name}{suffix}" for name in TABLES for suffix in (".csv", ".meta.csv")}
    assert entries.keys() == {"dataset_names.csv", *pairs}
    assert all(entries[name] == (bundle / name).read_bytes() for name in pairs)
    lines = list(csv.DictReader(io.StringIO(entries["dataset_names.csv"].decode())))
    assert [line["file_name"] for line in lines] == list(TABLES)
    assert not [line for line in lines if set(line["dataset_name"]) & set(ees_bulk.INVALID)]


def lines_of(change: Callable[[str], str]) -> Callable[[Entries], Entries]:
    return lambda files: files | {"dataset_names.csv": change(files["dataset_names.csv"].decode()).encode()}


PLANTED: dict[str, Callable[[Entries], Entries]] = {
    "BulkDataZipMustContainDataSetNamesCsv": lambda files: {
        f"folder/{name}": content for name, content in files.items()
    },
    "DataSetNamesCsvIncorrectHeaders": lines_of(lambda text: text.replace("file_name", "File name")),
    "DataSetTitleShouldBeUnique": lines_of(
        lambda text: text.replace("Early learning goals", "Children no one saw", 1) + "more,Children no one saw\n"
    ),
    "DataSetNamesCsvFileNamesShouldBeUnique": lines_of(lambda text: text + "joined_dots,Once more\n"),
    "FileNotFoundInZip joined_dots.meta.csv": lambda files: {
        name: content for name, content in files.items() if name != "joined_dots.meta.csv"
    },
    "ZipContainsUnusedFiles README.md": lambda files: files | {"README.md": b"x"},
    "DataSetTitleTooLong": lines_of(lambda text: text.replace("Early learning goals", "x" * 121)),
    "DataSetTitleCannotBeEmpty": lines_of(lambda text: text.replace("Early learning goals", "")),
    "FileSizeMustNotBeZero joined_dots.csv": lambda files: files | {"joined_dots.csv": b""},
    "FileNameCannotContainSpaces": lambda files: renamed(files, "joined_dots", "joined dots"),
    "FileNameCannotContainSpecialCharacters": lambda files: renamed(files, "joined_dots", "joined&dots"),
}


def renamed(files: Entries, old: str, new: str) -> Entries:
    index = files["dataset_names.csv"].replace(old.encode(), new.encode())
    return {name.replace(old, new): content for name, content in files.items()} | {"dataset_names.csv": index}


@pytest.mark.parametrize("code", PLANTED)
def test_a_planted_fault_is_found(code: str, entries: Entries, tmp_path: Path) -> None:
    spoilt = tmp_path / NAME
    with zipfile.ZipFile(spoilt, "w") as archive:
        for name, content in PLANTED[code](entries).items():
            archive.writestr(name, content)
    assert [fault for fault in ees_bulk.faults(spoilt) if fault.startswith(code)]
