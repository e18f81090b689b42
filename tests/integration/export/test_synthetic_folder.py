"""Synthetic children beside a release: signed, checked, listed by nothing as a release, and withdrawn with it."""

import csv
import datetime as dt
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from assets.home.installation import Installation
from assets.home.paths import Home
from assets.synthetic_children import assets
from ndl_export.analyst_db.build import build_database
from ndl_export.bundle.release_directory import BundleRefused, withdraw
from ndl_export.bundle.verify import verify
from ndl_export.facts import synthetic_folder
from ndl_export.facts.bundle_reader import read_anchors
from ndl_export.facts.release_facts import list_versions
from ndl_export.facts.synthetic_folder import FIRST_COLUMN, SYNTHETIC_FILES, UNSIGNED_FILES
from ndl_export.synthetic.children import WARNING, SyntheticChildren
from ndl_export.synthetic.folder import build_synthetic_files, write_synthetic, write_unsigned
from privacy.keys import KeyRing
from tests.support.export.bundles import KEY, sign_again
from tests.support.export.standard_validators import run_validator
from tests.support.export.synthetic import NOTICE, make_synthetic_children

VERSION = "2026.11.0"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, release_dir: Path) -> Path:
    """A release directory with one version and its synthetic children; to be read, not written."""
    made = Path(shutil.copytree(release_dir, tmp_path_factory.mktemp("synthetic") / "release", symlinks=True))
    write_synthetic(made, make_synthetic_children(made / VERSION), KEY)
    return made


@pytest.fixture
def directory(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "release", symlinks=True))


@pytest.fixture
def folder(directory: Path) -> Path:
    return directory / synthetic_folder.SYNTHETIC_FOLDER / VERSION


def catalogued(directory: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((directory / "catalogue.jsonld").read_text())["@graph"][0]["dcat:dataset"]
    return {each["@id"]: each for each in found}


def test_the_folder_is_whole_and_sound_and_no_release(directory: Path, folder: Path, tmp_path: Path) -> None:
    assert {path.name for path in folder.iterdir()} == SYNTHETIC_FILES
    found = verify(folder)
    assert (found.faults, found.version, found.synthetic) == ((), VERSION, True)
    assert "synthetic children of release 2026.11.0" in str(found)
    write_unsigned(tmp_path / "out", make_synthetic_children(folder.parents[1] / VERSION))
    assert {path.name for path in (tmp_path / "out").iterdir()} == UNSIGNED_FILES
    assert not verify(tmp_path / "out").ok
    assert [str(version) for version in list_versions(directory)] == [VERSION]
    assert [str(version) for version in list_versions(directory / synthetic_folder.SYNTHETIC_FOLDER)] == [VERSION]
    assert len(read_anchors(directory)) == 1
    build_database(directory)
    assert json.loads((directory / "latest.json").read_text())["version"] == VERSION


@pytest.mark.slow
def test_a_withdrawn_release_withdraws_them(directory: Path, folder: Path) -> None:
    withdraw(directory, VERSION, "an extract was of another year", dt.date(2026, 12, 5))
    (dataset,) = [each for name, each in catalogued(directory).items() if synthetic_folder.SYNTHETIC_FOLDER in name]
    assert dataset["adms:status"]["@id"].endswith("WITHDRAWN")
    assert "was withdrawn on 2026-12-05" in dataset["dct:description"]["@value"]
    assert not (directory / "site").exists()
    assert "was withdrawn on 2026-12-05" in str(verify(folder))
    missing = make_synthetic_children(directory / VERSION)
    with pytest.raises(BundleRefused, match=r"no release 2026\.12\.0"):
        write_synthetic(directory, replace(missing, release={**missing.release, "version": "2026.12.0"}), KEY)
    with pytest.raises(BundleRefused, match="withdrawn"):
        write_synthetic(directory, make_synthetic_children(directory / VERSION), KEY)


def test_what_stands_stays_and_is_not_written_over(directory: Path, folder: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    write_synthetic(directory, make_synthetic_children(directory / VERSION), KEY)
    with pytest.raises(BundleRefused, match="holds other synthetic children"):
        write_synthetic(directory, make_synthetic_children(directory / VERSION, seed=8), KEY)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [VERSION]


@pytest.mark.slow
def test_their_records_are_sound_by_the_validators_of_the_standards(directory: Path, folder: Path) -> None:
    found = run_validator("standards", "standards_faults.py", folder, directory)
    assert found["faults"][str(folder)]["croissant.json"] == found["faults"][str(directory)]["catalogue.jsonld"] == []
    assert len(found["loaded"][f"{folder}/synthetic_children"]) == 3


def test_the_asset_makes_them_of_the_current_release(
    release_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is left out; a figure that is outside fails the check, and the folder stands all the same."""
    release = Path(shutil.copytree(release_dir, tmp_path / "home" / "release", symlinks=True))
    KeyRing.create(tmp_path / "keys")

    def publish_three(home: Home, keys: KeyRing, version: str, cohort: str | None, seed: int) -> SyntheticChildren:
        made = make_synthetic_children(home.release / version, seed)
        write_synthetic(home.release, made, keys.signing_key)
        return made

    monkeypatch.setattr(assets, "publish_synthetic", publish_three)
    installation = Installation(landing=tmp_path / "landing", home=Home(tmp_path / "home"), keys=tmp_path / "keys")
    done = dg.materialize(
        [assets.synthetic_children],
        resources={"installation": installation},
        run_config={"ops": {"release__synthetic_children": {"config": {"seed": 3}}}},
    )
    (check,) = done.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("intervals", False)
    package = json.loads((release / synthetic_folder.SYNTHETIC_FOLDER / VERSION / "datapackage.json").read_text())
    assert (package["release"], package["seed"]) == (VERSION, 3)
    assert verify(release / synthetic_folder.SYNTHETIC_FOLDER / VERSION).ok


@pytest.mark.parametrize(
    "file", [synthetic_folder.CSV_FILE, synthetic_folder.PARQUET_FILE, "SHA256SUMS", "children.csv"]
)
def test_missing_changed_and_added_files_are_found(folder: Path, file: str) -> None:
    path = folder / file
    if path.exists():
        path.write_bytes(path.read_bytes() + b"\n")
        found = "SHA256SUMS.sig" if file == "SHA256SUMS" else file
        assert found in {each.file for each in verify(folder).faults}
        path.unlink()
    else:
        path.touch()
    assert file in {each.file for each in verify(folder).faults}


@pytest.mark.parametrize(
    ("old", "new", "file", "what"),
    [
        (b'"synthetic": true', b'"synthetic": false', "datapackage.json", "does not say that the children"),
        (b"synthetic-0000002", b"child-0000000002", synthetic_folder.CSV_FILE, "does not hold the same rows"),
    ],
)
def test_signed_rows_that_look_real_are_found(folder: Path, old: bytes, new: bytes, file: str, what: str) -> None:
    (folder / file).write_bytes((folder / file).read_bytes().replace(old, new))
    sign_again(folder)
    assert [(each.file, what in each.what) for each in verify(folder).faults] == [(file, True)]


def test_every_file_says_that_it_is_synthetic(bundle: Path) -> None:
    made = make_synthetic_children(bundle)
    files = build_synthetic_files(replace(made, release={**made.release, "notice": NOTICE}))
    assert set(files) == UNSIGNED_FILES
    table = pq.read_table(io.BytesIO(files[synthetic_folder.PARQUET_FILE]))
    assert table.schema.metadata[b"synthetic"] == b"true"
    assert table.schema.metadata[b"description"].decode() == WARNING
    rows = list(csv.DictReader(io.StringIO(files[synthetic_folder.CSV_FILE].decode())))
    assert rows == table.to_pylist()
    assert next(iter(rows[0])) == FIRST_COLUMN
    assert [row[FIRST_COLUMN] for row in rows] == [f"synthetic-000000{n}" for n in (1, 2, 3)]
    descriptor, croissant = (json.loads(files[name]) for name in ("datapackage.json", "croissant.json"))
    assert descriptor["synthetic"] is True
    assert WARNING in descriptor["description"]
    assert WARNING in croissant["description"]
    for page in (synthetic_folder.STATEMENT_FILE, synthetic_folder.QUALITY_FILE):
        assert f"**{NOTICE} {WARNING}**" in files[page].decode().splitlines()[2]
    assert f"<strong>{NOTICE} {WARNING}</strong>" in files[synthetic_folder.QUALITY_PAGE].decode()
