"""How long personal data may be kept: `privacy/retention.yaml`, or an installation's own file."""

from __future__ import annotations

import datetime as dt
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import yaml

from privacy.doors.environment import settings
from sources.reference.cohorts import Cohort

_OWN_POLICY = Path(__file__).resolve().parents[2] / "privacy" / "retention.yaml"


class InvalidRetention(ValueError):
    """A retention file that cannot be used; the message names the file and the key."""


class CohortExpired(Exception):
    """A cohort whose children's data may no longer be kept."""


@dataclass(frozen=True)
class Retention:
    """Months from the end of a cohort's academic year, and days: see the file."""

    cohort_months: int
    landing_days: int
    quarantine_days: int
    superseded_days: int
    dagster_days: int
    backup_days: int = 35

    def ends(self, cohort: Cohort) -> dt.date:
        """Return the first day on which the cohort's data may no longer be kept."""
        month = (cohort.first_year + 1) * 12 + 8 + self.cohort_months
        return dt.date(month // 12, month % 12 + 1, 1)


def retention() -> Retention:
    """Return this installation's retention policy; raises `InvalidRetention`."""
    return read_retention(settings().retention or _OWN_POLICY)


def read_retention(path: Path) -> Retention:
    """Read the policy from a YAML file; raises `InvalidRetention`."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise InvalidRetention(f"{path} is not a readable YAML file") from None
    names = [field.name for field in fields(Retention)]
    optional = {field.name for field in fields(Retention) if field.default is not MISSING}
    if not isinstance(content, dict) or not set(names) - optional <= set(content) <= set(names):
        raise InvalidRetention(f"{path} must have the keys {', '.join(names)}, and no others")
    for name in content:
        if type(content[name]) is not int or content[name] < 0:
            raise InvalidRetention(f"{path}: {name} must be a whole number, 0 or more")
    return Retention(**content)


def check_may_be_held(cohort: Cohort, today: dt.date, policy: Retention | None = None) -> None:
    """Raise `CohortExpired` if a cohort's retention period is over."""
    ends = (policy or retention()).ends(cohort)
    if today >= ends:
        raise CohortExpired(
            f"cohort {cohort.code}: its children's data may not be held since {ends.day} {ends:%B %Y} (cohort_months in"
            f" the retention policy); its releases stand, and no new one can be made of it"
        )
