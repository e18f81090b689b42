"""The privacy statement says what is protected and what is not, from provenance alone, and does not change later."""

import json
import re

import jsonschema
import numpy as np
import pytest
import yaml
from dp_accounting.pld import privacy_loss_distribution as pld

from ndl_export.metadata.records import REGISTRY_FILE, build_registry_file
from privacy.release.ledger import NANO, Ledger
from privacy.release.mechanism import compute_charge, compute_epsilon
from privacy.release.plan import make_plan
from privacy.release.policy import load_policy
from privacy.release.statement import (
    MeasuredCohort,
    build_deployment,
    build_privacy_record,
    build_registry_entry,
    render_privacy_page,
)
from tests.support import PROJECT
from tests.support.release.examples import build_small_family, make_small_plan, measure_small

RELEASE = {"cohort": "202425", "release": "2026.11.0"}


@pytest.fixture
def released(tmp_path):
    plan, policy = make_small_plan(), load_policy()
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.approve("202425", policy.accounts["child"].cap_rho)
    counts = {a: np.full(plan.family.get_shape(a), 31337, dtype=np.int64) for a in plan.sigmas}
    measurement = measure_small(ledger, tmp_path, count=lambda: counts)
    return plan, ledger, policy, {"small": measurement}


def record_of(released):
    plan, ledger, policy, measurements = released
    return build_privacy_record([measured(plan, measurements)], ledger.list_entries(), policy, release="2026.11.0")


def measured(plan, measurements, **of):
    return MeasuredCohort(**(RELEASE | of), plans={plan.family.name: plan}, measurements=measurements)


def test_the_record_states_the_guarantee(released):
    plan, ledger, policy, _ = released
    record = record_of(released)
    [family] = record["families"]
    entry = ledger.find("202425", "2026.11.0", "small").entry
    assert family["plan_sha256"] == plan.sha256
    assert family["ledger_entry"] == entry.entry_hash
    assert family["rho"] == entry.nano_rho / NANO >= compute_charge(plan)
    assert family["epsilon"] == pytest.approx(compute_epsilon(family["rho"], 1e-6), abs=1e-4)
    assert record["privacy_parameters"] == {"rho": family["rho"], "epsilon": family["epsilon"], "delta": 1e-6}
    [account] = record["cohorts"][0]["accounts"]
    assert (account["unit"], family["charged_to"]) == ("child", "child")
    assert account["budget"]["remaining_rho"] == pytest.approx(policy.accounts["child"].cap_rho - family["rho"])
    assert account["budget"]["charged_to_date_rho"] == pytest.approx(family["rho"])
    assert record["joint_parameters"] == record["privacy_parameters"]
    assert json.loads(json.dumps(record)) == record


def test_larger_changes_cost_what_the_geometry_says(released):
    """Replacing a row moves two cells by one, two rows move one cell by two: OpenDP's own map at those distances."""
    import opendp.prelude as dp

    record = record_of(released)
    vectors = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    gaussians = [dp.m.make_gaussian(*vectors, scale=sigma) for sigma in make_small_plan().sigmas.values()]
    composed = dp.c.make_composition(gaussians)
    for change, distance in zip(record["larger_changes"], (2**0.5, 2.0), strict=True):
        assert change["rho"] == pytest.approx(composed.map(distance), rel=1e-6)
        assert change["rho_factor"] == pytest.approx(distance**2)


def test_it_states_nothing_of_the_measurement_but_its_provenance_and_does_not_change_later(released):
    _, ledger, _, measurements = released
    before = record_of(released)
    text = json.dumps(before)
    noisy = {str(n) for table in measurements["small"].noisy.values() for n in table.ravel()}
    assert not [n for n in noisy if n in text]
    ledger.reserve("202425", "2026.12.0", "small", 0.01, "p" * 64, "a" * 64)
    assert record_of(released) == before


def test_a_release_that_was_not_charged_has_no_statement(released):
    plan, ledger, policy, measurements = released
    with pytest.raises(ValueError, match="no committed charge"):
        build_privacy_record(
            [measured(plan, measurements, release="2027.1.0")], ledger.list_entries(), policy, release="2027.1.0"
        )
    other = make_plan(build_small_family(), 0.05, delta=1e-6)
    with pytest.raises(ValueError, match="no committed charge"):
        build_privacy_record([measured(other, measurements)], ledger.list_entries(), policy, release="2026.11.0")


REGISTRY = PROJECT / "tests" / "support" / "export" / "deployments_registry" / "deployments-schema.yaml"


def deployed(record):
    return build_deployment(record, "2026-11-01", ["A combined authority"], "https://data.example.org/readiness")


def test_the_entry_and_the_file_for_the_registry_pass_its_own_checks(released):
    """Schema, name of the file, the slug first, no folded text, no doubled backslash."""
    entry = deployed(record_of(released))
    schema = yaml.safe_load(REGISTRY.read_text(encoding="utf-8"))
    checked = jsonschema.Draft7Validator(schema, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER)
    for section, fields in schema["properties"]["deployment"]["properties"].items():
        assert set(entry[section]) >= {name for name, field in fields["properties"].items() if field.get("tier") == 2}
    text = build_registry_file({"registry": build_registry_entry(entry), "deployment": entry}, "Made up.")
    filed = yaml.safe_load(text)
    assert [error.message for error in checked.iter_errors(filed)] == []
    assert list(checked.iter_errors(filed | {"product": {}}))
    assert filed == build_registry_entry(entry) | {"deployment": entry}
    assert re.fullmatch(r"[a-z0-9-]+", filed["url_slug"])
    assert text.startswith(f"url_slug: {filed['url_slug']}\n# Made up.\n")
    assert re.fullmatch(r"[a-z0-9_]+\.yaml", REGISTRY_FILE)
    styles = {token.style for token in yaml.scan(text) if isinstance(token, yaml.ScalarToken)}
    assert styles <= {None, "|", '"', "'"}
    assert not re.search(r"\\\\[^()]", text)


def test_what_somebody_could_find_out_is_what_the_drawn_noise_allows(released):
    """Privacy loss distributions of the plan's own discrete Gaussians: an accountant that shares nothing with ours.

    A change of squared distance `factor` in one table: for a replaced row two cells move, else one moves further.
    """
    plan, *_ = released
    record = record_of(released)
    assert [each["rho_factor"] for each in record["inference"]["questions"]] == [1, 2, 4, 8]
    for each in record["inference"]["questions"]:
        cells = 2 if "replaced" in each["change"] else 1
        step = round((each["rho_factor"] / cells) ** 0.5)
        losses = None
        for sigma in [sigma for sigma in plan.sigmas.values() for _ in range(cells)]:
            loss = pld.from_discrete_gaussian_mechanism(sigma, sensitivity=step, value_discretization_interval=1e-3)
            losses = loss if losses is None else losses.compose(loss)
        right = 50 * (1 + losses.get_delta_for_epsilon(0.0))
        assert each["guessed_in_100"] - 1.1 < right < each["guessed_in_100"] + 0.1
        assert each["found_in_100"] >= 5
        assert f"| {each['guessed_in_100']} in 100 |" in render_privacy_page(record)


def test_the_page_answers_every_point_of_an_evaluation(released):
    record = record_of(released)
    page = render_privacy_page(record)
    assert {"unit of privacy", "bias", "side channels", "trust model"} <= set(record["considerations"])
    said = *record["considerations"].values(), *record["outside_the_guarantee"]
    for answer in (*said, record["composition"], record["pre_processing"]):
        assert answer in page
