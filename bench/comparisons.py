"""Measures the cost of multiple comparisons: `python -m bench.comparisons` prints the section of docs/accuracy.md."""

from pathlib import Path

import numpy as np

from bench import pages
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
    return pages.render(Path(__file__).with_suffix(".md.j2"), rows=rows)


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
