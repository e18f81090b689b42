"""Measures the cost of multiple comparisons: `python -m bench.comparisons` prints the section of docs/accuracy.md."""

import numpy as np

from sources.reference.places import load_places
from sources.reference.published_figures import estimate_council_size
from tests.support.release.comparisons import Compared, Floats, read_pilot_sizes, simulate

SPREADS = (0.0, 1.0, 2.0, 4.0)
"""Standard deviations, in points, of the councils' true rates around 65%."""


def measure_comparisons() -> str:
    """Return the section, measured."""
    english = np.array([round(estimate_council_size(council)) for council in sorted(load_places())], dtype=float)
    rows = [
        _format_row(f"{name}, spread {spread:g}" if spread else f"{name}, equal", sizes, spread, releases)
        for name, sizes, releases in (("pilot", read_pilot_sizes(), 4000), ("England", english, 40))
        for spread in SPREADS
    ]
    return f"""## Many comparisons at once

Measured by `python -m bench.comparisons`. Councils of the pilot's and England's sizes are released 4,000 and 40 times;
the spread is the standard deviation of their true rates in points. "One": each comparison at 95% on its own; "all": as
in the macros of the analyst database (Holm). Wrong: releases that call a difference certain although there is none, or
it goes the other way. Ranks: releases whose sets of ranks contain all true ranks. Other columns: how often a true
difference is called certain, for a council beside all councils together and for pairs at least 2 or 4 points apart.

| councils | wrong: one | all | ranks: one | all | beside all: one | all | 2 points: one | all | 4 points: one | all |
|---|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


def _format_row(what: str, sizes: Floats, spread: float, releases: int) -> str:
    rates = 65 + spread * np.random.default_rng(7).standard_normal(len(sizes))
    found = [simulate(sizes, rates, releases, one_by_one=one) for one in (True, False)]
    measured = [each.any_wrong for each in found] + [each.ranks_hold for each in found]
    measured += [each.compute_power_from_all() if spread else np.nan for each in found]
    measured += [_format_power(each, points) for points in (2, 4) for each in found]
    return f"| {what} | {' | '.join('–' if np.isnan(share) else f'{share:.1%}' for share in measured)} |"


def _format_power(found: Compared, points: float) -> float:
    apart = np.abs(found.rates[:, None] - found.rates) >= points
    return found.compute_power_of_pairs(points) if apart.any() else np.nan


if __name__ == "__main__":
    print(measure_comparisons(), end="")
