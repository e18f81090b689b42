"""Postcodes, districts and dates that many share say less: counted in a service, in doublings, only ever taken off."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pytest

from privacy.linkage import model
from privacy.linkage.corrections import CROWD_CHILDREN, USUAL_CHILDREN, crowded_dates, crowded_homes, outward_bits

CHILDREN = 10_000


def crowds(side: pd.DataFrame) -> dict[int, float]:
    """Postcode and month, and the bits that are taken off for it."""
    with duckdb.connect() as con:
        con.register("side", side)
        crowded_homes(con, "side")
        return dict(con.sql("FROM homes_side").fetchall())


def test_a_crowd_is_counted_in_doublings() -> None:
    sizes = (1, CROWD_CHILDREN - 1, CROWD_CHILDREN, 4 * USUAL_CHILDREN, 8 * USUAL_CHILDREN - 1, 8 * USUAL_CHILDREN)
    side = pd.DataFrame({"unit": np.arange(sum(sizes)), "t_month_postcode": np.repeat(sizes, sizes)})
    assert crowds(side) == {CROWD_CHILDREN: 1, 4 * USUAL_CHILDREN: 2, 8 * USUAL_CHILDREN - 1: 2, 8 * USUAL_CHILDREN: 3}


def test_records_of_one_child_are_no_crowd() -> None:
    assert crowds(pd.DataFrame({"unit": np.zeros(10 * CROWD_CHILDREN, int), "t_month_postcode": 1})) == {}


def test_rows_without_date_or_postcode_are_no_crowd() -> None:
    nothing = pd.array([None] * 10 * CROWD_CHILDREN, "Int64")
    assert crowds(pd.DataFrame({"unit": np.arange(10 * CROWD_CHILDREN), "t_month_postcode": nothing})) == {}


def outward(districts: int, children: int = CHILDREN) -> int:
    """Bits taken off where so many children live in districts of one size."""
    rng = np.random.default_rng(1)
    born, district = rng.integers(0, 366, children), rng.integers(0, districts, children)
    side = pd.DataFrame({"unit": np.arange(children), "t_dob_outward": born * 100_000 + district})
    with duckdb.connect() as con:
        con.register("side", side)
        return outward_bits(con, "side", children)


@pytest.mark.parametrize("children", [10_000, 100_000])
def test_districts_are_held_against_the_model(children: int) -> None:
    usual = 1 / model.share_by_chance("postcode", "same outward part", children)
    assert [outward(round(usual / factor), children) for factor in (0.2, 1, 2, 4, 16)] == [0, 0, 1, 2, 4]


def test_a_few_children_say_nothing_of_districts() -> None:
    assert outward(1, children=300) == 0


def test_one_child_more_moves_nothing() -> None:
    assert outward(30, CHILDREN) == outward(30, CHILDREN + 1)


def dates(side: pd.DataFrame, children: int) -> dict[int, float]:
    """Date and start of a forename, and the bits that are taken off for the date."""
    with duckdb.connect() as con:
        con.register("side", side)
        crowded_dates(con, "side", children)
        return dict(con.sql("FROM dates_side").fetchall())


@pytest.mark.parametrize("children", [1_000, 60_000])
def test_a_day_of_the_year_like_any_other_is_no_crowd(children: int) -> None:
    rng = np.random.default_rng(1)
    born, start = rng.integers(0, 366, children), rng.choice(20, children, p=_of_starts())
    side = pd.DataFrame({"unit": np.arange(children), "t_forename_start_dob": born * 100 + start})
    assert dates(side, children) == {}


def test_a_day_that_half_the_children_are_said_to_be_born_on_says_next_to_nothing() -> None:
    rng = np.random.default_rng(2)
    born = np.where(rng.random(CHILDREN) < 0.5, 1, rng.integers(0, 366, CHILDREN))
    start = rng.choice(20, CHILDREN, p=_of_starts())
    side = pd.DataFrame({"unit": np.arange(CHILDREN), "t_forename_start_dob": born * 100 + start})
    found = dates(side, CHILDREN)
    assert {token // 100 for token in found} == {1}
    assert 6 <= max(found.values()) <= np.log2(0.5 * 366.25)


def _of_starts() -> np.ndarray:
    """Shares of twenty starts of forenames, the commonest a tenth."""
    shares = np.linspace(0.1, 0, 20)
    return shares / shares.sum()
