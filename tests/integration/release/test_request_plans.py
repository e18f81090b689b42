"""What is measured for requests: the least that answers them all, by public facts alone."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from assets.release.requests.planning import AccuracyOutOfReach, estimate_sizes
from assets.release.requests.request import TEMPLATE, Request, parse_request, read_request, read_requests
from assets.release.tabulate import MeasuredRelease, tabulate
from ndl_export.facts.on_request import RequestedTable
from privacy.release import mechanism, policy, statement
from privacy.release.plan import Plan
from sources.reference.places import PILOT, load_places
from tests.support import PROJECT
from tests.support.release import sizes

COHORT = "202425"
REQUESTS = read_requests(sorted((PROJECT / "docs" / "requests").glob("*.yaml")))

PUPIL = [each for each in REQUESTS if each.family == "pupil"]


def request(**changes: Any) -> Request:
    return parse_request(read_request(TEMPLATE).build_document() | changes)


known = cache(sizes.build_known)


def base(councils: tuple[str, ...] = PILOT) -> Mapping[str, Plan]:
    return known(councils).base


def planned(*requests: Request, on_request: tuple[Plan, ...] = (), councils: tuple[str, ...] = PILOT) -> Plan | None:
    (plan,) = replace(known(councils), on_request=on_request).plan_requests(requests).values()
    return plan


def rho(*requests: Request) -> float:
    plan = planned(*requests)
    return plan.rho if plan else 0.0


def test_the_order_of_requests_says_nothing() -> None:
    assert planned(*PUPIL[:2]) == planned(*PUPIL[1::-1])


def test_the_plan_names_the_requests_that_it_is_for_and_is_a_document() -> None:
    asked = request()
    plan = planned(asked)
    stated = {"family": "pupil", "definition": asked.definition.model_dump(mode="json")}
    assert plan.detail == {"requests": [stated]}
    assert Plan.from_json(plan.encode_json()).sha256 == plan.sha256
    assert {name for names in plan.sigmas for name in names} <= {"council", "fsm", "ethnic_group", "gld"}
    assert not plan.family.identities
    assert (plan.family.attributes, plan.family.nesting) == (base()["pupil"].family.attributes, None)


def test_what_is_known_costs_nothing() -> None:
    """A table of the release's own marginals; and what one request measured serves the next one."""
    of_release = request(columns=["fsm"], name="gld_by_fsm")
    assert planned(of_release) is None
    first = planned(request())
    assert first is not None
    coarser = request(name="again", accuracy={"half_width_points": 6.0, "share_of_rates": 0.75})
    assert planned(coarser, on_request=(first,)) is None
    assert planned(of_release, request()) == first


@pytest.mark.slow
def test_more_accuracy_costs_more_and_together_costs_no_more_than_apart() -> None:
    """And where one table is a part of the other, no more than the greater of the two."""
    accuracies = [{"half_width_points": points, "share_of_rates": 0.8} for points in (8.0, 5.0, 3.0)]
    costs = [rho(request(accuracy=accuracy)) for accuracy in accuracies]
    assert 0 < costs[0] < costs[1] < costs[2]
    apart = sum(rho(each) for each in PUPIL)
    assert rho(*PUPIL) <= apart * 1.01
    columns = (["fsm", "ethnic_group"], ["fsm", "ethnic_group", "sex"])
    coarse, fine = (request(name=f"by_{len(c)}", columns=c, geography="all_councils_together") for c in columns)
    assert rho(coarse, fine) == rho(fine) > rho(coarse) > 0


def test_an_accuracy_that_no_budget_reaches_is_refused_by_name() -> None:
    out_of_reach = request(accuracy={"half_width_points": 0.1, "share_of_rates": 1.0})
    with pytest.raises(
        AccuracyOutOfReach, match=r"gld_by_ethnic_group_and_fsm: even the whole budget .* rho 0.3, would"
    ):
        planned(out_of_reach, REQUESTS[0])


@pytest.mark.slow
def test_what_is_expected_is_what_is_published_of_groups_of_these_sizes() -> None:
    """The same flags and intervals, by the same function: also of groups so small that they are withheld."""
    asked = request(geography="councils", accuracy={"half_width_points": 5.0, "share_of_rates": 0.4})
    plan, own = planned(asked), base()["pupil"]
    assert plan is not None
    drawn = [mechanism.Measurement(each.sha256, "none (test)", "", each.rho, exactly(each)) for each in (own, plan)]
    on_request = statement.MeasuredOnRequest("2026.11.1", plan, drawn[1], (asked.name,))
    cohort = statement.MeasuredCohort(COHORT, "2026.11.0", {"pupil": own}, {"pupil": drawn[0]}, (on_request,))
    table = RequestedTable(asked.definition, "pupil", (COHORT,), "2026.11.1", "Somebody", "2026-11-27", "To see")
    councils = own.family.get_attribute("council").categories
    release = MeasuredRelease([cohort], councils, policy.load_policy().reliability, {}, [table])
    published = tabulate(release)[asked.name].to_pandas()
    found = known(PILOT).estimate(asked, plan)
    flags = published["gld_children_percent_flag"].fillna("").to_numpy()
    assert (flags == found.flags.ravel()).all()
    assert {*flags} == {"", "u", "withheld"}
    half_widths = (published["gld_children_percent_upper_ci"] - published["gld_children_percent_lower_ci"]) / 2
    assert half_widths.to_numpy() == pytest.approx(found.half_widths.ravel(), rel=0.02, abs=0.05)
    assert found.compute_share_within(5.0) == pytest.approx(0.4, abs=0.02)


def exactly(plan: Plan) -> dict[tuple[str, ...], Any]:
    """The marginals of a plan of the family `pupil`, counted without noise."""
    return dict(sizes.build_noisy_counts({"pupil": plan})["pupil"].counts)


def test_sizes_are_those_of_the_release_whatever_is_assumed_of_shares() -> None:
    """The attributes that a release measured by council, and those that it measured for all together."""
    plan = base()["pupil"]
    found = estimate_sizes(plan, mechanism.Measurement(plan.sha256, "none (test)", "", plan.rho, exactly(plan)))
    stated = sizes.build_sizes(plan.family.get_attribute("council").categories, "pupil")
    assert found.rows == pytest.approx(stated.rows, abs=5)
    for name in ("ethnic_group", "imd_quintile", "entitlement", "goals_expected"):
        assert found.shares[name] == pytest.approx(stated.shares[name], abs=0.005), name
    taken = found.compute_share("entitlement", [0])
    assert taken == pytest.approx(stated.rows @ stated.shares["entitlement"][:, 0] / stated.rows.sum(), abs=0.002)
    most_deprived = found.shares["imd_quintile"][:, 0]
    assert most_deprived.max() - most_deprived.min() > 0.2  # no share that is the same everywhere would do


@pytest.mark.slow
def test_a_country_with_regions_is_planned_at_both_levels_of_place() -> None:
    """By council and region; for all councils together by region alone, with the whole budget."""
    england = tuple(load_places())
    by_council = planned(request(), councils=england)
    together = planned(REQUESTS[1], councils=england)
    assert {name for names in by_council.sigmas for name in names} >= {"council", "region"}
    assert not any("council" in names for names in together.sigmas)
    spent = sum(0.5 / sigma**2 for sigma in together.sigmas.values())
    assert spent == pytest.approx(together.rho, rel=1e-3)
    both = planned(request(), REQUESTS[1], councils=england)
    assert both.rho <= 1.01 * (by_council.rho + together.rho)
    assert by_council.family.nesting == base(england)["pupil"].family.nesting
