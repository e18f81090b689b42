"""The Dagster definitions as an operator loads them."""

import dagster as dg
import pytest

from assets.home.installation import Installation
from pipelines.definitions import build_definitions


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


def test_republish_cannot_measure(installation: Installation) -> None:
    job = build_definitions(installation).resolve_job_def("republish")
    assert {node.name for node in job.nodes} == {"release__bundle", "release__analyst_database"}


def test_nothing_that_spends_budget_runs_by_itself(installation: Installation) -> None:
    definitions = build_definitions(installation)
    spending = {"release", "__ASSET_JOB"}
    assert not {schedule.job_name for schedule in definitions.schedules or ()} & spending
    release = definitions.resolve_job_def("release")
    with pytest.raises(dg.DagsterInvalidConfigError, match="version"):
        release.execute_in_process(partition_key="202425", instance=dg.DagsterInstance.ephemeral())


# --- Parts that Dagster does not promise to keep
