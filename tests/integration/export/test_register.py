"""The public register of requests: its file, its page, and what leads to it."""

import datetime as dt
import json
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ndl_export.bundle.make import write_bundle
from ndl_export.bundle.release_directory import refresh, replace_register, withdraw
from ndl_export.facts.directory_files import Register, Status, UnreadableRegister, read_register, write_register
from tests.support import PROJECT
from tests.support.export.bundles import KEY
from tests.support.export.fake_release import fake_facts, fake_tables
from tests.support.export.requested import ASKED, BUDGETS, REVIEWS, SEN, build_asked_table, build_facts_with
from tests.support.export.standard_validators import run_validator
from tests.support.site.dom import get_words, parse

DAY = dt.date(2026, 12, 20)
ATOM = {"a": "http://www.w3.org/2005/Atom"}
ADDRESS = fake_facts().address


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, release_dir: Path) -> Path:
    """A release directory with a release that answers two requests after one without any; to be read, not written."""
    directory = tmp_path_factory.mktemp("register") / "release"
    shutil.copytree(release_dir, directory, symlinks=True)
    facts = build_facts_with((SEN, REVIEWS))
    write_bundle(directory, facts, fake_tables(requested=facts.on_request.tables), KEY)
    replace_register(directory, ASKED, BUDGETS)
    return directory


@pytest.fixture
def own(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "release", symlinks=True))


def page(directory: Path) -> str:
    return (directory / "site" / "requests.html").read_text(encoding="utf-8")


def sections(directory: Path) -> dict[str, str]:
    found = parse(page(directory)).iter("section")
    return {name: get_words(each) for each in found if (name := each.get("aria-labelledby"))}


def catalogue(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "catalogue.jsonld").read_text())["@graph"][0]


def answered(directory: Path) -> list[ET.Element]:
    entries = ET.parse(directory / "feed.xml").getroot().findall("a:entry", ATOM)
    return [each for each in entries if each.find("a:category[@term='answered']", ATOM) is not None]


def test_what_is_written_is_read_back_and_written_once_and_another_file_is_named(tmp_path: Path) -> None:
    assert read_register(tmp_path) is None
    assert write_register(tmp_path, ASKED, BUDGETS)
    found = read_register(tmp_path)
    assert found == Register(tuple(sorted(ASKED, key=lambda each: (each.asked_on, each.name))), BUDGETS)
    assert not write_register(tmp_path, tuple(reversed(ASKED)), BUDGETS)
    assert write_register(tmp_path, ASKED[:1], BUDGETS)
    for content in (b"{", b"[]", b'{"requests": [1], "budgets": []}', b'{"requests": [{}], "budgets": []}'):
        (tmp_path / "requests.json").write_bytes(content)
        with pytest.raises(UnreadableRegister, match=r"requests\.json is not a register"):
            read_register(tmp_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status": Status.ANSWERED}, "if, and only if, the request was answered"),
        ({"answered_in": "2026.12.0"}, "if, and only if, the request was answered"),
        ({"status": Status.REFUSED}, "a reason"),
        ({"reason": "No"}, "a reason"),
        ({"purpose": "Two\nlines"}, "purpose is not one line"),
        ({"title": " "}, "title is not one line"),
        ({"cohorts": ()}, "names no cohort"),
        ({"cohorts": ("2024",)}, "is not a cohort"),
        ({"asked_on": "yesterday"}, "isoformat"),
        ({"rho": {"202324": 0.1}}, "for each of its cohorts"),
        ({"rho": {"202425": float("nan")}}, "for each of its cohorts"),
    ],
)
def test_what_cannot_be_is_no_entry(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        replace(build_asked_table(SEN, Status.ASKED), **change)


def test_it_is_as_documented_and_pages_catalogue_and_feed_link_to_it(published: Path) -> None:
    assert '<a href="requests.html">' in (published / "site" / "about.html").read_text(encoding="utf-8")
    assert "requests.html" not in (published / "2026.12.0" / "site" / "about.html").read_text(encoding="utf-8")
    # The schema is in the page on the register; nothing else may be published.
    text = (PROJECT / "docs" / "register.md").read_text(encoding="utf-8")
    schema = json.loads(re.findall(r"```json\n(.*?)```", text, re.DOTALL)[0])
    document = json.loads((published / "requests.json").read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    for change in ({"children": 3}, {"email": "who@example.org"}):
        document["requests"][0] |= change
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document, schema)
    found = catalogue(published)
    assert found["dct:relation"] == {"@id": f"{ADDRESS}/requests.json"}
    assert found["foaf:page"]["@id"] == f"{ADDRESS}/site/requests.html"
    links = {link.get("href", "") for link in parse(page(published)).iter("a")}
    assert {"../2026.12.0/site/request-sen-by-meals.html", "../requests.json"} <= links
    entries = answered(published)
    names = ("reviewed_by_sex", "sen_by_meals")
    assert [each.findtext("a:id", "", ATOM) for each in entries] == [f"{ADDRESS}/requests.json#{n}" for n in names]
    link = entries[1].find("a:link[@rel='alternate']", ATOM)
    assert link.get("href") == f"{ADDRESS}/2026.12.0/site/request-sen-by-meals.html"
    assert entries[1].findtext("a:updated", "", ATOM) == "2026-12-03T00:00:00Z"


def test_it_is_published_before_any_release_and_beside_older_ones(tmp_path: Path, bundle: Path) -> None:
    directory = tmp_path / "new" / "release"
    replace_register(directory, ASKED, [])
    assert [path.name for path in directory.iterdir()] == ["requests.json"]
    shutil.copytree(bundle, directory / bundle.name)
    refresh(directory)
    assert list(sections(directory)) == ["answered", "asked", "refused"]
    assert not any("request-" in link.get("href", "") for link in parse(page(directory)).iter("a"))
    assert answered(directory) == []


@pytest.mark.slow
def test_the_validators_find_nothing(published: Path) -> None:
    assert run_validator("standards", "standards_faults.py", published)["faults"][str(published)] == {
        "catalogue.jsonld": [],
        "feed.xml": [],
    }


@pytest.mark.slow
def test_a_withdrawn_answer_says_so(own: Path) -> None:
    withdraw(own, "2026.12.0", "An extract was of another year", DAY)
    assert "Answered in release 2026.12.0, which was withdrawn." in sections(own)["answered"]
    assert answered(own) == []
    withdraw(own, "2026.11.0", "So was this one's", DAY)
    assert not (own / "site").exists()
    assert catalogue(own)["dct:relation"] == {"@id": f"{ADDRESS}/requests.json"}
    assert "foaf:page" not in catalogue(own)


def test_hostile_words_stay_words(own: Path) -> None:
    hostile = replace(ASKED[2], title="<script>alert(1)</script>", purpose='"><b>x</b>', asked_by="<!-- /register -->")
    replace_register(own, [hostile], [])
    root = parse(page(own))
    assert len(list(root.iter("script"))) == 1
    assert not list(root.iter("b"))
    assert "<script>alert(1)</script>" in get_words(root)
    replace_register(own, [], [])
    assert list(sections(own)) == []
