"""Simulated releases of one group's rates by council, compared by the macros of the analyst database."""

from dataclasses import dataclass
from functools import cached_property

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ndl_export.analyst_db.database import Database
from ndl_export.analyst_db.facts import NOISE_CORRELATION
from sources.reference.places import PILOT
from sources.reference.published_figures import estimate_council_size

Floats = NDArray[np.float64]
Z = 1.959964
NOISE = 0.25
"""Standard error of the noise, in points, for a council of 1,300 children; it falls with the number of children."""
RISK = 0.05


@dataclass(frozen=True)
class Compared:
    """Verdicts of simulated releases (rows): 1 ahead, -1 behind, 0 if the data cannot say.

    `from_all` (releases, councils) compares each council with all together, `pairs` (releases, councils, councils) the
    first council with the second; `rates` (councils,) and `together` are the true rates.
    """

    rates: Floats
    together: float
    from_all: NDArray[np.int64]
    pairs: NDArray[np.int64]

    @property
    def any_certain(self) -> float:
        """Share of releases with any certain verdict."""
        return float(np.mean(self.from_all.any(axis=1) | self.pairs.any(axis=(1, 2))))

    @cached_property
    def any_wrong(self) -> float:
        """Share of releases with any false verdict."""
        together = np.sign(np.round(self.rates - self.together, 9))
        apart = np.sign(self.rates[:, None] - self.rates)
        wrong = (self.from_all != 0) & (self.from_all != together)
        return float(np.mean(wrong.any(axis=1) | ((self.pairs != 0) & (self.pairs != apart)).any(axis=(1, 2))))

    @property
    def ranks_hold(self) -> float:
        """Share of releases whose rank intervals contain the true ranks of all councils."""
        best = 1 + (self.pairs < 0).sum(axis=2)
        worst = len(self.rates) - (self.pairs > 0).sum(axis=2)
        above = (self.rates[None, :] > self.rates[:, None]).sum(axis=1)
        level = (self.rates[None, :] == self.rates[:, None]).sum(axis=1)
        return float(np.mean(((best <= above + 1) & (worst >= above + level)).all(axis=1)))

    def compute_power_from_all(self) -> float:
        """Return the share of councils that differ from all together for which the verdict is certain."""
        return float(np.mean(self.from_all[:, np.abs(self.rates - self.together) > 1e-9] != 0))

    def compute_power_of_pairs(self, at_least: float) -> float:
        """Return the share of pairs at least `at_least` points apart for which the verdict is certain."""
        return float(np.mean(self.pairs[:, np.abs(self.rates[:, None] - self.rates) >= at_least] != 0))


def read_pilot_sizes() -> Floats:
    return np.array([round(estimate_council_size(council)) for council in sorted(PILOT)], dtype=float)


def simulate(sizes: Floats, rates: Floats, releases: int, seed: int = 1, *, one_by_one: bool = False) -> Compared:
    """Simulate releases from `sizes` and true `rates` (percent) by council.

    With `one_by_one`, every comparison is tested separately at 95%.
    """
    rng, shape = np.random.default_rng(seed), (releases, len(sizes))
    noise = NOISE * np.sqrt(1300 / sizes) * np.ones(len(sizes))
    p = 100 * rng.binomial(sizes.astype(int), rates / 100, shape) / sizes + rng.normal(0, noise, shape)
    share = sizes / sizes.sum()
    everyone = p @ share
    chance, of_all = p * (100 - p) / sizes, (everyone * (100 - everyone) / sizes.sum())[:, None]
    within = np.maximum(chance * (1 - 2 * share) + of_all, 0) + noise**2 * (1 - 2 * share) + (share**2 * noise**2).sum()
    from_all = (p - everyone[:, None]) / np.sqrt(within)
    i, j = np.triu_indices(len(sizes), 1)
    of_both = noise[i] ** 2 + noise[j] ** 2 + 2 * NOISE_CORRELATION * noise[i] * noise[j]
    pairs = (p[:, i] - p[:, j]) / np.sqrt(of_both + chance[:, i] + chance[:, j])
    each = np.zeros((*shape, len(sizes)), dtype=np.int64)
    each[:, i, j] = _decide_verdicts(pairs, one_by_one=one_by_one)
    each[:, j, i] = -each[:, i, j]
    return Compared(rates, float(rates @ share), _decide_verdicts(from_all, one_by_one=one_by_one), each)


def compute_certain_from(lists: Floats, risk: float) -> Floats:
    """Return the distance from which the macros call a difference certain, for each row of distances."""
    releases, many = lists.shape
    given = pa.table({"release": np.repeat(np.arange(releases), many), "distance": lists.ravel()})
    with duckdb.connect() as con:
        Database(con).create_written("macros.sql", ("normal_beyond", "asked_at", "certain_from"))
        con.register("given", given)
        found = con.execute(
            """
            SELECT certain_from(distance, asked) AS needed
            FROM (SELECT release, distance, asked_at($1, count(*) OVER (PARTITION BY release),
                         row_number() OVER (PARTITION BY release ORDER BY distance DESC)) AS asked FROM given)
            GROUP BY release ORDER BY release""",
            [risk],
        ).fetchnumpy()
    return np.asarray(found["needed"], dtype=float)


def _decide_verdicts(distances: Floats, *, one_by_one: bool) -> NDArray[np.int64]:
    needed = Z if one_by_one else compute_certain_from(np.abs(distances), RISK / 2)[:, None]
    return np.asarray(np.sign(distances) * (np.abs(distances) > needed), dtype=np.int64)
