"""Postcodes and districts that many share say less: counted in a service, in doublings, and only ever taken off."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pytest

from privacy.linkage import model
from privacy.linkage.crowded import CROWD, USUAL, crowded_sql, outward_bits

CHILDREN = 10_000


def bits_of_crowds(*sizes: int) -> dict[int, float]:
    """Size of a postcode and month, and the bits that are taken off for its children."""
    side = pd.DataFrame({"unit": np.arange(sum(sizes)), "t_month_postcode": np.repeat(sizes, sizes)})
    with duckdb.connect() as con:
        con.register("side", side)
        found = con.sql(crowded_sql("SELECT * FROM side")).df()
    assert len(found) == len(side)
    return dict(found[["t_month_postcode", "crowd"]].drop_duplicates().itertuples(index=False))


def test_a_crowd_is_counted_in_doublings() -> None:
    sizes = (1, CROWD - 1, CROWD, 4 * USUAL, 8 * USUAL - 1, 8 * USUAL)
    assert bits_of_crowds(*sizes) == dict(zip(sizes, (0, 0, 1, 2, 2, 3), strict=True))


def test_records_of_one_child_are_no_crowd() -> None:
    side = pd.DataFrame({"unit": np.zeros(10 * CROWD, int), "t_month_postcode": 1})
    with duckdb.connect() as con:
        con.register("side", side)
        assert con.sql(crowded_sql("SELECT * FROM side")).df().crowd.max() == 0


def test_a_row_without_date_or_postcode_has_no_crowd() -> None:
    side = pd.DataFrame({"unit": np.arange(10 * CROWD), "t_month_postcode": pd.array([None] * 10 * CROWD, "Int64")})
    with duckdb.connect() as con:
        con.register("side", side)
        assert con.sql(crowded_sql("SELECT * FROM side")).df().crowd.tolist() == [0] * 10 * CROWD


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
