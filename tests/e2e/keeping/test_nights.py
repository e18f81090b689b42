"""Nights on which nothing came, or one correction: nothing is made again that stands, by command and in Dagster."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.linkage.assets import CONFIDENTIAL, LINKS
from assets.linkage.inputs import hash_program
from assets.linkage.link import derive_confidential_tables
from assets.release.fix_release import ReleaseOptions
from ndl_export.analyst_db import DATABASE_FILE
from pipelines.dagster.executing import open_jobs
from pipelines.dagster.instance import open_instance
from pipelines.dagster.jobs import build_release_run
from pipelines.definitions import build_definitions
from pipelines.ending import RunStopped
from pipelines.run import run_cohort
from sources.contracts import CONTRACTS
from sources.extract.landed import list_councils
from sources.reference.cohorts import Cohort
from tests.support.extracts import prepend, upn
from tests.support.installation.released import COHORT, Place
from tests.support.installation.traces import hashes
from tests.support.planted import PROFILE

pytestmark = pytest.mark.slow

VERSION = "2026.11.0"
NEWCOMER = PROFILE | {"upn": upn(899_999_123_459), "surname": "Vanterpool", "forename": "Ignatius"}


def run(place: Place, version: str = VERSION, share: float | None = None) -> list[str]:
    said: list[str] = []
    run_cohort(place.installation, Cohort(COHORT), version, False, said.append, share)
    return said


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_an_unchanged_night_does_not_load_dagster(place: Place) -> None:
    run(place)  # the copy's files came now
    command = (
        "import sys; from pipelines.cli import main\n"
        "try: main()\n"
        "finally: print([name for name in ('dagster', 'great_expectations', 'splink') if name in sys.modules])"
    )
    arguments = ["run", "--landing", place.landing, "--home", place.home.root, "--keys", place.root / "keys"]
    arguments += ["--cohort", COHORT, "--release", VERSION]
    done = subprocess.run([sys.executable, "-c", command, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "lost",
    ["site/index.html", "latest.json", "catalogue.jsonld", "feed.xml", "latest", f"{VERSION}.zip", DATABASE_FILE],
)
def test_what_is_lost_beside_the_bundle_is_put_back(place: Place, lost: str) -> None:
    before = hashes(place.home.release)
    (place.home.release / lost).unlink()
    run(place)
    assert changed(before, hashes(place.home.release)) <= {DATABASE_FILE}
    assert (place.home.release / "latest").is_symlink()
    assert run(place).count("      unchanged") == 3


def test_the_job_release_leaves_no_database_behind(place: Place) -> None:
    """In Dagster, by the job alone, and by the asset of the bundle alone."""
    definitions = build_definitions(place.installation)
    given = build_release_run(COHORT, "2026.11.1", ReleaseOptions(share=0.2))
    instance = dg.DagsterInstance.ephemeral()
    done = definitions.resolve_job_def("release").execute_in_process(instance=instance, **given)
    assert done.success
    with duckdb.connect(str(place.home.release / DATABASE_FILE), read_only=True) as con:
        assert con.execute("SELECT release_version FROM releases.release ORDER BY 1").fetchall() == [
            (VERSION,),
            ("2026.11.1",),
        ]
    (place.home.release / DATABASE_FILE).unlink()
    again = definitions.resolve_job_def("republish").execute_in_process(
        instance=instance,
        partition_key=COHORT,
        run_config={"ops": {"release__bundle": {"config": {"version": "2026.11.1"}}}},
        asset_selection=[dg.AssetKey(["release", "bundle"])],
    )
    assert again.success
    assert (place.home.release / DATABASE_FILE).exists()


def test_a_materialisation_that_changes_nothing_has_the_same_versions(place: Place) -> None:
    job = build_definitions(place.installation).resolve_job_def("linkage")

    def versions() -> dict[str, tuple[str, str]]:
        done = job.execute_in_process(instance=dg.DagsterInstance.ephemeral(), partition_key=COHORT)
        found = {}
        for event in done.get_asset_materialization_events():
            tags = event.materialization.tags or {}
            found[event.asset_key.to_user_string()] = (tags["dagster/data_version"], tags["dagster/code_version"])
        return found

    first = versions()
    assert first.keys() == {key.to_user_string() for key in (LINKS, *CONFIDENTIAL.values())}
    assert {code for _, code in first.values()} == {hash_program()}
    before = hashes(place.home.restricted)
    assert versions() == first
    assert hashes(place.home.restricted) == before
    prepend(place.file("leeds/eyfsp"), NEWCOMER)
    place.take("leeds/eyfsp")
    second = versions()
    assert not [
        key for key in (LINKS, CONFIDENTIAL["pupil"]) if second[key.to_user_string()] == first[key.to_user_string()]
    ]
    parents = CONFIDENTIAL["parents"].to_user_string()
    assert second[parents] == first[parents]


def test_an_extract_that_is_found_unchanged_has_the_same_version(place: Place) -> None:
    def versions() -> dict[str, str]:
        with open_jobs(place.installation) as jobs:
            jobs.intake(["leeds"], COHORT)
        with open_instance(place.home) as opened:
            events = {
                source: opened.get_latest_materialization_event(dg.AssetKey(["restricted", source]))
                for source in CONTRACTS
            }
        materialised = {source: event.asset_materialization for source, event in events.items() if event}
        return {
            source: (each.tags or {}).get("dagster/data_version", "") for source, each in materialised.items() if each
        }

    first = versions()
    assert first["eyfsp"]
    assert versions() == first
    prepend(place.file("leeds/eyfsp"), NEWCOMER)
    second = versions()
    assert {key for key in first if second[key] != first[key]} == {"eyfsp"}


def _tables(home: Home) -> list[object]:
    columns = ["source", "council", "row_key", "match_rule", "match_probability"]
    made = [pq.read_table(home.cohort(COHORT).links).select(columns)]
    for family in CONFIDENTIAL:
        made.append(pq.read_table(home.cohort(COHORT).confidential(family)).drop_columns(["child_id"]))
    return made


@pytest.fixture
def two_ways(copied: Callable[[], Place]) -> Callable[[Callable[[Path], None]], tuple[Place, Place]]:
    """The same correction, linked with what the linkage before kept, and after that was tampered with."""

    def link(tamper: Callable[[Path], None]) -> tuple[Place, Place]:
        one, other = copied(), copied()
        tamper(other.home.cohort(COHORT).pair_cache)
        for place in (one, other):
            prepend(place.file("leeds/eyfsp"), NEWCOMER)
            place.take("leeds/eyfsp")
            councils = list_councils(place.landing)
            derive_confidential_tables(place.home.cohort(COHORT), councils, place.keys)
        return one, other

    return link


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _forge(path: Path) -> None:
    path.write_bytes(b"PAR1" + bytes(100) + b"PAR1")


@pytest.mark.parametrize("tamper", [Path.unlink, _cut, _forge, lambda path: path.write_bytes(b"")])
def test_a_correction_gives_what_a_linkage_from_scratch_gives(
    two_ways: Callable[[Callable[[Path], None]], tuple[Place, Place]], tamper: Callable[[Path], None]
) -> None:
    one, other = two_ways(tamper)
    assert _tables(one.home) == _tables(other.home)


def test_what_a_linkage_kept_is_for_it_alone_and_is_told_where_it_was_changed(place: Place) -> None:
    kept = place.home.cohort(COHORT).pair_cache
    assert kept.read_bytes()[:4] == b"PARE"
    assert kept.stat().st_mode & 0o077 == 0
    _flip(kept)
    prepend(place.file("leeds/eyfsp"), NEWCOMER)
    with pytest.raises(RunStopped, match=r"pairs.parquet is damaged: remove it and run the linkage"):
        run(place)
    kept.unlink()
    with pytest.raises(RunStopped, match="was charged with another child table"):
        run(place)
    assert kept.exists()
