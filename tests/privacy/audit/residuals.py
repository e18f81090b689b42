"""A. The residuals of every measured cell are independent integers with the variance and distribution charged for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from privacy.release import session
from privacy.release.mechanism import compute_charge, measure
from privacy.release.plan import Plan

CHANCE = 1e-7
"""Probability that a correct release fails one of these tests, divided by the number of tested cells."""
Z = float(stats.norm.isf(CHANCE / 2))

MOST_COMPARED = 400
"""Number of cells between which all correlations are tested."""
RELEASES_TO_COMPARE = 200
"""Releases needed for that."""


@dataclass(frozen=True)
class Residuals:
    """Noise over sigma, shape (releases, cells), with the marginal of each cell."""

    plan: Plan
    raw: NDArray[np.float64]
    marginal: NDArray[np.int64]

    @property
    def scaled(self) -> NDArray[np.float64]:
        return self.raw / np.array(list(self.plan.sigmas.values()))[self.marginal]


def check_residuals(plan: Plan, releases: int) -> None:
    """Raise AssertionError naming the property that is not as charged for."""
    residuals = draw_residuals(plan, releases)
    assert (residuals.raw == np.rint(residuals.raw)).all(), "noise is not of whole numbers"
    _check_variance(residuals)
    _check_cells(residuals)
    _check_tables(residuals)
    _check_releases(residuals)
    _check_law(residuals)


def draw_residuals(plan: Plan, releases: int) -> Residuals:
    """Draw the noise of `releases` releases of one table of counts, each from a new noise source, as in a session."""
    counts = {names: np.full(plan.family.get_shape(names), 11, dtype=np.int64) for names in plan.sigmas}
    rows = []
    for _ in range(releases):
        noisy = measure(plan, counts, session.OpenDPNoise(compute_charge(plan))).noisy
        rows.append(np.concatenate([np.asarray(noisy[names] - 11, dtype=np.float64).ravel() for names in plan.sigmas]))
    sizes = [counts[names].size for names in plan.sigmas]
    return Residuals(plan, np.array(rows), np.repeat(np.arange(len(sizes)), sizes))


def _check_variance(residuals: Residuals) -> None:
    """Test the sums of squares of cells over releases against chi-square, and means against the normal."""
    scaled = residuals.scaled
    releases, cells = scaled.shape
    squares = (scaled**2).sum(axis=0)
    tail = 2 * np.minimum(stats.chi2.cdf(squares, releases), stats.chi2.sf(squares, releases))
    assert tail.min() > CHANCE / cells, "the variance of a cell is not what was charged for"
    overall = squares.sum()
    tails = stats.chi2.cdf(overall, releases * cells), stats.chi2.sf(overall, releases * cells)
    assert min(tails) > CHANCE, "the variance of the noise is not what was charged for"
    means = scaled.mean(axis=0) * np.sqrt(releases)
    assert np.abs(means).max() < stats.norm.isf(CHANCE / cells / 2), "the noise of a cell is not centred"


def _check_law(residuals: Residuals) -> None:
    """Test the frequencies of each marginal's noise against exp(-k^2 / 2 sigma^2), normalised over the integers."""
    for number, sigma in enumerate(residuals.plan.sigmas.values()):
        noise = residuals.raw[:, residuals.marginal == number].ravel()
        reach = int(np.ceil(12 * sigma))
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        cumulative = np.cumsum(weights / weights.sum())
        edges = np.unique(np.searchsorted(cumulative, np.arange(1, 20) / 20)) - reach  # about 20 equally likely bins
        expected = np.diff(np.concatenate([[0.0], cumulative[edges + reach], [1.0]]))
        observed = np.bincount(np.searchsorted(edges, noise), minlength=len(edges) + 1)
        chance = stats.chisquare(observed, expected * noise.size).pvalue
        assert chance > CHANCE / len(residuals.plan.sigmas), "the noise is not discrete Gaussian"


def _check_cells(residuals: Residuals) -> None:
    """Test the correlation of each cell with the next and, in enough releases, of all pairs of the first cells."""
    neighbours = (residuals.scaled[:, 1:] * residuals.scaled[:, :-1]).sum() / np.sqrt(residuals.scaled[:, 1:].size)
    assert abs(neighbours) < Z, "the noise of cells is related to that of the next"
    scaled = residuals.scaled[:, :MOST_COMPARED]
    releases, cells = scaled.shape
    if releases < RELEASES_TO_COMPARE:
        return
    products = scaled.T @ scaled / np.sqrt(releases) - np.sqrt(releases) * np.eye(cells)
    np.fill_diagonal(products, 0.0)
    # The product of two normals has heavier tails than a normal; 1.3 covers them for sums of this size.
    assert np.abs(products).max() < 1.3 * stats.norm.isf(CHANCE / cells**2), "the noise of two cells is related"


def _check_tables(residuals: Residuals) -> None:
    """Test the correlation of equally numbered cells of each pair of marginals, over all releases together."""
    parts = [residuals.scaled[:, residuals.marginal == number] for number in range(len(residuals.plan.sigmas))]
    bound = 1.3 * stats.norm.isf(CHANCE / len(parts) ** 2)
    for number, one in enumerate(parts):
        for other in parts[:number]:
            cells = min(one.shape[1], other.shape[1])
            related = (one[:, :cells] * other[:, :cells]).sum() / np.sqrt(cells * len(one))
            assert abs(related) < bound, "the noise of two tables is related"


def _check_releases(residuals: Residuals) -> None:
    """Test the correlation of each release with the previous one, over all cells."""
    scaled = residuals.scaled
    assert len({row.tobytes() for row in residuals.raw}) == len(scaled), "two releases have the same noise"
    related = (scaled[1:] * scaled[:-1]).sum() / np.sqrt(scaled[1:].size)
    assert abs(related) < Z, "the noise of two releases is related"
