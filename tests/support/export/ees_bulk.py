"""Checks by Explore Education Statistics on a bulk upload, before it screens the files.

From its source (dfe-analytical-services/explore-education-statistics, `ReleaseDataFileService.ValidateBulkDataSetZip`
and `DataSetValidator.ValidateBulkDataZipIndexFile`), with the same codes, as far as they do not need its database.
"""

import csv
import io
import zipfile
from pathlib import Path

INDEX = "dataset_names.csv"
INVALID = set('"<>|:*?\\/& ') | set(map(chr, range(32)))
"""`Path.GetInvalidFileNameChars` on Windows, where it has most, and what else a file's name must not contain."""


def faults(archive: Path) -> list[str]:
    """Return the codes of its messages; empty if the upload is accepted."""
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
