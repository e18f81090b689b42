"""Bills of materials and licences of what is shipped: valid, without chance, known and allowed."""

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import PROJECT
from tests.support.export.standard_validators import run_validator
from tests.support.supply import FOLDER, load_script, run

pinned, sbom = load_script("pinned"), load_script("sbom")


def exported(uv: Path) -> str:
    command = [uv, "export", "--quiet", "--frozen", "--offline", "--no-dev", "--all-extras", "--format", "cyclonedx1.5"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout


def finished(bill: str, **environment: str) -> str:
    """By Python's own library alone, as a stage that builds an image has it."""
    command = [sys.executable, "-I", "-S", FOLDER / "sbom.py"]
    env = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, input=bill, capture_output=True, text=True, check=True, env=env).stdout


@pytest.fixture(scope="module")
def bill(uv: Path) -> dict[str, Any]:
    return json.loads(finished(exported(uv)))


def test_the_same_lock_gives_the_same_bytes(uv: Path) -> None:
    first, second = exported(uv), exported(uv)
    assert json.loads(first)["serialNumber"] != json.loads(second)["serialNumber"]
    made = finished(first, SOURCE_DATE_EPOCH="1700000000", TZ="Asia/Tokyo", LC_ALL="C")
    assert finished(second, SOURCE_DATE_EPOCH="1700000000", TZ="UTC") == made
    assert json.loads(made)["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    other = finished(first.replace('"version": "0.1.0"', '"version": "0.2.0"'), SOURCE_DATE_EPOCH="1700000000")
    assert json.loads(other)["serialNumber"] != json.loads(made)["serialNumber"]


def test_it_lists_what_is_shipped_with_licences_and_sums(bill: dict[str, Any], uv: Path) -> None:
    assert {each["name"] for each in bill["components"]} == pinned.shipped(uv)
    for each in bill["components"]:
        assert each["licenses"][0]["expression"]
        assert each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}"
        assert all(len(file["hashes"][0]["content"]) == 64 for file in each["externalReferences"])
    root = bill["metadata"]["component"]
    assert (root["type"], root["name"]) == ("application", "readiness")
    assert root["version"] == importlib.metadata.version("readiness")


def test_a_part_of_it_is_a_bill_of_its_own(bill: dict[str, Any]) -> None:
    version = {each["name"]: each["version"] for each in bill["components"]}
    pins = {name: version[name] for name in ("cryptography", "cffi", "jinja2")}
    made = sbom.part(bill, "readiness-council", pins)
    assert {each["name"]: each["version"] for each in made["components"]} == pins
    assert made["metadata"]["component"]["name"] == "readiness-council"
    within = {each["ref"].partition("@")[0].rpartition("-")[0]: each["dependsOn"] for each in made["dependencies"]}
    assert [ref.partition("-")[0] for ref in within["cryptography"]] == ["cffi"]
    assert within["jinja2"] == []
    with pytest.raises(KeyError, match="lacks click"):
        sbom.part(bill, "readiness-council", {"click": "0"})


@pytest.mark.slow
def test_a_validator_of_cyclonedx_takes_all(bill: dict[str, Any], uv: Path, tmp_path: Path) -> None:
    """Of an image with Debian's packages as well."""
    debian = sbom.of_debian("libc6\t2.41-12+deb13u1\tamd64\npostgresql\t1:17+2~deb\tall\n")
    assert debian[1]["purl"] == "pkg:deb/debian/postgresql@1%3A17%2B2~deb?arch=all"
    of_image = sbom.finished(json.loads(exported(uv)), sbom.licences(), "1", debian)
    assert of_image["components"] == [*bill["components"], *debian]
    part = sbom.part(bill, "readiness-council", {each["name"]: each["version"] for each in bill["components"][:20]})
    bills = {"whole": bill, "part": part, "of_image": of_image, "wrong": {**bill, "serialNumber": "1"}}
    for name, each in bills.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "cdx.json").write_text(json.dumps(each))
    found = run_validator("standards", "standards_faults.py", *(tmp_path / name for name in bills))["faults"]
    faults = {name: found[str(tmp_path / name)]["cdx.json"] for name in bills}
    assert [name for name, each in faults.items() if each] == ["wrong"]
    assert "'1' does not match" in faults["wrong"][0]


def test_a_package_without_a_known_licence_stops_it(uv: Path) -> None:
    known = {name: of for name, of in sbom.licences().items() if name != "splink"}
    with pytest.raises(KeyError, match="splink"):
        sbom.finished(json.loads(exported(uv)), known, None)


licences = load_script("licences")


def test_every_package_that_is_shipped_has_an_allowed_licence(uv: Path) -> None:
    """Without looking at what is installed."""
    names, listed = pinned.shipped(uv), sbom.licences()
    allowed, _, settled = licences.of_policy()
    assert names >= {"dagster", "opendp", "mbi", "pywin32"}
    assert not names & {"pytest", "hypothesis", "pip-licenses"}
    assert set(listed) == names
    assert not [each for each, of in listed.items() if each not in settled and not licences.is_allowed(of, allowed)]
    assert {name: listed[name] for name in settled} == {name: each["licence"] for name, each in settled.items()}
    assert all(len(each["reason"]) > 20 for each in settled.values())
    assert not {each for each in allowed if each.startswith(("GPL", "AGPL", "LGPL", "MPL"))}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("piplicenses") is None, reason="pip-licenses is not installed")
def test_what_is_installed_says_what_the_list_says(uv: Path) -> None:
    done = run("licences.py", "--uv", uv)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Licences: none to act on, of {len(pinned.shipped(uv))} packages that are shipped.\n"


@pytest.mark.parametrize(
    ("stated", "spdx", "fine"),
    [
        ("mit or apache-2.0", "MIT OR Apache-2.0", True),
        ("Apache Software License; MIT License", "Apache-2.0 AND MIT", True),
        ("MIT AND GPL-3.0-only OR Zlib AND 0BSD", "MIT AND GPL-3.0-only OR Zlib AND 0BSD", True),
        ("(MIT OR GPL-3.0-only) AND GPL-3.0-only", "(MIT OR GPL-3.0-only) AND GPL-3.0-only", False),
        ("GNU Affero General Public License v3", "GNU Affero General Public License v3", False),
        ("UNKNOWN", "UNKNOWN", False),
    ],
)
def test_what_is_stated_is_read_as_spdx_and_judged(stated: str, spdx: str, fine: bool) -> None:
    allowed, words, _ = licences.of_policy()
    assert licences.spdx(stated, words) == spdx
    assert licences.is_allowed(spdx, allowed) == fine


@pytest.mark.parametrize(
    ("installed", "listed", "shipped", "found"),
    [
        ({"pyrage": "UNKNOWN", "certifi": "MPL-2.0"}, {}, set(), ""),
        ({"splink": "AGPL-3.0-only"}, {}, set(), "splink has the licence 'AGPL-3.0-only', and not 'MIT'"),
        ({}, {"splink": "AGPL-3.0-only"}, set(), "splink has the licence 'AGPL-3.0-only', which policy.toml"),
        ({}, {}, {"new"}, "new has the licence 'UNKNOWN', and not None"),
        ({}, {}, {"splink"}, "splink is in licences.csv and not shipped"),
        ({"pyrage": "GPL-3.0-only"}, {}, set(), "pyrage states 'GPL-3.0-only', which is not what policy.toml"),
    ],
)
def test_what_has_changed_is_found(
    uv: Path,
    monkeypatch: pytest.MonkeyPatch,
    installed: dict[str, str],
    listed: dict[str, str],
    shipped: set[str],
    found: str,
) -> None:
    """`shipped` are packages that are shipped now, or no longer."""
    names, stated = pinned.shipped(uv) ^ shipped, sbom.licences() | listed
    monkeypatch.setattr(licences, "installed", lambda of, _: {k: v for k, v in installed.items() if k in of})
    monkeypatch.setattr(sbom, "licences", lambda: stated)
    wrong = licences.wrong(names, stated, licences.derived(names))
    assert [each for each in wrong if each.startswith(found)] == wrong[:1]
    assert len(wrong) == bool(found)
