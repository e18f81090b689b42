"""Whether the memory that there is suffices for a linkage: asked before it begins, because the system ends a process
that takes more than it may without a word."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow.parquet

from assets.linkage.standing import published_children
from privacy.doors.database import memory_gib

LEAST_GIB, GIB_A_MILLION_ROWS = 0.5, 0.62
"""Peak memory of a linkage: the line through what `python -m bench.side_by_side` measured (`docs/scale.md`)."""
BESIDE_GIB = 0.4
"""What a run holds besides: measured of England, landing to children's tables, over the linkage alone."""
ROWS_A_CHILD = 5.1
"""Rows of the linked sources for each child of the published number, in synthetic extracts of England."""
_STEP_GIB = 0.5
"""What is told of the rows that are in is told in such steps: it follows from a true count."""


class NotEnoughMemory(Exception):
    """A linkage would take more memory than this process may use; the message says how much."""


def check_suffices(extracts: Iterable[Path]) -> None:
    """Raise `NotEnoughMemory` where linking the rows of these payload files takes more than there is."""
    needed, there = gib_of(sum(pyarrow.parquet.read_metadata(path).num_rows for path in extracts)), memory_gib()
    if needed > there:
        told = math.ceil(needed / _STEP_GIB) * _STEP_GIB
        raise NotEnoughMemory(
            f"linking what is in takes up to {told:g} GiB of memory, and this process may use {there:.1f}: give the"
            " machine or container more; nothing that was taken in is lost"
        )


def gib_of(rows: float) -> float:
    """Peak memory, in GiB, of a linkage of so many rows."""
    return LEAST_GIB + GIB_A_MILLION_ROWS * rows / 1e6


def gib_of_run(councils: Sequence[str]) -> float:
    """Peak memory, in GiB, of a run for these councils, by the published number of their children alone."""
    return gib_of(ROWS_A_CHILD * published_children(councils)) + BESIDE_GIB
