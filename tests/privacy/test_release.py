"""The form of a release never depends on its data, and its cost is what the ledger says."""

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.linkage.inputs import NotLinked
from assets.release.fix_release import CouncilsMissing, ReleaseOptions, fix_release
from assets.release.measure import measure_family, measure_release, publish_bundle
from assets.release.planning import compute_expected_accuracy
from assets.release.record import CohortRecord
from assets.release.release import CohortRelease, Release
from assets.release.tabulate import Differing, find_differing_tables
from ndl_export.bundle.verify import verify
from ndl_export.facts.bundle_reader import read_contents
from ndl_export.facts.release_facts import InvalidPublisher
from ndl_export.tables import FAMILIES, TABLES
from ndl_export.tables.pupil import HV_ONLY, NEITHER, NONE, SETTING_ONLY, UNSEARCHABLE
from privacy.doors.files import write_json
from privacy.keys import KeyRing
from privacy.release import session
from privacy.release.ledger import Ledger
from privacy.release.policy import load_policy
from privacy.release.session import MeasurementStoreError
from sources.reference.places import PILOT, get_place
from tests.support.release.homes import COHORT, VERSION, add_cohort, make_home, make_release, note_linked

COUNCILS = sorted(PILOT)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.create(tmp_path_factory.mktemp("keys") / "set", demonstration=True)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, keys: KeyRing) -> dict[int, Path]:
    return {
        rows: make_release(make_home(tmp_path_factory.mktemp(f"rows{rows}"), rows, COUNCILS), keys, COUNCILS)
        for rows in (0, 2000)
    }


def test_an_empty_cohort_publishes_every_cell_and_is_charged_once_for_each_family(bundles: dict[int, Path]) -> None:
    assert verify(bundles[0]).ok, str(verify(bundles[0]))
    policy = load_policy()
    charged = {each.entry.family: each.rho for each in Ledger(bundles[0].parents[1] / "ledger.sqlite").list_charges()}
    assert charged == {family: pytest.approx(policy.get_rho(family), rel=1e-4) for family in FAMILIES}
    assert all(rho <= policy.get_rho(family) for family, rho in charged.items())


def test_files_rows_and_schemas_are_the_same_whoever_is_in_it(bundles: dict[int, Path]) -> None:
    files = {rows: sorted(read_contents(bundle)) for rows, bundle in bundles.items()}
    assert files[0] == files[2000]
    for table in TABLES:
        empty, other = (pq.read_table(bundle / f"{table}.parquet") for bundle in bundles.values())
        assert other.schema == empty.schema
        for name in (field.name for field in empty.schema if field.type == pa.string()):
            one, two = other[name], empty[name]
            if name.endswith("_flag"):  # whether it is not applicable; other flags depend on the noise
                one, two = (pc.fill_null(pc.equal(flags, "z"), False) for flags in (one, two))
            assert one == two


@pytest.mark.slow
def test_one_council_alone_without_a_survey_can_be_released(tmp_path: Path, keys: KeyRing) -> None:
    """Its figures equal those of all councils together, to the last digit; a survey that nobody has run is published as
    not available everywhere."""
    bundle = make_release(make_home(tmp_path, 500, ["leeds"], parent_experience=["leeds"]), keys, ["leeds"])
    assert verify(bundle).ok, str(verify(bundle))
    flags = pq.read_table(bundle / "parent_experience.parquet")["response_percent_flag"].to_pylist()
    assert set(flags) <= {"x", "z"}
    headline = pq.read_table(bundle / "gld_headline.parquet").to_pandas()
    figures = headline.groupby("geographic_level")["children_count_estimate"].apply(list)
    assert figures["Local authority"] == figures["Pilot councils"]
    total = headline[(headline.breakdown == "Total") & (headline.sex == "Total")].iloc[0]
    assert abs(total.children_count_estimate - 500) < 60


@pytest.mark.slow
def test_a_measurement_that_the_ledger_did_not_record_is_not_published(tmp_path: Path, keys: KeyRing) -> None:
    """It fits the plan and its hash is right, but it was not drawn for the recorded charge."""
    for name in ("home", "other"):
        home = make_home(tmp_path / name, 100, COUNCILS)
        measure_release(CohortRelease(home.get_cohort(COHORT), VERSION), keys, COUNCILS, ReleaseOptions())
    kept, other = (
        session.build_measurement_path(Home(tmp_path / name).restricted, COHORT, VERSION, "health")
        for name in ("home", "other")
    )
    kept.write_bytes(other.read_bytes())
    with pytest.raises(MeasurementStoreError, match="not the file that the ledger recorded"):
        publish_bundle(CohortRelease(Home(tmp_path / "home").get_cohort(COHORT), VERSION), keys)


MISSING = {"eyfsp": ("halton",), "hv_reviews": ("sefton",)}


@pytest.mark.slow
def test_who_has_sent_nothing_is_not_available_and_left_out_of_totals(tmp_path: Path, keys: KeyRing) -> None:
    home = make_home(tmp_path, 3000, COUNCILS, **MISSING)
    note_linked(home, COHORT, COUNCILS)  # otherwise the sources that are due hold the release
    write_json(
        home.release_record(VERSION), {COHORT: asdict(CohortRecord(VERSION, councils=COUNCILS, missing=MISSING))}
    )
    for family in FAMILIES:
        measure_family(CohortRelease(home.get_cohort(COHORT), VERSION), keys, family)
    bundle = publish_bundle(CohortRelease(home.get_cohort(COHORT), VERSION), keys)
    assert verify(bundle).ok, str(verify(bundle))
    before = read_contents(bundle)
    assert publish_bundle(CohortRelease(home.get_cohort(COHORT), VERSION), keys) == bundle
    assert read_contents(bundle) == before
    assert find_differing_tables(bundle) == Differing([], [])
    headline = pq.read_table(bundle / "gld_headline.parquet").to_pandas()
    total = headline[(headline.breakdown == "Total") & (headline.sex == "Total")].set_index("geographic_level")
    councils = total.loc["Local authority"]
    assert set(councils[councils.children_count_flag == "x"].la_name) == {"Halton"}
    together = total.loc["Pilot councils"]
    assert together.children_count_estimate == pytest.approx(councils.children_count_estimate.sum())
    expected = pq.read_metadata(home.get_cohort(COHORT).get_confidential_path("pupil")).num_rows
    assert abs(together.children_count_estimate - expected) < 60


def fix(home: Home, allow_missing: bool = False) -> None:
    fix_release(CohortRelease(home.get_cohort(COHORT), VERSION), COUNCILS, ReleaseOptions(allow_missing=allow_missing))


def test_what_is_missing_is_fixed_with_the_first_charge(tmp_path: Path, keys: KeyRing) -> None:
    home = Home(tmp_path)
    home.prepare()
    with pytest.raises(NotLinked, match="run the linkage first"):
        fix(home, allow_missing=True)
    note_linked(home, COHORT, COUNCILS, eyfsp=COUNCILS[:1])
    with pytest.raises(CouncilsMissing, match=f"no EYFS Profile extract from {COUNCILS[0]}"):
        fix(home)
    for lacking in ({"school_census": (COUNCILS[0],)}, {}):
        note_linked(home, COHORT, COUNCILS, **lacking)
        fix(home)
        assert Release(home, VERSION).read_record()[COHORT].missing == lacking
    add_cohort(home, COHORT, 10, COUNCILS)
    measure_family(CohortRelease(home.get_cohort(COHORT), VERSION), keys, "health")
    fix(home)
    note_linked(home, COHORT, COUNCILS, school_census=COUNCILS[:1])
    fix(home)
    assert Release(home, VERSION).read_record()[COHORT].missing == {}


@pytest.mark.slow
def test_published_figures_are_what_the_published_noisy_counts_give(bundles: dict[int, Path]) -> None:
    """To the last bit, from only the bundle's files."""
    assert find_differing_tables(bundles[2000]) == Differing([], [])


def test_other_noisy_counts_give_other_figures_of_their_tables_alone(bundles: dict[int, Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundles[2000], tmp_path / "changed"))
    cells = pq.read_table(copy / "noisy_counts.parquet")
    health = pc.equal(cells["family"], "health")
    changed = pc.add(cells["noisy_count"], pc.cast(health, pa.int64()))
    column = cells.schema.get_field_index("noisy_count")
    pq.write_table(cells.set_column(column, cells.schema.field(column), changed), copy / "noisy_counts.parquet")
    assert find_differing_tables(copy) == Differing(["asq3_outcomes"], [])


def test_the_recipe_of_the_methodology_gives_the_published_estimates(bundles: dict[int, Path]) -> None:
    """Its code is run as written, with only numpy and Parquet."""
    (code,) = re.findall(r"```python\n(.*?)```", (bundles[2000] / "methodology.md").read_text(), re.DOTALL)
    recipe: dict[str, Any] = {}
    exec(code, recipe)
    found = recipe["estimates"](bundles[2000], COHORT, "health", ("council", "sex", "asq3_communication"))
    published = pq.read_table(bundles[2000] / "asq3_outcomes.parquet").to_pandas()
    sex, domain = FAMILIES["health"].get_attribute("sex"), FAMILIES["health"].get_attribute("asq3_communication")
    for number, council in enumerate(COUNCILS):
        rows = published[
            (published.la_name == get_place(council).la_name)
            & (published.asq3_domain == domain.label)
            & (published.breakdown_topic == sex.label)
        ]
        known = [sex.categories.index(category) for category in rows.breakdown]
        assert rows.at_or_above_children_count_estimate.tolist() == pytest.approx(found[number, known, 0])
        assert rows.reviewed_children_count_estimate.tolist() == pytest.approx(found[number, known].sum(axis=1))


def test_the_plan_says_what_will_be_unusable() -> None:
    found = compute_expected_accuracy(COUNCILS, load_policy())
    assert all(entry["met"] for entry in found["minimum_accuracy"])
    warned = {(row["table"], row["rows"]) for row in found["warnings"]}
    small = (HV_ONLY, SETTING_ONLY, NEITHER, UNSEARCHABLE)
    assert warned == {("joined_dots", rows) for rows in (*small, f"{NEITHER} / {NONE}", f"{UNSEARCHABLE} / {NONE}")}
    assert json.loads(json.dumps(found)) == found


def test_a_release_that_nobody_could_publish_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    home.prepare()
    note_linked(home, COHORT, COUNCILS)
    (tmp_path / "broken.yaml").write_text("name: [")
    monkeypatch.setenv("READINESS_PUBLISHER", str(tmp_path / "broken.yaml"))
    with pytest.raises(InvalidPublisher, match="not readable as YAML"):
        fix(home)
    assert home.open_ledger().list_entries() == []
    monkeypatch.delenv("READINESS_PUBLISHER")
    fix(home)


def test_differences_are_those_of_the_published_rates(bundles: dict[int, Path]) -> None:
    headline = pq.read_table(bundles[2000] / "gld_headline.parquet").to_pandas()
    found = pq.read_table(bundles[2000] / "gld_differences.parquet").to_pandas()
    headline["area"], found["area"] = (table.geographic_level + table.la_name.fillna("") for table in (headline, found))
    rates = headline[headline.sex == "Total"].set_index(["breakdown", "area"]).gld_children_percent
    together = headline.geographic_level.iloc[0]
    by_comparison = {
        "Not eligible less eligible": (
            rates["Not eligible for free school meals"] - rates["Eligible for free school meals"]
        ),
        "All children: area less all councils together": rates["Total"] - rates["Total"][together],
    }
    shown = found[found.gld_difference_points.notna() & found.comparison.isin(by_comparison)]
    assert len(shown) > len(COUNCILS)
    for comparison, expected in by_comparison.items():
        rows = shown[shown.comparison == comparison].set_index("area")
        points = rows.gld_difference_points
        # to whole points if the difference is flagged, and then each of the two rates may be too
        rounding = np.where(rows.gld_difference_points_flag.isna(), 0.151, 1.501)
        assert ((points - expected[rows.index]).abs() <= rounding).all()
        assert points.between(rows.gld_difference_points_lower_ci, rows.gld_difference_points_upper_ci).all()
    assert not ((found.area == together) & found.comparison.str.contains("area less all")).any()


def test_the_model_stands_on_rows_of_councils_alone(bundles: dict[int, Path]) -> None:
    table = pq.read_table(bundles[2000] / "gld_headline.parquet").to_pandas()
    modelled = table[table.gld_children_percent_model.notna()]
    assert set(modelled.geographic_level) == {"Local authority"}
    assert not ((modelled.breakdown == "Total") & (modelled.sex == "Total")).any()
    small = modelled[modelled.gld_children_percent_flag == "withheld"]
    assert len(small)
    lower, upper = modelled.gld_children_percent_model_lower_ci, modelled.gld_children_percent_model_upper_ci
    assert modelled.gld_children_percent_model.between(lower, upper).all()
    assert lower.min() >= 0
    assert upper.max() <= 100
    narrower = upper - lower < modelled.gld_children_percent_upper_ci - modelled.gld_children_percent_lower_ci
    assert narrower[small.index].mean() > 0.5
    others = table[table.gld_children_percent_model.isna()].filter(like="gld_children_percent_model")
    assert others.isna().all(axis=None)
