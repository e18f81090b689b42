"""What a release is asked for is checked before anything is charged, and on a cohort's first release its accuracy."""

import datetime as dt
import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from assets.home.paths import Home
from assets.release.fix_release import LEAST_SHARE, ReleaseOptions, fix_release
from assets.release.measure import measure_family, publish_bundle
from assets.release.planning import NotAccurateEnough
from assets.release.published_charges import read_published_charges
from assets.release.release import CohortRelease, Release
from ndl_export.bundle.verify import verify
from ndl_export.facts.release_facts import InvalidVersion, Version
from ndl_export.tables import FAMILIES
from privacy.keys import KeyRing
from privacy.release.ledger import BudgetExceeded, Ledger, LedgerCorrupt, ReleaseConflict
from privacy.release.policy import PolicyError, load_policy
from tests.support.installation.commands import build_settings, invoke
from tests.support.release.homes import COHORT, VERSION, make_home, make_home_once, make_release

COUNCILS = ["leeds"]


@pytest.mark.parametrize(
    ("version", "is_new"),
    [
        *(("2026.11.0", True), ("2026.12.3", True), ("2027.11.0", True), ("2020.01.0", True)),
        *(("2027.12.0", False), ("9999.12.0", False), ("2019.12.0", False), ("0001.01.0", False)),
    ],
)
def test_versions_are_of_about_now(version: str, is_new: bool) -> None:
    refused = nullcontext() if is_new else pytest.raises(InvalidVersion, match="begun in November 2026 cannot be of")
    with refused:
        Version.parse(version).check_is_new(dt.date(2026, 11, 26))


@pytest.mark.parametrize("options", [("--release", "9999.12.0"), ("--share", "0.0000001"), ("--share", "nan")])
def test_the_command_refuses_before_it_takes_anything_in(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "landing" / "leeds").mkdir(parents=True)
    done = invoke("run", "--create-keys", "--cohort", COHORT, *options, env=build_settings(tmp_path))
    assert done.exit_code == 1
    assert done.output.startswith("readiness: a release")
    assert "[1/" not in done.output
    assert Ledger(tmp_path / "home" / "ledger.sqlite").list_entries() == []


def test_a_first_release_is_worth_its_share_and_a_revision_need_not_be(tmp_path: Path) -> None:
    home = make_home(tmp_path, 50, COUNCILS)
    asked = ReleaseOptions(allow_missing=False, share=0.01)
    with pytest.raises(NotAccurateEnough, match="not worth their budget"):
        fix_release(CohortRelease(home.get_cohort(COHORT), VERSION), COUNCILS, asked)
    assert Release(home, VERSION).read_record() == {}
    ledger = home.open_ledger()
    ledger.approve(COHORT, 0.3)
    ledger.commit(ledger.reserve(COHORT, "2026.10.0", "pupil", 0.1, "p", "m"), "f" * 64)
    fix_release(CohortRelease(home.get_cohort(COHORT), VERSION), COUNCILS, asked)
    assert Release(home, VERSION).read_record().measured == [COHORT]


@pytest.mark.parametrize("name", [VERSION, f"{VERSION}.zip"])
def test_a_release_whose_place_is_taken_is_not_begun(tmp_path: Path, name: str) -> None:
    home = make_home(tmp_path, 50, COUNCILS)
    home.release.mkdir(parents=True, exist_ok=True)
    (home.release / name).write_bytes(b"")
    with pytest.raises(ReleaseConflict, match="is there, and cohort 202425 was not measured for it"):
        fix_release(CohortRelease(home.get_cohort(COHORT), VERSION), COUNCILS, ReleaseOptions(allow_missing=False))


@pytest.mark.slow
def test_the_least_share_can_be_published_and_a_lost_ledger_stops_all(home: Home, keys: KeyRing) -> None:
    store = home.get_cohort(COHORT)
    fix_release(CohortRelease(store, REVISION), COUNCILS, ReleaseOptions(allow_missing=False, share=LEAST_SHARE))
    for family in FAMILIES:
        measure_family(CohortRelease(store, REVISION), keys, family)
    report = verify(publish_bundle(CohortRelease(store, REVISION), keys))
    assert report.ok, str(report)
    assert {charge.release for charge in read_published_charges(home, keys)} == {VERSION, REVISION}
    for path in home.root.glob("ledger.sqlite*"):
        path.unlink()
    fix_release(CohortRelease(store, "2026.12.0"), COUNCILS, ReleaseOptions(allow_missing=False))
    with pytest.raises(LedgerCorrupt, match="another ledger, or an old copy"):
        measure_family(CohortRelease(store, "2026.12.0"), keys, "pupil")
    assert home.open_ledger().list_charges() == []


# --- A revision spends a share of the policy's split, fixed with the release, within what the cohort has left

REVISION = "2026.11.1"


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, keys: KeyRing) -> Home:
    """A cohort that has been released once, at the whole of the policy's split."""
    return make_home_once(
        tmp_path_factory, "once", lambda folder: make_release(make_home(folder, 200, COUNCILS), keys, COUNCILS)
    )


def begin(home: Home, version: str, share: float | None) -> None:
    fix_release(
        CohortRelease(home.get_cohort(COHORT), version), COUNCILS, ReleaseOptions(allow_missing=False, share=share)
    )


@pytest.mark.slow
def test_a_revision_fits_at_the_share_that_the_refusal_names(home: Home, keys: KeyRing) -> None:
    before = home.ledger.read_bytes() if isinstance(home.ledger, Path) else b""
    with pytest.raises(BudgetExceeded, match=r"release 2026\.11\.1 \(pupil, health\) .*\(--share 0\.233\)"):
        begin(home, REVISION, None)
    assert before == (home.ledger.read_bytes() if isinstance(home.ledger, Path) else b"")
    begin(home, REVISION, 0.233)
    bundle = make_release(home, keys, COUNCILS, REVISION)
    assert verify(bundle).ok, str(verify(bundle))
    record = json.loads((bundle / "privacy_statement.json").read_text())
    charged = {each["unit"]: each["budget"]["charged_by_this_release_rho"] for each in record["cohorts"][0]["accounts"]}
    assert charged == {
        "child": pytest.approx(0.215 * 0.233, rel=1e-3),
        "response": pytest.approx(0.15 * 0.233, rel=1e-3),
    }
    assert home.open_ledger().compute_remaining(COHORT, "response") < 1e-3
    assert home.open_ledger().compute_remaining(COHORT) > 0.03
    with pytest.raises(ReleaseConflict, match=r"charged with a share of 0\.233, not 1"):
        begin(home, REVISION, 1.0)
    kept = (bundle / "SHA256SUMS").read_bytes()
    assert make_release(home, keys, COUNCILS, REVISION) == bundle
    assert make_release(home, keys, COUNCILS, VERSION).name == VERSION
    assert (bundle / "SHA256SUMS").read_bytes() == kept


@pytest.mark.parametrize("share", [0.0, -1.0, 1.01])
def test_what_is_no_share_is_refused(home: Home, share: float) -> None:
    with pytest.raises(PolicyError, match="over 0 and at most 1"):
        begin(home, "2026.12.0", share)


def test_shares_are_whole_nano_rho_rounded_down() -> None:
    assert load_policy().scale(0.2).split == {"pupil": 0.037, "health": 0.006, "parents": 0.03}
    assert load_policy().scale(1e-7).split["pupil"] == 1.8e-8
    with pytest.raises(PolicyError, match="must be positive"):
        load_policy().scale(1e-9)
