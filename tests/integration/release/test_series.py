"""Releases of several cohorts: what was measured once is used again, and each cohort pays for itself alone."""

import datetime as dt
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.release.fix_release import ReleaseOptions, fix_release
from assets.release.measure import measure_family, publish_bundle
from assets.release.release import CohortRelease
from assets.release.tabulate import Differing, find_differing_tables
from ndl_export.bundle.release_directory import withdraw
from ndl_export.bundle.verify import verify
from ndl_export.facts.bundle_reader import read_contents
from ndl_export.tables import FAMILIES, TABLES
from privacy.keys import KeyRing
from privacy.release import ledger, policy, session
from tests.support.release import homes
from tests.support.release.homes import COHORT, add_cohort, copy_home, list_charges, make_home

pytestmark = pytest.mark.slow

COUNCILS = ["halton", "leeds", "wirral"]
EARLIER = "202324"
NOT_SENT = {"hv_reviews/ANV": ["wirral"], "hv_reviews/12M": COUNCILS}
FIRST, SECOND = "2025.11.0", "2026.11.0"


def landed(folder: Path) -> Home:
    home = make_home(folder, 400, COUNCILS, **NOT_SENT)
    add_cohort(home, EARLIER, 300, COUNCILS)
    return home


def released(
    home: Home, keys: KeyRing, cohort: str, version: str, others: Sequence[str] = (), *, reuse: bool = False
) -> Path:
    return homes.make_release(home, keys, COUNCILS, version, cohort, allow_missing=True, others=others, reuse=reuse)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, keys: KeyRing) -> Home:
    """The earlier cohort on its own, and then both together; to be read, not written."""
    home = landed(tmp_path_factory.mktemp("home"))
    released(home, keys, EARLIER, FIRST)
    released(home, keys, COHORT, SECOND, [EARLIER])
    return home


@pytest.fixture
def copy(made: Home, tmp_path: Path) -> Home:
    return copy_home(made, tmp_path)


def test_what_was_measured_once_is_used_again_and_costs_nothing(made: Home) -> None:
    assert sorted(list_charges(made)) == sorted(
        (cohort, version, family) for cohort, version in ((EARLIER, FIRST), (COHORT, SECOND)) for family in FAMILIES
    )
    account = policy.load_policy().accounts["child"]
    spent = account.cap_rho - sum(account.split.values())
    for cohort in (EARLIER, COHORT):
        assert ledger.Ledger(made.ledger).compute_remaining(cohort) == pytest.approx(spent, abs=1e-5)


def test_last_digits_are_told_from_figures(made: Home, tmp_path: Path) -> None:
    """Those of another processor, or of other versions of libraries, from those that somebody changed or removed."""
    bundle = Path(shutil.copytree(made.release / SECOND, tmp_path / SECOND))
    for name, by in (("joined_dots", 1 + 1e-13), ("first_concern", 1 + 1e-6), ("seen_by_group", None)):
        path = bundle / f"{name}.parquet"
        table = pq.read_table(path)
        at = table.column_names.index("children_count_estimate")
        changed = pc.multiply(table[at], by) if by else pa.nulls(len(table), table.field(at).type)
        pq.write_table(table.set_column(at, table.field(at), changed), path)
    found = find_differing_tables(bundle)
    assert (sorted(found.figures), found.last_digits) == (["first_concern", "seen_by_group"], ["joined_dots"])


def test_the_bundle_holds_the_very_figures_of_the_earlier_release(made: Home) -> None:
    bundle = made.release / SECOND
    assert verify(bundle).ok, str(verify(bundle))
    assert find_differing_tables(bundle) == Differing([], [])
    for name in TABLES:
        both, first = (pq.read_table(made.release / version / f"{name}.parquet") for version in (SECOND, FIRST))
        own = both.filter(pc.equal(both["time_period"], EARLIER))
        assert own.drop_columns(["series_break"]).equals(first.drop_columns(["series_break"]))
    changelog = (bundle / "changelog.md").read_text(encoding="utf-8")
    assert f"The noisy counts are those that release {FIRST} drew" in changelog


def test_a_review_that_nobody_sends_is_not_available_instead_of_0_percent(made: Home) -> None:
    """In the area of every council that does not send it; and the record of the release says so."""
    bundle = made.release / SECOND
    reviews = pq.read_table(bundle / "health_visitor_reviews.parquet").to_pylist()
    own = [row for row in reviews if row["time_period"] == COHORT]
    for review, away in (("Antenatal visit", {"Pilot councils", "Wirral"}), ("New birth visit", set())):
        flagged = {
            row["area_name"] for row in own if row["health_review"] == review and row["children_percent_flag"] == "x"
        }
        assert flagged == away
    of_all = [row for row in own if row["health_review"] == "Twelve month review"]
    assert {row["children_count_flag"] for row in of_all} == {"x"}
    assert {row["children_count"] for row in of_all} == {None}
    readme = (bundle / "README.md").read_text(encoding="utf-8")
    assert "Wirral: no or hardly any antenatal visit; rows about it in `health_visitor_reviews` are `x`" in readme


def test_parameters_of_disjoint_cohorts_are_stated_and_not_added_up(made: Home) -> None:
    record = json.loads((made.release / SECOND / "privacy_statement.json").read_text())
    stated = {entry["cohort"]: entry for entry in record["cohorts"]}
    assert {cohort: entry["measured_in"] for cohort, entry in stated.items()} == {EARLIER: FIRST, COHORT: SECOND}
    assert record["privacy_parameters"]["rho"] == pytest.approx(0.215, abs=1e-5)
    assert [each["budget"]["charged_by_this_release_rho"] for each in stated[EARLIER]["accounts"]] == [0, 0]
    charged = [each["budget"]["charged_by_this_release_rho"] for each in stated[COHORT]["accounts"]]
    assert charged == [pytest.approx(0.215, abs=1e-5), pytest.approx(0.15, abs=1e-5)]
    assert record["joint_parameters"]["rho"] == pytest.approx(0.365, abs=1e-5)
    page = (made.release / SECOND / "privacy_statement.md").read_text(encoding="utf-8")
    for cohort, version in ((EARLIER, FIRST), (COHORT, SECOND)):
        assert re.search(rf"\| {cohort} \| 0\.21499\d* \| 3\.2586 \| 1e-06 \| {re.escape(version)} \|", page)
    assert "not added up" in page


def test_a_repeated_release_gives_the_same_bytes_whatever_came_later(copy: Home, keys: KeyRing) -> None:
    before = read_contents(copy.release / SECOND)
    paid = list_charges(copy)
    assert verify(released(copy, keys, COHORT, "2026.12.0", [EARLIER], reuse=True)).ok
    assert read_contents(released(copy, keys, COHORT, SECOND)) == before
    assert read_contents(released(copy, keys, COHORT, SECOND, [EARLIER])) == before
    assert list_charges(copy) == paid


def test_a_crash_between_cohorts_draws_nothing_twice_and_publishes_nothing(tmp_path: Path, keys: KeyRing) -> None:
    home = landed(tmp_path)
    store = home.get_cohort(COHORT)
    fix_release(CohortRelease(store, SECOND), COUNCILS, ReleaseOptions(allow_missing=False, others=[EARLIER]))
    kept = measure_family(CohortRelease(home.get_cohort(EARLIER), SECOND), keys, "health")
    with pytest.raises(ledger.ReleaseConflict, match="has no stored measurement"):
        publish_bundle(CohortRelease(store, SECOND), keys)
    assert not (home.release / SECOND).exists()
    with pytest.raises(ledger.ReleaseConflict, match=f"begun with cohorts {EARLIER}, {COHORT}, not {COHORT}, 202526"):
        fix_release(CohortRelease(store, SECOND), COUNCILS, ReleaseOptions(allow_missing=False, others=["202526"]))
    assert verify(released(home, keys, COHORT, SECOND)).ok
    assert sorted(list_charges(home)) == sorted((c, SECOND, family) for c in (EARLIER, COHORT) for family in FAMILIES)
    again = measure_family(CohortRelease(home.get_cohort(EARLIER), SECOND), keys, "health")
    assert all((again.noisy[names] == kept.noisy[names]).all() for names in kept.noisy)


def test_a_council_that_took_no_part_in_a_cohort_is_not_available_there(tmp_path: Path, keys: KeyRing) -> None:
    home = landed(tmp_path)
    for path in home.get_cohort(EARLIER).linked.glob("*.parquet"):
        rows = pq.read_table(path)
        pq.write_table(rows.filter(pc.not_equal(rows["council"], "leeds")), path)
    homes.make_release(home, keys, [name for name in COUNCILS if name != "leeds"], FIRST, EARLIER, allow_missing=True)
    bundle = released(home, keys, COHORT, SECOND, [EARLIER])
    assert verify(bundle).ok, str(verify(bundle))
    assert find_differing_tables(bundle) == Differing([], [])
    rows = pq.read_table(bundle / "gld_headline.parquet").to_pandas()
    rows = rows.fillna({"children_count_flag": "none", "series_break": "none"})
    leeds = rows[rows.la_name == "Leeds"].groupby("time_period").children_count_flag.agg(set)
    assert leeds.to_dict() == {EARLIER: {"x"}, COHORT: {"none"}}
    together = rows[rows.geographic_level == "Pilot councils"].groupby("time_period").series_break.agg(set)
    assert together.to_dict() == {EARLIER: {"none"}, COHORT: {"b"}}
    assert "2023/24: Leeds: nothing; its rows in" in (bundle / "README.md").read_text(encoding="utf-8")
    assert "(new: Leeds)" in (bundle / "methodology.md").read_text(encoding="utf-8")


def test_what_cannot_stand_beside_it_is_refused_before_a_charge(copy: Home, keys: KeyRing) -> None:
    paid = list_charges(copy)

    def begin(cohort: str, version: str, *others: str, reuse: bool = False) -> None:
        fix_release(
            CohortRelease(copy.get_cohort(cohort), version),
            COUNCILS,
            ReleaseOptions(allow_missing=False, others=others, reuse=reuse),
        )

    with pytest.raises(ledger.ReleaseConflict, match="name only others beside it"):
        begin(COHORT, "2026.12.0", COHORT)
    with pytest.raises(ledger.ReleaseConflict, match="cohort 202526 was never measured"):
        begin(COHORT, "2026.12.0", "202526", reuse=True)
    with pytest.raises(ledger.ReleaseConflict, match="give it a new version"):
        begin(EARLIER, FIRST, COHORT)
    with pytest.raises(ledger.ReleaseConflict, match="give it a new version"):
        begin("202526", FIRST)
    withdraw(copy.release, FIRST, "another year's extract", dt.date(2026, 11, 20))
    with pytest.raises(
        ledger.ReleaseConflict, match=f"was charged for release {FIRST}, and none of these was published"
    ):
        begin("202526", "2026.12.0", EARLIER)
    shutil.rmtree(copy.release / FIRST)
    with pytest.raises(session.MeasurementStoreError, match="keep earlier releases in the release directory"):
        publish_bundle(CohortRelease(copy.get_cohort(COHORT), SECOND), keys)
    assert list_charges(copy) == paid
