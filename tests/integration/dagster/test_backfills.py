"""What the Jobs page starts takes every partition it names; a release that waits says so where people look."""

import datetime as dt
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._daemon.backfill import execute_backfill_iteration

from assets.catalogue.runs import RANGE_END, RANGE_START, RELEASE, WAITS, build_partition_key, note_councils
from assets.home.paths import Home
from assets.release import assets as release_assets
from assets.release.fix_release import choose_release
from privacy.doors import clock
from privacy.keys import KeyRing
from privacy.release.approval import WaitsForApproval
from sources.reference.places import PILOT
from tests.support.extracts import COHORT
from tests.support.independent import write_extracts
from tests.support.installation.commands import build_settings
from tests.support.installation.launching import WHERE, Desk, make_executing_instance, open_desk

pytestmark = pytest.mark.usefixtures("at_usual_moment")

BACKFILL = """mutation B($params: LaunchBackfillParams!) { found: launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """An installation in the environment, to which eight councils have sent the EYFS Profile."""
    root = tmp_path_factory.mktemp("backfills")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in build_settings(root).items():
            patch.setenv(name, value)
        KeyRing.create(root / "keys", demonstration=True)
        write_extracts(root / "landing", 160)
        for path in (root / "landing").glob("*/*/*"):
            if path.parent.name != "eyfsp":
                path.unlink()
        yield Home(root / "home")


@pytest.fixture
def desk(home: Home, tmp_path: Path) -> Iterator[Desk]:
    with open_desk(make_executing_instance(tmp_path)) as desk:
        note_councils(desk.instance, PILOT)
        yield desk


def test_a_backfill_from_the_jobs_page_takes_every_council_in(home: Home, desk: Desk) -> None:
    """Dagster leaves the tags of the first council beside those of the range."""
    params = {
        "selector": {"partitionSetName": "intake_partition_set", "repositorySelector": WHERE},
        "partitionNames": [build_partition_key(council, COHORT) for council in sorted(PILOT)],
    }
    assert desk.ask(BACKFILL, params=params)["found"]["__typename"] == "LaunchBackfillSuccess"
    list(execute_backfill_iteration(desk.process, logging.getLogger("backfill")))
    (run,) = desk.instance.get_runs()
    assert run.status is dg.DagsterRunStatus.SUCCESS
    taken = {council for council in PILOT if home.get_extract("eyfsp", COHORT, council).quality.exists()}
    assert taken == set(PILOT)


@pytest.mark.parametrize("named", [("leeds", COHORT), ("halton", "202324")])
def test_a_run_that_names_a_partition_and_another_range_takes_nothing(desk: Desk, named: tuple[str, str]) -> None:
    """Dagster refuses the tag of a whole partition beside a range, but not those of its two parts."""
    councils = sorted(PILOT)
    tags = {
        "dagster/partition/council": named[0],
        "dagster/partition/cohort": named[1],
        RANGE_START: build_partition_key(councils[0], COHORT),
        RANGE_END: build_partition_key(councils[-1], COHORT),
    }
    run = desk.launch("intake", tags)["run"]
    assert (run["status"], desk.explain_failure(run["runId"])) == ("FAILURE", "WrongPartitions")


def test_a_release_that_waits_says_so_in_its_log_its_tags_and_its_asset(
    home: Home, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Launched without configuration, it is the version that the command line would choose."""
    asked = []

    def wait(*given: Any) -> None:
        asked.append(given[0].version)
        raise WaitsForApproval("release needs the signature of 1 person. To sign, run: readiness approve --home here")

    monkeypatch.setattr(release_assets, "measure_release", wait)
    monkeypatch.setattr(clock, "now", lambda: dt.datetime(2027, 3, 1, 12, tzinfo=dt.UTC))
    assert choose_release(home.get_cohort(COHORT)) == "2027.03.0"
    run = desk.launch("release", {"dagster/partition": COHORT})["run"]
    assert (run["status"], asked) == ("SUCCESS", ["2027.03.0"])
    tags = desk.instance.get_run_by_id(run["runId"]).tags  # type: ignore[union-attr]
    assert tags[RELEASE] == "2027.03.0"
    assert "run: readiness approve --home" in tags[WAITS]
    logged = [entry.user_message for entry in desk.instance.all_logs(run["runId"]) if entry.level == logging.WARNING]
    assert f"The release waits: {tags[WAITS]}" in logged
    records = desk.instance.fetch_observations(dg.AssetKey(["release", "pupil_measurement"]), limit=1).records
    assert records[0].asset_observation.metadata["waits"].text == tags[WAITS]  # type: ignore[union-attr]


def test_a_launch_that_reuses_names_its_version(home: Home, desk: Desk) -> None:
    config = {"ops": {"release__measurements": {"config": {"reuse": True}}}}
    run = desk.launch("release", {"dagster/partition": COHORT}, config)["run"]
    assert (run["status"], desk.explain_failure(run["runId"])) == ("FAILURE", "InvalidVersion")
