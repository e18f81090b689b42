"""What starts by itself, when, and why; and what never does."""

import datetime as dt
import os
import stat
import time
import traceback
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from assets.catalogue.runs import COHORTS, RANGE_END, RANGE_START, WHY, build_night_condition, build_partition_key
from assets.home.errors import StepFailed, translate_errors
from assets.home.installation import Installation
from assets.linkage.assets import GROUP
from ndl_export.facts.directory_files import Announced, InvalidCalendar, read_calendar
from pipelines.dagster.jobs import failed_runs, nightly_intake, nightly_returns, release_calendar, termly_linkage
from pipelines.definitions import build_definitions
from pipelines.release_calendar import NotPublished, check_may_be_published, find_release_moment
from privacy.doors import clock
from sources.errors import ExtractStopped
from tests.support.installation.commands import invoke

LONDON = ZoneInfo("Europe/London")


def find_requests(evaluated: object) -> list[dg.RunRequest]:
    return [each for each in evaluated if isinstance(each, dg.RunRequest)]


def at(*moment: int) -> dg.ScheduleEvaluationContext:
    return dg.build_schedule_context(
        instance=dg.DagsterInstance.local_temp(), scheduled_execution_time=dt.datetime(*moment, tzinfo=LONDON)
    )


def test_everything_is_off_until_it_is_switched_on(installation: Installation) -> None:
    definitions = build_definitions(installation)
    assert {each.default_status for each in definitions.schedules or ()} == {dg.DefaultScheduleStatus.STOPPED}
    for spec in definitions.resolve_all_asset_specs():
        assert (spec.automation_condition is not None) == (spec.group_name == GROUP), spec.key
    on = {s.name for s in definitions.sensors or () if s.default_status is dg.DefaultSensorStatus.RUNNING}
    assert on == {"failed_runs"}


# --- Intake at night


def landed(installation: Installation, council: str, source: str = "eyfsp", ready: bool = True) -> Path:
    path = installation.landing / council / source / "202425.csv"
    path.parent.mkdir(parents=True)
    path.write_text("a,b\n1,2\n")
    if ready:
        path.with_name("202425.csv.ready").touch()
    return path


@pytest.mark.slow
def test_the_nightly_intake_takes_what_nobody_took(installation: Installation) -> None:
    """One run a cohort, of the range of councils; what was taken or stopped since it came is left alone."""
    home = installation.home_folder
    for council in ("leeds", "wirral", "halton"):
        landed(installation, council)
    landed(installation, "sefton", ready=False)  # just now: perhaps half written
    done = home.get_extract("eyfsp", "202425", "wirral").stopped
    done.parent.mkdir(parents=True)
    done.write_text("{}")
    (request,) = find_requests(nightly_intake(at(2026, 11, 25, 2, 0), installation=installation))
    assert request.partition_key is None
    assert request.tags[RANGE_START] == build_partition_key("halton", "202425")
    assert request.tags[RANGE_END] == build_partition_key("leeds", "202425")
    assert "neither taken nor stopped" in request.tags[WHY]
    for council in ("leeds", "halton"):
        path = home.get_extract("eyfsp", "202425", council).quality
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert find_requests(nightly_intake(at(2026, 11, 26, 2, 0), installation=installation)) == []
    time.sleep(0.02)  # more than the grain of the file system's clock
    for name in ("202425.csv", "202425.csv.ready"):
        os.utime(installation.landing / "leeds" / "eyfsp" / name)
    assert find_requests(nightly_intake(at(2026, 11, 27, 2, 0), installation=installation)) != []


@pytest.mark.parametrize(
    ("month", "cohort"), [((2026, 6), "202425"), ((2026, 7), "202526"), ((2026, 12), "202526"), ((2026, 1), "202425")]
)
def test_the_linkage_of_a_term_names_the_last_assessed_cohort(month: tuple[int, int], cohort: str) -> None:
    (request,) = find_requests(termly_linkage(at(*month, 2, 5, 0)))
    assert request.partition_key == cohort


# --- Returns at night


def test_returns_of_every_linked_open_cohort_are_renewed_at_night(installation: Installation) -> None:
    night = at(2026, 11, 29, 6, 0)
    for cohort in ("202526", "202627", "203132"):  # the first left Reception in August
        links = installation.home_folder.get_cohort(cohort).links
        links.parent.mkdir(parents=True)
        links.touch()
    assert find_requests(nightly_returns(night, installation=installation)) == []  # nothing is agreed
    agreed = replace(installation, agreements=installation.landing)
    assert [request.partition_key for request in find_requests(nightly_returns(night, installation=agreed))] == [
        "202627",
        "203132",
    ]
    assert {"202627", "203132"} <= set(COHORTS.get_partition_keys())


# --- Linkage by condition


def test_forty_extracts_that_trickle_in_are_linked_once_at_night() -> None:
    """On a graph of the same shape: nothing in the daytime, one linkage at 04:00, none in a night without news."""
    cohorts = dg.StaticPartitionsDefinition(["a", "b"])
    senders = dg.MultiPartitionsDefinition({"cohort": cohorts, "council": dg.StaticPartitionsDefinition(["x", "y"])})
    extract = dg.AssetSpec("extract", partitions_def=senders)
    dep = dg.AssetDep("extract", partition_mapping=dg.MultiToSingleDimensionPartitionMapping("cohort"))

    @dg.asset(deps=[dep], partitions_def=cohorts, automation_condition=build_night_condition())
    def links() -> None: ...

    definitions, instance = dg.Definitions(assets=[extract, links]), dg.DagsterInstance.ephemeral()
    cursor = None

    def requested(*moment: int) -> set[str]:
        nonlocal cursor
        result = dg.evaluate_automation_conditions(
            definitions, instance, cursor=cursor, evaluation_time=dt.datetime(*moment, tzinfo=LONDON)
        )
        cursor = result.cursor
        return set(result.get_requested_partitions(dg.AssetKey("links")))

    def arrives(council: str) -> None:
        key = dg.MultiPartitionKey({"cohort": "a", "council": council})
        instance.report_runless_asset_event(dg.AssetMaterialization("extract", partition=key))

    assert requested(2026, 11, 25, 12, 0) == set()
    arrives("x")
    assert requested(2026, 11, 25, 13, 0) == set()
    arrives("y")
    assert requested(2026, 11, 25, 14, 0) == set()
    assert requested(2026, 11, 26, 4, 1) == {"a"}
    assert requested(2026, 11, 26, 9, 0) == set()
    assert requested(2026, 11, 27, 4, 1) == set()


# --- The release calendar


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "calendar.yaml"
    path.write_text(text)
    return path


ENTRY = "releases:\n  - {version: 2026.11.0, date: 2026-11-26}\n"


def test_the_calendar_publishes_on_its_day_at_half_past_nine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READINESS_CALENDAR", str(written(tmp_path, ENTRY)))
    assert release_calendar.cron_schedule == "30 9 * * *"
    assert release_calendar.execution_timezone == "Europe/London"
    assert find_requests(release_calendar(at(2026, 11, 25, 9, 30))) == []
    (request,) = find_requests(release_calendar(at(2026, 11, 26, 9, 30)))
    assert request.run_config == {"ops": {"publish_op": {"config": {"version": "2026.11.0"}}}}


def test_a_release_is_held_until_its_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = read_calendar(written(tmp_path, ENTRY))
    assert entries == [Announced("2026.11.0", dt.date(2026, 11, 26))]
    before = dt.datetime(2026, 11, 26, 9, 29, tzinfo=LONDON)
    assert find_release_moment(entries, "2026.11.0", before) == before + dt.timedelta(minutes=1)
    assert find_release_moment(entries, "2026.11.0", before + dt.timedelta(minutes=1)) is None
    assert find_release_moment(entries, "2026.11.1", before) is None
    later = clock.today() + dt.timedelta(days=40)
    text = f"releases:\n  - {{version: {later.year}.{later.month:02d}.0, date: {later}}}\n"
    monkeypatch.setenv("READINESS_CALENDAR", str(written(tmp_path, text)))
    version = f"{later.year}.{later.month:02d}.0"
    done = invoke("publish", version, "--home", tmp_path, "--to", tmp_path / "out", "--yes")
    assert done.exit_code == 4
    assert f"release {version} is announced for" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("releases: 3", "releases: must be a list"),
        ("releases:\n  - {date: 2026-11-26}", r"releases\[1\].version: is missing"),
        ("releases:\n  - {version: 2026.11.0, day: 2026-11-26}", "'day' is not a key here"),
        ("releases:\n  - {version: 2026.11.0, date: soon}", r"releases\[1\].date: must be a day"),
        ("releases:\n  - {version: one, date: 2026-11-26}", r"releases\[1\].version: 'one' "),
        ("releases:\n  - {version: 2026.11.0, date: 2026-12-01}", "names the month 2026-11, not 2026-12"),
        (ENTRY + "  - {version: 2026.11.0, date: 2026-11-27}", "names a version twice"),
        ("\t", "not readable as YAML"),
    ],
)
def test_a_calendar_that_cannot_be_used_says_why(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidCalendar, match=said):
        read_calendar(written(tmp_path, text))


def test_a_release_may_be_announced_for_its_month_and_is_not_published_without_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, f"{ENTRY}  - {{version: 2027.11.0}}\n")
    assert read_calendar(path) == [Announced("2026.11.0", dt.date(2026, 11, 26)), Announced("2027.11.0", None)]
    monkeypatch.setenv("READINESS_CALENDAR", str(path))
    now = dt.datetime(2027, 11, 30, 12, tzinfo=LONDON)
    check_may_be_published("2026.11.0", now)
    with pytest.raises(NotPublished, match="a month without a day: give its day in the release calendar first"):
        check_may_be_published("2027.11.0", now)


# --- Alerts


def send_alert(monkeypatch: pytest.MonkeyPatch, to: str) -> str:
    """Return what the sensor says of a failed run; READINESS_ALERT is `to`."""

    @dg.op(name="restricted__eyfsp")
    def step() -> None:
        raise ExtractStopped("Zzyzxwick is one of 41 linked children")

    job = dg.GraphDefinition("intake", node_defs=[step]).to_job()
    monkeypatch.setenv("READINESS_ALERT", to)
    instance = dg.DagsterInstance.ephemeral()
    result = job.execute_in_process(instance=instance, raise_on_error=False, tags={"dagster/partition": "202425|leeds"})
    (event,) = [e for e in result.all_events if e.event_type_value == "PIPELINE_FAILURE"]
    context = dg.build_run_status_sensor_context("failed_runs", event, instance, result.dagster_run)
    ran = failed_runs(context.for_run_failure())
    return str(ran if isinstance(ran, dg.SkipReason) else next(iter(ran)))


def test_a_failed_run_is_told_in_a_sentence_without_what_it_was_about(
    hook: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, got = hook
    said = send_alert(monkeypatch, url)
    assert "intake of 202425|leeds, failed at restricted__eyfsp (ExtractStopped). Its log in Dagster says why." in said
    assert "The sender's report says what to correct" in said
    (sent,) = got
    assert b"failed at restricted__eyfsp" in sent
    assert b"Zzyzxwick" not in sent
    assert b"linked children" not in sent


def test_a_translated_error_keeps_its_stack_and_no_value() -> None:
    def deep() -> None:
        raise ValueError("Zzyzxwick, born 2020-02-29")

    with pytest.raises(StepFailed) as failed, translate_errors():
        deep()
    frames = [frame.name for frame in traceback.extract_tb(failed.value.__traceback__)]
    assert "deep" in frames
    assert "Zzyzxwick" not in "".join(traceback.format_exception(failed.value)).replace('"Zzyzxwick, born', "")


def test_an_alert_goes_to_a_program_and_stops_nothing_if_it_cannot_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, heard = tmp_path / "tell", tmp_path / "heard"
    program.write_text(f"#!/bin/sh\ncat > {heard}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    send_alert(monkeypatch, str(program))
    assert "failed at restricted__eyfsp (ExtractStopped)" in heard.read_text()
    assert "failed at" in send_alert(monkeypatch, "http://127.0.0.1:9/nobody")
