"""Files for Explore Education Statistics against its data screener and its checks of a bulk upload."""

import csv
import io
import zipfile
from pathlib import Path

import pytest

from ndl_export.tables import TABLES
from ndl_export.tables.csv_files import build_csv_files
from sources.reference.places import load_places
from tests.support.export.ees_screener import list_failures, list_faults, read
from tests.support.export.fake_release import fake_tables

INDEX = "dataset_names.csv"
INVALID = set('"<>|:*?\\/& ') | set(map(chr, range(32)))
"""`Path.GetInvalidFileNameChars` on Windows, where it has most, and what else a file's name must not contain."""


@pytest.mark.parametrize("name", TABLES)
def test_csv_files_pass_the_screener(name: str, bundle: Path) -> None:
    assert list_failures(bundle / f"{name}.csv", bundle / f"{name}.meta.csv") == []


def test_files_of_all_england_pass_the_screener(tmp_path: Path) -> None:
    """With rows of England and its regions, and the exact name of every local authority."""
    name, data = "gld_headline", fake_tables(tuple(load_places()))["gld_headline"]
    for file, content in build_csv_files({name: data}, TABLES).items():
        (tmp_path / file).write_bytes(content)
    files = read(tmp_path / f"{name}.csv", tmp_path / f"{name}.meta.csv")
    assert files.list_levels("geographic_level") == {"National", "Regional", "Local authority", "English devolved area"}
    assert list_faults(files) == []


@pytest.mark.parametrize(
    ("number", "part", "change"),
    [
        (35, "data", {"time_period": "2024/25"}),
        (39, "data", {"geographic_level": "Local Authority"}),
        (48, "data", {"sex": ""}),
        (49, "data", {"la_name": "St Helens"}),
        (59, "data", {"children_count": ".."}),
        (24, "meta", {"label": ""}),
        (33, "meta", {"indicator_unit": "percent"}),
    ],
)
def test_the_screener_finds_a_planted_fault(number: int, part: str, change: dict[str, str], bundle: Path) -> None:
    files = read(bundle / "gld_headline.csv", bundle / "gld_headline.meta.csv")
    getattr(files, part)[-1].update(change)
    assert any(found.startswith(f"{number}: ") for found in list_faults(files))


def list_upload_faults(archive: Path) -> list[str]:
    """Return the codes of the messages of Explore Education Statistics on a bulk upload, before it screens the files.

    From its source (dfe-analytical-services/explore-education-statistics,
    `ReleaseDataFileService.ValidateBulkDataSetZip` and `DataSetValidator.ValidateBulkDataZipIndexFile`), with the same
    codes, as far as they do not need its database.
    """
    with zipfile.ZipFile(archive) as opened:
        entries = {entry.filename: opened.read(entry) for entry in opened.infolist()}
    header, *rows = csv.reader(io.StringIO(entries[INDEX].decode("utf-8")))
    names, titles = ([row[column] for row in rows] for column in (0, 1))
    files = {f"{name}{suffix}" for name in names for suffix in (".csv", ".meta.csv")}
    found = {
        "DataSetNamesCsvIncorrectHeaders": header != ["file_name", "dataset_name"],
        "DataSetTitleShouldBeUnique": len(set(titles)) < len(titles),
        "DataSetTitleTooLong": any(not 0 < len(title) <= 120 for title in titles),
        "DataSetNamesCsvFileNamesShouldBeUnique": len(set(names)) < len(names),
        "FileNotFoundInZip or ZipContainsUnusedFiles": entries.keys() != {INDEX, *files},
        "FileSizeMustNotBeZero": not all(entries.values()),
        "FileNameCannotContainSpecialCharacters": any(set(name) & INVALID or len(name) > 150 for name in entries),
    }
    return [code for code, is_fault in found.items() if is_fault]


def test_the_bulk_upload_holds_the_files_of_every_table_as_they_are_in_the_bundle(bundle: Path) -> None:
    upload = bundle / "ees_bulk_upload.zip"
    assert list_upload_faults(upload) == []
    with zipfile.ZipFile(upload) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    lines = list(csv.DictReader(io.StringIO(entries.pop(INDEX).decode())))
    assert [line["file_name"] for line in lines] == list(TABLES)
    assert all((bundle / name).read_bytes() == content for name, content in entries.items())
    assert not [line for line in lines if set(line["dataset_name"]) & (INVALID - {" "})]
