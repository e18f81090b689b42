"""How many pupils' school census rows were not found, from how the others were found.

A Profile and a census row with one permanent UPN are joined whatever else they say. Where they have none in common (one
is temporary, or two were given), they are joined where both say the same, or nearly. So with D the children joined
without a UPN, and s of those joined by it whose records say the same, (1 - s) / s times D were there besides whose
records differ; and of these a share was not found (`NOT_FOUND`), fixed beforehand, from populations of which the truth
is known (`python -m bench.missed_links`). Such a child has two records among the pupils: a review or a setting may go
to either, so it is often missed by services as well (`SPLIT`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from privacy.linkage.cells import JOINS, NOT_JOINED, ONE_UPN_DIFFERS, ONE_UPN_SAME, WITHOUT_UPN
from privacy.linkage.missed import Array

NOT_FOUND, NOT_FOUND_SD = 0.22, 0.1
"""Of children without a UPN in common whose records differ, the share whose rows are not joined, and its deviation."""
USUAL = 0.0004
"""The share of census rows that is not found in the populations that `NOT_FOUND` comes from, on average."""
SPLIT = np.array([0.4, 0.09, 0.09, 0.6, 0.25])
"""The chance, by place in `missed.RATES`, that a child is missed whose census row was not found."""
SPLIT_SD = 0.5
"""How far off these chances are from one population to another, as a share of them."""
_DECIMALS = 9


@dataclass(frozen=True)
class Unjoined:
    """Of the pupils with a census row, the share for whom it was not found, and its standard deviation."""

    share: float
    deviation: float

    @property
    def rates(self) -> Array:
        """By `missed.RATES`, how many links are missed because the child has two records among the pupils."""
        return self.share * SPLIT

    @property
    def covariance(self) -> Array:
        variance = self.deviation**2 + (SPLIT_SD * self.share) ** 2
        return variance * np.outer(SPLIT, SPLIT)


def unjoined(counts: Array, variances: Array) -> Unjoined:
    """From how many children are in each of `JOINS`, in their order, and the variance of the noise in each.

    Where hardly a row was joined by UPN, the share is `USUAL`, with a deviation as large.
    """
    place = {join: JOINS.index(join) for join in JOINS}
    same, differs, without = (counts[place[each]] for each in (ONE_UPN_SAME, ONE_UPN_DIFFERS, WITHOUT_UPN))
    if same <= 5 * np.sqrt(variances[place[ONE_UPN_SAME]]):
        return Unjoined(USUAL, USUAL)
    ratio, rows = max(differs, 0.0) / same, float(np.delete(counts, place[NOT_JOINED]).sum())
    missed = NOT_FOUND * ratio * max(without, 0.0)
    off = NOT_FOUND_SD * ratio * max(without, 0.0)
    noise = (NOT_FOUND * ratio) ** 2 * variances[place[WITHOUT_UPN]]
    return Unjoined(round(missed / rows, _DECIMALS), round(float(np.sqrt(off**2 + noise + missed)) / rows, _DECIMALS))
