"""Postcodes that many children share, and what that takes off the weight of a pair.

The model takes a postcode to be that of a street. A hostel, a hospital or the council's own address stands on hundreds
of children of one cohort: that two records share it says little. There is no token of a postcode on its own, so its
children are counted by those born in one month. The count is rounded down to a doubling, so that one record more or
less moves next to nothing, and only ever taken off.
"""

from __future__ import annotations

CROWD = 10
"""Children of one side with one postcode and month of birth from which the postcode is crowded."""
USUAL = 4
"""As many of them as need no correction: a block of flats, or a small town's only postcode."""


def crowded_sql(side: str) -> str:
    """`side` (SQL of a relation with unit and t_month_postcode) with a column `crowd`: bits (DOUBLE) that sharing the
    row's postcode is worth less than the model has it."""
    return f"""
        SELECT side.*, coalesce(crowd, 0) AS crowd
          FROM ({side}) AS side LEFT JOIN (
               SELECT t_month_postcode, floor(log2(count(DISTINCT unit) / {USUAL})) AS crowd FROM ({side})
                WHERE t_month_postcode IS NOT NULL GROUP BY t_month_postcode HAVING count(DISTINCT unit) >= {CROWD})
         USING (t_month_postcode)
    """
