"""Synthetic rows: what they are drawn from, what they can never be, and that they keep the marginals."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from privacy.release.child_table import true_counts
from privacy.release.estimates import estimates_of
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan, make_plan
from privacy.release.workload import Attribute, Cube, Family, Marginal
from privacy.synthetic import model
from privacy.synthetic.problem import FIRST, AllOf, Codes, Problem, contradictions, problems, widest
from tests.support.release.examples import small_plan, small_table
from tests.unit.release.test_nested import nested_family, noisy

NOTHING = AllOf("gld", "gld 0", ("no such part",), "holds")
PARTS = AllOf("whole", "yes", ("one", "two", "three"), "holds")


def small(rows: int = 3000) -> tuple[Plan, Measurement]:
    """The small family, counted without noise."""
    plan = small_plan()
    return plan, Measurement(plan.sha256, "none (test)", "", 0.0, true_counts(small_table(rows), plan))


def of_parts() -> Problem:
    """An attribute that follows from three others, each measured with it alone, of 1,000 rows."""
    family = Family(
        "parts",
        "row",
        (Attribute("whole", ("yes", "no")), *(Attribute(name, ("holds", "fails")) for name in PARTS.parts)),
        tuple(Marginal(("whole", name)) for name in PARTS.parts),
    )
    plan = make_plan(family, 0.1, delta=1e-6)
    counts = {
        ("whole", name): np.array([[400, 0], [200 + 100 * n, 400 - 100 * n]]) for n, name in enumerate(PARTS.parts)
    }
    told = {names: counts.get(names, np.array([400, 600])) for names in plan.sigmas}
    (found,) = problems(plan, Measurement(plan.sha256, "none (test)", "", 0.0, told), (), PARTS)
    return found


def test_an_identity_says_which_pairs_no_row_can_have() -> None:
    (found,) = problems(*small(), (), NOTHING)
    ((pair, impossible),) = found.impossible.items()
    assert pair == ("asq", "dots")
    assert impossible.tolist() == [[False, False, True, True]] * 2 + [[True, True, False, False]]


def test_an_attribute_that_follows_from_others_is_said_in_pairs() -> None:
    """One first part for each choice of parts with the whole that follows from it, and none with the other."""
    found = of_parts()
    first = found.attribute(FIRST)
    for whole, *parts in product((0, 1), repeat=4):
        row = dict(zip(("whole", *PARTS.parts), (whole, *parts), strict=True))
        possible = [
            place
            for place in range(first.size)
            if not any(wrong[row[name], place] for (name, _), wrong in found.impossible.items())
        ]
        assert len(possible) == (1 if (whole == 0) == (not any(parts)) else 0)


def test_there_are_as_many_rows_as_the_release_estimates() -> None:
    plan = small_plan()
    measurement = noisy(plan, 5)
    (found,) = problems(plan, measurement, (), NOTHING)
    assert found.rows == max(0, round(float(estimates_of(plan, measurement).values(Cube({})))))


def test_what_is_left_out_is_in_no_marginal_and_in_no_pair() -> None:
    (found,) = problems(*small(), {"asq"}, NOTHING)
    assert "asq" not in {each.name for each in found.attributes}
    assert all("asq" not in each.attributes for each in found.marginals)
    assert not found.impossible


def test_each_group_of_a_nesting_is_a_problem_of_its_own() -> None:
    plan = make_plan(nested_family([2, 3]), 0.1, delta=1e-6)
    measurement = noisy(plan, 3)
    one, two = problems(plan, measurement, (), NOTHING)
    assert [each.attribute("council").size for each in (one, two)] == [2, 3]
    assert abs(one.rows + two.rows - float(estimates_of(plan, measurement).values(Cube({})))) <= 1
    of_group = {each.attributes: each.counts for each in two.marginals}
    for names, counts in measurement.noisy.items():
        seen = tuple(name for name in names if name != "region")
        taken = counts[2:] if "council" in names else counts[1]
        assert (of_group[seen] == taken).all()


def test_every_second_of_the_widest_marginals_is_held_out() -> None:
    (found,) = problems(*small(), (), NOTHING)
    held = widest(found, "gld")
    wide = [each.attributes for each in found.marginals if "gld" in each.attributes and len(each.attributes) == 3]
    assert held == wide[::2]
    assert {each.attributes for each in found.without(held).marginals} == {
        each.attributes for each in found.marginals
    } - set(held)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mbi", None)
    (found,) = problems(*small(), (), NOTHING)
    with pytest.raises(model.MissingLibrary, match="uv sync --inexact --extra synthetic"):
        model.draw(found, 1)


@pytest.fixture(scope="module")
def library() -> None:
    pytest.importorskip("mbi", reason="mbi (extra synthetic) is not installed")


def counted(problem: Problem, rows: Codes, names: tuple[str, ...]) -> np.ndarray:
    shape = tuple(problem.attribute(name).size for name in names)
    return np.bincount(np.ravel_multi_index([rows[n] for n in names], shape), minlength=np.prod(shape)).reshape(shape)


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_rows_have_the_marginals_and_no_contradiction() -> None:
    (found,) = problems(*small(), (), NOTHING)
    rows = model.draw(found, 1).rows
    assert all(len(codes) == found.rows == 3000 for codes in rows.values())
    assert contradictions(found, rows, NOTHING) == 0
    for marginal in found.marginals:
        apart = counted(found, rows, marginal.attributes) - marginal.counts
        assert np.abs(apart).max() < 0.01 * found.rows, marginal.attributes


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_the_whole_holds_where_every_part_does_and_nowhere_else() -> None:
    found = of_parts()
    rows = model.draw(found, 1).rows
    assert FIRST not in rows
    assert contradictions(found, rows, PARTS) == 0
    assert abs(int((rows["whole"] == 0).sum()) - 400) < 20
    assert contradictions(found, {**rows, "whole": 1 - rows["whole"]}, PARTS) == found.rows


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_the_seed_alone_decides_what_is_drawn() -> None:
    (found,) = problems(*small(), (), NOTHING)
    np.random.seed(7)
    beside = np.random.get_state()[1].copy()
    first, again, other = (model.draw(found, seed).rows for seed in (1, 1, 2))
    assert all((first[name] == again[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)
    assert (np.random.get_state()[1] == beside).all()


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_the_largest_marginals_are_dropped_until_the_model_is_small_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = problems(*small(), (), NOTHING)
    monkeypatch.setattr(model, "LARGEST_MIB", 40 * 8 / 2**20)
    drawn = model.draw(found, 1)
    largest = max(each.counts.size for each in found.marginals)
    assert {each.attributes for each in found.marginals if each.counts.size == largest} <= set(drawn.not_fitted)
    assert set(drawn.rows) == {each.name for each in found.attributes}


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_of_nobody_nobody_is_drawn() -> None:
    (found,) = problems(*small(), (), NOTHING)
    rows = model.draw(replace(found, rows=0), 1).rows
    assert {name: len(codes) for name, codes in rows.items()} == {each.name: 0 for each in found.attributes}
