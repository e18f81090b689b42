"""Schedules, all off until switched on. None of them spends budget: only a person starts a release."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from assets.catalogue.runs import COHORTS, RELEASE, WHY, note_councils, tag_partition_range
from assets.home.installation import Installation
from ndl_export.facts.directory_files import read_calendar
from pipelines.dagster.arriving import find_not_taken
from pipelines.dagster.jobs import intake_job, linkage_job, publication_job, retention_job, returns_job
from pipelines.release_calendar import TIMEZONE
from privacy.doors.environment import get_settings
from sources.reference.cohorts import list_open_cohorts


@dg.schedule(
    job=intake_job,
    cron_schedule="0 2 * * *",
    execution_timezone=TIMEZONE,
    description=(
        "Each night at 02:00, take in what has landed and was neither taken nor stopped since, one run a cohort: for"
        " what the landing sensor did not see, or whose intake failed."
    ),
)
def nightly_intake(
    context: dg.ScheduleEvaluationContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    waiting = find_not_taken(installation.landing, installation.home_folder)
    known = note_councils(context.instance, sorted(set().union(*waiting.values()))) if waiting else []
    for cohort, councils in sorted(waiting.items()):
        # landing may hold a cohort that has no partition
        if cohort in COHORTS.get_partition_keys():
            yield dg.RunRequest(
                run_key=f"{cohort}-{context.scheduled_execution_time:%Y-%m-%d}",
                tags=tag_partition_range(councils, cohort, known)
                | {WHY: "landed, and neither taken nor stopped since"},
            )
    if not waiting:
        yield dg.SkipReason("everything that has landed is in, or was stopped")


@dg.schedule(
    job=linkage_job,
    cron_schedule="0 5 2 1,4,9 *",
    execution_timezone=TIMEZONE,
    description=(
        "After each school term, on the second of January, April and September at 05:00, link again the cohort that was"
        " last assessed: for objections, corrections and look-ups that no new extract brought."
    ),
)
def termly_linkage(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    cohort = find_last_assessed(context.scheduled_execution_time.date())
    yield dg.RunRequest(
        run_key=f"{cohort}-{context.scheduled_execution_time:%Y-%m}",
        partition_key=cohort,
        tags={WHY: "linkage of the term"},
    )


def find_last_assessed(day: dt.date) -> str:
    """Return the cohort whose Profile was last due; returns close at the end of June."""
    year = day.year - 1 if day.month >= 7 else day.year - 2
    code = f"{year}{(year + 1) % 100:02d}"
    keys = COHORTS.get_partition_keys()
    return code if code in keys else keys[-1]


@dg.schedule(
    job=returns_job,
    cron_schedule="0 6 * * *",
    execution_timezone=TIMEZONE,
    description=(
        "Each day at 06:00, after the intake and linkage of the night, renew the returns of every linked cohort from"
        " birth to Reception, so that a new concern, a first appearance or a move reaches the other services the next"
        " morning. Returns whose content has not changed are left alone. Nothing starts without a folder of sharing"
        " agreements (READINESS_AGREEMENTS)."
    ),
)
def nightly_returns(
    context: dg.ScheduleEvaluationContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    if installation.agreements is None:
        yield dg.SkipReason("no folder of sharing agreements is given")
        return
    day = context.scheduled_execution_time.date()
    home = installation.home_folder
    linked = [cohort.code for cohort in list_open_cohorts(day) if home.cohort(cohort.code).links.exists()]
    for cohort in linked:
        yield dg.RunRequest(
            run_key=f"{cohort}-{day}",
            partition_key=cohort,
            tags={WHY: "returns of the night"},
        )
    if not linked:
        yield dg.SkipReason("no cohort from birth to Reception is linked")


daily_retention = dg.ScheduleDefinition(
    name="daily_retention",
    job=retention_job,
    cron_schedule="30 3 * * *",
    execution_timezone=TIMEZONE,
    description="Each day at 03:30, remove what has been kept as long as the retention policy allows.",
)


@dg.schedule(
    job=publication_job,
    cron_schedule="30 9 * * *",
    execution_timezone=TIMEZONE,
    description=(
        "Each day at 09:30, publish the releases that the release calendar (READINESS_CALENDAR) announces for the day."
        " They were made before, by a person's decision, and held: nothing is measured or charged."
    ),
)
def release_calendar(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    day = context.scheduled_execution_time.date()
    announced = [each for each in read_calendar(get_settings().calendar) if each.date == day]
    for each in announced:
        yield dg.RunRequest(
            run_key=f"{each.version}-{day}",
            run_config={"ops": {"publish_op": {"config": {"version": each.version}}}},
            tags={RELEASE: each.version, WHY: f"announced for {day} at 09:30"},
        )
    if not announced:
        yield dg.SkipReason(f"no release is announced for {day}")
