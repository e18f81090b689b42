"""What two services show of themselves, and how it moves the weights that the model gives their pairs.

Crowds: postcodes, postal districts and dates that many children share. The model takes a postcode to be that of a
street, its outward part to be one of a whole region's, and a date of birth to be any day of the year. A hostel, a
hospital or the council's own address stands on hundreds of children of one cohort, in one town half of them may share
an outward part, and who knows only the year a child was born in writes the first of January: that two records share it
then says little. What is read off a service for this is only ever taken off a weight.

Differences: how many children have another postcode, or another date of birth, in one service than in the other. The
model has it that one postcode in twelve differs, and one date in fifty wholly. Where two records are years apart, half
of the children may have moved; where a service types its dates from paper, one in ten may be wrong: what differs then
says little against a pair. How many do can be seen among pairs that are sure without a look at it. The share is only
ever raised: where few differ, the model stands as it is.

Both are rounded to doublings, so that one record more or less moves next to nothing, and changes no link.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from privacy.linkage import assignment, model

CROWD_CHILDREN = 10
"""Children of one side with one postcode and month of birth from which the postcode is crowded: there is no token of a
postcode on its own, so they are counted by the month they were born in."""
USUAL_CHILDREN = 4
"""As many of them as need no correction: a block of flats, or a small town's only postcode."""
USUAL_START_SHARE = 0.1
"""Share of the children of one day whose forenames start the same, at most, where nothing is wrong with the day."""
ENOUGH_PAIRS = 500
"""Pairs of one side with one date of birth and outward part from which their share is believed."""
_DAYS = 365.25
COMPARISONS = ("postcode", "date_of_birth")
_SURE_PROBABILITY = 0.99
_ENOUGH_SURE_PAIRS = 100
"""Sure pairs with a value on both sides from which the share that differs is believed."""
_MOST_DOUBLINGS = 2
_NEAR_BITS = 0.01


def crowded_homes(con: duckdb.DuckDBPyConnection, side: str) -> None:
    """Create `homes_{side}` (t_month_postcode, crowd): bits (DOUBLE) that sharing one of the crowded postcodes of the
    table `side` (with unit and t_month_postcode) is worth less than the model has it."""
    _crowded(con, f"homes_{side}", side, "t_month_postcode", USUAL_CHILDREN)


def crowded_dates(con: duckdb.DuckDBPyConnection, side: str, children: int) -> None:
    """Create `dates_{side}` (t_forename_start_dob, crowd): bits (DOUBLE) that a date of birth of the table `side`, a
    service of so many children, is worth less than the model has it.

    There is no token of a date on its own: its children are counted by the start of their forenames.
    """
    usual = max(children * USUAL_START_SHARE / _DAYS, USUAL_CHILDREN)
    _crowded(con, f"dates_{side}", side, "t_forename_start_dob", usual)


def _crowded(con: duckdb.DuckDBPyConnection, table: str, side: str, token: str, usual: float) -> None:
    """Doublings of the `usual` number of children who share a token, where they are a crowd."""
    crowd = usual * CROWD_CHILDREN / USUAL_CHILDREN
    con.execute(
        f"""
        CREATE TABLE {table} AS
        SELECT {token}, floor(log2(count(DISTINCT unit) / {usual})) AS crowd FROM {side}
         WHERE {token} IS NOT NULL GROUP BY {token} HAVING count(DISTINCT unit) >= {crowd}
        """
    ).fetchall()


def outward_bits(con: duckdb.DuckDBPyConnection, side: str, children: int) -> int:
    """Bits that sharing an outward part is worth less, in services of so many children, than the model has it.

    How often two children of the table `side` share it by chance is seen among those born on one day.
    """
    pairs, units = con.execute(
        f"""
        SELECT coalesce(sum(children * (children - 1)), 0)::DOUBLE, coalesce(sum(children), 0)::DOUBLE
          FROM (SELECT count(DISTINCT unit) AS children FROM {side} WHERE t_dob_outward IS NOT NULL
                 GROUP BY t_dob_outward)
        """
    ).fetchall()[0]
    if pairs < ENOUGH_PAIRS:
        return 0
    share = pairs * _DAYS / units**2
    return max(round(math.log2(share / model.share_by_chance("postcode", "same outward part", children))), 0)


@dataclass(frozen=True)
class Differing:
    """For each of COMPARISONS, `doublings` of the model's share of children of whom it is at "different"; and the
    `bits` that these add to each pair."""

    doublings: Mapping[str, int]
    bits: np.ndarray


def differing(pairs: pa.Table, records: int) -> Differing:
    """Of `pairs` as `candidates` scores them, between services of so many children."""
    doublings = {comparison: _doublings(pairs, comparison, records) for comparison in COMPARISONS}
    return as_differing(pairs, records, doublings)


def as_differing(pairs: pa.Table, records: int, doublings: Mapping[str, int]) -> Differing:
    """What so many `doublings`, known from elsewhere, add to pairs; the rest as in `differing`."""
    bits = np.zeros(len(pairs))
    for comparison, doubled in doublings.items():
        known, different = _compared(pairs, comparison, records)
        usual = _usual(comparison)
        near = np.log2((1 - usual * 2**doubled) / (1 - usual))
        bits += np.where(different, float(doubled), known * near)
    return Differing(doublings, bits)


def _doublings(pairs: pa.Table, comparison: str, records: int) -> int:
    left, right, weight = (pairs.column(name).to_numpy() for name in ("unit_l", "unit_r", "weight"))
    known, different = _compared(pairs, comparison, records)
    sure = known & (assignment.least_posterior(left, right, weight - _part(pairs, comparison)) >= _SURE_PROBABILITY)
    if sure.sum() < _ENOUGH_SURE_PAIRS:
        return 0
    usual = _usual(comparison)
    return min(round(np.log2(max(different[sure].mean(), usual) / usual)), _MOST_DOUBLINGS)


def _compared(pairs: pa.Table, comparison: str, records: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the pairs that can be compared, and of those among them that differ."""
    part = _part(pairs, comparison)
    known = part != 0
    return known, known & (np.abs(part - model.weight(comparison, "different", records)) < _NEAR_BITS)


def _part(pairs: pa.Table, comparison: str) -> np.ndarray:
    """Log2 Bayes factor of the comparison, 0 where there is nothing to compare."""
    return np.nan_to_num(pairs.column(comparison).to_numpy())


def _usual(comparison: str) -> float:
    """Share of children of whom the comparison is at "different", as the model has it."""
    share: float = model.parameters()["comparisons"][comparison]["different"][0]
    return share
