"""The Dagster instance of a home folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from assets.home.paths import Home
from pipelines.dagster.event_log import OpenEventLog

INSTANCE_SETTINGS = Path(__file__).parent / "dagster.yaml"


def instance(home: Home) -> dg.DagsterInstance:
    """The Dagster instance of a home folder, with the project's settings."""
    folder = home.root / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(INSTANCE_SETTINGS, folder / INSTANCE_SETTINGS.name)
    event_log = {
        "module": OpenEventLog.__module__,
        "class": OpenEventLog.__name__,
        "config": {"base_dir": str(folder / "history" / "runs")},
    }
    return dg.DagsterInstance.from_ref(
        InstanceRef.from_dir(str(folder), overrides={"event_log_storage": event_log})  # where Dagster's own would lie
    )
