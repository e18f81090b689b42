"""`ees_bulk_upload.zip`: every CSV file for Explore Education Statistics (EES) with its metadata, as EES takes them in
one upload ("Bulk ZIP upload").

What follows here from the checks of EES itself (`DataSetValidator`, `DataSetDto` and `FileNameValidators` of
dfe-analytical-services/explore-education-statistics): a `dataset_names.csv` with the columns `file_name`, without
`.csv`, and `dataset_name`; for each of its lines the two files, side by side and without a folder; no other file;
titles of at most 120 characters, no two the same. A file without rows is not taken: a table of all councils together
alone has no area with an official geography, and is left out.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping

from ndl_export.files.archive import flat_zip_bytes
from ndl_export.tables import TABLES, Table

EES_UPLOAD_FILE = "ees_bulk_upload.zip"
_NAMES_FILE = "dataset_names.csv"
_NOT_IN_NAMES = re.compile(r'["<>|:*?\\/]')


def ees_upload(files: Mapping[str, bytes], defined: Mapping[str, Table] = TABLES) -> bytes:
    """The archive of the CSV files of the tables `defined` and their metadata among `files` (content by name)."""
    taken = [table for table in defined.values() if _has_rows(files[f"{table.name}.csv"])]
    names = (f"{table.name}{suffix}" for table in taken for suffix in (".csv", ".meta.csv"))
    return flat_zip_bytes({_NAMES_FILE: _dataset_names(taken)} | {name: files[name] for name in names})


def _has_rows(content: bytes) -> bool:
    """Whether there is a line after the header."""
    return content.count(b"\n") > 1


def _dataset_names(tables: Iterable[Table]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("file_name", "dataset_name"))
    writer.writerows((table.name, upload_title(table)) for table in tables)
    return stream.getvalue().encode()


def upload_title(table: Table) -> str:
    """Without a colon and the like: EES keeps titles given for a single upload to what a file can be called."""
    return _NOT_IN_NAMES.sub("-", table.title.replace(": ", ", "))
