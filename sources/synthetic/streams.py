"""Random numbers by name: each part of the generator draws from its own stream, so a change in one moves no other."""

from __future__ import annotations

import zlib

import numpy as np

from sources.reference.cohorts import Cohort


class Streams:
    """`streams("names")` is a fresh generator that depends on the seed, the cohort and the name alone."""

    def __init__(self, seed: int, cohort: Cohort) -> None:
        self._entropy = (seed, int(cohort.code))

    def __call__(self, name: str) -> np.random.Generator:
        return np.random.default_rng((*self._entropy, zlib.crc32(name.encode())))
