"""Jobs, one for each stage that a person or a schedule starts; the schedules and sensors that start them; alerts.

Schedules are off until switched on. None of them spends budget: only a person starts a release.

A complete extract starts the intake of its council and cohort, changed extracts start the linkage, a signed release
goes on, and a failed run raises an alert.

An alert is one sentence in the daemon's log and, if the environment asks for it, to a webhook or a program. It names
job, partition, step and kind of error, and where to read more. It repeats no error message, so that no identifier and
no count leaves the machine, whatever went wrong.
"""

import hashlib
import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.catalogue import runs
from assets.home.installation import Installation
from assets.intake.assets import pseudonymised_extracts
from assets.linkage.assets import GROUP as LINKAGE, confidential_tables, links
from assets.release import fix_release, sign_off
from assets.release.assets import analyst_database, bundle, measurements
from assets.returns.assets import returns
from assets.synthetic_children.assets import synthetic_children
from ndl_export.facts.directory_files import read_calendar
from pipelines.dagster import arriving, instance
from pipelines.release_calendar import TIMEZONE, NotPublished, publish_release
from privacy.doors import environment, shipped
from privacy.keys import RESTRICTED as KEYS_OF_INTAKE
from privacy.release.policy import Stage
from sources.extract.landing import list_councils
from sources.reference.cohorts import list_open_cohorts

SAYS: dict[str, str] = shipped.read_yaml(Path(__file__).with_name("descriptions.yaml"))
"""Descriptions that the web server shows of jobs, schedules and sensors, by name."""


def _define_job(name: str, *assets: dg.AssetsDefinition, spends_budget: bool = False) -> UnresolvedAssetJobDefinition:
    tags = {runs.SPENDS_BUDGET: "true"} if spends_budget else None
    return dg.define_asset_job(name, dg.AssetSelection.assets(*assets), tags=tags, description=SAYS[name])


intake_job = _define_job("intake", pseudonymised_extracts)
linkage_job = _define_job("linkage", links, confidential_tables)
release_job = _define_job("release", measurements, bundle, analyst_database, spends_budget=True)
republish_job = _define_job("republish", bundle, analyst_database)
database_job = _define_job("analyst_database", analyst_database)
synthetic_job = _define_job("synthetic_children", synthetic_children)
returns_job = _define_job("returns", returns)


def build_release_run(cohort: str, version: str, options: fix_release.ReleaseOptions) -> dict[str, Any]:
    """Return partition, tags and configuration for a run of the job `release`."""
    config = {
        "version": version,
        "allow_missing": options.allow_missing,
        "share": options.share,
        "with_cohorts": list(options.others),
        "reuse": options.reuse,
        "requests": list(options.requests),
    }
    return {
        "partition_key": cohort,
        "tags": runs.tag_release(version, options.share),
        "run_config": {"ops": {"release__measurements": {"config": config}}},
    }


@dg.op(config_schema={}, description="Remove data whose period under the retention policy is over.")
@runs.redact_errors
def expire_op(context: dg.OpExecutionContext, installation: dg.ResourceParam[Installation]) -> None:
    ring = installation.load_keys(KEYS_OF_INTAKE)
    for sentence in instance.expire_all(installation.home_folder, installation.landing, ring, storage=context.instance):
        context.log.info(f"removed: {sentence}")


@dg.job(name="retention", description=SAYS["retention"])
def retention_job() -> None:
    expire_op()


@dg.op(
    config_schema={"version": dg.Field(str, description="A release that was made before.")},
    description="Publish a release that was made before to the place where readers download it.",
)
@runs.redact_errors
def publish_op(context: dg.OpExecutionContext, installation: dg.ResourceParam[Installation]) -> None:
    url, version = environment.get_settings().publish_to, context.op_config["version"]
    if url is None:
        raise NotPublished(f"there is no place to publish to: set {environment.PUBLISH_TO} to a folder or a URL")
    publish_release(installation.home_folder, version, url, None, context.log.info)


@dg.job(name="publication", description=SAYS["publication"])
def publication_job() -> None:
    publish_op()


RESTRICTED_JOBS = (intake_job, linkage_job, retention_job)
RELEASE_JOBS = (release_job, republish_job, database_job, synthetic_job, publication_job)

INTERVAL_SECONDS = 60
_PATIENCE_SECONDS = 10
_ADVICE = shipped.read_yaml(Path(__file__).with_name("advice.yaml"))
_BY_KIND: dict[str, str] = {kind: advice for kinds, advice in _ADVICE["errors"].items() for kind in kinds.split(", ")}
"""Advice by kind of error; other kinds get the advice of their job."""


def _schedule(job: Any, cron: str) -> Callable[[Callable[..., Any]], dg.ScheduleDefinition]:
    """Return the decorator of a schedule, at times of the release calendar's zone."""

    def define(evaluate: Callable[..., Any]) -> dg.ScheduleDefinition:
        decorate = dg.schedule(cron, job=job, execution_timezone=TIMEZONE, description=SAYS[evaluate.__name__])
        return decorate(evaluate)

    return define


@_schedule(intake_job, "0 2 * * *")
def nightly_intake(
    context: dg.ScheduleEvaluationContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    waiting = arriving.find_not_taken(installation.landing, installation.home_folder)
    known = runs.note_councils(context.instance, sorted(set().union(*waiting.values()))) if waiting else []
    for cohort, councils in sorted(waiting.items()):
        # landing may hold a cohort that has no partition
        if cohort in runs.COHORTS.get_partition_keys():
            yield dg.RunRequest(
                run_key=f"{cohort}-{context.scheduled_execution_time:%Y-%m-%d}",
                tags=runs.tag_partition_range(councils, cohort, known)
                | {runs.WHY: "landed, and neither taken nor stopped since"},
            )
    if not waiting:
        yield dg.SkipReason("everything that has landed is in, or was stopped")


@_schedule(linkage_job, "0 5 2 1,4,9 *")
def termly_linkage(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    day, cohorts = context.scheduled_execution_time.date(), runs.COHORTS.get_partition_keys()
    year = day.year - (1 if day.month >= 7 else 2)  # returns of the Profile close at the end of June
    code = f"{year}{(year + 1) % 100:02d}"
    cohort = code if code in cohorts else cohorts[-1]
    yield dg.RunRequest(
        run_key=f"{cohort}-{context.scheduled_execution_time:%Y-%m}",
        partition_key=cohort,
        tags={runs.WHY: "linkage of the term"},
    )


@_schedule(returns_job, "0 6 * * *")
def nightly_returns(
    context: dg.ScheduleEvaluationContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    if installation.agreements is None:
        yield dg.SkipReason("no folder of sharing agreements is given")
        return
    day = context.scheduled_execution_time.date()
    home = installation.home_folder
    linked = [cohort.code for cohort in list_open_cohorts(day) if home.get_cohort(cohort.code).links.exists()]
    for cohort in linked:
        yield dg.RunRequest(run_key=f"{cohort}-{day}", partition_key=cohort, tags={runs.WHY: "returns of the night"})
    if not linked:
        yield dg.SkipReason("no cohort from birth to Reception is linked")


@_schedule(retention_job, "30 3 * * *")
def daily_retention(_: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    return dg.RunRequest()


@_schedule(publication_job, "30 9 * * *")
def release_calendar(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    day = context.scheduled_execution_time.date()
    announced = [each for each in read_calendar(environment.get_settings().calendar) if each.date == day]
    for each in announced:
        yield dg.RunRequest(
            run_key=f"{each.version}-{day}",
            run_config={"ops": {"publish_op": {"config": {"version": each.version}}}},
            tags={runs.RELEASE: each.version, runs.WHY: f"announced for {day} at 09:30"},
        )
    if not announced:
        yield dg.SkipReason(f"no release is announced for {day}")


Identities = dict[str, dict[str, str]]
"""Identity of each extract, by partition and name."""


@dg.sensor(job=intake_job, minimum_interval_seconds=INTERVAL_SECONDS, description=SAYS["landing_sensor"])
def landing_sensor(
    context: dg.SensorEvaluationContext, installation: dg.ResourceParam[Installation]
) -> dg.SensorResult | dg.SkipReason:
    landing = installation.landing
    if not landing.is_dir():
        return dg.SkipReason(f"{landing} does not exist")
    earlier = json.loads(context.cursor) if context.cursor else {}
    seen: Identities = {}
    requested: Identities = dict(earlier.get("requested", {}))
    wanted: list[dg.RunRequest] = []
    for partition, extracts in _group_by_partition(landing).items():
        before = earlier.get("seen", {}).get(partition, {})
        now = seen[partition] = {look.landed.name: look.identity for look in extracts}
        whole = all(look.is_whole(before.get(look.landed.name)) for look in extracts)
        # a file that left landing, such as a shredded one, is no reason for an intake
        if whole and not now.items() <= requested.get(partition, {}).items():
            new = now.items() - requested.get(partition, {}).items()
            requested[partition] = now
            wanted.append(
                dg.RunRequest(
                    # Dagster starts one run per key, so the same files are taken in once
                    run_key=f"{partition}:{hashlib.sha256(json.dumps(now, sort_keys=True).encode()).hexdigest()}",
                    partition_key=partition,
                    tags={runs.WHY: f"landed: {', '.join(sorted(name for name, _ in new))}"},
                )
            )
    return dg.SensorResult(
        run_requests=wanted,
        cursor=json.dumps({"seen": seen, "requested": requested}, sort_keys=True),
        dynamic_partitions_requests=[runs.COUNCILS.build_add_request(list_councils(landing))],
    )


def _group_by_partition(landing: Path) -> dict[str, list[arriving.Look]]:
    cohorts, found = set(runs.COHORTS.get_partition_keys()), dict[str, list[arriving.Look]]()
    for look in arriving.iter_looks(landing):
        if look.landed.cohort in cohorts:
            found.setdefault(runs.build_partition_key(look.landed.council, look.landed.cohort), []).append(look)
    return found


restricted_automation = dg.AutomationConditionSensorDefinition(
    "restricted_automation",
    target=dg.AssetSelection.groups(LINKAGE),
    use_user_code_server=True,  # otherwise only Dagster's daemon can evaluate it, and a test of it in the UI fails
    run_tags={runs.WHY: "extracts changed since the last linkage"},
    description=SAYS["restricted_automation"],
)


@dg.sensor(
    jobs=[release_job, republish_job],
    minimum_interval_seconds=INTERVAL_SECONDS,
    description=SAYS["approved_releases"],
)
def approved_releases(
    context: dg.SensorEvaluationContext, installation: dg.ResourceParam[Installation]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    waiting = sign_off.list_ready_releases(installation.home_folder)
    for ready in waiting:
        job, run = release_job, build_release_run(ready.cohort, ready.release, ready.options)
        if ready.stage == Stage.PUBLICATION:
            # the held bundle is published: nothing is measured, so the version is all that matters
            job, run["tags"] = republish_job, {runs.RELEASE: ready.release}
            run["run_config"] = {"ops": {"release__bundle": {"config": {"version": ready.release}}}}
        run["tags"] |= {runs.WHY: f"people have signed the {ready.stage}"}
        # the newest signature is part of the key, so that each is acted on once, whatever became of its run
        yield dg.RunRequest(f"{ready.release}-{ready.stage}-{ready.line[:16]}", job_name=job.name, **run)
    if not waiting:
        yield dg.SkipReason("no release waits that people have signed")


def describe_failure(run: dg.DagsterRun, steps: list[tuple[str, str]]) -> str:
    """Return the alert about a run; `steps` are the failed steps with the kinds of their errors."""
    partition = run.tags.get(runs.PARTITION) or "..".join(
        run.tags[tag] for tag in (runs.RANGE_START, runs.RANGE_END) if tag in run.tags
    )
    what = f"{run.job_name} of {partition}" if partition else run.job_name
    at = "; ".join(f"{step} ({kind})" for step, kind in steps) or "before its first step"
    kinds = [kind for _, kind in steps]
    of_most_serious = (advice for kind, advice in _BY_KIND.items() if kind in kinds)
    advice = next(of_most_serious, _ADVICE["jobs"].get(run.job_name, _ADVICE["other"]))
    return f"The run {run.run_id[:8]}, {what}, failed at {at}. Its log in Dagster says why. {advice}"


def send_alert(text: str, to: str) -> None:
    """Send `text` to a URL, as JSON `{"text": ...}`, or to the standard input of a program."""
    if to.startswith(("https://", "http://")):
        body = json.dumps({"text": text}).encode()
        request = urllib.request.Request(to, body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS).close()
    else:
        subprocess.run([to], input=text.encode(), timeout=_PATIENCE_SECONDS, check=True)


@dg.run_failure_sensor(
    name="failed_runs",
    default_status=dg.DefaultSensorStatus.RUNNING,
    monitor_all_code_locations=True,
    description=SAYS["failed_runs"],
)
def failed_runs(context: dg.RunFailureSensorContext) -> Iterator[dg.SkipReason]:
    failed = [(event.step_key or "", find_error(event)[0]) for event in context.get_step_failure_events()]
    sentence = describe_failure(context.dagster_run, failed)
    context.log.error(sentence)
    if to := environment.get_settings().alert:
        try:
            send_alert(sentence, to)
        except (OSError, subprocess.SubprocessError) as error:
            context.log.error(f"{environment.ALERT} could not be alerted ({type(error).__name__})")
    yield dg.SkipReason(sentence)


def find_error(event: dg.DagsterEvent) -> tuple[str, str]:
    """Return the kind of error that stopped a step, and its message."""
    error = event.step_failure_data.error
    # Dagster wraps the error of a step in its own
    while error is not None and error.cause is not None:
        error = error.cause
    return ((error.cls_name or "").rpartition(".")[2] or "an error", error.message) if error else ("an error", "")
