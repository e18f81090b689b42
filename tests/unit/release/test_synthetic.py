"""Synthetic rows: what they are drawn from and can never be, that they keep the marginals, and their repair."""

import sys
from collections.abc import Collection
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from privacy.estimation.estimates import Estimates, build_estimates
from privacy.release.child_table import count_cells
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan, make_plan
from privacy.release.workload import Array, Attribute, Cube, Figures, Marginal, MeasuredFamily, Selector
from privacy.synthetic import bands, model, repair
from tests.support.areas import describe_missing
from tests.support.release.dense import draw_noisy
from tests.support.release.examples import build_small_family, draw_small_table, make_small_plan
from tests.unit.release.test_estimates import nested_family

NOTHING = model.AllOf(("no such part",), "holds", (model.Whole("gld", "gld 0", 1),))
PARTS = model.AllOf(
    ("one", "two", "three", "four"), "holds", (model.Whole("whole", "yes", 3), model.Whole("number", "all", 4))
)


def small(rows: int = 3000) -> tuple[Plan, Measurement]:
    plan = make_small_plan()
    return plan, Measurement(plan.sha256, "none (test)", "", 0.0, count_cells(draw_small_table(rows), plan))


def asked(
    plan: Plan, measurement: Measurement, left_out: Collection[str] = (), all_of: model.AllOf = NOTHING
) -> list[model.SynthesisProblem]:
    """Where figures are published as they are estimated."""
    return list(model.iter_problems(plan, measurement, build_estimates(plan, measurement), "council", left_out, all_of))


def of_parts() -> model.SynthesisProblem:
    """Two attributes that follow from four others, each measured by itself, of 1,000 rows."""
    domains = {"whole": ("yes", "no"), "number": ("few", "most", "all")}
    domains |= dict.fromkeys(PARTS.parts, ("holds", "fails"))
    attributes = tuple(Attribute(name, categories) for name, categories in domains.items())
    plan = make_plan(
        MeasuredFamily("parts", "row", attributes, tuple(Marginal((name,)) for name in domains)), 0.1, delta=1e-6
    )
    counts = {"whole": [400, 600], "number": [300, 350, 350]}
    counts |= {name: [700 - 50 * n, 300 + 50 * n] for n, name in enumerate(PARTS.parts)}
    drawn = {names: np.array(counts[names[0]] if names else 1000) for names in plan.sigmas}
    (found,) = asked(plan, Measurement(plan.sha256, "none (test)", "", 0.0, drawn), all_of=PARTS)
    return found


def test_an_identity_says_which_pairs_no_row_can_have() -> None:
    (found,) = asked(*small())
    ((pair, impossible),) = found.impossible.items()
    assert pair == ("asq", "dots")
    assert impossible.tolist() == [[False, False, True, True]] * 2 + [[True, True, False, False]]


def test_attributes_that_follow_from_others_are_said_in_pairs() -> None:
    """One first part for each choice of parts with the wholes that follow from it, and none with others."""
    found = of_parts()
    first, number = found.get_attribute(model.FIRST), found.get_attribute("number").categories
    for whole, of_all, *parts in product((0, 1), range(3), *[(0, 1)] * 4):
        row = dict(zip(("whole", "number", *PARTS.parts), (whole, of_all, *parts), strict=True))
        possible = [
            place
            for place in range(first.size)
            if not any(wrong[row[name], place] for (name, _), wrong in found.impossible.items())
        ]
        follows = (whole == 0) == (not any(parts[:3])) and (number[of_all] == "all") == (not any(parts))
        assert len(possible) == (1 if follows else 0)


class Doubled:
    """Figures published as twice what was estimated."""

    def __init__(self, estimates: Estimates) -> None:
        self.estimates = estimates

    def compute_values(self, figures: Figures) -> Array:
        return 2 * self.estimates.compute_values(figures)

    def compute_variance(self, figures: Figures) -> Array:
        return 4 * self.estimates.compute_variance(figures)

    def compute_covariance(self, left: Figures, right: Figures) -> Array:
        return 4 * self.estimates.compute_covariance(left, right)


@pytest.mark.parametrize("plan", [make_small_plan(), make_plan(nested_family([2, 3]), 0.1, delta=1e-6)])
def test_marginals_move_by_what_publication_corrects(plan: Plan) -> None:
    measurement = draw_noisy(plan, 5)
    estimates = build_estimates(plan, measurement)
    as_linked = list(model.iter_problems(plan, measurement, estimates, "council", (), NOTHING))
    as_published = list(model.iter_problems(plan, measurement, Doubled(estimates), "council", (), NOTHING))
    council = plan.family.get_attribute("council")
    for one, other in zip(as_linked, as_published, strict=True):
        inside = Selector.for_categories(council, *one.get_attribute("council").categories)
        for before, after in zip(one.marginals, other.marginals, strict=True):
            moved = float((after.counts - before.counts).sum())
            assert moved == pytest.approx(float(estimates.compute_values(Cube({}, where={"council": inside}))))


def test_totals_over_all_councils_join_as_they_are_published_unless_they_were_measured() -> None:
    plan = make_small_plan()
    measurement = draw_noisy(plan, 5)
    estimates = build_estimates(plan, measurement)
    (found,) = asked(plan, measurement)
    totals = {each.attributes: each for each in found.marginals if each.attributes not in plan.sigmas}
    assert set(totals) == {("fsm", "gld"), ("gld", "asq")}
    total = totals["fsm", "gld"]
    cells = Cube({name: Selector.for_each(plan.family.get_attribute(name)) for name in total.attributes})
    assert (total.counts == estimates.compute_values(cells)).all()
    assert total.sigma == pytest.approx(float(np.sqrt(estimates.compute_variance(cells).mean())))
    assert total.of == ("council", "fsm", "gld")


def test_what_is_left_out_is_in_no_marginal_and_in_no_pair() -> None:
    (found,) = asked(*small(), {"asq"})
    assert "asq" not in {each.name for each in found.attributes}
    assert all("asq" not in each.attributes for each in found.marginals)
    assert not found.impossible


def test_each_group_of_a_nesting_is_a_problem_of_its_own() -> None:
    plan = make_plan(nested_family([2, 3]), 0.1, delta=1e-6)
    measurement = draw_noisy(plan, 3)
    one, two = asked(plan, measurement)
    assert [each.get_attribute("council").size for each in (one, two)] == [2, 3]
    assert abs(one.rows + two.rows - float(build_estimates(plan, measurement).compute_values(Cube({})))) <= 1
    of_group = {each.attributes: each.counts for each in two.marginals}
    for names, counts in measurement.noisy.items():
        seen = tuple(name for name in names if name != "region")
        taken = counts[2:] if "council" in names else counts[1]
        assert (of_group[seen] == taken).all()


def test_every_second_of_the_widest_marginals_is_held_out() -> None:
    (found,) = asked(*small())
    held = model.select_widest(found, "gld")
    wide = [each.attributes for each in found.marginals if "gld" in each.attributes and len(each.attributes) == 3]
    assert held == wide[::2]
    totals = {each.attributes for each in found.marginals if each.of in held}
    assert {each.attributes for each in found.exclude(held).marginals} == {
        each.attributes for each in found.marginals
    } - set(held) - totals
    assert any(set(names) < set(held[0]) for names in totals)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mbi", None)
    (found,) = asked(*small())
    with pytest.raises(model.MissingLibrary, match="uv sync --inexact --extra synthetic"):
        model.draw(found, 1)


@pytest.fixture(scope="module")
def library() -> None:
    pytest.importorskip("mbi", reason=describe_missing("synthetic"))


def counted(problem: model.SynthesisProblem, rows: model.Codes, names: tuple[str, ...]) -> np.ndarray:
    shape = tuple(problem.get_attribute(name).size for name in names)
    return np.bincount(np.ravel_multi_index([rows[n] for n in names], shape), minlength=np.prod(shape)).reshape(shape)


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_rows_have_the_marginals_and_no_contradiction_and_follow_from_the_seed_alone() -> None:
    (found,) = asked(*small())
    np.random.seed(7)
    beside = np.random.get_state()[1].copy()
    rows, again, other = (model.draw(found, seed)[0] for seed in (1, 1, 2))
    assert all(len(codes) == found.rows == 3000 for codes in rows.values())
    assert model.count_contradictions(found, rows, NOTHING) == 0
    for marginal in found.marginals:
        apart = counted(found, rows, marginal.attributes) - marginal.counts
        assert np.abs(apart).max() < 0.01 * found.rows, marginal.attributes
    assert all((rows[name] == again[name]).all() for name in rows)
    assert any((rows[name] != other[name]).any() for name in rows)
    assert (np.random.get_state()[1] == beside).all()


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_a_whole_holds_where_its_parts_do_and_nowhere_else() -> None:
    """And as often as it was measured: of parts that hold by chance, a third of the rows with all would have all."""
    found = of_parts()
    rows, _ = model.draw(found, 1)
    assert model.FIRST not in rows
    assert model.count_contradictions(found, rows, PARTS) == 0
    assert abs(int((rows["whole"] == 0).sum()) - 400) < 20
    assert abs(int(np.all([rows[part] == 0 for part in PARTS.parts], axis=0).sum()) - 350) < 20
    assert model.count_contradictions(found, {**rows, "whole": 1 - rows["whole"]}, PARTS) == found.rows
    assert model.count_contradictions(found, {**rows, "number": (rows["number"] + 1) % 3}, PARTS) > 300


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_the_largest_marginals_are_dropped_until_the_model_is_small_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = asked(*small())
    monkeypatch.setattr(model, "LARGEST_MIB", 40 * 8 / 2**20)
    rows, not_fitted = model.draw(found, 1)
    largest = max(each.counts.size for each in found.marginals)
    assert {each.attributes for each in found.marginals if each.counts.size == largest} <= set(not_fitted)
    assert set(rows) == {each.name for each in found.attributes}


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_of_nobody_nobody_is_drawn() -> None:
    (found,) = asked(*small())
    rows, _ = model.draw(replace(found, rows=0), 1)
    assert {name: len(codes) for name, codes in rows.items()} == {each.name: 0 for each in found.attributes}


FAMILY = build_small_family()


@pytest.fixture(scope="module")
def problem() -> model.SynthesisProblem:
    plan = make_small_plan()
    measurement = draw_noisy(plan, 5)
    (found,) = model.iter_problems(plan, measurement, build_estimates(plan, measurement), "council", (), NOTHING)
    return found


def some_rows() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    rows = {each.name: generator.integers(0, each.size, 4000) for each in FAMILY.attributes}
    rows["dots"] = np.where(rows["asq"] == 2, 2, 0) + generator.integers(0, 2, 4000)
    return rows


def rates(part: dict[str, Selector], at: float, width: float, **by: Selector) -> repair.Rates:
    whole = Cube({"council": Selector.for_each(FAMILY.get_attribute("council")), **by})
    middle = np.full(whole.shape, at)
    return repair.Rates(replace(whole, where=part), whole, middle - width, middle + width)


def wanted() -> list[repair.Rates]:
    """A good level of development by council and group, and who has no review: both further from what the rows have
    than their intervals are wide."""
    good = {"gld": Selector.for_categories(FAMILY.get_attribute("gld"), "gld 0")}
    none = {"asq": Selector.for_categories(FAMILY.get_attribute("asq"), "asq 2")}
    return [rates(good, 0.52, 0.01, fsm=Selector.for_each(FAMILY.get_attribute("fsm"))), rates(none, 0.31, 0.005)]


def outside(rows: model.Codes, asked: list[repair.Rates]) -> int:
    found = [(repair.compute_ratios(FAMILY, rows, each.part, each.whole), each) for each in asked]
    return sum(int(((rate < each.lower) | (rate > each.upper)).sum()) for rate, each in found)


def movable(problem: model.SynthesisProblem) -> list[tuple[str, ...]]:
    return [names for names in repair.find_tied_sets([problem]) if "council" not in names]


def test_attributes_that_exclude_each_other_are_tied(problem: model.SynthesisProblem) -> None:
    assert sorted(repair.find_tied_sets([problem])) == [("asq", "dots"), ("council",), ("fsm",), ("gld",)]
    assert repair.find_tied_sets([of_parts()]) == [("four", "number", "one", "three", "two", "whole")]


def test_every_rate_is_brought_into_its_interval_by_few_changes_which_the_seed_decides(
    problem: model.SynthesisProblem,
) -> None:
    rows = some_rows()
    before = outside(rows, wanted())
    done, count = repair.repair_rows(FAMILY, rows, wanted(), movable(problem), 1)
    assert before >= 6
    assert outside(done, wanted()) == 0
    assert 0 < count < 0.1 * len(rows["gld"])
    changed = np.any([done[name] != rows[name] for name in rows], axis=0)
    assert changed.sum() == count
    assert (done["council"] == rows["council"]).all()
    assert model.count_contradictions(problem, done, NOTHING) == 0
    again, _ = repair.repair_rows(FAMILY, some_rows(), wanted(), movable(problem), 1)
    assert all((done[name] == again[name]).all() for name in rows)


def test_what_cannot_be_reached_stays_outside_and_the_rest_is_reached(problem: model.SynthesisProblem) -> None:
    """Who has no review is as many by the one attribute as by the other."""
    other = {"dots": Selector.for_categories(FAMILY.get_attribute("dots"), "dots 2", "dots 3")}
    asked = [*wanted(), rates(other, 0.6, 0.001)]
    done, _ = repair.repair_rows(FAMILY, some_rows(), asked, movable(problem), 1)
    assert outside(done, asked[:1]) == 0
    assert outside(done, asked[2:]) == 4


@pytest.mark.parametrize("change", ["wider", "no interval", "nobody"])
def test_where_nothing_is_asked_nothing_is_changed(problem: model.SynthesisProblem, change: str) -> None:
    rows, asked = some_rows(), wanted()
    match change:
        case "wider":
            asked = [replace(each, lower=each.lower - 0.3, upper=each.upper + 0.3) for each in asked]
        case "no interval":
            asked = [replace(each, lower=each.lower * np.nan, upper=each.upper * np.nan) for each in asked]
        case _:
            rows = {name: codes[:0] for name, codes in rows.items()}
    done, count = repair.repair_rows(FAMILY, rows, asked, movable(problem), 1)
    assert count == 0
    assert all((done[name] == rows[name]).all() for name in rows)


GOALS = tuple(f"goal {number}" for number in range(17))
NUMBERS = {
    "0 to 4": range(5),
    "5 to 8": range(5, 9),
    "9 to 12": range(9, 13),
    "13 to 16": range(13, 17),
    "17": range(17, 18),
}
ALL_GOALS = model.AllOf(GOALS, "yes", (model.Whole("gld", "yes", 12), model.Whole("band", "17", 17)))
BANDS = bands.Bands("band", NUMBERS, ("council",), ("council", "sex"))
SCHOOL = MeasuredFamily(
    "school",
    "child",
    (
        Attribute("council", ("one", "two")),
        Attribute("sex", ("girl", "boy")),
        Attribute("band", tuple(NUMBERS)),
        *(Attribute(goal, ("no", "yes", "not assessed")) for goal in GOALS),
    ),
    (Marginal(("council", "band")),),
)


def draw_children(children: int, together: float) -> dict[str, np.ndarray]:
    """Goals that go together by so much, standard deviations, with the bands that follow from them."""
    rng = np.random.default_rng(7)
    ability, sex = rng.normal(0, together, (children, 1)), rng.integers(0, 2, children)
    yes = ability + rng.normal(0, 1, (children, 17)) + np.linspace(0.6, 2.2, 17) + 0.2 * sex[:, None] > 0
    code = np.where(yes, 1, np.where(rng.random((children, 17)) < 0.1, 2, 0))
    band = np.digitize(yes.sum(axis=1), [5, 9, 13, 17])
    return {"council": rng.integers(0, 2, children), "sex": sex, "band": band, **dict(zip(GOALS, code.T, strict=True))}


def test_goals_dealt_by_band_spread_as_they_did_and_no_count_of_a_goal_changes() -> None:
    """Each goal shuffled among the children who do not have all of them, as a model without pairs of goals draws them:
    the number of goals had a standard deviation of 4.1 where that of the children was 5.6."""
    truth, rng = draw_children(6000, 1.6), np.random.default_rng(1)
    goals = np.stack([truth[goal] for goal in GOALS], axis=1)
    apart, some = goals.copy(), np.flatnonzero((goals != 1).any(axis=1))
    whole = (goals[:, :12] == 1).all(axis=1)
    for council, sex, good in product((0, 1), repeat=3):
        own = some[(truth["council"][some] == council) & (truth["sex"][some] == sex) & (whole[some] == good)]
        apart[own] = rng.permuted(goals[own], axis=0)
    drawn = truth | dict(zip(GOALS, apart.T, strict=True))
    found = bands.deal_parts(SCHOOL, drawn, ALL_GOALS, BANDS, 3)
    again = bands.deal_parts(SCHOOL, drawn, ALL_GOALS, BANDS, 3)

    def count_goals(rows: dict[str, np.ndarray]) -> np.ndarray:
        return np.sum([rows[goal] == 1 for goal in GOALS], axis=0)

    for goal in GOALS:
        assert (found[goal] == again[goal]).all()
        for names in (("council", goal), ("sex", goal)):
            assert (repair.count_rows(SCHOOL, found, names) == repair.count_rows(SCHOOL, drawn, names)).all(), names
    ours, theirs, before = (count_goals(each) for each in (found, truth, drawn))
    assert before.std() < 0.9 * theirs.std()
    assert ours.std() == pytest.approx(theirs.std(), rel=0.03)
    for council in (0, 1):
        here = truth["council"] == council
        shares, published = (
            np.bincount(np.digitize(each[here], [5, 9, 13, 17]), minlength=5) / here.sum() for each in (ours, theirs)
        )
        np.testing.assert_allclose(shares, published, atol=0.005)
    good = [np.all([rows[goal] == 1 for goal in GOALS[:12]], axis=0) for rows in (found, drawn)]
    assert (good[0] == good[1]).all()
    correlations = [
        np.corrcoef([rows[goal] == 1 for goal in GOALS])[np.triu_indices(17, 1)].mean() for rows in (found, truth)
    ]
    assert correlations[0] == pytest.approx(correlations[1], rel=0.15)
