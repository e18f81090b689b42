"""The covariances that a release publishes, against the variance that the plan itself gives every sum."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from assets.release.noise_workload import compute_noise_covariance
from assets.release.planning import plan_family
from ndl_export.facts.noisy_counts import COVARIANCE_SCHEMA
from privacy.estimation.covariance import Covariances
from privacy.release import mechanism, policy, statement
from privacy.release.plan import Plan
from privacy.release.workload import Cube, Selector
from sources.reference.places import PILOT, get_place, load_places

ASIAN, BLACK = "Asian / Asian British", "Black / African / Caribbean / Black British"
ENGLAND = [name for name, entry in load_places().items() if entry.region_name in ("London", "North East")]


def measured(plan: Plan) -> statement.MeasuredCohort:
    noisy = {names: np.zeros(plan.family.get_shape(names), dtype=np.int64) for names in plan.sigmas}
    drawn = mechanism.Measurement(plan.sha256, "made up (test)", "", plan.rho, noisy)
    return statement.MeasuredCohort("202425", "2026.11.0", {"pupil": plan}, {"pupil": drawn})


@pytest.fixture(scope="module")
def pilot() -> Plan:
    return plan_family("pupil", sorted(PILOT), policy.load_policy())


def of_sum(
    table: pd.DataFrame, councils: list[str], rows: list[tuple[str, str]], topic: str, kind: str, *, nested: bool
) -> float:
    """What a reader of the file works out, cell by cell: the (co)variance of a sum."""
    found = table[table.breakdown_topic == topic].set_index(
        ["region_code", "breakdown", "sex", "other_breakdown", "other_sex"]
    )
    total = 0.0
    for (one, row), (other, with_row) in product(product(councils, rows), repeat=2):
        regions = [get_place(council).region_code if nested else "" for council in (one, other)]
        if regions[0] == regions[1]:
            which = "same" if one == other else "apart"
            total += float(found.loc[(regions[0], *row, *with_row), f"{which}_{kind}"])
    return total


def planned(plan: Plan, councils: list[str], groups: dict[str, tuple[str, ...]], kind: str) -> float:
    """The same from the plan, as one functional."""
    attribute = plan.family.get_attribute
    where = {"council": Selector.for_categories(attribute("council"), *councils)}
    where |= {name: Selector.for_categories(attribute(name), *chosen) for name, chosen in groups.items()}
    whole, part = Cube({}, where), Cube({}, where | {"gld": Selector.for_categories(attribute("gld"), "Yes")})
    pair = {"children": (whole, whole), "gld_children": (part, whole), "gld": (part, part)}[kind]
    return float(Covariances(plan).compute_covariance(*pair))


@pytest.mark.parametrize("kind", ["children", "gld_children", "gld"])
def test_a_sum_has_the_variance_that_the_plan_gives_it(kind: str, pilot: Plan) -> None:
    table = compute_noise_covariance([measured(pilot)], {}).to_pandas()
    for councils, topic, attribute, breakdowns, sexes in (
        (["leeds", "wirral"], "Ethnic group", "ethnic_group", (ASIAN, BLACK), ()),
        (["leeds"], "Free school meal eligibility", "fsm", ("Eligible for free school meals",), ("Female", "Male")),
        (sorted(PILOT), "SEN provision", "sen_provision", ("No SEN provision",), ("Female",)),
        (["halton", "sefton", "wirral"], "IMD quintile", "imd_quintile", ("Quintile 2", "Quintile 4"), ()),
    ):
        rows = list(product(breakdowns, sexes or ("Total",)))
        groups = {attribute: breakdowns} | ({"sex": sexes} if sexes else {})
        expected = planned(pilot, councils, groups, kind)
        assert of_sum(table, councils, rows, topic, kind, nested=False) == pytest.approx(expected, abs=1e-4)


def test_it_is_of_the_councils_that_have_sent(pilot: Plan) -> None:
    absent = {"202425": {"eyfsp": ("halton",)}}
    table = compute_noise_covariance([measured(pilot)], absent)
    assert table.schema.equals(COVARIANCE_SCHEMA)
    assert table != compute_noise_covariance([measured(pilot)], {})
    nobody = {"202425": {"eyfsp": tuple(sorted(PILOT))}}
    assert compute_noise_covariance([measured(pilot)], nobody).num_rows == 0


def test_regions_have_their_own_and_share_none() -> None:
    plan = plan_family("pupil", sorted(ENGLAND), policy.load_policy())
    assert plan.family.nesting is not None
    table = compute_noise_covariance([measured(plan)], {}).to_pandas()
    assert table.region_code.nunique() == 2
    councils, topic = ["camden", "hackney", "gateshead", "sunderland"], "Free school meal eligibility"
    rows = [("Eligible for free school meals", "Total")]
    for kind in ("children", "gld_children", "gld"):
        expected = planned(plan, councils, {"fsm": ("Eligible for free school meals",)}, kind)
        assert of_sum(table, councils, rows, topic, kind, nested=True) == pytest.approx(expected, abs=1e-4)
