"""Files of synthetic children say that they are synthetic, wherever one looks, and are the same bytes for the same."""

from __future__ import annotations

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ndl_export.documents.synthetic_children import FIRST_COLUMN, WARNING, statement, synthetic_files
from ndl_export.facts.synthetic import Agreement, HeldOut, SyntheticChildren

NOTICE = "Synthetic data: no figure is about a real child."
CATEGORIES = {"council": ("leeds", "sefton"), "gld": ("Yes", "No")}


@pytest.fixture
def made() -> SyntheticChildren:
    return SyntheticChildren(
        release={
            "id": "school-readiness-2026.11.0",
            "title": "School readiness",
            "version": "2026.11.0",
            "created": "2026-11-27T00:00:00Z",
            "homepage": "https://example.org/2026.11.0",
            "licenses": [{"name": "OGL-UK-3.0"}],
            "contributors": [{"title": "A publisher"}],
            "notice": NOTICE,
        },
        cohort="202425",
        seed=7,
        rows=pa.table({"council": ["leeds", "leeds", "sefton"], "gld": ["Yes", "No", "No"]}),
        categories=CATEGORIES,
        libraries={"mbi": "2.0.0"},
        left_out=("linkage_agreement",),
        not_fitted=(("council", "gld"),),
        contradictions=0,
        agreements=(Agreement("gld_headline", "gld_children_percent", 411, 407, 0.21, 1.04, 1.17),),
        held_out=(HeldOut(("council", "sex", "gld"), 27, 0.62, 3.13, 0.64),),
        changed=31,
        outside=("gld_headline, gld_children_percent, E06000006, Eligible, Female",),
    )


def test_every_file_says_that_it_is_synthetic(made: SyntheticChildren) -> None:
    files = synthetic_files(made)
    assert set(files) == {
        "datapackage.json",
        "synthetic_children.csv",
        "synthetic_children.md",
        "synthetic_children.parquet",
    }
    table = pq.read_table(io.BytesIO(files["synthetic_children.parquet"]))
    assert table.schema.metadata[b"synthetic"] == b"true"
    assert table.schema.metadata[b"description"].decode() == WARNING
    rows = list(csv.DictReader(io.StringIO(files["synthetic_children.csv"].decode())))
    assert rows == table.to_pylist()
    assert next(iter(rows[0])) == FIRST_COLUMN
    assert [row[FIRST_COLUMN] for row in rows] == [f"synthetic-000000{n}" for n in (1, 2, 3)]
    descriptor = json.loads(files["datapackage.json"])
    assert descriptor["synthetic"] is True
    assert WARNING in descriptor["description"]
    assert f"**{NOTICE} {WARNING}**" in statement(made).splitlines()[2]


def test_the_descriptor_leads_back_to_the_release_and_describes_every_column(made: SyntheticChildren) -> None:
    files = synthetic_files(made)
    descriptor = json.loads(files["datapackage.json"])
    assert descriptor["sources"][0]["path"] == made.release["homepage"]
    assert descriptor["licenses"] == made.release["licenses"]
    assert (descriptor["seed"], descriptor["cohort"]) == (7, "202425")
    by_path = {each["path"]: each for each in descriptor["resources"]}
    assert {name: len(content) for name, content in files.items() if name != "datapackage.json"} == {
        path: each["bytes"] for path, each in by_path.items()
    }
    fields = {each["name"]: each for each in by_path["synthetic_children.csv"]["schema"]["fields"]}
    assert list(fields) == [FIRST_COLUMN, "cohort", *CATEGORIES]
    assert fields["gld"]["constraints"]["enum"] == ["Yes", "No"]


def test_the_statement_gives_what_was_measured_and_what_is_lost(made: SyntheticChildren) -> None:
    said = statement(made)
    assert "Of 411 published percentages of groups of 200 or more children, 407 have" in said
    assert "- gld_headline, gld_children_percent, E06000006, Eligible, Female" in said
    assert "lies in its interval: 31 of them" in said
    assert "| 411 | 407 | 0.2 | 1.0 | 1.2 |" in said
    assert "| Council of the school, Sex | 27 | 0.6 | 3.1 | 0.6 |" in said
    assert "linkage_agreement" in said
    assert "are not fitted: Council of the school, Good level of development." in said


def test_the_same_children_are_the_same_bytes(made: SyntheticChildren) -> None:
    assert synthetic_files(made) == synthetic_files(made)
