"""Synthetic rows: what they are drawn from, what they can never be, and that they keep the marginals."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from privacy.release.child_table import true_counts
from privacy.release.estimates import Estimates, estimates_of
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan, make_plan
from privacy.release.workload import Array, Attribute, Cube, Family, Figures, Marginal, Selector
from privacy.synthetic import model
from privacy.synthetic.problem import Codes, Follows, Problem, Tally, contradictions, is_hidden, problems, widest
from tests.support.areas import lacking
from tests.support.release.examples import small_plan, small_table
from tests.unit.release.test_nested import nested_family, noisy

NOTHING = Tally(("no such part",), "holds", (Follows("gld", 1, ((1,), (0,))),))
BANDS = {"all": (5,), "most": (3, 4), "few": (0, 1, 2)}
PARTS = Tally(
    ("one", "two", "three", "four", "five"),
    "holds",
    (Follows("whole", 3, ((3,), (0, 1, 2))), Follows("band", 5, tuple(BANDS.values()))),
)
"""The whole is the first three; the band follows from all five."""


def small(rows: int = 3000) -> tuple[Plan, Measurement]:
    """The small family, counted without noise."""
    plan = small_plan()
    return plan, Measurement(plan.sha256, "none (test)", "", 0.0, true_counts(small_table(rows), plan))


def asked(
    plan: Plan, measurement: Measurement, left_out: Collection[str] = (), tally: Tally = NOTHING
) -> list[Problem]:
    """Where figures are published as they are estimated."""
    return list(problems(plan, measurement, estimates_of(plan, measurement), "council", left_out, tally))


def of_parts() -> tuple[Problem, dict[str, np.ndarray]]:
    """Attributes that follow from five others, of 1,000 rows that are exactly counted, and the rows. The parts hold
    together: each was measured alone, and what follows too."""
    rng = np.random.default_rng(1)
    able = rng.random(1000) < 0.55
    fails = rng.random((5, 1000)) > np.where(able, 0.97, 0.4)
    rows = {part: fails[place].astype(int) for place, part in enumerate(PARTS.parts)}
    rows["whole"] = fails[:3].any(axis=0).astype(int)
    rows["band"] = np.array([0, 1, 1, 2, 2, 2])[fails.sum(axis=0)]
    domains = {"whole": ("yes", "no"), "band": tuple(BANDS), **dict.fromkeys(PARTS.parts, ("holds", "fails"))}
    attributes = tuple(Attribute(name, categories) for name, categories in domains.items())
    family = Family("parts", "row", attributes, tuple(Marginal((name,)) for name in domains))
    plan = make_plan(family, 10.0, delta=1e-6)
    told = {names: _counts(rows, names, family) for names in plan.sigmas}
    (found,) = asked(plan, Measurement(plan.sha256, "none (test)", "", 0.0, told), tally=PARTS)
    return found, rows


def _counts(rows: dict[str, np.ndarray], names: tuple[str, ...], family: Family) -> np.ndarray:
    shape = family.shape(names)
    if not names:
        return np.array(1000)
    cells = np.ravel_multi_index([rows[name] for name in names], shape)
    return np.bincount(cells, minlength=np.prod(shape)).reshape(shape)


def test_an_identity_says_which_pairs_no_row_can_have() -> None:
    (found,) = asked(*small())
    ((pair, impossible),) = found.impossible.items()
    assert pair == ("asq", "dots")
    assert impossible.tolist() == [[False, False, True, True]] * 2 + [[True, True, False, False]]


def test_what_follows_from_how_many_parts_hold_is_said_of_few_attributes_at_a_time() -> None:
    """For each choice of parts, one choice of the hidden attributes is possible, with what follows alone."""
    found, _ = of_parts()
    hidden = [each for each in found.attributes if is_hidden(each.name)]
    assert [each.size for each in hidden] == [1, 3, 4, 4, 4]  # of the first 0, 2, 3, 4 and 5, from three on alike
    assert max(map(len, found.impossible)) == 4
    for parts in product((0, 1), repeat=5):
        row = dict(zip(PARTS.parts, parts, strict=True))
        whole, band = int(any(parts[:3])), next(i for i, n in enumerate(BANDS.values()) if 5 - sum(parts) in n)
        for row["whole"], row["band"] in product((0, 1), (0, 1, 2)):
            possible = [
                numbers
                for numbers in product(*(range(each.size) for each in hidden))
                if not _breaks(found, row | {each.name: n for each, n in zip(hidden, numbers, strict=True)})
            ]
            assert len(possible) == ((row["whole"], row["band"]) == (whole, band))


def _breaks(problem: Problem, row: dict[str, int]) -> bool:
    return any(wrong[tuple(row[name] for name in names)] for names, wrong in problem.impossible.items())


def test_there_are_as_many_rows_as_the_release_estimates() -> None:
    plan = small_plan()
    measurement = noisy(plan, 5)
    (found,) = asked(plan, measurement)
    assert found.rows == max(0, round(float(estimates_of(plan, measurement).values(Cube({})))))


class Doubled:
    """Figures published as twice what was estimated."""

    def __init__(self, estimates: Estimates) -> None:
        self.estimates = estimates

    def values(self, figures: Figures) -> Array:
        return 2 * self.estimates.values(figures)

    def variance(self, figures: Figures) -> Array:
        return 4 * self.estimates.variance(figures)

    def covariance(self, left: Figures, right: Figures) -> Array:
        return 4 * self.estimates.covariance(left, right)


@pytest.mark.parametrize("plan", [small_plan(), make_plan(nested_family([2, 3]), 0.1, delta=1e-6)])
def test_marginals_move_by_what_publication_corrects(plan: Plan) -> None:
    measurement = noisy(plan, 5)
    estimates = estimates_of(plan, measurement)
    as_linked = list(problems(plan, measurement, estimates, "council", (), NOTHING))
    as_published = list(problems(plan, measurement, Doubled(estimates), "council", (), NOTHING))
    council = plan.family.attribute("council")
    for one, other in zip(as_linked, as_published, strict=True):
        inside = Selector.only(council, *one.attribute("council").categories)
        for before, after in zip(one.marginals, other.marginals, strict=True):
            moved = float((after.counts - before.counts).sum())
            assert moved == pytest.approx(float(estimates.values(Cube({}, where={"council": inside}))))


def test_totals_over_all_councils_join_as_they_are_published_unless_they_were_measured() -> None:
    plan = small_plan()
    measurement = noisy(plan, 5)
    estimates = estimates_of(plan, measurement)
    (found,) = asked(plan, measurement)
    totals = {each.attributes: each for each in found.marginals if each.attributes not in plan.sigmas}
    assert set(totals) == {("fsm", "gld"), ("gld", "asq")}
    total = totals["fsm", "gld"]
    cells = Cube({name: Selector.each(plan.family.attribute(name)) for name in total.attributes})
    assert (total.counts == estimates.values(cells)).all()
    assert total.sigma == pytest.approx(float(np.sqrt(estimates.variance(cells).mean())))
    assert total.of == ("council", "fsm", "gld")


def test_what_is_left_out_is_in_no_marginal_and_in_no_pair() -> None:
    (found,) = asked(*small(), {"asq"})
    assert "asq" not in {each.name for each in found.attributes}
    assert all("asq" not in each.attributes for each in found.marginals)
    assert not found.impossible


def test_each_group_of_a_nesting_is_a_problem_of_its_own() -> None:
    plan = make_plan(nested_family([2, 3]), 0.1, delta=1e-6)
    measurement = noisy(plan, 3)
    one, two = asked(plan, measurement)
    assert [each.attribute("council").size for each in (one, two)] == [2, 3]
    assert abs(one.rows + two.rows - float(estimates_of(plan, measurement).values(Cube({})))) <= 1
    of_group = {each.attributes: each.counts for each in two.marginals}
    for names, counts in measurement.noisy.items():
        seen = tuple(name for name in names if name != "region")
        taken = counts[2:] if "council" in names else counts[1]
        assert (of_group[seen] == taken).all()


def test_every_second_of_the_widest_marginals_is_held_out() -> None:
    (found,) = asked(*small())
    held = widest(found, "gld")
    wide = [each.attributes for each in found.marginals if "gld" in each.attributes and len(each.attributes) == 3]
    assert held == wide[::2]
    totals = {each.attributes for each in found.marginals if each.of in held}
    assert {each.attributes for each in found.without(held).marginals} == {
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
    pytest.importorskip("mbi", reason=lacking("synthetic"))


def counted(problem: Problem, rows: Codes, names: tuple[str, ...]) -> np.ndarray:
    shape = tuple(problem.attribute(name).size for name in names)
    return np.bincount(np.ravel_multi_index([rows[n] for n in names], shape), minlength=np.prod(shape)).reshape(shape)


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_rows_have_the_marginals_and_no_contradiction() -> None:
    (found,) = asked(*small())
    rows = model.draw(found, 1).rows
    assert all(len(codes) == found.rows == 3000 for codes in rows.values())
    assert contradictions(found, rows, NOTHING) == 0
    for marginal in found.marginals:
        apart = counted(found, rows, marginal.attributes) - marginal.counts
        assert np.abs(apart).max() < 0.01 * found.rows, marginal.attributes


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_as_many_parts_hold_together_as_were_counted() -> None:
    """Without the band, a third of the rows with all five would have them, and the spread would be half as wide."""
    found, children = of_parts()
    rows = model.draw(found, 1).rows
    assert not any(map(is_hidden, rows))
    assert contradictions(found, rows, PARTS) == 0
    number, true = (np.sum([of[part] == 0 for part in PARTS.parts], axis=0) for of in (rows, children))
    assert abs((number == 5).mean() - (true == 5).mean()) < 0.02
    assert number.std() == pytest.approx(true.std(), rel=0.1)
    assert contradictions(found, {**rows, "whole": 1 - rows["whole"]}, PARTS) == found.rows
    assert contradictions(found, {**rows, "band": (rows["band"] + 1) % 3}, PARTS) == found.rows


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_the_seed_alone_decides_what_is_drawn() -> None:
    (found,) = asked(*small())
    np.random.seed(7)
    beside = np.random.get_state()[1].copy()
    first, again, other = (model.draw(found, seed).rows for seed in (1, 1, 2))
    assert all((first[name] == again[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)
    assert (np.random.get_state()[1] == beside).all()


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_the_largest_marginals_are_dropped_until_the_model_is_small_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = asked(*small())
    monkeypatch.setattr(model, "LARGEST_MIB", 40 * 8 / 2**20)
    drawn = model.draw(found, 1)
    largest = max(each.counts.size for each in found.marginals)
    assert {each.attributes for each in found.marginals if each.counts.size == largest} <= set(drawn.not_fitted)
    assert set(drawn.rows) == {each.name for each in found.attributes}


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_of_nobody_nobody_is_drawn() -> None:
    (found,) = asked(*small())
    rows = model.draw(replace(found, rows=0), 1).rows
    assert {name: len(codes) for name, codes in rows.items()} == {each.name: 0 for each in found.attributes}
