"""Retention policy for personal data, from `privacy/retention.yaml` or an installation's own file."""

import datetime as dt
from pathlib import Path

from pydantic import NonNegativeInt

from privacy.doors.environment import get_settings
from privacy.doors.settings_file import InvalidSettings, Settings, read_settings
from sources.contracts.model import add_months
from sources.reference.cohorts import Cohort

_OWN_POLICY = Path(__file__).resolve().parents[2] / "privacy" / "retention.yaml"


class InvalidRetention(InvalidSettings):
    """Raised for an invalid retention file."""


class CohortExpired(Exception):
    """Raised for a cohort whose data may no longer be kept."""


class Retention(Settings):
    """Retention periods in months from the end of a cohort's academic year, or in days. The file explains each."""

    cohort_months: NonNegativeInt
    landing_days: NonNegativeInt
    quarantine_days: NonNegativeInt
    superseded_days: NonNegativeInt
    dagster_days: NonNegativeInt
    unpublished_months: NonNegativeInt = 12
    backup_days: NonNegativeInt = 35

    def compute_end(self, cohort: Cohort) -> dt.date:
        """Return the first day on which the cohort's data may no longer be kept."""
        return add_months(cohort.reception_ends + dt.timedelta(1), self.cohort_months)

    def compute_unpublished_end(self, cohort: Cohort, last_delivery: dt.date) -> dt.date:
        """Return the first day on which the cohort's records that can be in no table may no longer be kept."""
        since = max(cohort.reception_ends + dt.timedelta(1), last_delivery)
        return min(self.compute_end(cohort), add_months(since, self.unpublished_months))


def get_retention() -> Retention:
    """Return this installation's retention policy. Raises `InvalidRetention` if its file is invalid."""
    return read_settings(get_settings().retention or _OWN_POLICY, Retention, InvalidRetention)


def check_may_be_held(cohort: Cohort, today: dt.date) -> None:
    """Raise `CohortExpired` if a cohort's retention period is over."""
    ends = get_retention().compute_end(cohort)
    if today >= ends:
        raise CohortExpired(
            f"cohort {cohort.code}: its children's data may not be held since {ends.day} {ends:%B %Y} (cohort_months in"
            f" the retention policy); its releases stay as they are, and no new one can be made from it"
        )
