"""Postcodes, postal districts and dates that many children share, and what that takes off the weight of a pair.

The model takes a postcode to be that of a street, its outward part to be one of a whole region's, and a date of birth
to be any day of the year. A hostel, a hospital or the council's own address stands on hundreds of children of one
cohort, in one town half of them may share an outward part, and who knows only the year a child was born in writes the
first of January: that two records share it then says little. What is read off a service for this is rounded to
doublings, so that one record more or less moves next to nothing, and is only ever taken off.
"""

from __future__ import annotations

import math

import duckdb

from privacy.linkage import model

CROWD = 10
"""Children of one side with one postcode and month of birth from which the postcode is crowded: there is no token of a
postcode on its own, so they are counted by the month they were born in."""
USUAL = 4
"""As many of them as need no correction: a block of flats, or a small town's only postcode."""
USUAL_START = 0.1
"""Share of the children of one day whose forenames start the same, at most, where nothing is wrong with the day."""
ENOUGH_PAIRS = 500
"""Pairs of one side with one date of birth and outward part from which their share is believed."""
_DAYS = 365.25


def crowded_homes(con: duckdb.DuckDBPyConnection, side: str) -> None:
    """Create `homes_{side}` (t_month_postcode, crowd): bits (DOUBLE) that sharing one of the crowded postcodes of the
    table `side` (with unit and t_month_postcode) is worth less than the model has it."""
    _crowded(con, f"homes_{side}", side, "t_month_postcode", USUAL)


def crowded_dates(con: duckdb.DuckDBPyConnection, side: str, children: int) -> None:
    """Create `dates_{side}` (t_forename_start_dob, crowd): bits (DOUBLE) that a date of birth of the table `side`, a
    service of so many children, is worth less than the model has it.

    There is no token of a date on its own: its children are counted by the start of their forenames.
    """
    usual = max(children * USUAL_START / _DAYS, USUAL)
    _crowded(con, f"dates_{side}", side, "t_forename_start_dob", usual)


def _crowded(con: duckdb.DuckDBPyConnection, table: str, side: str, token: str, usual: float) -> None:
    """Doublings of the `usual` number of children who share a token, where they are a crowd."""
    con.execute(
        f"""
        CREATE TABLE {table} AS
        SELECT {token}, floor(log2(count(DISTINCT unit) / {usual})) AS crowd FROM {side}
         WHERE {token} IS NOT NULL GROUP BY {token} HAVING count(DISTINCT unit) >= {usual * CROWD / USUAL}
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
