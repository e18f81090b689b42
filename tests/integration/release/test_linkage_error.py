"""Figures corrected for links that were missed, and the flag of those of a group whose links are missed more often."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from assets.release.linkage_error import Linked, correct_estimates, find_doubtful_groups
from assets.release.planning import plan_family
from assets.release.tabulate import MeasuredRelease, tabulate
from ndl_export.bundle.checks import find_table_faults
from ndl_export.tables import model, pupil
from ndl_export.tables.schema import Flag
from privacy.estimation.estimates import Estimates, build_estimates
from privacy.linkage.cells import ALL_AGREE, CELLS, JOINS, KIND_OF, NAMES, NEAR, NOT_BOTH, NUMBERED, Differs
from privacy.linkage.missed import RATES, TOO_MANY
from privacy.release import child_table, mechanism, policy, statement
from privacy.release.plan import Plan
from privacy.release.workload import Cube, Selector
from tests.support.release.doubles import NoNoise

COUNCILS = ("leeds", "liverpool")
CHILDREN = 20_000
ASIAN, *_ = pupil.ETHNIC.categories
OTHERWISE = str(Differs(NAMES, "the health visitor's record", "far"))
MOVED = str(Differs("postcode", "the pupil's record", ""))
BY = (pupil.BY_HV, pupil.BY_SETTING)
REVIEW_MISSED = RATES.index("review missed, of children seen by both")


def children(of_asian: float = 0.0, without_upn: float = 0.01, near: float = 0.0) -> pa.Table:
    """Most are linked to both services, and a tenth of those have moved; a share of the Asian children have other names
    at the health visitor, and a share of all have no UPN that joins them to the school census. A tenth are linked to a
    setting only, and a share of these has a review near."""
    rng = np.random.default_rng(1)
    columns = {a.name: rng.choice(np.array(a.categories), CHILDREN) for a in pupil.FAMILY.attributes}
    columns["ethnic_group"] = rng.choice(np.array(pupil.ETHNIC.categories), CHILDREN, p=(0.1, 0.1, 0.1, 0.5, 0.1, 0.1))
    asian = columns["ethnic_group"] == ASIAN
    both = rng.random(CHILDREN) < 0.9
    cell = np.select(
        [
            ~both & (rng.random(CHILDREN) < near),
            ~both,
            asian & (rng.random(CHILDREN) < of_asian),
            rng.random(CHILDREN) < 0.1,
        ],
        [NEAR[1], NOT_BOTH, OTHERWISE, MOVED],
        ALL_AGREE[5],
    )
    columns[pupil.AGREEMENT.name] = cell
    columns[pupil.DIFFERENCES.name] = np.array(KIND_OF)[[CELLS.index(each) for each in cell]]
    columns["dots"] = np.where(
        both, pupil.format_dots_category("Both", "None"), pupil.format_dots_category("Setting only", "None")
    )
    columns["asq3"] = np.where(both, pupil.LINKED[0], pupil.NO_REVIEW)
    columns["two_year_review"] = np.where(both, pupil.ON_TIME, pupil.NO_REVIEW)
    columns["entitlement"] = np.full(CHILDREN, "Taken")
    joins = (0.02, 0.85 - without_upn, 0.13, without_upn)
    columns[pupil.CENSUS_JOIN.name] = rng.choice(np.array(JOINS), CHILDREN, p=joins)
    columns[pupil.SHARED_NUMBER.name] = np.full(CHILDREN, NUMBERED[0])
    return pa.table({"child_id": np.arange(CHILDREN), "council": rng.choice(np.array(COUNCILS), CHILDREN), **columns})


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_family("pupil", COUNCILS, policy.load_policy())


def measured(plan: Plan, table: pa.Table) -> mechanism.Measurement:
    return mechanism.measure(plan, child_table.count_cells(table, plan), NoNoise())


def estimates(plan: Plan, table: pa.Table) -> Estimates:
    return build_estimates(plan, measured(plan, table))


def test_census_rows_that_are_not_found_are_brought_back_to_those_who_are_eligible_or_not(plan: Plan) -> None:
    """The more children have no UPN in common, the more rows are not found; totals stay."""
    council, fsm = plan.family.get_attribute("council"), plan.family.get_attribute("fsm")
    eligible = Cube({"council": Selector.for_total(council), "fsm": Selector.for_total(fsm) + Selector.for_each(fsm)})
    plainly = estimates(plan, children(without_upn=0.2))
    few, many = (correct_estimates(plan.family, estimates(plan, children(without_upn=share))) for share in (0.01, 0.2))
    total, yes, no, unknown = many.compute_values(eligible)[0] - plainly.compute_values(eligible)[0]
    assert model.FSM.categories[-1] == model.UNKNOWN
    assert total == 0
    assert yes > 10
    assert no > 10
    assert unknown == pytest.approx(-yes - no)
    assert (many.compute_variance(eligible)[0, 1:] > few.compute_variance(eligible)[0, 1:]).all()


def test_a_group_whose_names_one_service_writes_otherwise_is_corrected_more_and_said_to_be_doubtful(plan: Plan) -> None:
    alike, otherwise = (estimates(plan, children(of_asian=share)) for share in (0.0, 0.1))
    assert find_doubtful_groups(plan.family, alike) == frozenset()
    assert find_doubtful_groups(plan.family, otherwise) == {ASIAN}
    groups = plan.family.get_attribute("ethnic_group")
    linked = Cube(
        {
            "council": Selector.for_total(plan.family.get_attribute("council")),
            "ethnic_group": Selector.for_each(groups),
        },
        {"asq3": Selector.for_categories(plan.family.get_attribute("asq3"), *pupil.LINKED)},
    )
    moments = correct_estimates(plan.family, otherwise)
    added = (moments.compute_values(linked) / otherwise.compute_values(linked) - 1)[0]
    found = Linked(plan.family, otherwise).estimate_rates(None).rates[REVIEW_MISSED]
    assert added[0] > 5 * max(added[1:])
    assert added[0] > 2 * found
    assert moments.compute_variance(linked)[0, 0] > 1.5 * moments.compute_variance(linked)[0, 1]


def test_concerns_of_records_that_are_missed_are_brought_back(plan: Plan) -> None:
    """Those of children without a concern become fewer by as many, and so do those whom no other service had seen."""
    council, concern = plan.family.get_attribute("council"), plan.family.get_attribute("first_concern")
    every = Cube({"council": Selector.for_total(council), "first_concern": Selector.for_each(concern)})
    found = estimates(plan, children(of_asian=0.2))
    before, after = found.compute_values(every)[0], correct_estimates(plan.family, found).compute_values(every)[0]
    moved = dict(zip(concern.categories, after - before, strict=True))
    assert sum(moved.values()) == pytest.approx(0, abs=1e-6)
    assert moved[pupil.NO_CONCERN] < 0
    knew, never = (
        sum(moved[pupil.format_concern_category(by, when, other)] for by in BY for when in pupil.YEARS_BEFORE)
        for other in (pupil.BY_THEN, pupil.NEVER)
    )
    assert knew > 0
    assert never < knew


def release(plan: Plan, table: pa.Table, **limits: float) -> MeasuredRelease:
    """A release whose policy has these limits."""
    cohorts = [statement.MeasuredCohort("202425", "2026.11.0", {"pupil": plan}, {"pupil": measured(plan, table)})]
    reliability = replace(policy.load_policy().reliability, **limits)
    return MeasuredRelease(cohorts, COUNCILS, reliability, {})


def flagged(tables: dict[str, pa.Table], flag: Flag) -> dict[tuple[str, str], int]:
    """How many figures have this flag, by table and column."""
    counted = {
        (name, column): pc.sum(pc.equal(table[column], flag.value)).as_py() or 0
        for name, table in tables.items()
        for column in table.column_names
        if column.endswith("_flag")
    }
    return {where: number for where, number in counted.items() if number}


@pytest.fixture(scope="module")
def many_missed() -> pa.Table:
    return children(near=0.5)


def test_from_one_in_twenty_links_missed_every_linked_figure_is_flagged(plan: Plan, many_missed: pa.Table) -> None:
    few = children(near=0.02)
    shares = [Linked(plan.family, estimates(plan, each)).share_missed for each in (few, many_missed)]
    assert shares[0] < TOO_MANY < shares[1]
    assert find_doubtful_groups(plan.family, estimates(plan, few)) == frozenset()
    assert find_doubtful_groups(plan.family, estimates(plan, many_missed)) == set(pupil.ETHNIC.categories)
    tables = tabulate(release(plan, many_missed))
    flags = flagged(tables, Flag.LINKAGE)
    assert {"joined_dots", "readiness_pathway", "linkage_quality"} <= {table for table, _ in flags}
    assert "gld" not in {table for table, _ in flags}
    neither = tables["joined_dots"].filter(pc.equal(tables["joined_dots"]["seen_by"], pupil.NEITHER)).to_pylist()
    assert {row["children_count_flag"] for row in neither} <= {Flag.LINKAGE, Flag.NOT_APPLICABLE}


def test_the_policy_may_withhold_linked_figures_from_a_limit_on_and_no_others(
    plan: Plan, many_missed: pa.Table
) -> None:
    flagging, withholding = (release(plan, many_missed, withheld_missed_links=limit) for limit in (1.0, 0.05))
    shown, withheld = tabulate(flagging), tabulate(withholding)
    flags = flagged(shown, Flag.LINKAGE)
    before, after = (flagged(each, Flag.WITHHELD) for each in (shown, withheld))
    assert not flagged(withheld, Flag.LINKAGE)
    assert {key: number - before.get(key, 0) for key, number in after.items() if number > before.get(key, 0)} == flags
    for table, column in flags:
        there = withheld[table].filter(pc.equal(withheld[table][column], Flag.WITHHELD.value))
        assert there[column.removesuffix("_flag")].null_count == len(there)
        assert there[column.replace("_flag", "_lower_ci")].null_count == 0, "a withheld figure keeps its interval"
    assert find_table_faults(withheld, {name: withholding.layouts[name] for name in withheld}) == []


def test_the_linked_figures_of_such_a_group_are_flagged_and_no_others(plan: Plan) -> None:
    tables = tabulate(release(plan, children(of_asian=0.1)))
    flags = flagged(tables, Flag.LINKAGE)
    assert {table for table, _ in flags} == {"linkage_quality", "seen_by_group", "first_concern"}
    rows = tables["linkage_quality"].filter(pc.equal(tables["linkage_quality"]["breakdown"], ASIAN)).to_pylist()
    assert rows
    for row in rows:
        is_total = row["linked_to_review"] == "Total"
        allowed = (Flag.LINKAGE, Flag.WITHHELD) if is_total else (Flag.NOT_APPLICABLE,)  # what is withheld is not shown
        assert row["linked_children_percent_flag"] in allowed
        assert row["children_count_flag"] == (None if is_total else Flag.LINKAGE)
    others = tables["linkage_quality"].filter(pc.not_equal(tables["linkage_quality"]["breakdown"], ASIAN))
    assert Flag.LINKAGE not in others["linked_children_percent_flag"].to_pylist()
