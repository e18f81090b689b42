"""Statements of quality, disclosure and practice, and who makes them."""

import json
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st
from scipy.stats import norm

from ndl_export.analyst_db.build import NOTEBOOK_FILE, SCRIPT_FILE, build_database
from ndl_export.bundle.make import write_bundle
from ndl_export.bundle.verify import verify
from ndl_export.documents.pages import build_reliability_grid, render_page
from ndl_export.facts.release_facts import InvalidPublisher, load_publisher, read_publisher
from ndl_export.tables import TABLES
from privacy.release.statement import compute_most_found
from tests.support import PROJECT
from tests.support.export.bundles import KEY
from tests.support.export.fake_release import fake_facts


@given(rho=st.floats(1e-4, 3.0), false_alarms=st.floats(0.005, 0.5))
def test_the_bound_lies_between_gaussian_noise_and_certainty(rho: float, false_alarms: float) -> None:
    """Gaussian noise of that rho allows a test of this power (Neyman and Pearson), so a true bound is no smaller."""
    gaussian = float(norm.cdf(norm.ppf(false_alarms) + math.sqrt(2 * rho)))
    assert gaussian - 1e-9 <= compute_most_found(rho, false_alarms) <= 1.0


@given(rho=st.floats(0.01, 0.5), false_alarms=st.floats(0.01, 0.1), order=st.floats(1.01, 50.0))
def test_the_bound_is_what_renyi_divergence_allows(rho: float, false_alarms: float, order: float) -> None:
    """Divergence by its definition: at the bound no order's is above rho times the order, a little beyond it one is."""

    def excess(found: float, order: float) -> float:
        terms = (p**order * q ** (1 - order) for p, q in ((found, false_alarms), (1 - found, 1 - false_alarms)))
        return math.log(math.fsum(terms)) / (order - 1) - rho * order

    found = compute_most_found(rho, false_alarms)
    assert excess(found, order) <= 1e-4
    assert any(excess(found + 0.002, tried) > 0 for tried in np.geomspace(1.01, 50, 100))


def test_five_safes_state_the_bound_for_each_question_about_a_child() -> None:
    """Presence at rho 0.215, a category of a child who is known to be counted at twice that: 20 and 30 in 100."""
    facts = fake_facts()
    page = render_page("five_safes.md", facts, inference=facts.privacy_record["inference"])
    for factor, change, found in (
        (1, "added or removed", 20),
        (2, "replaced by another", 30),
        (4, "two rows added", 49),
    ):
        assert found == round(100 * compute_most_found(factor * 0.215))
        (line,) = [line for line in page.splitlines() if change in line and f"at most **{found} in 100**" in line]
        assert line.startswith("| whether" if factor != 2 else "| in which")


def test_reliability_is_counted_from_the_flags(tables: dict[str, pa.Table]) -> None:
    flags = tables["joined_dots"]["gld_children_percent_flag"]
    numbers = [str(flags.to_pylist().count(flag)) for flag in (None, "u", "linkage", "withheld", "x")]
    label = TABLES["joined_dots"].get_measure("gld_children_percent").label
    (line,) = [
        line for line in build_reliability_grid(tables).splitlines() if line.startswith(f"| `joined_dots` | {label}")
    ]
    assert [cell.strip() for cell in line.split("|")[3:8]] == numbers


NOTICE = read_publisher(PROJECT / "ndl_export" / "facts" / "publisher_synthetic.yaml").notice
SOUND = {
    "name": "A combined authority",
    "contact": "statistics@example.org",
    "address": "https://data.example.org/readiness/",
    "organisation": "some-department",
    "status": "Made up",
}


def written(path: Path, entries: dict[str, str]) -> Path:
    path.write_text("".join(f'{key}: "{value}"\n' for key, value in entries.items()))
    return path


REAL = SOUND | {
    "contact": "statistics@combined-authority.gov.uk",
    "address": "https://data.combined-authority.gov.uk/readiness/",
}


@pytest.mark.parametrize(
    ("key", "value", "is_placeholder"),
    [
        ("name", "Another authority", False),
        ("contact", "statistics@example.org", True),
        ("contact", "statistics@authority.example", True),
        ("contact", "todo@combined-authority.gov.uk", True),
        ("address", "https://authority.example/readiness", True),
        ("address", "https://EXAMPLE.com", True),
        ("address", "http://localhost:8000/readiness", True),
        ("address", "https://example-council.gov.uk/x", False),
        ("address", "https://contest.gov.uk", False),
        ("address", "https://a.uk/example/", False),
        ("name", "TODO", True),
    ],
)
def test_nobody_publishes_under_a_placeholder_but_a_demonstration(
    key: str, value: str, is_placeholder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = written(tmp_path / "own.yaml", REAL | {key: value})
    monkeypatch.setenv("READINESS_PUBLISHER", str(own))
    if is_placeholder:
        with pytest.raises(InvalidPublisher, match=re.escape(f"{own}:1:1: {key} is a placeholder ({value})")):
            load_publisher(demonstration=False)
    publisher = load_publisher(demonstration=is_placeholder)
    assert getattr(publisher, key) == value.rstrip("/")
    assert is_placeholder or publisher.notice == ""


def test_a_release_needs_a_file_of_its_own_and_a_demonstration_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("READINESS_PUBLISHER", raising=False)
    with pytest.raises(InvalidPublisher, match=r"publisher\.yaml:1:1: contact is a placeholder"):
        load_publisher(demonstration=False)
    assert load_publisher(demonstration=True).notice == NOTICE
    monkeypatch.setenv("READINESS_PUBLISHER", str(written(tmp_path / "own.yaml", SOUND | {"notice": "A trial."})))
    assert load_publisher(demonstration=True).name == "A combined authority"
    assert load_publisher(demonstration=True).notice == f"{NOTICE} A trial."


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        (SOUND | {"contact": "nobody"}, "contact: must be an e-mail address"),
        (SOUND | {"address": "data.example.org"}, "address: must be a web address"),
        (SOUND | {"organisation": "Some Department"}, "organisation: must be a name"),
        (SOUND | {"status": " "}, "status: is empty"),
        (SOUND | {"doi": "https://doi.org/10.1234/abc"}, "doi: must be a DOI"),
        (SOUND | {"colour": "blue"}, "'colour' is not a key here"),
        ({}, "the file is empty"),
        (None, "there is no such file"),
    ],
)
def test_a_publisher_file_with_a_mistake_is_refused(entries: dict[str, str] | None, what: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml" if entries is None else written(tmp_path / "own.yaml", entries)
    with pytest.raises(InvalidPublisher, match=what):
        read_publisher(path)


NAMED = re.compile(r"`([A-Za-z0-9_-]+(?:\.meta)?\.(?:parquet|csv|ods|json|jsonld|md|cff|pem|zip|sig)|SHA256SUMS)`")


@pytest.mark.parametrize("name", ["ai_readiness.md", "README.md", "code_of_practice.md", "five_safes.md", "quality.md"])
def test_every_file_that_a_statement_names_is_in_the_bundle(name: str, bundle: Path) -> None:
    text = (bundle / name).read_text(encoding="utf-8")
    named = set(NAMED.findall(text))
    assert named
    assert name == "ai_readiness.md" or fake_facts().contact in text
    assert name not in ("README.md", "code_of_practice.md") or fake_facts().status in text
    assert {each for each in named if not (bundle / each).is_file()} == set()


def test_every_command_of_the_ai_statement_gives_the_answer_beside_it(bundle: Path) -> None:
    text = (bundle / "ai_readiness.md").read_text(encoding="utf-8")
    tried = re.findall(r"`((?:python|openssl) [^`]+)`: ([^|;`]+)", text)
    assert len(tried) >= 15
    for command, stated in tried:
        runnable = command.replace("python ", f"{sys.executable} ", 1)
        ran = subprocess.run(runnable, shell=True, cwd=bundle, capture_output=True, text=True, check=True)
        assert f"{stated.strip()} ".startswith(f"{ran.stdout.strip()} "), command


@pytest.mark.slow
def test_a_notice_stands_above_everything(tmp_path: Path, tables: dict[str, pa.Table]) -> None:
    bundle = write_bundle(tmp_path, replace(fake_facts(), notice=NOTICE), tables, KEY)
    documents = sorted(bundle.glob("*.md"))
    assert {path.name for path in documents} >= {"README.md", "LICENCE.md", "methodology.md", "privacy_statement.md"}
    for path in documents:
        assert path.read_text(encoding="utf-8").splitlines()[0] == f"**{NOTICE}**"
    for page in (bundle / "site").glob("*.html"):
        html = page.read_text(encoding="utf-8")
        assert f"<title>{NOTICE} " in html
        said = re.sub(r"<a class=\"skip\".*?</a>|<[^>]*>", "", html.partition("<body>")[2])
        assert said.strip().startswith(NOTICE)
    described: dict[str, Callable[[Any], str]] = {
        "dcat.jsonld": lambda found: found["dct:description"]["@value"],
        "ckan_package.json": lambda found: found["notes"],
        "csv-metadata.json": lambda found: found["dc:description"],
        "privacy_statement.json": lambda found: found["notice"],
    }
    for name in ("datapackage.json", "croissant.json", "ukgov_dataset.json", *described):
        found = json.loads((bundle / name).read_text(encoding="utf-8"))
        assert described.get(name, lambda found: found["description"])(found).startswith(NOTICE)
    assert len(json.loads((bundle / "ukgov_dataset.json").read_text())["summary"]) <= 250
    for name in TABLES:
        assert pq.read_schema(bundle / f"{name}.parquet").metadata[b"description"].decode().startswith(NOTICE)
    assert (bundle / NOTEBOOK_FILE).read_text().startswith(f"# {NOTICE}\n# /// script\n")
    assert (bundle / SCRIPT_FILE).read_text().startswith(f"-- {NOTICE} ")
    assert verify(bundle).ok
    with duckdb.connect(str(build_database(tmp_path)), read_only=True) as connection:
        (first,) = connection.execute("FROM help.start LIMIT 1").fetchall()
        assert first[1] == NOTICE
        assert connection.execute(first[2]).fetchall() == [("2026.11.0", NOTICE)]
        query = "SELECT comment FROM duckdb_views() WHERE schema_name = 'latest' AND view_name = 'gld_headline'"
        assert NOTICE in connection.execute(query).fetchall()[0][0]
    root = ET.parse(tmp_path / "feed.xml").getroot()
    titles = [each.text or "" for each in root.iter("{http://www.w3.org/2005/Atom}title")]
    assert len(titles) == 2
    assert all(title.startswith(NOTICE) for title in titles)
    found, series = json.loads((tmp_path / "catalogue.jsonld").read_text())["@graph"]
    for each in (found, series, *found["dcat:dataset"]):
        assert each["dct:description"]["@value"].startswith(NOTICE)
