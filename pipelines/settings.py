"""Where an installation's folders are, and its linkage backend: options first, then the environment, then the
project's own."""

from __future__ import annotations

import os
from pathlib import Path

from assets.installation import Installation
from privacy.linkage.backends import DUCKDB

PROJECT = Path(__file__).resolve().parent.parent
LANDING, HOME, KEYS = "READINESS_LANDING", "READINESS_HOME", "READINESS_KEYS"
LINKAGE_BACKEND = "READINESS_LINKAGE_BACKEND"
AGREEMENTS = "READINESS_AGREEMENTS"
"""Folder of sharing agreements; without it nothing is returned."""
_DEFAULTS = {LANDING: PROJECT / "demo" / "landing", HOME: PROJECT / "demo" / "home", KEYS: PROJECT / "keys"}


def folder(variable: str, given: Path | None = None) -> Path:
    """The folder given, or the environment's, or the project's own."""
    return Path(given or os.environ.get(variable) or _DEFAULTS[variable]).resolve()


def installation(
    landing: Path | None = None, home: Path | None = None, keys: Path | None = None, agreements: Path | None = None
) -> Installation:
    """The installation that options and environment describe."""
    return Installation(
        landing_dir=str(folder(LANDING, landing)),
        home_dir=str(folder(HOME, home)),
        keys_dir=str(folder(KEYS, keys)),
        linkage_backend=os.environ.get(LINKAGE_BACKEND) or DUCKDB,
        agreements_dir=str(agreements or os.environ.get(AGREEMENTS) or ""),
    )
