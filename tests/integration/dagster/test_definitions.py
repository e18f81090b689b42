"""The Dagster definitions as an operator loads them."""

import dagster as dg
import pytest

from assets.home.installation import Installation
from assets.linkage import assets as linkage_assets
from pipelines.dagster.instance import LOCATION, OF_LOCATION, REPOSITORY, place_in_history
from pipelines.definitions import build_definitions
from privacy.doors import files
from privacy.keys import KeyRing


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
    assert parents["release/synthetic_children"] == {"release/bundle"}


@pytest.mark.parametrize(
    ("part", "job", "schedules"), [("synthetic", "synthetic_children", []), ("returns", "returns", ["nightly_returns"])]
)
def test_synthetic_children_and_returns_are_made_by_their_own_job_alone(
    installation: Installation, part: str, job: str, schedules: list[str]
) -> None:
    definitions = build_definitions(installation)
    jobs = definitions.resolve_all_job_defs()
    making = {each.name for each in jobs if any(part in node.name for node in each.nodes)}
    assert making - {"__ASSET_JOB"} == {job}
    assert [schedule.name for schedule in definitions.schedules or () if schedule.job_name == job] == schedules


def test_nothing_that_spends_budget_runs_by_itself_and_republish_cannot_measure(installation: Installation) -> None:
    definitions = build_definitions(installation)
    spending = {"release", "__ASSET_JOB"}
    assert not {schedule.job_name for schedule in definitions.schedules or ()} & spending
    republish = definitions.resolve_job_def("republish")
    assert {node.name for node in republish.nodes} == {"release__bundle", "release__analyst_database"}


def test_what_should_move_has_a_freshness_policy(installation: Installation) -> None:
    """Sources by their due date, of all councils together: one council's delivery makes no other's look fresh. What is
    made monthly by a window; nothing that spends budget has any, nor what is made on request alone."""
    specs = {spec.key.to_user_string(): spec for spec in build_definitions(installation).resolve_all_asset_specs()}
    deadlines = {name: getattr(spec.freshness_policy, "deadline_cron", None) for name, spec in specs.items()}
    assert deadlines["landing/eyfsp"] == "59 23 31 7 *"
    assert deadlines["landing/hv_reviews"] == "59 23 31 5 *"
    landing = {name for name in specs if name.startswith("landing/")} - {"landing/postcode_directory"}
    linked = {name for name, spec in specs.items() if spec.group_name == "linkage"}
    assert {name for name, spec in specs.items() if spec.freshness_policy} == landing | linked


@pytest.mark.usefixtures("at_usual_moment")
def test_the_links_say_which_councils_are_missing(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    KeyRing.create(installation.keys)
    (installation.landing / "halton").mkdir()
    monkeypatch.setattr(linkage_assets, "link_cohort", lambda store, *_: files.write(store.links, b""))
    result = dg.materialize(
        [build_definitions(installation).resolve_assets_def(linkage_assets.LINKS)], partition_key="202425"
    )
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.severity) == ("arrivals", False, dg.AssetCheckSeverity.WARN)
    assert "Halton: no EYFS Profile since 31 July 2025; Halton: no school census since" in str(check.description)
    assert "Halton: no EYFS Profile since 31 July 2025" in str(check.metadata["missing"].value)


# --- Parts that Dagster does not promise to keep


def test_a_run_of_the_command_is_in_the_history_of_its_location() -> None:
    """The web server draws on its timeline the runs whose origin it knows, and lists a job's by the tag."""

    @dg.asset
    def made() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([made], instance=instance, tags=OF_LOCATION)
        place_in_history(instance, done.dagster_run)
        (run,) = instance.get_runs(dg.RunsFilter(tags=OF_LOCATION))
        assert run.remote_job_origin.repository_origin.get_label() == f"{REPOSITORY}@{LOCATION}"
        assert run.status is dg.DagsterRunStatus.SUCCESS
