"""Noise sources that exist for tests alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privacy.release.mechanism import OPENDP

Integers = NDArray[np.int64]


class NoNoise:
    """Returns the exact counts."""

    name = "none (test)"

    def add(self, counts: Integers, sigma: float) -> Integers:
        return counts.copy()


class RecordedNoise:
    """Rounded normal noise from a seed."""

    name = "recorded (test)"

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def add(self, counts: Integers, sigma: float) -> Integers:
        return counts + np.rint(self._generator.normal(0, sigma, counts.shape)).astype(np.int64)


class ForbiddenNoise:
    """Passes for OpenDP, and fails the test that makes it draw."""

    name = OPENDP

    def add(self, counts: Integers, sigma: float) -> Integers:
        raise AssertionError("noise was drawn where none may be")
