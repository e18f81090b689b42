"""Noise sources, moments without noise, and releases in which nothing but the input differs, for tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from privacy.doors import clock
from privacy.release import ledger, mechanism, session, workload

Integers = NDArray[np.int64]


class OneByOne:
    """A noise source that draws for vectors one by one."""

    def add(self, vectors: Sequence[Integers], sigmas: Sequence[float]) -> list[Integers]:
        return [self.draw(vector, sigma) for vector, sigma in zip(vectors, sigmas, strict=True)]

    def draw(self, counts: Integers, sigma: float) -> Integers:
        raise NotImplementedError


class NoNoise(OneByOne):
    """A noise source that returns the exact counts."""

    name = "none (test)"

    def draw(self, counts: Integers, sigma: float) -> Integers:
        return counts.copy()


class ForbiddenNoise:
    """A noise source that poses as OpenDP and fails the test if it draws."""

    name = mechanism.OPENDP

    def add(self, vectors: Sequence[Integers], sigmas: Sequence[float]) -> list[Integers]:
        raise AssertionError("noise was drawn where none may be")


class ExactMoments:
    """Moments of counts over some attributes; every figure has the same variance. Axes are in the attributes' order."""

    def __init__(self, counts: NDArray[np.float64], *attributes: workload.Attribute, variance: float = 0.0) -> None:
        self.counts, self._attributes, self._variance = counts, attributes, variance

    def compute_values(self, figures: workload.Figures) -> NDArray[np.float64]:
        return np.asarray(sum(factor * self._compute_cube(cube) for factor, cube in workload.list_terms(figures)))

    def _compute_cube(self, cube: workload.Cube) -> NDArray[np.float64]:
        weights, found = {**cube.where, **cube.selectors}, self.counts
        for axis, each in enumerate(self._attributes):
            rows = weights[each.name].matrix if each.name in weights else np.ones((1, each.size))
            found = np.moveaxis(np.tensordot(rows, found, (1, axis)), 0, axis)
        return found.reshape(cube.shape)

    def compute_variance(self, figures: workload.Figures) -> NDArray[np.float64]:
        return np.full(figures.shape, self._variance)

    def compute_covariance(self, left: workload.Figures, right: workload.Figures) -> NDArray[np.float64]:
        return np.zeros(left.shape)


class SameNoise(OneByOne):
    """A noise source that poses as OpenDP, with rounded normal noise that depends only on the number of the draw."""

    name = mechanism.OPENDP

    def __init__(self, rho: float) -> None:
        self._generator = np.random.default_rng(5)

    def draw(self, counts: Integers, sigma: float) -> Integers:
        return counts + np.rint(self._generator.normal(0, sigma, counts.shape)).astype(np.int64)


@contextmanager
def hold_still(noise: type[OneByOne] = SameNoise) -> Iterator[None]:
    """Make releases in the block depend only on their input, policy and keys."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(session, "OpenDPNoise", noise))
        stack.enter_context(patch.object(clock, "now", lambda: datetime(2026, 11, 1, tzinfo=UTC)))
        stack.enter_context(patch.object(ledger, "_make_nonce", lambda: "0" * 32))
        stack.enter_context(patch.object(ledger.Ledger, "find_place", lambda _: "one place"))
        yield
