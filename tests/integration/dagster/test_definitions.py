"""The Dagster definitions as an operator loads them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from assets.catalogue.runs import Installation
from assets.intake.assets import IntakeConfig, pseudonymised_extracts
from assets.linkage import assets as linkage_assets
from pipelines.dagster.schedules import last_assessed
from pipelines.dagster.sensors import landing_sensor
from pipelines.definitions import build_definitions
from privacy.doors import files
from privacy.keys import KeyRing
from tests.support import PROJECT
from tests.support.independent import write_extracts


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    (tmp_path / "landing").mkdir()
    return Installation(
        landing_dir=str(tmp_path / "landing"), home_dir=str(tmp_path / "home"), keys_dir=str(tmp_path / "keys")
    )


def test_loads_without_a_warning() -> None:
    environment = os.environ | {"PYTHONWARNINGS": "error::UserWarning,error::DeprecationWarning:__main__"}
    done = subprocess.run(
        [sys.executable, "-c", "import pipelines.definitions"],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_graph_reads_like_the_process(installation: Installation) -> None:
    graph = build_definitions(installation).resolve_asset_graph()
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert parents["restricted/eyfsp"] == {"landing/eyfsp", "landing/postcode_directory"}
    assert parents["restricted/links"] == {
        f"restricted/{source}" for source in ("eyfsp", "school_census", "early_years_census", "hv_reviews")
    }
    assert "restricted/links" in parents["restricted/children"]
    assert parents["release/pupil_measurement"] == {"restricted/children"}
    assert parents["release/bundle"] == {f"release/{family}_measurement" for family in ("pupil", "health", "parents")}
    assert parents["release/analyst_database"] == {"release/bundle"}


def test_every_asset_explains_itself(installation: Installation) -> None:
    for asset in build_definitions(installation).resolve_all_asset_specs():
        assert asset.description, asset.key
        assert asset.group_name != "default", asset.key
        assert asset.owners, asset.key
        assert asset.kinds, asset.key


def test_nothing_that_spends_budget_runs_by_itself(installation: Installation) -> None:
    definitions = build_definitions(installation)
    spending = {"release", "__ASSET_JOB"}
    assert not {schedule.job_name for schedule in definitions.schedules or ()} & spending
    for asset in definitions.resolve_all_asset_specs():
        if asset.key.path[0] == "release":
            assert asset.automation_condition is None
    release = definitions.resolve_job_def("release")
    with pytest.raises(dg.DagsterInvalidConfigError, match="version"):
        release.execute_in_process(partition_key="202425", instance=dg.DagsterInstance.ephemeral())


def test_sensor_waits_for_a_file_to_settle_and_asks_once(installation: Installation) -> None:
    landed = installation.landing_folder / "leeds" / "eyfsp" / "202425.csv"
    landed.parent.mkdir(parents=True)
    landed.write_text("half")

    def look(cursor: str | None) -> tuple[list[str | None], str]:
        context = dg.build_sensor_context(cursor=cursor, resources={"installation": installation})
        found = [
            request.partition_key
            for request in landing_sensor(context) or ()  # type: ignore[union-attr]
            if isinstance(request, dg.RunRequest)
        ]
        return found, str(context.cursor)

    first, cursor = look(None)
    landed.write_text("half and half")
    growing, cursor = look(cursor)
    settled, cursor = look(cursor)
    quiet, cursor = look(cursor)
    time.sleep(0.01)
    landed.write_text("a corrected file")
    _, cursor = look(cursor)
    corrected, cursor = look(cursor)
    assert (first, growing, settled, quiet, corrected) == ([], [], ["202425|leeds"], [], ["202425|leeds"])
    assert "requested" in json.loads(cursor)


@pytest.mark.parametrize(
    ("month", "cohort"), [((2026, 6), "202425"), ((2026, 7), "202526"), ((2026, 12), "202526"), ((2026, 1), "202425")]
)
def test_last_assessed_cohort(month: tuple[int, int], cohort: str) -> None:
    from datetime import date

    assert last_assessed(date(*month, 2)) == cohort


def test_telemetry_and_copies_of_console_output_are_off() -> None:
    settings = (PROJECT / "dagster.yaml").read_text()
    assert "enabled: false" in settings
    assert "NoOpComputeLogManager" in settings


def test_what_should_move_has_a_freshness_policy(installation: Installation) -> None:
    """Extracts by their due date, what is made monthly by a window; nothing that spends budget
    has any, nor what is made on request alone."""
    specs = {spec.key.to_user_string(): spec for spec in build_definitions(installation).resolve_all_asset_specs()}
    deadlines = {name: getattr(spec.freshness_policy, "deadline_cron", None) for name, spec in specs.items()}
    assert deadlines["restricted/eyfsp"] == "59 23 31 7 *"
    assert deadlines["restricted/hv_reviews"] == "59 23 31 5 *"
    restricted = {name for name in specs if name.startswith("restricted/")}
    on_request = {"restricted/returns"}
    assert {name for name, spec in specs.items() if spec.freshness_policy} == restricted - on_request


def test_the_links_say_which_councils_are_missing(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    KeyRing.create(Path(installation.keys_dir))
    (installation.landing_folder / "halton").mkdir()
    monkeypatch.setattr(linkage_assets, "link_cohort", lambda home, cohort, *_: files.write(home.links(cohort), b""))
    result = dg.materialize(
        [build_definitions(installation).resolve_assets_def(linkage_assets.LINKS)],
        partition_key="202425",
    )
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.severity) == ("arrivals", False, dg.AssetCheckSeverity.WARN)
    assert "Halton: no EYFS Profile since 31 July 2025; Halton: no school census since" in str(check.description)
    assert "Halton: no EYFS Profile since 31 July 2025" in str(check.metadata["missing"].value)


def test_fewer_rows_are_taken_when_that_is_accepted(installation: Installation) -> None:
    KeyRing.create(Path(installation.keys_dir))
    write_extracts(installation.landing_folder, children=40, councils=("halton",))
    asset = next(asset for asset in pseudonymised_extracts if asset.key.path[-1] == "eyfsp")

    def take_in(*accept_fewer: str) -> dg.AssetCheckEvaluation:
        result = dg.materialize(
            [asset],
            partition_key="202425|halton",
            resources={"installation": installation},
            run_config={"ops": {"restricted__eyfsp": {"config": {"accept_fewer": list(accept_fewer)}}}},
            raise_on_error=False,
        )
        (check,) = [found for found in result.get_asset_check_evaluations() if found.check_name == "quality"]
        return check

    assert take_in().passed
    extract = installation.landing_folder / "halton" / "eyfsp" / "202425.csv"
    extract.write_text("".join(extract.read_text().splitlines(keepends=True)[:12]))
    stopped = take_in()
    assert not stopped.passed
    assert "say so with --accept-fewer COUNCIL/SOURCE" in str(stopped.description)
    assert take_in("halton/eyfsp").passed
    with pytest.raises(ValueError, match="not a council and source such as halton/eyfsp"):
        IntakeConfig(accept_fewer=["halton"])
