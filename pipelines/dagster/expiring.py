"""Retention as it is run, by command or by schedule: the restricted zone, landing, and Dagster's own storage."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import dagster as dg

from assets.home.paths import Home
from assets.home.processing_log import What, record
from assets.home.retention_policy import retention
from assets.keeping.retention import due, expire
from pipelines.dagster.instance import instance
from privacy.keys import KeyRing

_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_AT_ONCE = 500


def expire_all(
    home: Home,
    landing: Path | None,
    keys: KeyRing | None,
    *,
    dry_run: bool = False,
    storage: dg.DagsterInstance | None = None,
    now: dt.datetime | None = None,
) -> list[str]:
    """What was removed, or with `dry_run` would be, a sentence each.

    `storage` is Dagster's; by default that of the home folder, where there is one. Raises `InUse`, `InvalidRetention`.
    """
    policy, now = retention(), now or dt.datetime.now(dt.UTC)
    found = due(home, landing, keys, policy, now) if dry_run else expire(home, landing, keys, policy, now)
    said = [
        f"{entry.what} of {'/'.join(filter(None, (entry.cohort, entry.council, entry.source)))}" for entry in found.held
    ]
    said += [f"landing file {file.landed.name}" for file in found.landing]
    before = now - dt.timedelta(days=policy.dagster_days)
    if storage is not None:
        return said + _runs(home, storage, before, dry_run)
    if (home.root / "dagster").is_dir():
        with instance(home) as own:
            return said + _runs(home, own, before, dry_run)
    return said


def _runs(home: Home, storage: dg.DagsterInstance, before: dt.datetime, dry_run: bool) -> list[str]:
    """Remove runs that ended, with their events, `_AT_ONCE` at a time."""
    old = dg.RunsFilter(statuses=list(_ENDED), created_before=before)
    if not (number := storage.get_runs_count(old)):
        return []
    sentence = f"{number} runs of Dagster's storage, before {before:%Y-%m-%d}"
    if not dry_run:
        record(home, What.EXPIRY, note=sentence)
        while found := storage.get_run_records(old, limit=_AT_ONCE):
            for run in found:
                storage.delete_run(run.dagster_run.run_id)
    return [sentence]
