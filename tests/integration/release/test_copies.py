"""Attacks on the budget by copies of a home folder or its ledger, by old versions, and by lost files."""

import re
import shutil
from pathlib import Path

import pytest
from click.testing import Result

from assets.home.paths import Home
from assets.release.decision_sheet import render_sheet
from assets.release.fix_release import ReleaseOptions, check_options
from assets.release.measure import measure_release
from assets.release.published_charges import explain_unconfirmed_ledger
from assets.release.record import CohortRecord
from assets.release.release import CohortRelease, Release
from assets.release.requests_to_sign import build_measurement_request
from ndl_export.facts.release_facts import InvalidVersion
from pipelines.reports.doctor import CheckStatus, examine
from privacy.keys import KeyRing
from privacy.release.approval import WaitsForApproval
from tests.support.installation.backups import Safe
from tests.support.release.homes import COHORT, VERSION, make_home
from tests.support.release.people import ANNA, sign_page

pytestmark = pytest.mark.usefixtures("people_sign")

COUNCILS = ["leeds"]


@pytest.fixture
def safe(tmp_path: Path) -> Safe:
    """A home with confidential tables, its keys, and people who may back it up."""
    make_home(tmp_path / "home", 200, COUNCILS)
    KeyRing.create(tmp_path / "keys")
    return Safe.for_installation(tmp_path)


def approve(home: Home) -> Result:
    return sign_page(home, ["approve", "--cohort", COHORT, "--release", VERSION], ANNA)


def measure(home: Home, keys: Path, version: str = VERSION) -> None:
    measure_release(CohortRelease(home.get_cohort(COHORT), version), KeyRing.load(keys), COUNCILS, ReleaseOptions())


def charged(home: Home) -> int:
    return len(home.open_ledger().list_charges())


def test_a_copy_that_was_taken_after_the_signature_draws_nothing(safe: Safe) -> None:
    """With all times, owners and modes, and also where the copy takes the place of the home that was."""
    assert approve(safe.home).exit_code == 0
    copy = Home(safe.root / "copy")
    shutil.copytree(safe.home.root, copy.root)
    with pytest.raises(WaitsForApproval, match="where the ledger is kept: this is a copy, or it was moved"):
        measure(copy, safe.keys)
    assert charged(copy) == 0
    shutil.rmtree(safe.home.root)
    shutil.copytree(copy.root, safe.home.root)
    with pytest.raises(WaitsForApproval, match="where the ledger is kept"):
        measure(safe.home, safe.keys)
    assert charged(safe.home) == 0


def test_a_home_under_another_name_is_the_same_home(safe: Safe) -> None:
    approve(safe.home)
    moved = Home(safe.root / "moved")
    safe.home.root.rename(moved.root)
    measure(moved, safe.keys)
    assert charged(moved) == 3
    assert explain_unconfirmed_ledger(moved) == ""


@pytest.mark.usefixtures("at_usual_moment")
def test_an_old_backup_draws_nothing_again_until_a_person_signs_that(safe: Safe) -> None:
    """The release was signed before the backup and measured after it, and no newer record is left."""
    approve(safe.home)
    safe.copy_home()
    backup = safe.make_backup("records")
    measure(safe.home, safe.keys)
    safe.put_back()
    done = safe.restore("records", backup, "--yes")
    assert done.exit_code == 0
    assert "if a release was measured after" in done.stdout
    with pytest.raises(WaitsForApproval, match=r"where the ledger is kept.* a backup was restored here"):
        measure(safe.home, safe.keys)
    assert charged(safe.home) == 0
    ledger = [each for each in examine(safe.home.root, safe.root, safe.keys) if each.what == "ledger"]
    assert ledger[-1].state is CheckStatus.LOOK
    assert "would be drawn and paid for a second time" in ledger[-1].sentence
    assert approve(safe.home).exit_code == 0
    sheet = safe.home.get_decision_sheet_path(VERSION, "measurement").read_text(encoding="utf-8")
    assert re.search(
        r"This home was restored on .* \(records of .*\)\. Anything that was measured elsewhere since", sheet
    )
    assert render_sheet(safe.home, build_measurement_request(Release(safe.home, VERSION))) == sheet
    measure(safe.home, safe.keys)
    assert charged(safe.home) == 3
    assert explain_unconfirmed_ledger(safe.home) == ""


def test_records_that_are_older_than_a_bundle_in_the_release_directory(safe: Safe) -> None:
    """The bundle is found where it is, without a place of publication, by restore and by doctor alike."""
    shutil.rmtree(safe.home.root)
    safe.books.home.prepare()
    safe.books.release(VERSION)
    records = safe.make_backup("records")
    safe.books.release("2026.12.0")
    safe.books.lose_ledger()
    done = safe.restore("records", records, "--yes")
    message = f"knows nothing of release 2026.12.0, which is published at {safe.home.release / '2026.12.0'}"
    assert (done.exit_code, message in done.stdout) == (5, True), done.output
    states = [
        each.sentence for each in examine(safe.home.root, safe.root, safe.keys) if each.state is CheckStatus.MISSING
    ]
    assert [each for each in states if "2026.12.0 was charged for" in each and "does not know it" in each]


def charge(home: Home, *versions: str) -> None:
    ledger = home.open_ledger()
    ledger.approve(COHORT, 0.3)
    for version in versions:
        ledger.commit(ledger.reserve(COHORT, version, "pupil", 0.01, "p" * 64, "m" * 64), "s" * 64)


@pytest.mark.parametrize("known", ["charged", "published"])
def test_a_version_below_a_known_one_is_refused(safe: Safe, known: str) -> None:
    """Whether it is to be measured or to use what was measured."""
    if known == "charged":
        charge(safe.home, "2026.11.1")
    else:
        (safe.home.release / "2026.11.1").mkdir()
    for version in ("2025.01.0", "2026.10.9", "2026.11.0"):
        if known == "charged":
            Release(safe.home, version).write_record({COHORT: CohortRecord(version)})  # it was begun before the other
        for asked in (ReleaseOptions(), ReleaseOptions(reuse=True)):
            with pytest.raises(InvalidVersion, match=rf"{version} is older than 2026\.11\.1, .* Versions only rise"):
                check_options(CohortRelease(safe.home.get_cohort(COHORT), version), asked)


def test_versions_that_are_there_are_run_again_and_newer_ones_begun(safe: Safe) -> None:
    charge(safe.home, "2026.10.0", "2026.11.1")
    (safe.home.held / "2026.10.3").mkdir(parents=True)
    for version in ("2026.10.0", "2026.10.3", "2026.11.1", "2026.11.2", "2026.12.0"):
        check_options(CohortRelease(safe.home.get_cohort(COHORT), version), ReleaseOptions())
