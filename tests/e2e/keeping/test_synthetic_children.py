"""`readiness synthesise`: from a bundle that stands alone, the same files each time, and rows that agree with it."""

import json
import shutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from frictionless import Package

from assets.release.fix_release import ReleaseOptions
from assets.synthetic_children import make as synthetic_children
from assets.synthetic_children.make import LEFT_OUT, make_synthetic_children
from ndl_export.facts.synthetic_folder import CSV_FILE, SYNTHETIC_FOLDER
from ndl_export.tables import FAMILIES
from pipelines.cli import main
from pipelines.run import run_cohort
from privacy.keys import KeyRing
from sources.reference.code_lists import GLD_GOALS
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place
from tests.support.areas import describe_missing
from tests.support.independent import write_extracts
from tests.support.installation.released import COHORT, Place

pytestmark = pytest.mark.slow
VERSION = "2026.11.0"
TOGETHER = "Pilot councils"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A release of two councils, with groups of 200 children and more."""
    place = Place(tmp_path_factory.mktemp("released"))
    write_extracts(place.landing, children=600, councils=("leeds", "sefton"))
    KeyRing.create(place.root / "keys", demonstration=True)
    run_cohort(place.installation, Cohort(COHORT), VERSION, ReleaseOptions(), lambda _: None)
    return place


@pytest.fixture(scope="module")
def bundle(released: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the bundle, far from the home folder that made it."""
    return Path(shutil.copytree(released.home.release / VERSION, tmp_path_factory.mktemp("alone") / VERSION))


def synthesise(bundle: Path, out: Path, *more: str) -> Result:
    without = {"READINESS_HOME": None, "READINESS_KEYS": None, "READINESS_LANDING": None}
    return CliRunner().invoke(main, ["synthesise", str(bundle), "--out", str(out), *more], env=without)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the library compiles for one fit, which takes longer than the fit itself, is kept for the next."""
    pytest.importorskip("mbi", reason=describe_missing("synthetic"))
    jax = import_module("jax")
    kept = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in kept}
    for name, value in kept.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="module")
def alone(bundle: Path, compiled: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Synthetic children of the bundle, and what the command says of them."""
    out = tmp_path_factory.mktemp("children") / "one"
    done = synthesise(bundle, out, "--json")
    assert done.exit_code == 0, done.output
    return out, json.loads(done.stdout)


def test_a_bundle_alone_gives_children_who_agree_with_its_file_by_a_count_of_its_own(
    bundle: Path, alone: tuple[Path, dict[str, Any]]
) -> None:
    """Counted from the two CSV files alone: children by characteristic and sex, for all councils and for each."""
    folder, found = alone
    share = f"For {found['within']} of {found['compared']} published percentages"
    said = f"{share}, averages and differences of groups of 200 or more"
    assert said in (folder / "synthetic_children_quality.md").read_text(encoding="utf-8")
    # noise may make percentages by number of goals contradict those of the goals
    assert 0.95 * found["compared"] < found["within"] == found["compared"] - len(found["outside"])
    children = pq.read_table(folder / "synthetic_children.parquet").to_pandas()
    assert len(children) == found["children"]
    every = (children[list(GLD_GOALS)] == "Expected").all(axis=1)
    assert (every == (children["gld"] == "Yes")).all()
    assert {each.name for each in FAMILIES["pupil"].attributes} - LEFT_OUT <= set(children.columns)
    assert not LEFT_OUT & set(children.columns)
    assert Package(str(folder / "datapackage.json")).validate().valid
    outside = set(found["outside"])
    rows = pd.read_csv(folder / "synthetic_children.csv", dtype=str, keep_default_na=False)
    published = pd.read_csv(bundle / "gld_headline_all_rows.csv", dtype={"time_period": str})
    code = {get_place(council).new_la_code: council for council in rows["council"].unique()}
    column = {each.label: each.name for each in FAMILIES["pupil"].attributes}
    compared = 0
    for line in published[(published.children_count >= 200) & published.gld_children_percent.notna()].itertuples():
        if line.breakdown == "All SEN provision" or (line.area_code not in code and line.geographic_level != TOGETHER):
            continue
        chosen = rows[rows.council == code[line.area_code]] if line.area_code in code else rows
        if line.sex != "Total":
            chosen = chosen[chosen.sex == line.sex]
        if line.breakdown != "Total":
            chosen = chosen[chosen[column[line.breakdown_topic]] == line.breakdown]
        percent = 100 * (chosen.gld == "Yes").mean()
        inside = line.gld_children_percent_lower_ci <= percent <= line.gld_children_percent_upper_ci
        labels = [label for label in (line.breakdown, line.sex) if line.breakdown != "Total" or label == line.sex]
        name = ", ".join(("gld_headline", "gld_children_percent", line.area_code, *labels))
        assert inside == (name not in outside), name
        compared += 1
    assert compared > 0


def test_nothing_is_written_over_and_the_cohort_must_be_there(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("as it was")
    done = synthesise(bundle, tmp_path)
    assert (done.exit_code, "is not empty" in done.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    done = synthesise(bundle, tmp_path / "out", "--cohort", "202122")
    assert (done.exit_code, "it holds 202425" in done.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


def test_beside_the_release_they_are_signed_and_made_again_to_the_byte(
    released: Place, alone: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are fitted once here, in 65 s of processor time, and have the bytes of those that were made alone. What is
    asked for again with the same bundle, cohort and seed is that fit."""
    monkeypatch.setattr(synthetic_children, "make_synthetic_children", cache(make_synthetic_children))
    home = Path(shutil.copytree(released.home.root, tmp_path / "home", symlinks=True))
    run, place = CliRunner().invoke, ["--home", str(home), "--keys", str(released.root / "keys")]
    done = run(main, ["synthesise", VERSION, "--cohort", COHORT, *place])
    assert done.exit_code == 0, done.output
    folder = home / "release" / SYNTHETIC_FOLDER / VERSION
    made = {path.name: path.read_bytes() for path in alone[0].iterdir()}
    assert len(made) > 3
    assert {name: (folder / name).read_bytes() for name in made} == made
    assert run(main, ["verify", str(folder)]).exit_code == 0
    done = run(main, ["recompute", str(folder)])
    assert (done.exit_code, "to the byte" in done.stdout) == (0, True), done.output
    (folder / CSV_FILE).write_bytes(b"another file")
    done = run(main, ["recompute", str(folder)])
    assert (done.exit_code, CSV_FILE in done.stderr) == (1, True)
