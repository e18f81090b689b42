"""The requests of `docs/requests`, from file to release: by command, by a run in Dagster, and where people sign."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from assets.home.installation import Installation
from assets.home.paths import Home
from assets.release.fix_release import ReleaseOptions
from assets.release.release import Release
from ndl_export.bundle.verify import verify
from ndl_export.facts.on_request import RequestedTable
from ndl_export.synthetic.children import SyntheticChildren
from ndl_export.synthetic.folder import build_synthetic_files
from ndl_export.tables import FAMILIES, TABLES
from ndl_export.tables.definition import TOTAL, RequestedColumn
from pipelines.dagster.jobs import build_release_run
from pipelines.definitions import build_definitions
from sources.reference.places import get_place as place_of
from tests.support import PROJECT
from tests.support.export.standard_validators import find_program
from tests.support.export.synthetic import make_synthetic_children
from tests.support.installation.commands import run_readiness
from tests.support.installation.demonstration import COHORT, VERSION
from tests.support.release.people import ANNA, BRAM, read_page, write_policy, write_publisher

pytestmark = pytest.mark.slow

FILES = sorted((PROJECT / "docs" / "requests").glob("*.yaml"))
NAMES = [file.stem for file in FILES]
ANSWERING = "2026.11.1"
NOTEBOOK_ASKS = "gld_by_ethnic_group_and_fsm"
SHARE_COVERED = 0.9
"""Of the counts, how many must lie in their 95% interval: fewer is no chance."""


@dataclass(frozen=True)
class Place:
    """A copy of the demonstration, with further `settings`."""

    root: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        return Home(self.root / "demo" / "home")

    @property
    def landing(self) -> Path:
        return self.root / "demo" / "landing"

    @property
    def bundle(self) -> Path:
        return self.home.release / ANSWERING

    def readiness(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return run_readiness(self.root, *arguments, home=self.home.root, landing=self.landing, **self.settings)

    def succeed(self, *arguments: object) -> str:
        """Run a command that must succeed, and return its output."""
        done = self.readiness(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def answer(self, *arguments: object) -> Any:
        """Run a command that must succeed, and return its JSON."""
        return json.loads(self.succeed(*arguments, "--json"))

    def copy(self, to: Path, **settings: str) -> Place:
        return Place(Path(shutil.copytree(self.root, to / "project", symlinks=True)), settings)

    def charges(self) -> list[tuple[str, str, int, str]]:
        """Release, family, nano-rho and hash of the plan of every charge."""
        return [
            (each.release, each.family, each.nano_rho, each.plan_sha256)
            for each in self.home.open_ledger().list_entries()
            if each.kind == "RESERVE"
        ]

    def run_job(self, names: list[str]) -> dg.ExecuteInProcessResult:
        """Answer the requests of these names by a run of the job `release`."""
        installation = Installation(landing=self.landing, home=self.home, keys=self.root / "keys")
        job = build_definitions(installation).resolve_job_def("release")
        with dg.DagsterInstance.ephemeral() as instance:
            run = build_release_run(COHORT, ANSWERING, ReleaseOptions(reuse=True, requests=names))
            return job.execute_in_process(instance=instance, **run)


@pytest.fixture(scope="module")
def registered(demonstration: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """All five are registered; to be read and not written."""
    place = Place(demonstration).copy(tmp_path_factory.mktemp("asked"))
    place.succeed("request", "register", *FILES)
    return place


@pytest.fixture(scope="module")
def by_command(registered: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = registered.copy(tmp_path_factory.mktemp("command"))
    assert f"Bundle, verified:   {place.bundle}" in place.succeed("request", "fulfil", *NAMES)
    return place


@pytest.fixture(scope="module")
def by_dagster(registered: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = registered.copy(tmp_path_factory.mktemp("dagster"))
    done = place.run_job(NAMES)
    assert done.success
    checks = done.get_asset_check_evaluations()
    assert checks
    assert [each.check_name for each in checks if not each.passed] == []
    return place


def test_they_fit_together_checking_spends_nothing_and_they_cost_what_it_said(
    registered: Place, by_command: Place
) -> None:
    before = registered.charges()
    found = registered.answer("request", "check", *FILES)
    assert [each["name"] for each in found["requests"]] == NAMES
    assert {own["answer"] for each in found["requests"] for own in each["cohorts"]} == {"fits"}
    assert [each["fits"] for each in found["together"]] == [True]
    assert registered.charges() == before
    states = {each["name"]: each["state"] for each in registered.answer("request", "list")}
    assert states == dict.fromkeys(NAMES, "waits for an answer")
    (together,) = found["together"]
    new = [(family, nano) for release, family, nano, _ in by_command.charges() if release == ANSWERING]
    charged = {FAMILIES[family].unit: nano / 1e9 for family, nano in new}
    assert charged == pytest.approx(together["rho"], abs=2e-6)
    assert all(rho <= together["rho"][unit] for unit, rho in charged.items())


def test_the_bundle_is_whole_and_readers_are_told_what_came_and_what_is_sharper(by_command: Place) -> None:
    assert verify(by_command.bundle).ok
    again = by_command.answer("recompute", by_command.bundle)
    assert (again["ok"], again["tables"]) == (True, len(TABLES) + len(NAMES))
    states = {each["name"]: each["state"] for each in by_command.answer("request", "list")}
    assert states == dict.fromkeys(NAMES, f"answered in release {ANSWERING}")
    found = by_command.answer("diff", VERSION, ANSWERING)
    assert found["schema_changes"] == []
    told = by_command.readiness("diff", VERSION, ANSWERING).stdout
    assert f"Tables on request, new: {', '.join(NAMES)}." in told
    ratios = {name: each["median_width_ratio"] for name, each in found["figures"].items()}
    assert max(ratios.values()) <= 1 + 1e-9
    assert ratios["gld_headline"] < 0.99
    assert f"{ratios['gld_headline']:.1%}" in told
    back = by_command.answer("diff", ANSWERING, VERSION)
    assert (back["tables_on_request"], back["schema_changes"]) == ({"new": [], "gone": NAMES}, [])
    assert back["figures"]["gld_headline"]["median_width_ratio"] == pytest.approx(1 / ratios["gld_headline"], rel=0.01)


def test_a_repeat_by_either_way_changes_and_charges_nothing(by_command: Place, tmp_path: Path) -> None:
    place = by_command.copy(tmp_path)
    before, sums = place.charges(), (place.bundle / "SHA256SUMS").read_bytes()
    assert "unchanged" in place.succeed("request", "fulfil", *NAMES)
    assert place.run_job(NAMES).success
    assert place.charges() == before
    assert (place.bundle / "SHA256SUMS").read_bytes() == sums


def test_both_ways_fix_the_same_and_charge_the_same(by_command: Place, by_dagster: Place) -> None:
    assert Release(by_command.home, ANSWERING).read_record() == Release(by_dagster.home, ANSWERING).read_record()
    assert by_command.charges() == by_dagster.charges()
    assert verify(by_dagster.bundle).ok


def test_people_sign_before_it_is_measured_and_before_it_is_published(registered: Place, tmp_path: Path) -> None:
    write_policy(tmp_path / "policy.yaml", [ANNA, BRAM], measurement=2)
    write_publisher(tmp_path / "publisher.yaml")
    place = registered.copy(tmp_path, policy=str(tmp_path / "policy.yaml"), publisher=str(tmp_path / "publisher.yaml"))
    names = ["gld_by_ethnic_group_and_fsm", "waiting_time_by_send"]
    before = place.charges()

    def approve(signer: Any, *more: str) -> str:
        key = signer.write_key_file(tmp_path / "people")
        about = ("approve", "--cohort", COHORT, "--release", ANSWERING, *more)
        return place.succeed(*about, *read_page(place.readiness(*about).stdout), "--key", key)

    def fulfil() -> subprocess.CompletedProcess[str]:
        return place.readiness("request", "fulfil", *names)

    for signed in (None, ANNA):
        if signed:
            assert "1 of 2" in approve(signed)
        waits = fulfil()
        assert (waits.returncode, place.charges()) == (4, before)
        assert f"readiness approve --home {place.home.root} --cohort {COHORT} --release {ANSWERING}" in waits.stderr
    sheet = place.home.get_decision_sheet_path(ANSWERING, "measurement").read_text(encoding="utf-8")
    waiting = registered.answer("request", "list")
    assert [each["name"] for each in waiting if each["asked_by"] in sheet] == names
    again = f"readiness request fulfil {' '.join(names)} --home {place.home.root} --release {ANSWERING}"
    assert again in approve(BRAM)
    held = fulfil()
    assert (held.returncode, place.bundle.exists()) == (4, False)
    assert {family for release, family, *_ in place.charges() if release == ANSWERING} == {"pupil", "parents"}
    assert again in approve(BRAM, "--publish")
    assert fulfil().returncode == 0
    assert verify(place.bundle).ok


def test_the_notebook_goes_from_synthetic_children_to_the_answer(
    registered: Place, by_command: Place, tmp_path: Path
) -> None:
    """With rows of independent columns, in the files that `readiness synthesise` writes."""
    (tmp_path / "synthetic").mkdir()
    for name, content in build_synthetic_files(_independent(registered.home.release / VERSION)).items():
        (tmp_path / "synthetic" / name).write_bytes(content)
    before, after = (_exported(tmp_path, place.home.release / "readiness.duckdb") for place in (registered, by_command))
    assert before.count("data:image/png") == 1
    assert not re.search(rf"has no table \W\S*{NOTEBOOK_ASKS}", after)
    assert re.search(rf"has no table \W\S*{NOTEBOOK_ASKS}", before)
    assert after.count("data:image/png") == 3
    assert re.search(r"\d of 10 guesses lie in the release's intervals", html.unescape(after))
    assert f"answered in release {ANSWERING}" in after


def _independent(bundle: Path) -> SyntheticChildren:
    rng = np.random.default_rng(1)
    names = ("ethnic_group", "fsm", "gld")
    categories = {name: FAMILIES["pupil"].get_attribute(name).categories for name in names} | {"council": ("leeds",)}
    rows = pa.table({name: rng.choice(each, 4000).tolist() for name, each in categories.items()})
    return replace(make_synthetic_children(bundle), rows=rows, categories=categories)


def _exported(folder: Path, database: Path) -> str:
    """The notebook's page with this database; a copy of it is run, beside which marimo keeps notes."""
    for name in ("notebook", "requests"):
        shutil.copytree(PROJECT / "docs" / name, folder / "docs" / name, dirs_exist_ok=True)
    page = folder / "page.html"
    command = [find_program("notebook", "marimo"), "export", "html", folder / "docs/notebook/asking.py", "-o", page]
    settings = {"READINESS_SYNTHETIC": str(folder / "synthetic"), "READINESS_DATABASE": str(database)}
    ran = subprocess.run([*command, "--force"], env=os.environ | settings, cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return page.read_text(encoding="utf-8")


def test_intervals_hold_the_confidential_counts(by_command: Place, by_dagster: Place) -> None:
    """Of both, whose further noise is independent; of tables by links, the counts as they were linked."""
    found = pd.DataFrame(
        [
            (table.name, measure, covered)
            for place in (by_command, by_dagster)
            for table in Release(place.home, ANSWERING).read_record().requested
            for measure, covered in _covered(place, table)
        ],
        columns=["table", "measure", "covered"],
    )
    by_measure = found.groupby(["table", "measure"]).covered.agg(["size", "mean"])
    print(by_measure.to_string())
    assert len(by_measure.groupby("table")) == len(NAMES)
    assert found.covered.mean() >= SHARE_COVERED


def _covered(place: Place, table: RequestedTable) -> Iterator[tuple[str, bool]]:
    """Of each count of each row, whether its interval holds what the confidential table has."""
    definition, linked = table.definition, FAMILIES[table.family].found_by_linkage
    confidential = pd.read_parquet(place.home.get_cohort(COHORT).get_confidential_path(table.family))
    (counted, *_) = table.table.measures
    by_links = any(column.attribute in linked for column in definition.columns)
    measures = {f"{counted.name}_as_linked" if by_links else counted.name: pd.Series(True, confidential.index)}
    if definition.figure and not by_links:
        (part,) = (each.name for each in table.table.measures[1:] if each.is_count)
        measures[part] = confidential[definition.figure.attribute].isin(definition.figure.categories)
    code = confidential.council.map(lambda council: place_of(council).new_la_code)
    for row in pd.read_parquet(place.bundle / f"{table.name}.parquet").to_dict("records"):
        if row["geographic_level"] not in ("Pilot councils", "Local authority"):
            continue
        here = code.eq(row["area_code"]) | (row["geographic_level"] == "Pilot councils")
        of_levels = (_at(confidential, column, row[column.name or column.attribute]) for column in definition.columns)
        inside = reduce(and_, of_levels, here)
        for measure, group in measures.items():
            yield measure, row[f"{measure}_lower_ci"] <= (inside & group).sum() <= row[f"{measure}_upper_ci"]


def _at(confidential: pd.DataFrame, column: RequestedColumn, level: str) -> pd.Series[bool]:
    """Which rows are at a level of a column."""
    values = confidential[column.attribute]
    if level == TOTAL:
        return values.notna()
    return values.isin(column.levels[level]) if column.levels else values.eq(level)
