"""Statements of quality, disclosure and practice, and who makes them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from ndl_export.bundle.make import write_bundle
from ndl_export.documents.pages import coherence, five_safes_page, linkage_grid, reliability_grid
from ndl_export.facts.publisher import InvalidPublisher, publisher, read_publisher
from ndl_export.tables import TABLES
from privacy.release.inference import most_found
from tests.support import PROJECT
from tests.support.export.fake_release import COHORT, fake_facts


@given(rho=st.floats(1e-4, 3.0), false_alarms=st.floats(0.005, 0.5))
def test_the_bound_lies_between_gaussian_noise_and_certainty(rho: float, false_alarms: float) -> None:
    """Gaussian noise of that rho allows a test of this power (Neyman and Pearson), so a true bound is no smaller."""
    gaussian = float(norm.cdf(norm.ppf(false_alarms) + math.sqrt(2 * rho)))
    assert gaussian - 1e-9 <= most_found(rho, false_alarms) <= 1.0


@given(rho=st.floats(1e-4, 0.5), more=st.floats(1.01, 2.0), false_alarms=st.floats(0.005, 0.1))
def test_more_loss_finds_more(rho: float, more: float, false_alarms: float) -> None:
    assert most_found(rho, false_alarms) < most_found(rho * more, false_alarms)


@given(rho=st.floats(0.01, 0.5), false_alarms=st.floats(0.01, 0.1), order=st.floats(1.01, 50.0))
def test_the_bound_is_what_renyi_divergence_allows(rho: float, false_alarms: float, order: float) -> None:
    """Divergence by its definition: at the bound no order's is above rho times the order, a little beyond it one is."""

    def excess(found: float, order: float) -> float:
        terms = (p**order * q ** (1 - order) for p, q in ((found, false_alarms), (1 - found, 1 - false_alarms)))
        return math.log(math.fsum(terms)) / (order - 1) - rho * order

    found = most_found(rho, false_alarms)
    assert excess(found, order) <= 1e-4
    assert any(excess(found + 0.002, tried) > 0 for tried in np.geomspace(1.01, 50, 100))


def test_five_safes_state_the_bound_for_each_question_about_a_child() -> None:
    """Presence at rho 0.215, a category of a child who is known to be counted at twice that: 20 and 30 in 100."""
    page = five_safes_page(fake_facts())
    for factor, change, found in (
        (1, "added or removed", 20),
        (2, "replaced by another", 30),
        (4, "two rows added", 49),
    ):
        assert found == round(100 * most_found(factor * 0.215))
        (line,) = [line for line in page.splitlines() if change in line and f"at most **{found} in 100**" in line]
        assert line.startswith("| whether" if factor != 2 else "| in which")


def test_reliability_is_counted_from_the_flags(tables: dict[str, pa.Table]) -> None:
    flags = tables["joined_dots"]["gld_children_percent_flag"]
    numbers = [str(flags.to_pylist().count(flag)) for flag in (None, "u", "withheld", "x")]
    label = TABLES["joined_dots"].measure("gld_children_percent").label
    (line,) = [line for line in reliability_grid(tables).splitlines() if line.startswith(f"| `joined_dots` | {label}")]
    assert [cell.strip() for cell in line.split("|")[3:7]] == numbers


def test_linkage_is_that_of_the_table(tables: dict[str, pa.Table]) -> None:
    lines = linkage_grid(tables["linkage_quality"], (COHORT,)).splitlines()[2:]
    areas = dict.fromkeys(area.name for area in fake_facts().areas)
    assert [line.split("|")[1].strip() for line in lines] == list(areas)


def test_coherence_counts_what_lies_within() -> None:
    header = "within_interval,note\n"
    assert "no official figures" in coherence(header)
    assert "Of 3 published percentages" in coherence(header + "yes,\nno,\nyes,\n,not available\n")
    assert " 2 lie within" in coherence(header + "yes,\nno,\nyes,\n")


def test_pages_give_status_and_contact(bundle: Path) -> None:
    for page in ("README.md", "code_of_practice.md"):
        assert fake_facts().status in (bundle / page).read_text()
    for page in ("README.md", "code_of_practice.md", "quality.md", "five_safes.md"):
        assert fake_facts().contact in (bundle / page).read_text()


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


def test_an_installation_names_its_own_publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READINESS_PUBLISHER", str(written(tmp_path / "own.yaml", SOUND)))
    assert publisher().name == "A combined authority"
    assert publisher().address == "https://data.example.org/readiness"
    monkeypatch.delenv("READINESS_PUBLISHER")
    assert publisher().organisation == "department-for-science-innovation-and-technology"


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        (SOUND | {"contact": "nobody"}, "contact must be an e-mail address"),
        (SOUND | {"address": "data.example.org"}, "address must be a web address"),
        (SOUND | {"organisation": "Some Department"}, "organisation must be a name"),
        (SOUND | {"status": " "}, "status must be a text"),
        (SOUND | {"colour": "blue"}, "must have the keys name, contact"),
        ({}, "must have the keys name, contact"),
    ],
)
def test_a_publisher_file_with_a_mistake_is_refused(entries: dict[str, str], what: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidPublisher, match=what):
        read_publisher(written(tmp_path / "own.yaml", entries))


def test_a_notice_stands_above_everything(
    tmp_path: Path, tables: dict[str, pa.Table], signing_key: Ed25519PrivateKey
) -> None:
    notice = read_publisher(PROJECT / "ndl_export" / "facts" / "publisher_synthetic.yaml").notice
    assert "no figure is about real children" in notice
    assert publisher().notice == ""
    bundle = write_bundle(tmp_path, replace(fake_facts(), notice=notice), tables, signing_key)
    assert f"**{notice}**" in (bundle / "README.md").read_text(encoding="utf-8")
    for page in (bundle / "site").glob("*.html"):
        assert f"<strong>{notice}</strong>" in page.read_text(encoding="utf-8")
    for name in ("dcat.jsonld", "ckan_package.json", "datapackage.json", "croissant.json", "ukgov_dataset.json"):
        assert notice in (bundle / name).read_text(encoding="utf-8")
    assert len(json.loads((bundle / "ukgov_dataset.json").read_text())["summary"]) <= 250


def test_a_publisher_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidPublisher, match="not a readable YAML file"):
        read_publisher(tmp_path / "none.yaml")
