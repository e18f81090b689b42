"""Catalogue records against the validators of their standards, and whether those find planted faults.

The validators run in environments of their own (`make validators`, which `make test` does first).
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ndl_export.bundle.make import CATALOGUE_FILES, write_bundle
from ndl_export.facts.description import WORKBOOK_FILE
from ndl_export.files.archive import pack_flat_zip
from ndl_export.metadata.records import CITATION_FILE
from ndl_export.tables import TABLES
from tests.support.export import accessible_workbook, bundles, fake_release, standard_validators

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def revision(tmp_path_factory: pytest.TempPathFactory, release_dir: Path) -> Path:
    """A second release, with an earlier cohort beside it, without the survey of one council."""
    directory = tmp_path_factory.mktemp("revision")
    shutil.copytree(release_dir / "2026.11.0", directory / "2026.11.0")
    missing = {"parent_experience": ("halton",)}
    facts = fake_release.fake_facts("2026.12.0", missing=missing, earlier={"202324": "2025.11.0"})
    tables = fake_release.fake_tables(seed=2, missing=missing, cohorts=facts.cohorts)
    return write_bundle(directory, facts, tables, bundles.KEY)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    """A copy of the bundle with faults in every record."""
    folder = Path(shutil.copytree(bundle, tmp_path_factory.mktemp("broken") / bundle.name))
    for name, spoil in SPOILT.items():
        record = json.loads((folder / name).read_text())
        spoil(record)
        (folder / name).write_text(json.dumps(record))
    citation, workbook = folder / CITATION_FILE, folder / WORKBOOK_FILE
    citation.write_text(citation.read_text().replace("type: dataset", "type: tables"))
    parts = accessible_workbook.Workbook(workbook.read_bytes()).parts
    parts["content.xml"] = parts["content.xml"].replace(b"table:contains-header", b"table:contains-heading")
    workbook.write_bytes(pack_flat_zip(parts))
    data = folder / "joined_dots.csv"
    data.write_text(data.read_text().replace("202425,", "24/25,", 1).replace(",Both,", ",Neither of them,", 1))
    return folder


def spoil_dcat(record: dict[str, Any]) -> None:
    del record["dct:title"]
    record["dcat:distribution"][0]["dcat:accessURL"] = "the table"
    record["dct:issued"] = [record["dct:issued"], {"@value": "2026-11-02", "@type": "xsd:date"}]


def spoil_ckan(record: dict[str, Any]) -> None:
    record |= {"name": "School Readiness", "license_id": "open", "maintainer_email": "nobody"}
    record["tags"][0] = {"name": "early/years"}
    record["resources"][0]["size"] = "large"


UNKNOWN = {"updateFrequency": None, "publisher": "ministry-of-readiness", "colour": "blue", "summary": "x" * 251}
SPOILT: dict[str, Callable[[Any], object]] = {
    "ckan_package.json": spoil_ckan,
    "croissant.json": lambda r: r["recordSet"][0]["field"][0]["source"]["fileObject"].update({"@id": "other.parquet"}),
    "csv-metadata.json": lambda r: r.update(tables=[each for each in r["tables"] if each["url"] == "joined_dots.csv"]),
    "dcat.jsonld": spoil_dcat,
    "ukgov_dataset.json": lambda r: r.update(UNKNOWN),
    "ukgov_distributions.json": lambda r: r[0].update(mediaType="CSV"),
}
"""Faults to plant in each record; in CSV on the Web, only the table whose file is spoilt is kept."""
VALIDATED = (*CATALOGUE_FILES, CITATION_FILE, WORKBOOK_FILE)
PLANTED = {
    CITATION_FILE: ("'tables' is not one of",),
    WORKBOOK_FILE: ("contains-heading",),
    "ckan_package.json": ("name: ", "license_id: ", "maintainer_email: ", "tags: ", "resources: "),
    "croissant.json": ("other.parquet",),
    "csv-metadata.json": ("24/25", "Neither of them"),
    "dcat.jsonld": ("MinCountConstraint", "dcat:accessURL", "MaxCountConstraint"),
    "ukgov_dataset.json": ("updateFrequency", "ministry-of-readiness", "colour", "x" * 251),
    "ukgov_distributions.json": ("'CSV'",),
}


@pytest.fixture(scope="module")
def standards(bundle: Path, revision: Path, broken: Path) -> Any:
    folders = (bundle, revision, broken)
    packages = standard_validators.run_validator("ckan", "ckan_faults.py", *folders)
    said = standard_validators.run_validator("standards", "standards_faults.py", *folders)
    faults = {folder: found | packages[folder] for folder, found in said["faults"].items()}
    return {"faults": faults, "loaded": said["loaded"]}


def test_every_record_is_sound_and_croissant_loads_the_rows(standards: Any, bundle: Path, revision: Path) -> None:
    for folder in (bundle, revision):
        assert standards["faults"][str(folder)] == {name: [] for name in VALIDATED}
    for name in TABLES:
        loaded = standards["loaded"][f"{bundle}/{name}"]
        assert loaded == pq.read_table(bundle / f"{name}.parquet").slice(0, len(loaded)).to_pylist()
        assert len(loaded) == 20


@pytest.mark.parametrize("name", VALIDATED)
def test_the_validators_find_planted_faults(name: str, standards: Any, broken: Path) -> None:
    found = "\n".join(standards["faults"][str(broken)][name])
    assert [planted for planted in PLANTED[name] if planted not in found] == []


def test_records_name_the_files_that_are_there_and_the_release_they_replace(bundle: Path, revision: Path) -> None:
    address = fake_release.fake_facts().folder_address
    dcat, ckan, distributions = (
        json.loads((bundle / name).read_text())
        for name in ("dcat.jsonld", "ckan_package.json", "ukgov_distributions.json")
    )
    named = {
        *(entry["dcat:downloadURL"]["@id"] for entry in dcat["dcat:distribution"]),
        *(entry["@id"] for entry in dcat["foaf:page"]),
        *(entry["url"] for entry in ckan["resources"]),
        *(entry["downloadURL"] for entry in distributions),
    }
    there = {f"{address}/{path.name}" for path in bundle.iterdir()}
    assert named <= there | {f"{address}.zip", f"{address}.tar"}
    assert {f"{address}/{name}.{suffix}" for name in TABLES for suffix in ("csv", "parquet")} <= named
    replaced = f"{fake_release.fake_facts().address}/2026.11.0"
    assert json.loads((revision / "dcat.jsonld").read_text())["dcat:previousVersion"] == {"@id": replaced}
    assert replaced in json.loads((revision / "ukgov_dataset.json").read_text())["relatedResource"]
