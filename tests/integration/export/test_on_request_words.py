"""What a release says of its tables on request in documents and standards, which take them as they take others."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from frictionless import validate

from ndl_export.bundle.make import CATALOGUE_FILES, write_bundle
from ndl_export.check.request_checks import find_request_faults
from ndl_export.documents.pages import render_methodology_page
from ndl_export.facts.description import WORKBOOK_FILE
from ndl_export.facts.missing import explain_missing
from ndl_export.facts.noisy_counts import NoisyCounts
from ndl_export.facts.on_request import Further, OnRequest
from ndl_export.metadata.portals import CITATION_FILE
from ndl_export.tables import TABLES
from ndl_export.tables.definition import read_definition
from privacy.estimation.estimates import build_estimates
from privacy.release.mechanism import combine_measurements
from privacy.release.plan import make_plan
from privacy.release.workload import Cube, Marginal, Selector
from tests.support.export import ees_bulk
from tests.support.export.accessible_workbook import not_met
from tests.support.export.ees_screener import screen
from tests.support.export.fake_release import COHORT, COHORTS, EARLIER, fake_facts, fake_tables
from tests.support.export.standard_validators import run_validator
from tests.support.export.supplement import (
    LINKED,
    SUPPLEMENT,
    TOGETHER,
    WAITS,
    requested_tables,
    supplement_facts,
)
from tests.support.release.examples import small_family
from tests.unit.release.test_estimates import noisy

NAMES = (LINKED, WAITS, TOGETHER)
SENTENCE = (
    "On request: A university asked for it on 20 November 2026. Purpose: To see whether reviews tell readiness apart in"
    " deprived areas. First in release 2026.12.0"
)
BARE = {
    "name": "bare_table",
    "title": "A table of one level: nothing varies, or does it?",
    "description": "Responses of those who got support",
    "columns": [{"attribute": "sought_support", "levels": {"Got it": ["Got it"]}, "total": False}],
}
"""Of one level, and with a title that no file can have."""


@pytest.fixture(scope="module")
def supplement(tmp_path_factory: pytest.TempPathFactory, signing_key: Ed25519PrivateKey) -> Path:
    """The folder of a release with tables on request, one of them of one level alone."""
    facts = supplement_facts(earlier={})
    bare = replace(requested_tables()[1], definition=read_definition(BARE))
    asked = OnRequest((*facts.on_request.tables, bare), facts.on_request.noisy_counts)
    tables = fake_tables(requested=asked.tables)
    directory = tmp_path_factory.mktemp("words")
    return write_bundle(directory, replace(facts, on_request=asked), tables, signing_key)


@pytest.mark.slow
def test_every_validator_takes_them(supplement: Path) -> None:
    package = run_validator("ckan", "ckan_faults.py", supplement)
    said = run_validator("standards", "standards_faults.py", supplement)
    faults = said["faults"][str(supplement)] | package[str(supplement)]
    assert faults == {name: [] for name in (*CATALOGUE_FILES, CITATION_FILE, WORKBOOK_FILE)}
    for name in NAMES:
        loaded = said["loaded"][f"{supplement}/{name}"]
        assert loaded == pq.read_table(supplement / f"{name}.parquet").slice(0, len(loaded)).to_pylist()
    assert validate(str(supplement / "datapackage.json")).valid
    assert not_met((supplement / WORKBOOK_FILE).read_bytes()) == []


@pytest.mark.slow
def test_explore_education_statistics_takes_those_with_an_official_area(supplement: Path) -> None:
    upload = supplement / "ees_bulk_upload.zip"
    assert ees_bulk.faults(upload) == []
    for name in (LINKED, WAITS, "bare_table"):
        assert screen(supplement / f"{name}.csv", supplement / f"{name}.meta.csv") == []
    with zipfile.ZipFile(upload) as archive:
        names = {name.partition(".")[0] for name in archive.namelist()}
        titles = [
            line["dataset_name"] for line in csv.DictReader(archive.read("dataset_names.csv").decode().splitlines())
        ]
    assert names == {"dataset_names", *TABLES, LINKED, WAITS, "bare_table"}
    assert not [title for title in titles if set(title) & (ees_bulk.INVALID - {" "})]
    lines = (supplement / f"{TOGETHER}.csv").read_text().splitlines()
    assert len(lines) == 1  # all councils together have no official geography


@pytest.mark.slow
def test_documents_and_records_say_who_asked_for_what(supplement: Path) -> None:
    for name in ("README.md", "methodology.md"):
        page = (supplement / name).read_text()
        _, _, under = page.partition("## Tables on request")
        listed = under.partition("\n## ")[0]
        assert all(f"| `{name}` |" in listed for name in NAMES)
        assert "| A university, 20 November 2026: To see whether" in listed
        assert f"| {SUPPLEMENT} |" in listed
    dictionary = (supplement / "data_dictionary.md").read_text().partition("## Tables on request")[2]
    assert all(f"### `{name}`: " in dictionary for name in NAMES)
    assert "| `imd_quintile` | text |  | IMD quintile |\n" in dictionary
    assert dictionary.count(f"{SENTENCE}.") == len(NAMES) + 1
    described = [
        json.loads((supplement / name).read_text())
        for name in ("datapackage.json", "csv-metadata.json", "ckan_package.json", "croissant.json", "dcat.jsonld")
    ]
    for record in (*described, *(json.loads((supplement / "ukgov_distributions.json").read_text()),)):
        assert SENTENCE in json.dumps(record)
    assert pq.read_schema(supplement / f"{WAITS}.parquet").metadata[b"on_request"].decode() == SENTENCE
    assert b"on_request" not in pq.read_schema(supplement / "gld_headline.parquet").metadata
    files = {path.name for path in supplement.iterdir()}
    assert {entry["path"] for entry in described[0]["resources"]} >= {name for name in files if "on_request" in name}


def test_what_is_missing_names_the_tables_of_its_cohort() -> None:
    missing = {cohort: {"parent_experience": ("halton",)} for cohort in COHORTS}
    said = explain_missing(missing, fake_facts().councils, requested_tables())
    earlier, newest = (
        next(line for line in said if line.startswith(f"{year}: Halton")) for year in ("2023/24", "2024/25")
    )
    assert "`parent_experience`, `waits_by_need`, `barriers_together`" in newest
    assert "`parent_experience` are" in earlier


def test_titles_that_are_written_alike_in_an_upload_are_refused() -> None:
    own = requested_tables()[0]
    title = TABLES["joined_dots"].title.replace(": ", ", ")
    alike = replace(own, definition=own.definition.model_copy(update={"title": title}))
    faults = find_request_faults(OnRequest((alike,)), {"families": []}, SUPPLEMENT, (EARLIER, COHORT))
    assert any("2 tables have the title" in fault for fault in faults)


def test_the_recipe_of_the_methodology_takes_in_what_was_measured_on_request(tmp_path: Path) -> None:
    """Its code, run as it stands, on a family without identities."""
    family = replace(small_family(), identities=())
    base = make_plan(family, 0.1, delta=1e-6)
    later = [
        make_plan(replace(family, marginals=tuple(Marginal(names) for names in asked)), 0.02, delta=1e-6)
        for asked in ((("fsm", "asq", "gld"),), (("council", "asq", "gld"), ("dots",)))
    ]
    (own, *more) = [(plan, noisy(plan, seed)) for seed, plan in enumerate([base, *later])]
    first = {COHORT: {"small": NoisyCounts(own[0].to_json(), own[1].noisy)}}
    releases = (SUPPLEMENT, "2027.01.0")
    further = {
        Further(COHORT, "small", release): NoisyCounts(plan.to_json(), counts.noisy)
        for release, (plan, counts) in zip(releases, more, strict=True)
    }
    asked = OnRequest(requested_tables((COHORT,)), further)
    asked.write(tmp_path, "2027.01.0")
    pq.write_table(first[COHORT]["small"].table(COHORT, "small"), tmp_path / "noisy_counts.parquet")
    (tmp_path / "noise_plan_small.json").write_bytes(own[0].to_json())
    (code,) = re.findall(r"```python\n(.*?)```", render_methodology_page(supplement_facts(earlier={})), re.DOTALL)
    recipe: dict[str, Any] = {}
    exec(code, recipe)
    estimates = build_estimates(*combine_measurements(*own, more))
    for wanted in (("fsm", "gld", "asq"), ("council", "gld", "asq"), ("dots",), ()):
        cube = Cube({name: Selector.each(family.attribute(name)) for name in wanted})
        found = recipe["estimates"](tmp_path, COHORT, "small", wanted)
        np.testing.assert_allclose(found, estimates.values(cube).reshape(found.shape), atol=1e-6)
