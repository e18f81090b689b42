"""What a release says of figures that are sharper, since more was measured of the same records on request."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ndl_export.analyst_db.changes import compare
from ndl_export.bundle.make import write_bundle
from ndl_export.facts.on_request import Further
from ndl_export.facts.previous import Previous
from ndl_export.publish.release_diff import diff
from ndl_export.tables import TABLES
from pipelines.reports.releases import differences
from tests.support.export.fake_release import COHORT, fake_facts, fake_tables
from tests.support.export.supplement import BASE, LINKED, SUPPLEMENT, TOGETHER, WAITS, narrowed, supplement_facts

pytestmark = pytest.mark.slow

FURTHER = Further(COHORT, "pupil", SUPPLEMENT)


def previous(tables: dict[str, pa.Table], *further: Further) -> Previous:
    measured_in = {COHORT: BASE, "202324": "2025.11.0"}
    facts = fake_facts()
    return Previous(
        BASE, (COHORT,), facts.councils, {COHORT: {}}, {COHORT: 3.26}, measured_in, tables, further=frozenset(further)
    )


def test_cohorts_are_sharpened_by_further_counts_beside_the_same_ones(tables: dict[str, pa.Table]) -> None:
    other = Further(COHORT, "parents", "2027.01.0")
    before, now = previous(tables), {COHORT: BASE, "202324": "2025.11.0"}
    assert before.sharpened(now, [FURTHER]) == {COHORT}
    assert before.sharpened(now, []) == frozenset()
    assert before.sharpened({COHORT: "2026.12.0"}, [FURTHER]) == frozenset()  # drawn anew
    assert previous(tables, FURTHER).sharpened(now, [FURTHER]) == frozenset()
    assert previous(tables, FURTHER).sharpened(now, [FURTHER, other]) == {COHORT}
    assert previous(tables, FURTHER).sharpened(now, []) == {COHORT}  # the sharper one is the older one
    assert previous(tables, FURTHER).sharpened(now, [other]) == frozenset()


def drawn(data: pa.Table, estimate: np.ndarray, sigma: float) -> pa.Table:
    values = {"_estimate": estimate, "_lower_ci": estimate - 1.96 * sigma, "_upper_ci": estimate + 1.96 * sigma}
    for suffix, cells in values.items():
        name = "children_count" + suffix
        data = data.set_column(data.column_names.index(name), data.field(name), pa.array(cells))
    return data


def test_further_counts_explain_the_changes(tables: dict[str, pa.Table]) -> None:
    """Of counts with Gaussian noise of a known size, and their average with a second draw by inverse variance. Taken
    for two draws apart, none would be listed either."""
    rng, first, second = np.random.default_rng(11), 6.0, 8.0
    data = tables["gld_headline"]
    truth = np.maximum(data["children_count_estimate"].to_numpy(), 0.0) + 100.0
    one, other = (truth + rng.normal(0, sigma, len(truth)) for sigma in (first, second))
    both = (one / first**2 + other / second**2) / (first**-2 + second**-2)
    sigma = (first**-2 + second**-2) ** -0.5
    before, now = drawn(data, one, first), drawn(data, both, sigma)
    for older, newer, ratio in ((before, now, sigma / first), (now, before, first / sigma)):
        found = compare({"gld_headline": newer}, previous({"gld_headline": older}), TABLES, {COHORT})["gld_headline"]
        listed = sum(line[1] == "children_count" for line in found.moved)
        assert listed == 0
        assert found.changed == np.count_nonzero(np.round(one) != np.round(both))
        assert found.width_ratio is not None
        widths = {1.0: found.compared - len(truth), ratio: len(truth)}
        assert found.width_ratio == pytest.approx(max(widths, key=lambda each: widths[each]), rel=1e-9)
    apart = compare({"gld_headline": now}, previous({"gld_headline": before}))["gld_headline"]
    assert not apart.moved
    assert (apart.changed, apart.width_ratio) == (0, None)


def test_figures_that_nothing_more_was_measured_of_have_not_moved(tables: dict[str, pa.Table]) -> None:
    """Rounding of sums is no move, nor is the rounding of figures."""
    data = tables["gld_headline"]
    estimate = data["children_count_estimate"].to_numpy() + 1e-9
    place = data.column_names.index("children_count_estimate")
    again = data.set_column(place, data.field(place), pa.array(estimate))
    found = compare({"gld_headline": again}, previous({"gld_headline": data}), TABLES, {COHORT})["gld_headline"]
    assert (found.moved, found.changed) == ((), 0)
    assert found.width_ratio == pytest.approx(1.0)


@pytest.fixture(scope="module")
def releases(
    tmp_path_factory: pytest.TempPathFactory, tables: dict[str, pa.Table], signing_key: Ed25519PrivateKey
) -> Path:
    """A release, and one that uses its noisy counts again, with what was measured for requests: figures of children are
    narrower by a fifth."""
    directory = tmp_path_factory.mktemp("sharper")
    write_bundle(directory, fake_facts(BASE), tables, signing_key)
    facts = supplement_facts(earlier={})
    made = narrowed(fake_tables(requested=facts.on_request.tables), "pupil", 0.8)
    write_bundle(directory, facts, made, signing_key)
    return directory


def test_the_changelog_says_which_tables_came_and_how_much_sharper_figures_are(releases: Path) -> None:
    page = (releases / SUPPLEMENT / "changelog.md").read_text()
    assert f"- Tables on request: new: {TOGETHER}, {LINKED}, {WAITS}.\n" in page
    assert "epsilon 3.423" in page
    lines = {cells[1].strip(" `"): cells for line in page.splitlines() if len(cells := line.split("|")) == 9}
    assert lines.keys() == {"table", "---", *TABLES}
    for name, table in TABLES.items():
        assert lines[name][7].strip() == ("80.0" if table.family == "pupil" else "100.0")
        assert lines[name][3].strip() == lines[name][5].strip() == "0"
    with (releases / SUPPLEMENT / "changes.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == []


def test_the_diff_says_the_same(releases: Path) -> None:
    found = diff(releases / BASE, releases / SUPPLEMENT)
    assert found.changes == ()
    assert found.not_compared == ()
    said = json.loads(json.dumps(found.as_json()))
    assert said["tables_on_request"] == {"new": [TOGETHER, LINKED, WAITS], "gone": []}
    assert said["figures"]["gld_headline"]["median_width_ratio"] == pytest.approx(0.8)
    assert said["figures"]["asq3_outcomes"]["median_width_ratio"] == pytest.approx(1.0)
    shown = differences(found, everything=False)
    assert f"Tables on request, new: {TOGETHER}, {LINKED}, {WAITS}." in shown
    assert "80.0%" in shown
    back = diff(releases / SUPPLEMENT, releases / BASE)
    assert back.requested == ([], [TOGETHER, LINKED, WAITS])
    assert back.changes == ()
    assert back.figures["gld_headline"].width_ratio == pytest.approx(1 / 0.8)


def test_requested_tables_that_are_carried_along_are_compared(
    releases: Path, signing_key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    """A later release of the same counts: nothing is sharper than in the one before, and nothing moved."""
    for version in (BASE, SUPPLEMENT):
        shutil.copytree(releases / version, tmp_path / version)
    facts = supplement_facts(earlier={})
    record = facts.privacy_record | {"release": "2027.01.0"}
    later = replace(facts, version="2027.01.0", published_on="2027-01-04", privacy_record=record)
    made = narrowed(fake_tables(requested=facts.on_request.tables), "pupil", 0.8)
    bundle = write_bundle(tmp_path, later, made, signing_key)
    page = (bundle / "changelog.md").read_text()
    assert "- Tables on request: as before.\n" in page
    found = diff(tmp_path / SUPPLEMENT, bundle)
    assert found.figures.keys() == {*TABLES, LINKED, WAITS, TOGETHER}
    assert all((one.moved, one.added, one.left_out) == ((), 0, 0) for one in found.figures.values())
    assert found.requested == ([], [])
