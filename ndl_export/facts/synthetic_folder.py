"""File names and checks of the folder `synthetic_children/<version>`, which is beside the bundles and is not one.

Making the rows is an optional part; verifying, listing and publishing them is not.
"""

import io
import json
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ndl_export.facts.release_facts import DATAPACKAGE_FILE
from ndl_export.files import signing

SYNTHETIC_FOLDER = "synthetic_children"
CSV_FILE, PARQUET_FILE = f"{SYNTHETIC_FOLDER}.csv", f"{SYNTHETIC_FOLDER}.parquet"
STATEMENT_FILE, DICTIONARY_FILE = f"{SYNTHETIC_FOLDER}.md", f"{SYNTHETIC_FOLDER}_data_dictionary.csv"
QUALITY_FILE, QUALITY_PAGE = f"{SYNTHETIC_FOLDER}_quality.md", f"{SYNTHETIC_FOLDER}_quality.html"
CROISSANT_FILE = "croissant.json"
FIRST_COLUMN = "synthetic_child"
TITLES = {
    CSV_FILE: "Synthetic children as CSV, each row a child who does not exist",
    PARQUET_FILE: "Synthetic children as Parquet, each row a child who does not exist",
    DICTIONARY_FILE: "Data dictionary: every column and category of the synthetic children",
    STATEMENT_FILE: "What the synthetic children are and how they were made",
    QUALITY_FILE: "What the synthetic children keep of the release, and what they do not",
    QUALITY_PAGE: "The same as a page for a browser",
    CROISSANT_FILE: "Record for machine learning (Croissant 1.1)",
    DATAPACKAGE_FILE: "Record of every file (Frictionless Data Package)",
}
"""Titles by file, in the order in which they are listed."""
UNSIGNED_FILES = frozenset(TITLES)
SYNTHETIC_FILES = UNSIGNED_FILES | {signing.SUMS_FILE, signing.SIGNATURE_FILE, signing.PUBLIC_KEY_FILE}
"""Names of all files of the folder."""
ROW_PREFIX = "synthetic-"
"""Prefix of the number of every row."""


def is_synthetic(files: Mapping[str, bytes]) -> bool:
    """Return whether these are files of synthetic children rather than of a bundle."""
    return CSV_FILE in files or PARQUET_FILE in files


def find_synthetic_version(files: Mapping[str, bytes]) -> str | None:
    """Return the release that the files say they were made from, or None."""
    try:
        return str(json.loads(files[DATAPACKAGE_FILE])["release"])
    except (KeyError, TypeError, ValueError):
        return None


def find_synthetic_faults(files: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """List (file, fault): both files must hold the same rows, and every row and file must say that it is synthetic."""
    try:
        package = json.loads(files[DATAPACKAGE_FILE])
        table = pq.read_table(io.BytesIO(files[PARQUET_FILE]))
        rows = pyarrow.csv.read_csv(
            io.BytesIO(files[CSV_FILE]),
            convert_options=pyarrow.csv.ConvertOptions(column_types=table.schema, strings_can_be_null=False),
        )
    except (ValueError, pa.ArrowException, OSError) as error:
        return [("*", f"cannot be read: {error}")]
    faults = []
    if not isinstance(package, dict) or package.get("synthetic") is not True:
        faults.append((DATAPACKAGE_FILE, "does not say that the children are synthetic"))
    elif listed := {each["path"] for each in package["resources"]} ^ (UNSIGNED_FILES - {DATAPACKAGE_FILE}):
        faults.append((DATAPACKAGE_FILE, f"does not describe the files as they are: {', '.join(sorted(listed))}"))
    if (table.schema.metadata or {}).get(b"synthetic") != b"true":
        faults.append((PARQUET_FILE, "does not say that the children are synthetic"))
    if table.column_names[:1] != [FIRST_COLUMN] or not all(
        str(number).startswith(ROW_PREFIX) for number in table[FIRST_COLUMN].to_pylist()
    ):
        faults.append((PARQUET_FILE, "does not say of every row that it is synthetic"))
    if not rows.cast(table.schema).equals(table):
        faults.append((CSV_FILE, f"does not hold the same rows as {PARQUET_FILE}"))
    return faults
