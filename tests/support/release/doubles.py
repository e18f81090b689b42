"""Noise sources for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from privacy.release.mechanism import OPENDP

Integers = NDArray[np.int64]


class OneByOne:
    """A noise source that draws for vectors one by one."""

    def add(self, vectors: Sequence[Integers], sigmas: Sequence[float]) -> list[Integers]:
        return [self.drawn(vector, sigma) for vector, sigma in zip(vectors, sigmas, strict=True)]

    def drawn(self, counts: Integers, sigma: float) -> Integers:
        raise NotImplementedError


class NoNoise(OneByOne):
    """A noise source that returns the exact counts."""

    name = "none (test)"

    def drawn(self, counts: Integers, sigma: float) -> Integers:
        return counts.copy()


class RecordedNoise(OneByOne):
    """Rounded normal noise from a seed."""

    name = "recorded (test)"

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def drawn(self, counts: Integers, sigma: float) -> Integers:
        return counts + np.rint(self._generator.normal(0, sigma, counts.shape)).astype(np.int64)


class ForbiddenNoise:
    """A noise source that poses as OpenDP and fails the test if it draws."""

    name = OPENDP

    def add(self, vectors: Sequence[Integers], sigmas: Sequence[float]) -> list[Integers]:
        raise AssertionError("noise was drawn where none may be")
