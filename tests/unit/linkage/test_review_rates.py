"""What the noisy tallies of a clerical review say about missed links."""

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from privacy.doors.database import open_in_memory
from privacy.linkage import cells, missed
from privacy.linkage.missed import SEARCHED, Counted, Evidence, Missed, Reviewed, add_near
from privacy.linkage.review import (
    ATTRIBUTE,
    NEAR,
    NEITHER,
    NO_ANSWER,
    NO_REVIEW,
    NO_SETTING,
    OTHER,
    OUTSIDE,
    TO_BOTH,
    TO_HEALTH,
    TO_SETTING,
    build_reviewed_sql,
    compute_chances,
    count_missed,
    format_category,
    name_stratum,
    plan_review,
)
from privacy.release.mechanism import Measurement, compute_charge
from privacy.release.plan import Plan

Array = NDArray[np.float64]
CHILDREN, RHO, DELTA = 26_000, 0.02, 1e-6
TRUE = np.array([19_000.0, 3_300.0, 3_200.0, 500.0])
OF = TRUE[[0, 0, 0, 1, 2]]
MEAN = np.array([0.001, 0.02, 0.02, 0.02, 0.02])
SD = 1.5 * MEAN
PLAN = plan_review(CHILDREN, RHO, DELTA, 1)
NOISE = PLAN.sigmas[(ATTRIBUTE,)]
SAID = (
    (NEITHER, TO_BOTH),
    (NO_REVIEW, "known"),
    (NO_SETTING, "known"),
    (NEITHER, TO_HEALTH),
    (NEITHER, TO_SETTING),
)
CHANCES = np.array(
    [[compute_chances(CHILDREN)[name_stratum(linked, near)] for linked, _ in SAID] for near in (NEAR, OTHER)]
)


def see(truth: Array) -> Array:
    """The children found to be seen by each service."""
    return np.asarray(TRUE - missed._MOVED @ (truth * OF))


def share_near(visible: float) -> Array:
    """The share of the links missed that are near, by rate, if this share of each service's is."""
    return np.minimum(visible * np.array([missed.VISIBLE_BOTH, 1, 1, 1, 1]), missed._MOST_VISIBLE)


def count(truth: Array, visible: float) -> Array:
    """The cells of pupils, where this share of the links missed of each service is near, and nothing by chance."""
    lost = truth * OF
    counts = dict.fromkeys(cells.CELLS, 0.0)
    counts[cells.ALL_AGREE[5]] = see(truth)[0]
    counts |= dict(zip(cells.NEAR, share_near(visible) * lost, strict=True))
    return np.array(list(counts.values()))


def measured(found: Array, unknown: float = 0.0, plan: Plan = PLAN) -> Measurement:
    """Tallies, not rounded, in which so many children (2, rates) of the whole strata are known, and 50 are not."""
    said = dict.fromkeys(plan.family.get_attribute(ATTRIBUTE).categories, 0.0)
    for near, here in zip((NEAR, OTHER), found * CHANCES, strict=True):
        for linked in (NEITHER, NO_REVIEW, NO_SETTING):
            said |= {
                format_category(linked, near, "not known"): 50.0,
                format_category(linked, near, NO_ANSWER): unknown,
            }
        said |= {format_category(linked, near, each): n for (linked, each), n in zip(SAID, here, strict=True)}
    return Measurement(plan.sha256, "test", "", RHO, {(ATTRIBUTE,): np.array(list(said.values()))})


def count_evidence(counts: Array) -> Evidence:
    none = (Counted(np.zeros(len(names)), np.zeros(len(names))) for names in (cells.JOINS, cells.NUMBERED))
    return Evidence(Counted(counts, np.full(len(counts), 400.0)), *none)


def update(truth: Array, visible: float, reviewed: Reviewed | None) -> tuple[Array, Array]:
    """The rates and their deviations, after the cells of a population with this truth."""
    counts = count(truth, visible)
    found = add_near(Missed(MEAN, np.diag(SD**2)), count_evidence(counts), see(truth), reviewed)
    return found.rates, np.sqrt(np.diag(found.covariance))


def split(truth: Array, visible: float, wider: float = missed.WIDER) -> Array:
    """The children whom reviewers find in all of the two kinds of strata, if this share of a service's missed links is
    near, and `wider` of the others at the review's lower weight."""
    near = share_near(visible)
    near = near + wider * (1 - near)
    return SEARCHED * np.stack([near * truth * OF, (1 - near) * truth * OF])


def test_tallies_are_scaled_up_by_chance_and_answer() -> None:
    found = split(MEAN, 0.5)
    reviewed = count_missed(PLAN, measured(found))
    assert reviewed.found == pytest.approx(found)
    assert reviewed.chances == pytest.approx(CHANCES)
    assert (reviewed.variances >= (NOISE / CHANCES) ** 2).all()
    # children without an answer are as often known as the others, which is less certain
    unsure = count_missed(PLAN, measured(found, unknown=20.0))
    assert (unsure.found > reviewed.found).all()
    assert unsure.variances == pytest.approx(reviewed.variances + 20.0**2 / 12 / CHANCES**2)


def test_a_review_narrows_the_rates_and_undecided_children_less_so() -> None:
    _, before = update(MEAN, 0.5, None)
    found = split(MEAN, 0.5)
    _, after = update(MEAN, 0.5, count_missed(PLAN, measured(found)))
    _, unsure = update(MEAN, 0.5, count_missed(PLAN, measured(found, unknown=100.0)))
    assert (after[[0, 3, 4]] < 0.67 * before[[0, 3, 4]]).all()
    assert (after < before).all()
    assert (unsure[[3, 4]] > 1.1 * after[[3, 4]]).all()


def test_children_found_by_a_search_show_links_that_no_near_record_shows() -> None:
    """Three times as many are missed as the prior says, and as few are near as if it were right."""
    truth = 3 * MEAN
    without, _ = update(truth, 0.2, None)
    found, deviation = update(truth, 0.2, count_missed(PLAN, measured(split(truth, 0.2))))
    assert (without[1:] < 0.6 * truth[1:]).all()
    assert (np.abs(found - truth) < 2 * deviation)[1:].all()
    assert (np.abs(found - truth) < np.abs(without - truth))[1:].all()


def test_tallies_of_nothing_but_noise_leave_a_covariance() -> None:
    rng, counts = np.random.default_rng(3), count(MEAN, 0.5)
    for _ in range(50):
        noisy = {names: rng.normal(0, 30, PLAN.family.get_shape(names)) for names in PLAN.sigmas}
        reviewed = count_missed(PLAN, Measurement(PLAN.sha256, "test", "", RHO, noisy))
        prior = Missed(MEAN, np.diag(SD**2))
        found = add_near(prior, count_evidence(rng.normal(counts, 30)), TRUE, reviewed)
        assert np.isfinite(found.rates).all()
        assert np.linalg.eigvalsh(found.covariance).min() > -1e-12


def test_intervals_after_the_review_hold_the_truth() -> None:
    """Rates from the prior, with the errors, the shares near a record, the sample and the noise drawn: 95% intervals
    hold them in 92% or more, and are narrower than before where both services search."""
    rng, draws = np.random.default_rng(1), 200
    inside, narrower = np.zeros((2, len(MEAN)))
    for _ in range(draws):
        truth = np.maximum(rng.normal(MEAN, 0.6 * MEAN), MEAN / 10)
        per_child = (0.5 * MEAN * OF)[1] / CHILDREN
        usual = float(np.exp(-missed.VISIBLE[0]) / per_child ** missed.VISIBLE[1])
        near = float(np.clip(usual * rng.normal(1, 0.25), 0.1, 0.7))
        wider = float(np.clip(rng.normal(missed.WIDER, missed.WIDER_SD), 0, 1))
        tally = rng.poisson(split(truth, near, wider) * CHANCES) + rng.normal(0, NOISE, CHANCES.shape)
        reviewed = count_missed(PLAN, measured(tally / CHANCES))
        _, before = update(truth, near, None)
        mean, deviation = update(truth, near, reviewed)
        inside += np.abs(mean - truth) <= 1.96 * deviation
        narrower += deviation / before
    assert (inside / draws > 0.92).all(), inside / draws
    assert (narrower[[3, 4]] / draws < 0.67).all(), narrower / draws


def test_answers_become_one_category_of_each_child() -> None:
    """What both services know of a child is one answer; it is none if one of them has not answered."""
    far, one = name_stratum(NEITHER, OTHER), name_stratum(NO_REVIEW, NEAR)
    answers = {
        1: (far, "match", "match", TO_BOTH),
        2: (far, "match", "not a match", TO_HEALTH),
        3: (far, "not a match", "match", TO_SETTING),
        4: (far, "not a match", "not a match", "not known"),
        5: (far, "match", None, NO_ANSWER),
        6: (far, "match", "cannot tell", NO_ANSWER),
        7: (one, "match", "", "known"),
        8: (one, "not a match", "", "not known"),
        9: (one, None, "", NO_ANSWER),
        10: ("sure link", "match", "", None),
    }
    rows = [
        {"pair": f"{child}{service}", "child_id": child, "service": service, "stratum": stratum, "decision": said}
        for child, (stratum, health, setting, _) in answers.items()
        for service, said in (("health", health), ("settings", setting))
        if said != ""
    ]
    with open_in_memory() as con:
        con.register("pairs", pa.Table.from_pylist(rows).drop_columns("decision"))
        con.register(
            "decided", pa.Table.from_pylist([row for row in rows if row["decision"]]).select(["pair", "decision"])
        )
        con.register("children", pa.table({"child_id": [*answers]}))
        found = con.sql(build_reviewed_sql()).fetchall()
    expected = [(child, f"{of[0]}: {of[3]}" if of[3] else OUTSIDE) for child, of in answers.items()]
    assert found == expected
    assert {category for _, category in found} <= {*PLAN.family.get_attribute(ATTRIBUTE).categories}


def test_the_plan_costs_what_the_policy_gives_and_is_public() -> None:
    """A child has one category, whichever services search for it: one marginal of sensitivity 1."""
    assert list(PLAN.sigmas) == [(ATTRIBUTE,)]
    assert 0.99 * RHO < compute_charge(PLAN) <= RHO
    assert PLAN == plan_review(CHILDREN, RHO, DELTA, 1) != plan_review(CHILDREN, RHO, DELTA, 2)
    assert Plan.from_json(PLAN.encode_json()) == PLAN
    small, large = (compute_chances(children)[name_stratum(NEITHER, NEAR)] for children in (26_000, 600_000))
    assert (small, large) == (1.0, pytest.approx(60 / 1380, abs=1e-4))
