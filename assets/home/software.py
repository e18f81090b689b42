"""Name and version of the running software."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def software() -> str:
    """Return the version of the installed distribution: the whole product, or the tool for councils."""
    try:
        return version("readiness")
    except PackageNotFoundError:
        return version("readiness-council")
