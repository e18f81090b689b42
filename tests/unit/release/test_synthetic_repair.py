"""Repaired rows: every rate that can be reached lies in its interval, few rows change, and what cannot be stays so."""

from dataclasses import replace

import numpy as np
import pytest

from privacy.estimation.estimates import build_estimates
from privacy.release.workload import Cube, Selector
from privacy.synthetic.model import Codes, Problem, count_contradictions, iter_problems
from privacy.synthetic.repair import Rates, compute_rates, find_tied_sets, repair_rows
from tests.support.release.dense import draw_noisy
from tests.support.release.examples import build_small_family, make_small_plan
from tests.unit.release.test_synthetic import NOTHING, of_parts

FAMILY = build_small_family()


@pytest.fixture(scope="module")
def problem() -> Problem:
    plan = make_small_plan()
    measurement = draw_noisy(plan, 5)
    (found,) = iter_problems(plan, measurement, build_estimates(plan, measurement), "council", (), NOTHING)
    return found


def some_rows() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    rows = {each.name: generator.integers(0, each.size, 4000) for each in FAMILY.attributes}
    rows["dots"] = np.where(rows["asq"] == 2, 2, 0) + generator.integers(0, 2, 4000)
    return rows


def rates(part: dict[str, Selector], at: float, width: float, **by: Selector) -> Rates:
    whole = Cube({"council": Selector.for_each(FAMILY.get_attribute("council")), **by})
    middle = np.full(whole.shape, at)
    return Rates(replace(whole, where=part), whole, middle - width, middle + width)


def wanted() -> list[Rates]:
    """A good level of development by council and group, and who has no review: both further from what the rows have
    than their intervals are wide."""
    good = {"gld": Selector.for_categories(FAMILY.get_attribute("gld"), "gld 0")}
    none = {"asq": Selector.for_categories(FAMILY.get_attribute("asq"), "asq 2")}
    return [rates(good, 0.52, 0.01, fsm=Selector.for_each(FAMILY.get_attribute("fsm"))), rates(none, 0.31, 0.005)]


def outside(rows: Codes, asked: list[Rates]) -> int:
    found = [(compute_rates(FAMILY, rows, each), each) for each in asked]
    return sum(int(((rate < each.lower) | (rate > each.upper)).sum()) for rate, each in found)


def movable(problem: Problem) -> list[tuple[str, ...]]:
    return [names for names in find_tied_sets([problem]) if "council" not in names]


def test_attributes_that_exclude_each_other_are_tied(problem: Problem) -> None:
    assert sorted(find_tied_sets([problem])) == [("asq", "dots"), ("council",), ("fsm",), ("gld",)]
    assert find_tied_sets([of_parts()]) == [("four", "number", "one", "three", "two", "whole")]


def test_every_rate_is_brought_into_its_interval_by_few_changes(problem: Problem) -> None:
    rows = some_rows()
    before = outside(rows, wanted())
    done = repair_rows(FAMILY, rows, wanted(), movable(problem), 1)
    assert before >= 6
    assert outside(done.rows, wanted()) == 0
    assert 0 < done.changed < 0.1 * len(rows["gld"])
    changed = np.any([done.rows[name] != rows[name] for name in rows], axis=0)
    assert changed.sum() == done.changed
    assert (done.rows["council"] == rows["council"]).all()
    assert count_contradictions(problem, done.rows, NOTHING) == 0


def test_the_seed_alone_decides_which_rows_change(problem: Problem) -> None:
    first, again = (repair_rows(FAMILY, some_rows(), wanted(), movable(problem), 1).rows for _ in range(2))
    assert all((first[name] == again[name]).all() for name in first)


def test_what_cannot_be_reached_stays_outside_and_the_rest_is_reached(problem: Problem) -> None:
    """Who has no review is as many by the one attribute as by the other."""
    other = {"dots": Selector.for_categories(FAMILY.get_attribute("dots"), "dots 2", "dots 3")}
    asked = [*wanted(), rates(other, 0.6, 0.001)]
    done = repair_rows(FAMILY, some_rows(), asked, movable(problem), 1)
    assert outside(done.rows, asked[:1]) == 0
    assert outside(done.rows, asked[2:]) == 4


@pytest.mark.parametrize("change", ["wider", "no interval", "nobody"])
def test_where_nothing_is_asked_nothing_is_changed(problem: Problem, change: str) -> None:
    rows, asked = some_rows(), wanted()
    match change:
        case "wider":
            asked = [replace(each, lower=each.lower - 0.3, upper=each.upper + 0.3) for each in asked]
        case "no interval":
            asked = [replace(each, lower=each.lower * np.nan, upper=each.upper * np.nan) for each in asked]
        case _:
            rows = {name: codes[:0] for name, codes in rows.items()}
    done = repair_rows(FAMILY, rows, asked, movable(problem), 1)
    assert done.changed == 0
    assert all((done.rows[name] == rows[name]).all() for name in rows)
