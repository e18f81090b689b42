"""The Dagster instance of a home folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg

from assets.home import Home

INSTANCE_SETTINGS = Path(__file__).parent / "dagster.yaml"


def instance(home: Home) -> dg.DagsterInstance:
    """The Dagster instance of a home folder, with the project's settings."""
    folder = home.root / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(INSTANCE_SETTINGS, folder / INSTANCE_SETTINGS.name)
    return dg.DagsterInstance.from_config(str(folder))
