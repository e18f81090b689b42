"""Files of synthetic children say that they are synthetic, wherever one looks, and are the same bytes for the same."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from ndl_export.bundle.synthetic import UNSIGNED_FILES, synthetic_files
from ndl_export.documents.synthetic_children import FIRST_COLUMN, TITLES
from ndl_export.facts.synthetic import (
    CSV_FILE,
    DICTIONARY_FILE,
    PARQUET_FILE,
    QUALITY_FILE,
    QUALITY_PAGE,
    STATEMENT_FILE,
    WARNING,
    SyntheticChildren,
)
from tests.support.export.synthetic import CATEGORIES, NOTICE, three_children

RELEASE = {
    "id": "school-readiness-2026.11.0",
    "title": "School readiness",
    "version": "2026.11.0",
    "created": "2026-11-27T00:00:00Z",
    "homepage": "https://example.org/readiness/2026.11.0",
    "licenses": [{"name": "OGL-UK-3.0"}],
    "contributors": [{"title": "A publisher", "email": "a@example.org"}],
    "notice": NOTICE,
}


@pytest.fixture
def made() -> SyntheticChildren:
    return three_children(RELEASE)


@pytest.fixture
def files(made: SyntheticChildren) -> dict[str, bytes]:
    return synthetic_files(made)


def test_every_file_says_that_it_is_synthetic(files: dict[str, bytes]) -> None:
    assert set(files) == UNSIGNED_FILES == set(TITLES)
    table = pq.read_table(io.BytesIO(files[PARQUET_FILE]))
    assert table.schema.metadata[b"synthetic"] == b"true"
    assert table.schema.metadata[b"description"].decode() == WARNING
    rows = list(csv.DictReader(io.StringIO(files[CSV_FILE].decode())))
    assert rows == table.to_pylist()
    assert next(iter(rows[0])) == FIRST_COLUMN
    assert [row[FIRST_COLUMN] for row in rows] == [f"synthetic-000000{n}" for n in (1, 2, 3)]
    descriptor, croissant = (json.loads(files[name]) for name in ("datapackage.json", "croissant.json"))
    assert descriptor["synthetic"] is True
    assert WARNING in descriptor["description"]
    assert WARNING in croissant["description"]
    assert "synthetic" in CSV_FILE
    assert "synthetic" in PARQUET_FILE
    for page in (STATEMENT_FILE, QUALITY_FILE):
        assert f"**{NOTICE} {WARNING}**" in files[page].decode().splitlines()[2]
    assert f"<strong>{NOTICE} {WARNING}</strong>" in files[QUALITY_PAGE].decode()


def test_the_descriptor_leads_back_to_the_release_and_describes_every_column(files: dict[str, bytes]) -> None:
    descriptor = json.loads(files["datapackage.json"])
    assert descriptor["sources"][0]["path"] == RELEASE["homepage"]
    assert descriptor["homepage"] == "https://example.org/readiness/synthetic_children/2026.11.0"
    assert descriptor["licenses"] == RELEASE["licenses"]
    assert (descriptor["seed"], descriptor["cohort"]) == (7, "202425")
    assert (descriptor["release"], descriptor["release_sha256sums"]) == ("2026.11.0", "ab" * 32)
    by_path = {each["path"]: each for each in descriptor["resources"]}
    assert {name: len(content) for name, content in files.items() if name != "datapackage.json"} == {
        path: each["bytes"] for path, each in by_path.items()
    }
    fields = {each["name"]: each for each in by_path[CSV_FILE]["schema"]["fields"]}
    assert list(fields) == [FIRST_COLUMN, "cohort", *CATEGORIES]
    assert fields["gld"]["constraints"]["enum"] == ["Yes", "No"]


def test_the_dictionary_has_a_line_for_every_category(files: dict[str, bytes]) -> None:
    lines = list(csv.DictReader(io.StringIO(files[DICTIONARY_FILE].decode())))
    assert [line["category"] for line in lines if line["column"] == "gld"] == ["Yes", "No"]
    assert [line["column"] for line in lines][:2] == [FIRST_COLUMN, "cohort"]


def test_statement_and_quality_page_give_what_was_measured_and_what_is_lost(
    files: dict[str, bytes], made: SyntheticChildren
) -> None:
    statement, quality = (" ".join(files[name].decode().split()) for name in (STATEMENT_FILE, QUALITY_FILE))
    for said in ("release 2026.11.0", "ab" * 32, "| seed | 7 |", "mbi 2.0.0", "linkage_agreement"):
        assert said in statement
    assert re.search("not fitted: Council of the school, Good level of development", statement)
    for said in ("| 411 | 407 | 0.2 | 1.0 | 1.2 |", "| 27 | 0.6 | 3.1 | 0.6 |", *made.outside):
        assert said in quality
    assert re.search(r"Children at the expected level in 17 goals *\| 62\.9% *\| 62\.5% to 63\.3% *\| 41\.2%", quality)
    assert re.search(r"Measured on \d+ \w+ 20\d\d", quality)
    assert re.search(r"Correlation of two goals[^|]*\| 0\.\d+ *\| 0\.\d+", quality)
    assert "http" not in files[QUALITY_PAGE].decode().partition("<body>")[2]
    assert "These have not" not in synthetic_files(replace(made, outside=()))[QUALITY_FILE].decode()
