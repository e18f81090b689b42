"""What is kept for how long (`privacy/retention.yaml`), and the removal of what has had its time.

Ledger, stored measurements, releases and the processing log are never removed.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from assets.home.paths import Home
from assets.home.processing_log import What, record
from assets.home.removal_lock import alone
from assets.intake import deliveries
from assets.intake.suppressions import objection_in
from assets.keeping.shredding import Shreddable, shred, shreddable
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort

FILE_VARIABLE = "READINESS_RETENTION"
"""The environment variable with the path of an installation's own file."""
_OWN = Path(__file__).resolve().parent.parent / "privacy" / "retention.yaml"
_OF_A_COHORT = ("pseudonymised", "quarantine", "quality", "stopped", "history", "forgotten")
"""Folders of the restricted zone with a folder for each source, and in it one for each cohort."""


class InvalidRetention(ValueError):
    """A retention file that cannot be followed; the message names the file and the key."""


class CohortExpired(Exception):
    """A cohort whose children's data may no longer be held."""


@dataclass(frozen=True)
class Retention:
    """Months from the end of a cohort's academic year, and days: see the file."""

    cohort_months: int
    landing_days: int
    quarantine_days: int
    superseded_days: int
    dagster_days: int

    def ends(self, cohort: Cohort) -> dt.date:
        """The first day on which the cohort's data may not be held."""
        month = (cohort.first_year + 1) * 12 + 8 + self.cohort_months
        return dt.date(month // 12, month % 12 + 1, 1)


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


def retention() -> Retention:
    """The policy of this installation; raises `InvalidRetention`."""
    return read_retention(Path(os.environ.get(FILE_VARIABLE) or _OWN))


def read_retention(path: Path) -> Retention:
    """The policy that the YAML file describes; raises `InvalidRetention`."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise InvalidRetention(f"{path} is not a readable YAML file") from None
    names = [field.name for field in fields(Retention)]
    if not isinstance(content, dict) or sorted(map(str, content)) != sorted(names):
        raise InvalidRetention(f"{path} must have the keys {', '.join(names)}, and no others")
    for name in names:
        if type(content[name]) is not int or content[name] < 0:
            raise InvalidRetention(f"{path}: {name} must be a whole number, 0 or more")
    return Retention(**content)


def check_may_be_held(cohort: Cohort, today: dt.date, policy: Retention | None = None) -> None:
    """Raises `CohortExpired` where the time of a cohort's data is over."""
    ends = (policy or retention()).ends(cohort)
    if today >= ends:
        raise CohortExpired(
            f"cohort {cohort.code}: its children's data may not be held since {ends.day} {ends:%B %Y} (cohort_months in"
            f" the retention policy); its releases stand, and no new one can be made of it"
        )


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
            record(home, What.EXPIRY, cohort=entry.cohort, council=entry.council, source=entry.source, note=entry.what)
            if entry.path.is_dir():
                shutil.rmtree(entry.path)
            else:
                entry.path.unlink(missing_ok=True)
        for file in found.landing:
            shred(home, file)
    return found


def _cohorts(home: Home, policy: Retention, today: dt.date) -> Iterator[Due]:
    """Everything of the cohorts whose time is over, but for what belongs to releases."""
    patterns = [f"{kind}/source=*/cohort=*" for kind in _OF_A_COHORT] + ["reports/cohort=*", "linked/cohort=*"]
    for pattern in patterns:
        for path in home.restricted.glob(pattern):
            cohort = Cohort(path.name.removeprefix("cohort="))
            if today >= policy.ends(cohort):
                source = path.parent.name.removeprefix("source=") if "=" in path.parent.name else ""
                yield Due(cohort.code, pattern.partition("/")[0], "", source, path)
    for path in home.returns.glob("*/*/*.age"):
        cohort = Cohort(path.stem)
        if today >= policy.ends(cohort):
            yield Due(cohort.code, "return", path.parent.parent.name, path.parent.name, path)
    for path in home.returns.glob("*/summary-*.*"):
        cohort = Cohort(path.stem.removeprefix("summary-"))
        if today >= policy.ends(cohort):
            yield Due(cohort.code, "summary of returns", path.parent.name, "", path)
    for path in home.objections.glob("*.json"):
        cohort = Cohort(objection_in(path).cohort)
        if today >= policy.ends(cohort):
            yield Due(cohort.code, "objection", "", "", path)


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
