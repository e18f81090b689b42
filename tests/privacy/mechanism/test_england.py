"""With all 153 councils, regions and England are published, all tables are consistent, and it does not take long."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assets.release.noise_workload import REGION
from assets.release.planning import plan_family
from assets.release.tabulate import MeasuredRelease, tabulate
from ndl_export.bundle.checks import build_table_layouts, find_table_faults
from ndl_export.tables import FAMILIES
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan, make_plan
from privacy.release.policy import load_policy
from privacy.release.statement import MeasuredCohort
from sources.reference.places import PILOT, get_place, load_places

pytestmark = pytest.mark.slow

COUNCILS = sorted(load_places())


def _drawn(plan: Plan, seed: int) -> Measurement:
    """Return counts that satisfy no identity, like noisy ones."""
    rng = np.random.default_rng(seed)
    noisy = {a: rng.integers(20, 60, plan.family.get_shape(a)) for a in plan.sigmas}
    return Measurement(plan.sha256, "made up (test)", "", plan.rho, noisy)


def _tabulate(families: Iterable[str], missing: Mapping[str, Any]) -> dict[str, pa.Table]:
    plans = {family: plan_family(family, COUNCILS, load_policy()) for family in families}
    drawn = {family: _drawn(plan, number) for number, (family, plan) in enumerate(plans.items())}
    cohort = MeasuredCohort("202425", "2026.11.0", plans, drawn)
    return tabulate(MeasuredRelease([cohort], COUNCILS, load_policy().reliability, missing))


@pytest.fixture(scope="module")
def england() -> dict[str, pa.Table]:
    return _tabulate(FAMILIES, {})


def test_every_table_is_sound_and_agrees_with_every_other(england: dict[str, pa.Table]) -> None:
    plans = {("202425", name): plan_family(name, COUNCILS, load_policy()).encode_json() for name in FAMILIES}
    assert find_table_faults(england, build_table_layouts(tuple(COUNCILS), ("202425",), {}, plans)) == []


def test_regions_and_england_have_rows_and_shorter_intervals_than_sums_of_councils(
    england: dict[str, pa.Table],
) -> None:
    table = england["gld_headline"].to_pandas()
    of_noise_alone = table.breakdown_topic == "Term of birth"  # does not depend on finding a census row
    rows = table[of_noise_alone & (table.sex == "Total")]
    widths = (rows.children_count_upper_ci - rows.children_count_lower_ci).groupby(rows.geographic_level).median()
    regions = {get_place(council).region_code for council in COUNCILS}
    assert set(table.geographic_level) == {"National", "Regional", "English devolved area", "Local authority"}
    assert rows[rows.geographic_level == "Regional"].region_code.nunique() == len(regions) == 9
    assert widths["Regional"] < 0.7 * widths["Local authority"] * (len(COUNCILS) / len(regions)) ** 0.5
    assert widths["National"] < 0.7 * widths["Local authority"] * len(COUNCILS) ** 0.5


def test_regions_are_measured_with_many_councils_alone() -> None:
    policy = load_policy()
    assert plan_family("health", sorted(PILOT), policy).family.nesting is None
    plan = plan_family("health", COUNCILS, policy)
    assert plan.family.nesting is not None
    spent = sum(0.5 / sigma**2 for names, sigma in plan.sigmas.items() if REGION in names)
    assert spent == pytest.approx(policy.regions_share * plan.rho, rel=1e-3)
    again = make_plan(plan.family, plan.rho, delta=plan.delta)
    assert again.sigmas == plan.sigmas


def test_a_council_that_has_sent_nothing_is_in_no_region() -> None:
    rows = _tabulate(["health"], {"202425": {"hv_reviews": ("leeds",)}})["asq3_outcomes"].to_pandas()
    assert "Yorkshire and The Humber" not in set(rows[rows.geographic_level == "Regional"].region_name)
    assert set(rows[rows.la_name == "Leeds"].reviewed_children_count_flag) == {"x"}
