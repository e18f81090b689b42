"""A clerical review in a release: signed, charged once, measured with noise, and used by figures from then on."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.linkage.inputs import Sample, find_measuring_release
from assets.release.decision_sheet import render_sheet
from assets.release.fix_release import ReleaseOptions, fix_release
from assets.release.measure import measure_release
from assets.release.release import CohortRelease, Release
from assets.release.requests_to_sign import build_measurement_request
from assets.release.tabulate import Differing, MeasuredRelease, find_differing_tables, read_measured_release, tabulate
from ndl_export.bundle.verify import verify
from privacy.doors import files
from privacy.keys import KeyRing
from privacy.linkage.cells import REVIEW
from privacy.linkage.review import (
    ATTRIBUTE,
    KNOWN,
    NEAR,
    NEITHER,
    NO_REVIEW,
    NOT_KNOWN,
    OTHER,
    OUTSIDE,
    TO_BOTH,
    format_category,
)
from privacy.release import approval, ledger, policy
from privacy.release.session import build_measurement_path
from tests.support.release.doubles import hold_still
from tests.support.release.homes import COHORT, VERSION, copy_home, list_charges, make_home, make_release
from tests.support.release.people import Signer, name_people

COUNCILS = ["leeds", "wirral"]
ROWS, LATER = 3000, "2026.11.1"
KNOWN_TO_HEALTH = format_category(NO_REVIEW, NEAR, KNOWN)
FOUND = {
    KNOWN_TO_HEALTH: 40,
    format_category(NEITHER, OTHER, TO_BOTH): 12,
    format_category(NO_REVIEW, NEAR, NOT_KNOWN): 9,
}


def review(home: Home, found: Mapping[str, int] = FOUND, number: int = 1) -> None:
    """A sample whose decisions were taken in: so many children of each category."""
    store = home.get_cohort(COHORT)
    sample = Sample(number, {}, "", ROWS)
    files.make_folder(store.review)
    files.write_json(store.review / "sample.json", vars(sample))
    children = pq.read_table(store.get_confidential_path("pupil"), columns=["child_id"])
    cells = [each for each, count in found.items() for _ in range(count)]
    column = pa.array(cells + [OUTSIDE] * (children.num_rows - len(cells)))
    pq.write_table(children.append_column(ATTRIBUTE, column), store.reviewed)


def measure(home: Home, keys: KeyRing, version: str = VERSION, share: float | None = None) -> None:
    measure_release(
        CohortRelease(home.get_cohort(COHORT), version),
        keys,
        COUNCILS,
        ReleaseOptions(allow_missing=False, share=share),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, keys: KeyRing) -> Home:
    """A release with a review; to be read and not written."""
    home = make_home(tmp_path_factory.mktemp("home"), ROWS, COUNCILS)
    review(home)
    make_release(home, keys, COUNCILS)
    return home


def test_it_is_charged_beside_the_families_and_everything_follows_from_noisy_counts(made: Home) -> None:
    """The bundle states the charge, holds the noisy tallies and their plan, and gives its figures from these alone."""
    bundle = made.release / VERSION
    charge = ledger.Ledger(made.ledger).find(COHORT, VERSION, REVIEW)
    assert charge.rho == pytest.approx(policy.load_policy().review_rho, abs=1e-6)
    assert verify(bundle).ok, str(verify(bundle))
    assert find_differing_tables(bundle) == Differing([], [])
    record = json.loads((bundle / "privacy_statement.json").read_bytes())
    stated = next(each for each in record["families"] if each["family"] == REVIEW)
    assert (stated["measured_in"], stated["l2_sensitivity_of_each_marginal"]) == (VERSION, 1)
    assert record["privacy_parameters"]["rho"] == pytest.approx(0.215 + policy.load_policy().review_rho, abs=1e-5)
    assert "review of links, for release" in (bundle / "privacy_statement.md").read_text(encoding="utf-8")
    drawn = pq.read_table(bundle / "noisy_counts_on_request.parquet").to_pylist()
    assert {each["family"] for each in drawn} == {REVIEW}
    plan = json.loads((bundle / f"noise_plan_{REVIEW}_{COHORT}_{VERSION}.json").read_bytes())
    assert plan["detail"] == {"chances": plan["detail"]["chances"], "requests": [], "sample": 1}


def test_what_reviewers_found_changes_corrected_figures_and_no_others(made: Home) -> None:
    """The tables of the same noisy counts, with the review and without it."""
    (own,) = read_measured_release(made.release / VERSION).cohorts
    release = MeasuredRelease([own], COUNCILS, policy.load_policy().reliability, {})
    found = [tabulate(replace(release, cohorts=[each])) for each in (own, replace(own, on_request=()))]
    for name, same in (("gld_headline", True), ("asq3_outcomes", True), ("joined_dots", False)):
        one, other = (tables[name] for tables in found)
        assert one.equals(other) == same, name
        assert len(one) == len(other)


def test_a_sample_that_nobody_decided_is_no_part_of_a_release(tmp_path: Path) -> None:
    """What is fixed, planned and asked to be signed is the same as where no sample was drawn."""
    with hold_still():
        found = []
        for name in ("drawn", "not drawn"):
            home = make_home(tmp_path / name, 600, COUNCILS)
            if name == "drawn":
                review(home)
                home.get_cohort(COHORT).reviewed.unlink()
            fix_release(CohortRelease(home.get_cohort(COHORT), VERSION), COUNCILS, ReleaseOptions(allow_missing=False))
            kept = {path.name: path.read_bytes() for path in home.release_record(VERSION).parent.iterdir()}
            found.append((kept, build_measurement_request(Release(home, VERSION))))
        assert found[0] == found[1]


def test_neighbours_differ_by_one_in_each_marginal_and_in_nothing_else(tmp_path: Path, keys: KeyRing) -> None:
    """With the noise held still, a child that is in the review or is not there at all: one cell of each marginal, by 1.
    Plans and charges are the same."""
    with hold_still():
        drawn, requests = [], []
        for name in ("all", "one fewer"):
            home = make_home(tmp_path / name, 600, COUNCILS)
            review(home)
            if name == "one fewer":
                whole = pq.read_table(home.get_cohort(COHORT).reviewed)
                pq.write_table(whole.slice(1), home.get_cohort(COHORT).reviewed)
            measure(home, keys)
            drawn.append(json.loads(build_measurement_path(home.restricted, COHORT, VERSION, REVIEW).read_bytes()))
            requests.append(home.get_cohort(COHORT).get_request_plan_path(VERSION, REVIEW).read_bytes())
        assert requests[0] == requests[1]
        assert drawn[0]["measurement"]["rho"] == drawn[1]["measurement"]["rho"]
        for one, other in zip(*(each["measurement"]["marginals"] for each in drawn), strict=True):
            moved = np.abs(np.array(one["noisy"]) - np.array(other["noisy"]))
            assert sorted(moved.ravel())[-2:] == [0, 1]


def test_nothing_of_a_review_but_the_noisy_tallies_is_in_a_release(made: Home) -> None:
    """The ids of pairs and children, and the true tallies as the report has them, are in no file of the bundle."""
    ids = pq.read_table(made.get_cohort(COHORT).reviewed)["child_id"].to_pylist()[:40]
    for path in (made.release / VERSION).rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"cohort=" + COHORT.encode() + b"/pairs" not in content
            assert not any(f'"{each}"'.encode() in content for each in ids), path
    drawn = pq.read_table(made.release / VERSION / "noisy_counts_on_request.parquet").to_pandas()
    assert (drawn.sigma > 4).all()
    true = {**FOUND, OUTSIDE: ROWS - sum(FOUND.values())}
    exact = [
        true.get(categories[0], 0) == noisy
        for categories, noisy in zip(drawn.categories, drawn.noisy_count, strict=True)
    ]
    assert np.mean(exact) < 0.5


@pytest.mark.slow
def test_a_later_release_from_the_same_links_uses_it_and_pays_nothing_more(
    made: Home, keys: KeyRing, tmp_path: Path
) -> None:
    home = copy_home(made, tmp_path)
    assert find_measuring_release(home.get_cohort(COHORT)) == VERSION
    bundle = make_release(home, keys, COUNCILS, LATER, share=0.2)
    assert verify(bundle).ok, str(verify(bundle))
    assert [family for _, version, family in list_charges(home) if version == LATER] == ["pupil", "health", "parents"]
    assert Release(home, LATER).read_record()[COHORT].on_request == {VERSION: (REVIEW,)}
    assert find_differing_tables(bundle) == Differing([], [])


def test_of_other_links_it_is_left_out(tmp_path: Path, keys: KeyRing) -> None:
    home = make_home(tmp_path, 600, COUNCILS)
    store = home.get_cohort(COHORT)
    review(home)
    facts = json.loads((store.review / "sample.json").read_bytes())
    files.write_json(store.review / "sample.json", facts | {"deliveries": {"leeds/eyfsp": "another"}})
    fix_release(CohortRelease(store, VERSION), COUNCILS, ReleaseOptions(allow_missing=False))
    assert Release(home, VERSION).read_record()[COHORT].on_request == {}


def test_nothing_is_measured_of_it_before_people_have_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request names its plan and its input: other decisions need another signature. The sheet has its charge."""
    keys = KeyRing.create(tmp_path / "keys")
    name_people(tmp_path, monkeypatch, [Signer.create("A. Lead")])
    home = make_home(tmp_path / "home", 600, COUNCILS)
    review(home)
    with pytest.raises(approval.WaitsForApproval):
        measure_release(
            CohortRelease(home.get_cohort(COHORT), VERSION), keys, COUNCILS, ReleaseOptions(allow_missing=False)
        )
    assert list_charges(home) == []
    request = build_measurement_request(Release(home, VERSION))
    assert REVIEW in request["cohorts"][COHORT]["plans"]
    assert "a clerical review of links" in render_sheet(home, request)
    review(home, FOUND | {KNOWN_TO_HEALTH: 41})
    assert build_measurement_request(Release(home, VERSION)) != request


def test_a_review_that_the_budget_does_not_hold_stops_before_any_charge(tmp_path: Path, keys: KeyRing) -> None:
    home = make_home(tmp_path, 600, COUNCILS)
    review(home)
    measure(home, keys)
    review(home, number=2)
    before = list_charges(home)
    with pytest.raises(ledger.BudgetExceeded, match=r"\(review\)|, review\)"):
        measure(home, keys, LATER, 0.23)
    assert list_charges(home) == before
