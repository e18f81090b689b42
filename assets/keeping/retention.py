"""What is kept for how long (`privacy/retention.yaml`), and the removal of what has had its time.

Ledger, stored measurements, releases and the processing log are never removed.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assets.home.at_work import alone
from assets.home.paths import Home
from assets.home.processing_log import What, record
from assets.home.retention_policy import Retention
from assets.intake import deliveries
from assets.intake.suppressions import objection_in
from assets.keeping.shredding import Shreddable, shred, shreddable
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort

_FOLDERS_OF_COHORTS = ("pseudonymised", "quarantine", "quality", "stopped", "history", "forgotten")
"""Folders of the restricted zone with a folder for each source, and in it one for each cohort."""


@dataclass(frozen=True, order=True)
class Due:
    """One thing whose time is over: a path of the restricted zone, and what it is."""

    cohort: str
    what: str
    council: str
    source: str
    path: Path


@dataclass(frozen=True)
class Expiry:
    """What is due, or was removed."""

    held: tuple[Due, ...]
    landing: tuple[Shreddable, ...]


def due(home: Home, landing: Path | None, keys: KeyRing | None, policy: Retention, now: dt.datetime) -> Expiry:
    """What is kept longer than it may be. Files of landing are looked at where `landing` and `keys` are given."""
    found = sorted({*_cohorts(home, policy, now.date()), *_parts(home, policy, now)})
    files = []
    if landing and keys and landing.is_dir():
        files = [
            file
            for file in shreddable(landing, home, keys).ready
            if now - dt.datetime.fromisoformat(file.taken_at) > dt.timedelta(days=policy.landing_days)
        ]
    return Expiry(tuple(found), tuple(files))


def expire(home: Home, landing: Path | None, keys: KeyRing | None, policy: Retention, now: dt.datetime) -> Expiry:
    """Remove what is `due`; each is recorded before it goes. Raises `InUse` where a run is at work."""
    with alone(home):
        found = due(home, landing, keys, policy, now)
        for entry in found.held:
            record(home, What.EXPIRY, entry.source, entry.cohort, entry.council, note=entry.what)
            if entry.path.is_dir():
                shutil.rmtree(entry.path)
            else:
                entry.path.unlink(missing_ok=True)
        for file in found.landing:
            shred(home, file)
    return found


def _cohorts(home: Home, policy: Retention, today: dt.date) -> Iterator[Due]:
    """Everything of the cohorts whose time is over, but for what belongs to releases."""
    for entry in (*_folders(home), *_returned(home), *_objections(home)):
        if today >= policy.ends(Cohort(entry.cohort)):
            yield entry


def _folders(home: Home) -> Iterator[Due]:
    patterns = [f"{kind}/source=*/cohort=*" for kind in _FOLDERS_OF_COHORTS] + ["reports/cohort=*", "linked/cohort=*"]
    for pattern in patterns:
        for path in home.restricted.glob(pattern):
            source = path.parent.name.removeprefix("source=") if "=" in path.parent.name else ""
            yield Due(path.name.removeprefix("cohort="), pattern.partition("/")[0], "", source, path)


def _returned(home: Home) -> Iterator[Due]:
    for path in home.returns.glob("*/*/*.age"):
        yield Due(path.stem, "return", path.parent.parent.name, path.parent.name, path)
    for path in home.returns.glob("*/summary-*.*"):
        yield Due(path.stem.removeprefix("summary-"), "summary of returns", path.parent.name, "", path)


def _objections(home: Home) -> Iterator[Due]:
    for path in home.objections.glob("*.json"):
        yield Due(objection_in(path).cohort, "objection", "", "", path)


def _parts(home: Home, policy: Retention, now: dt.datetime) -> Iterator[Due]:
    """Quarantine and superseded results of cohorts that are still held."""
    for path in home.restricted.glob("quality/source=*/cohort=*/*.json"):
        source, cohort = (folder.name.partition("=")[2] for folder in (path.parent.parent, path.parent))
        if source not in CONTRACTS or now.date() >= policy.ends(Cohort(cohort)):
            continue
        key = (source, cohort, path.stem)
        if home.quarantine(*key).exists() and _older(home.quality(*key), policy.quarantine_days, now):
            yield Due(cohort, "quarantine", path.stem, source, home.quarantine(*key))
        for superseded in home.history(*key).glob("*.json"):
            if _older(superseded, policy.superseded_days, now):
                yield Due(cohort, "superseded delivery", path.stem, source, superseded)


def _older(result: Path, days: int, now: dt.datetime) -> bool:
    quality = deliveries.read(result)
    return quality is not None and now - dt.datetime.fromisoformat(quality.taken_at) > dt.timedelta(days=days)
