"""Postcodes and postal districts that many children share, and what that takes off the weight of a pair.

The model takes a postcode to be that of a street, and its outward part to be one of a whole region's. A hostel, a
hospital or the council's own address stands on hundreds of children of one cohort, and in one town half of them may
share an outward part: that two records share it then says little. What is read off a service for this is rounded to
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
ENOUGH_PAIRS = 500
"""Pairs of one side with one date of birth and outward part from which their share is believed."""
_DAYS = 365.25


def crowded(con: duckdb.DuckDBPyConnection, side: str) -> None:
    """Create `crowded_{side}` (t_month_postcode, crowd): bits (DOUBLE) that sharing one of the crowded postcodes of the
    table `side` (with unit and t_month_postcode) is worth less than the model has it."""
    con.execute(
        f"""
        CREATE TABLE crowded_{side} AS
        SELECT t_month_postcode, floor(log2(count(DISTINCT unit) / {USUAL})) AS crowd FROM {side}
         WHERE t_month_postcode IS NOT NULL GROUP BY t_month_postcode HAVING count(DISTINCT unit) >= {CROWD}
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
