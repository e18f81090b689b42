"""A run names its release once: two versions, or none, are refused before anything is charged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.home.installation import Installation
from assets.release.assets import VersionUnclear
from assets.release.record import NotBegun
from ndl_export.facts.release_facts import InvalidVersion
from pipelines.definitions import build_definitions
from privacy.keys import KeyRing
from privacy.release.policy import PolicyError
from sources.reference.cohorts import InvalidCohort

COHORT = "202425"


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    (tmp_path / "landing" / "leeds").mkdir(parents=True)
    KeyRing.create(tmp_path / "keys")
    return Installation.at(tmp_path / "landing", tmp_path / "home", tmp_path / "keys")


def launched(installation: Installation, job: str, **ops: dict[str, Any]) -> str:
    """Run a job with the configuration of its ops; why it stopped. Whatever it was, nothing was charged."""
    configured = {f"release__{name}": {"config": config} for name, config in ops.items()}
    with pytest.raises(Exception, match=r".") as stopped:
        build_definitions(installation).resolve_job_def(job).execute_in_process(
            instance=dg.DagsterInstance.ephemeral(), partition_key=COHORT, run_config={"ops": configured}
        )
    assert not (installation.home_folder.restricted / "measurements").exists()
    return f"{type(stopped.value).__name__}: {stopped.value}"


def test_two_versions_are_refused_first(installation: Installation) -> None:
    said = launched(installation, "release", measurements={"version": "2026.11.7"}, bundle={"version": "2026.11.8"})
    assert said.startswith(f"{VersionUnclear.__name__}: the run names two release versions: name one, at release__meas")
    assert not (installation.home_folder.root / "ledger.sqlite").exists()


def test_a_bundle_alone_names_a_release_that_was_begun(installation: Installation) -> None:
    said = launched(installation, "republish")
    assert said.startswith(f"{VersionUnclear.__name__}: the run names no release version")
    assert launched(installation, "republish", bundle={"version": "2026.11.8"}).startswith(NotBegun.__name__)
    assert launched(installation, "republish", bundle={"version": "../2026.11.8"}).startswith(InvalidVersion.__name__)


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"version": "2026.11.0/x"}, InvalidVersion),
        ({"version": "2026.11.99999"}, InvalidVersion),
        ({"version": "２０２６.11.0"}, InvalidVersion),
        ({"version": "2026.11.0", "share": float("nan")}, PolicyError),
        ({"version": "2026.11.0", "with_cohorts": ["2023/24"]}, InvalidCohort),
    ],
)
def test_whatever_a_run_is_given_is_looked_at_first(
    installation: Installation, config: dict[str, Any], error: type[Exception]
) -> None:
    assert launched(installation, "release", measurements=config).startswith(f"{error.__name__}: ")
