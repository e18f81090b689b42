"""Schedules. Nothing here spends budget: a release is a person's decision."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from assets.partitions import COHORTS
from pipelines.jobs import linkage_job, retention_job

TIMEZONE = "Europe/London"


@dg.schedule(
    job=linkage_job,
    cron_schedule="0 5 2 * *",
    execution_timezone=TIMEZONE,
    description="On the second of each month at 05:00, link again the cohort that was last assessed.",
)
def monthly_linkage(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    cohort = last_assessed(context.scheduled_execution_time.date())
    yield dg.RunRequest(run_key=f"{cohort}-{context.scheduled_execution_time:%Y-%m}", partition_key=cohort)


def last_assessed(day: dt.date) -> str:
    """The cohort whose Profile was last due: returns close at the end of June."""
    year = day.year - 1 if day.month >= 7 else day.year - 2
    code = f"{year}{(year + 1) % 100:02d}"
    keys = COHORTS.get_partition_keys()
    return code if code in keys else keys[-1]


daily_retention = dg.ScheduleDefinition(
    name="daily_retention",
    job=retention_job,
    cron_schedule="30 3 * * *",
    execution_timezone=TIMEZONE,
    description="Each day at 03:30, remove what has been kept as long as the retention policy allows.",
)
