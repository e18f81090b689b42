"""Checks by Explore Education Statistics on a bulk upload, before it screens the files.

From its source (dfe-analytical-services/explore-education-statistics, in `GovUk.Education.ExploreEducationStatistics.
Admin`): `ReleaseDataFileService.ValidateBulkDataSetZip`, `DataSetValidator.ValidateBulkDataZipIndexFile`,
`DataSetDto.Validator`, `DataSetValidators`, `FileValidators` and `FileNameValidators`, with the same codes. Checks
against its database (existing files and titles of the release) are left out.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

INDEX = "dataset_names.csv"
LONGEST_TITLE, LONGEST_NAME = 120, 150
INVALID = '"<>|:*?\\/' + "".join(map(chr, range(32)))
"""`Path.GetInvalidFileNameChars` on Windows, where it has most."""


def faults(archive: Path) -> list[str]:
    """Return the codes of its messages, each with its subject; empty if the upload is accepted."""
    if not archive.name.lower().endswith(".zip"):
        return [f"ZipFileNameMustEndDotZip {archive.name}"]
    if not zipfile.is_zipfile(archive):
        return [f"MustBeZipFile {archive.name}"]
    found = list(_file(archive.name, archive.stat().st_size))
    with zipfile.ZipFile(archive) as opened:
        entries = {entry.filename: opened.read(entry) for entry in opened.infolist()}
    index = entries.pop(INDEX, None)
    if index is None:
        return [*found, "BulkDataZipMustContainDataSetNamesCsv"]
    found += _file(INDEX, len(index))
    header, *rows = csv.reader(io.StringIO(index.decode("utf-8")))
    if header != ["file_name", "dataset_name"]:
        return [*found, "DataSetNamesCsvIncorrectHeaders"]
    titles = [title.strip() for _, title in rows]
    names = [name.replace(".csv", "") for name, _ in rows]
    found += [f"DataSetTitleShouldBeUnique {title}" for title in _twice(titles)]
    found += [f"DataSetNamesCsvFileNamesShouldBeUnique {name}" for name in _twice(names)]
    wanted = [f"{name}{suffix}" for name in names for suffix in (".csv", ".meta.csv")]
    found += [f"FileNotFoundInZip {name}" for name in wanted if name not in entries]
    if unused := entries.keys() - set(wanted):
        found.append(f"ZipContainsUnusedFiles {','.join(sorted(unused))}")
    if found:
        return found
    for title in titles:
        found += ["DataSetTitleCannotBeEmpty"] if not title else []
        found += [f"DataSetTitleTooLong {title}"] if len(title) > LONGEST_TITLE else []
    return [*found, *(fault for name in wanted for fault in _file(name, len(entries[name])))]


def _file(name: str, size: int) -> Iterator[str]:
    if not size:
        yield f"FileSizeMustNotBeZero {name}"
    if not 0 < len(name.rpartition(".")[0]) <= LONGEST_NAME:
        yield f"FileNameLengthInvalid {name}"
    if " " in name:
        yield f"FileNameCannotContainSpaces {name}"
    if "&" in name or set(name) & set(INVALID):
        yield f"FileNameCannotContainSpecialCharacters {name}"


def _twice(values: list[str]) -> list[str]:
    return sorted({value for value in values if values.count(value) > 1})
