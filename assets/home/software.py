"""Which software this is."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def software() -> str:
    """Version of the distribution that this code came in: the whole product, or the tool for councils."""
    try:
        return version("readiness")
    except PackageNotFoundError:
        return version("readiness-council")
