"""The checks of the intake, by council and cohort: what a stop shows, and what no other delivery hides."""

import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.catalogue.descriptions import ALLOWED
from assets.catalogue.runs import build_partition_key, note_councils, tag_partition_range
from assets.home.installation import Installation
from assets.home.paths import Home
from assets.intake.assets import ALL_COUNCILS, FAMILIES
from pipelines.definitions import build_definitions
from privacy.keys import KeyRing
from tests.support.independent import write_extracts

COHORT, EYFSP = "202425", dg.AssetKey(["restricted", "eyfsp"])
COUNCILS = ("halton", "leeds")


class Desk:
    """An installation whose intake is run as Dagster runs it, over one instance."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.landing, self.instance = root / "landing", instance
        installation = Installation(landing=self.landing, home=Home(root / "home"), keys=root / "keys")
        KeyRing.create(root / "keys")
        write_extracts(self.landing, children=60, councils=COUNCILS)
        self.definitions = build_definitions(installation)

    def take(self, *councils: str) -> dg.ExecuteInProcessResult:
        known = note_councils(self.instance, sorted(councils))
        job = self.definitions.resolve_job_def("intake")
        return job.execute_in_process(
            instance=self.instance,
            tags=tag_partition_range(councils, COHORT, known),
            asset_selection=[EYFSP],
            raise_on_error=False,
        )

    def newest(self, check: str) -> dict[str | None, bool]:
        """Return whether the newest evaluation was passed, by partition."""
        key, found = dg.AssetCheckKey(EYFSP, check), dict[str | None, bool]()
        for record in self.instance.event_log_storage.get_asset_check_execution_history(key, limit=100):
            evaluation = record.event.asset_check_evaluation
            if evaluation is not None:
                found.setdefault(evaluation.partition, evaluation.passed)
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Desk(tmp_path, instance)


LEEDS, HALTON = build_partition_key("leeds", COHORT), build_partition_key("halton", COHORT)


@pytest.mark.slow
def test_a_good_intake_of_another_council_hides_no_stop(desk: Desk) -> None:
    landing = dg.AssetKey(["landing", "eyfsp"])
    (desk.landing / "leeds" / "eyfsp" / f"{COHORT}.csv").write_text("upn,surname\n")
    assert not desk.take("halton", "leeds").success
    assert desk.newest("quality") == {LEEDS: False, HALTON: True}
    assert desk.newest(ALL_COUNCILS) == {None: False}
    assert desk.take("halton").success
    assert desk.newest("quality") == {LEEDS: False, HALTON: True}
    assert desk.newest(ALL_COUNCILS) == {None: False}
    assert desk.instance.get_latest_materialization_event(landing) is None  # what its freshness is judged by
    write_extracts(desk.landing, children=60, councils=COUNCILS)
    assert desk.take("leeds").success
    assert desk.newest("quality") == {LEEDS: True, HALTON: True}
    assert desk.newest(ALL_COUNCILS) == {None: True}
    assert desk.instance.get_latest_materialization_event(landing) is not None


@pytest.mark.usefixtures("at_usual_moment")
def test_every_family_of_rules_has_numbers_that_may_be_told(desk: Desk) -> None:
    result = desk.take("halton", "leeds")
    evaluations = [each for each in result.get_asset_check_evaluations() if each.partition == LEEDS]
    assert {each.check_name for each in evaluations} == set(FAMILIES)
    numbers = {name: value.value for each in evaluations for name, value in each.metadata.items()}
    assert all(any(re.fullmatch(pattern, name) for pattern in ALLOWED) for name in numbers)
    assert (numbers["rows_of_expected"], numbers["share_rejected"]) == (1.0, 0.0)
    assert numbers["rows_read"] == numbers["expected_rows"] == "under a hundred"
