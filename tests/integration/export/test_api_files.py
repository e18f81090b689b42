"""The files of the API beside the bundles: their shapes, what they hold, and when they change."""

import csv
import datetime as dt
import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from openapi_spec_validator import validate

from ndl_export.analyst_db.facts import find_newest_release, query_current
from ndl_export.api.shapes import DOCUMENTS, Figure
from ndl_export.bundle.make import write_bundle
from ndl_export.bundle.release_directory import find_current_version, refresh, withdraw
from ndl_export.facts.release_facts import read_releases
from ndl_export.tables import TABLES
from ndl_export.tables.schema import SYMBOLS
from tests.support.export.fake_release import fake_facts, fake_tables
from tests.support.export.requested import SEN, build_facts_with

FIRST, SECOND = "2026.11.0", "2027.02.0"
DAY, REASON = dt.date(2027, 3, 5), "an extract was of another year"


def api(directory: Path) -> Path:
    return directory / "api" / "v1"


def read(directory: Path, name: str) -> Any:
    return json.loads((api(directory) / name).read_bytes())


def states(folder: Path) -> dict[str, tuple[int, str]]:
    """When each file was written, and the hash of its content."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file()
    }


def figures(directory: Path, version: str) -> list[dict[str, Any]]:
    files = sorted((api(directory) / "releases" / version).glob("*/*.json"))
    return [figure for file in files for figure in json.loads(file.read_bytes())["figures"]]


@pytest.fixture
def own(two_releases: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two_releases, tmp_path / "release", symlinks=True))


def test_every_document_meets_its_schema(incomplete: Path) -> None:
    directory = incomplete.parent
    schemas = {name: read(directory, f"schemas/{name}.json") for name in DOCUMENTS}
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    plain = ("index", "releases", "tables", "areas", "cohorts")
    found = {name: [read(directory, f"{name}.json")] for name in plain}
    found["release-files"] = [read(directory, f"releases/{FIRST}/index.json")]
    # Halton has not sent the Profile, so each of its figures has a flag.
    found["figures-of-area"] = [read(directory, f"releases/{FIRST}/{name}/E06000006.json") for name in TABLES]
    for name, documents in found.items():
        validator = jsonschema.Draft202012Validator(schemas[name])
        assert [list(validator.iter_errors(each)) for each in documents] == [[]] * len(documents), name
    one = figures(directory, FIRST)[0]
    jsonschema.Draft202012Validator(schemas["figure"]).validate(one)
    assert list(one) == list(Figure.model_fields)


def test_the_description_of_the_interface_is_valid_and_complete(release_dir: Path) -> None:
    described = read(release_dir, "openapi.json")
    validate(described)
    assert described["openapi"].startswith("3.1")
    written = {path.relative_to(api(release_dir)).as_posix() for path in api(release_dir).rglob("*.json")}
    patterns = [path[1:].split("/") for path in described["paths"]]
    for name in written - {".made_from.json", "openapi.json"} - {f"schemas/{name}.json" for name in DOCUMENTS}:
        parts = name.split("/")
        assert any(
            len(parts) == len(each)
            and all(wanted.startswith("{") or wanted == part for wanted, part in zip(each, parts, strict=True))
            for each in patterns
        ), name


def test_every_figure_of_the_bundle_is_there_once_with_the_number_of_its_row(incomplete: Path) -> None:
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for each in figures(incomplete.parent, FIRST):
        assert found.setdefault((each["table"], each["row"]), {}).setdefault(each["measure"], each) is each
    flags: Counter[str | None] = Counter()
    for name, table in TABLES.items():
        with (incomplete / f"{name}_all_rows.csv").open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file), start=1):
                of_row = found.pop((name, number))
                assert list(of_row) == [measure.name for measure in table.measures]
                for measure, figure in of_row.items():
                    for key, column in (("value", ""), ("lower", "_lower_ci"), ("upper", "_upper_ci")):
                        assert figure[key] == (float(cell) if (cell := row[measure + column]) else None)
                    assert figure["flag"] == (row[f"{measure}_flag"] or None)
                    assert figure["flag_meaning"] == SYMBOLS.get(figure["flag"])
                    assert figure["filters"] == {entry.name: row[entry.name] for entry in table.filters}
                    assert all(figure[key] == row[key] for key in ("time_period", "area_code", "area_name"))
                    assert figure["series_break"] == (row["series_break"] == "b")
                    flags[figure["flag"]] += 1
    assert found == {}
    assert {None, "u", "x", "z"} <= flags.keys()


def test_links_lead_to_files_and_the_list_has_the_hash_of_all(two_releases: Path) -> None:
    index, root = read(two_releases, "index.json"), api(two_releases)
    for link in index["links"].values():
        assert (root / link).is_file(), link
    for release in read(two_releases, "releases.json")["releases"]:
        sums = (root / release["bundle"] / "SHA256SUMS").read_bytes()
        assert release["sha256sums"] == hashlib.sha256(sums).hexdigest()
        listed = json.loads((root / release["figures"]).read_bytes())
        folder = (root / release["figures"]).parent
        files = {unquote(file) for table in listed["files"] for file in table["areas"].values()}
        assert files == {path.relative_to(folder).as_posix() for path in folder.glob("*/*")}
        total = hashlib.sha256()
        for name in sorted(files):
            total.update(name.encode() + b"\0" + hashlib.sha256((folder / name).read_bytes()).digest())
        assert listed["sha256"] == total.hexdigest()


def test_what_is_current_is_decided_where_it_always_is(two_releases: Path) -> None:
    listed, found = read(two_releases, "releases.json"), read_releases(two_releases)
    newest = find_newest_release(found)
    assert newest
    assert listed["current"] == str(find_current_version(two_releases)) == newest.version == SECOND
    assert {each["release"]: each["current_for"] for each in listed["releases"]} == {FIRST: [], SECOND: ["202425"]}
    assert {each["code"]: each["current_release"] for each in read(two_releases, "cohorts.json")["cohorts"]} == (
        query_current(found)
    )


def test_nothing_is_written_again_and_made_anew_it_has_the_same_bytes(own: Path) -> None:
    before = states(own / "api")
    refresh(own)
    assert states(own / "api") == before
    (api(own) / ".made_from.json").unlink()
    refresh(own)
    after = states(own / "api")
    assert {name: state for name, state in after.items() if state != before[name]}.keys() == {"v1/.made_from.json"}
    shutil.rmtree(own / "api")
    refresh(own)
    assert {name: content for name, (_, content) in states(own / "api").items()} == {
        name: content for name, (_, content) in before.items()
    }
    assert {path.stat().st_mode & 0o777 for path in (own / "api").rglob("*")} == {0o755, 0o644}


def test_a_damaged_file_or_one_too_many_goes_when_files_are_made_anew(own: Path) -> None:
    before = states(own / "api")
    folder = api(own) / "releases" / FIRST
    (folder / "gld_headline" / "E08000035.json").write_text("{}")
    (folder / "gld_headline" / "E00000000.json").write_text("{}")
    shutil.copytree(folder, folder.parent / "2020.01.0")
    (api(own) / ".made_from.json").write_text("[")
    refresh(own)
    (folder / "gld_headline" / "E08000035.json").unlink()
    (api(own) / "tables.json").write_text("{}")
    refresh(own)
    assert {name: content for name, (_, content) in states(own / "api").items()} == {
        name: content for name, (_, content) in before.items()
    }


def test_a_further_release_leaves_the_files_of_older_ones_as_they_were(
    release_dir: Path, tmp_path: Path, signing_key: Ed25519PrivateKey
) -> None:
    own = Path(shutil.copytree(release_dir, tmp_path / "release", symlinks=True))
    before = states(api(own) / "releases" / FIRST)
    facts = build_facts_with((SEN,))
    write_bundle(own, facts, fake_tables(requested=facts.on_request.tables), signing_key)
    assert states(api(own) / "releases" / FIRST) == before
    (table,) = [each for each in read(own, "tables.json")["tables"] if each["name"] == SEN.name]
    assert table["releases"] == [facts.version]
    assert table["on_request"].startswith("On request: University of Leeds, Children's Centre asked for it")
    asked = read(own, f"releases/{facts.version}/{SEN.name}/E08000035.json")
    assert {figure["table"] for figure in asked["figures"]} == {SEN.name}


def test_a_withdrawn_release_says_so_at_the_top_of_each_file(own: Path) -> None:
    before = states(api(own) / "releases" / FIRST)
    withdraw(own, SECOND, REASON, DAY)
    sentence = f"Release {SECOND} was withdrawn on 2027-03-05: {REASON}."
    assert states(api(own) / "releases" / FIRST) == before
    files = list((api(own) / "releases" / SECOND).rglob("*.json"))
    assert len(files) > 100
    for path in files:
        document = json.loads(path.read_bytes())
        assert document["withdrawal"] == {"date": "2027-03-05", "reason": REASON, "sentence": sentence}
        assert list(document)[:2] == ["notice", "withdrawal"]
    assert read(own, "index.json")["current_release"] == FIRST
    assert read(own, "cohorts.json")["cohorts"][0]["current_release"] == FIRST
    listed = {each["release"]: each for each in read(own, "releases.json")["releases"]}
    assert (listed[SECOND]["withdrawal"]["sentence"], listed[SECOND]["current_for"]) == (sentence, [])
    withdraw(own, FIRST, REASON, DAY)
    assert read(own, "index.json")["current_release"] is None
    assert read(own, "cohorts.json")["cohorts"][0]["current_release"] is None
    assert len(figures(own, FIRST)) == len(figures(own, SECOND))


def test_the_catalogue_has_the_data_service(two_releases: Path) -> None:
    catalogue = json.loads((two_releases / "catalogue.jsonld").read_bytes())["@graph"][0]
    service, address = catalogue["dcat:service"], fake_facts().address
    assert service["@type"] == "dcat:DataService"
    assert service["dcat:endpointURL"]["@id"] == f"{address}/api/v1/index.json"
    assert service["dcat:endpointDescription"]["@id"] == f"{address}/api/v1/openapi.json"
    assert service["dcat:servesDataset"] == [{"@id": f"{address}/{version}"} for version in (FIRST, SECOND)]
    for each in ("dcat:endpointURL", "dcat:endpointDescription"):
        assert (two_releases / service[each]["@id"].removeprefix(f"{address}/")).is_file()
