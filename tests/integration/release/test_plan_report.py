"""`readiness plan`: as JSON, and whether the share asked for fits the budget."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from assets.home.paths import Home
from assets.release.fix_release import compute_remaining_budget
from ndl_export.tables import TABLES
from pipelines.cli import main
from privacy.release.ledger import Ledger, Reservation
from privacy.release.policy import load_policy
from sources.reference.places import PILOT

COHORT = "202425"


def plan(home: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["plan", "--home", str(home), "--cohort", COHORT, *options])


@pytest.fixture
def spent(tmp_path: Path) -> Path:
    """A home whose first release has spent the whole split."""
    ledger, policy = Ledger(Home(tmp_path).ledger), load_policy()
    for unit, account in policy.accounts.items():
        ledger.approve(COHORT, account.cap_rho, unit=unit)
        for family, rho in account.split.items():
            ledger.reserve(COHORT, "2026.11.0", family, rho, "p" * 64, "m" * 64, unit=unit)
    return tmp_path


def test_one_council_is_shown_alone_and_must_take_part(tmp_path: Path) -> None:
    shown = plan(tmp_path, "--council", "leeds").output
    assert shown.count("Leeds") == len(TABLES)
    assert "Halton" not in shown
    refused = plan(tmp_path, "--council", "york")
    assert refused.exit_code == 1
    assert all(council in refused.output for council in PILOT)


def test_a_share_that_does_not_fit_is_said_before_a_release(spent: Path) -> None:
    policy = load_policy()
    room = compute_remaining_budget(Home(spent).get_cohort(COHORT), 0.5)
    assert not room.fits
    assert room.left_rho == {
        unit: pytest.approx(account.cap_rho - sum(account.split.values())) for unit, account in policy.accounts.items()
    }
    assert compute_remaining_budget(Home(spent).get_cohort(COHORT), room.largest_share).fits
    assert not compute_remaining_budget(Home(spent).get_cohort(COHORT), room.largest_share + 0.001).fits
    refused = plan(spent, "--share", "0.5")
    assert refused.exit_code == 3
    message = " ".join(refused.output.split())
    assert f"it does not fit; the largest share that would is {room.largest_share:g}" in message
    assert plan(spent, "--share", f"{room.largest_share:g}").exit_code == 0
    for unit, account in policy.scale(room.largest_share).accounts.items():
        Ledger(Home(spent).ledger).check_fits(COHORT, "2026.12.0", account.split, unit=unit)


def test_a_share_of_the_split_is_not_held_to_the_minimum_and_opens_no_ledger(tmp_path: Path) -> None:
    message = " ".join(plan(tmp_path, "--share", "0.01").output.split())
    assert "NOT MET" in message
    assert "a share is measured all the same" in message
    assert "rho 0.3000 for a child and rho 0.1850 for a response: it fits" in message
    assert list(tmp_path.iterdir()) == []


def test_after_a_release_a_plan_says_what_is_left_and_that_the_same_again_costs_nothing(spent: Path) -> None:
    ledger = Ledger(Home(spent).ledger)
    for charge in ledger.list_charges():
        ledger.commit(Reservation(charge.entry), "f" * 64)
    message = " ".join(plan(spent).output.split())
    assert "Already measured and paid for: release 2026.11.0. The same release again charges nothing" in message
    assert "Another release could spend a share of at most 0.233" in message
    assert "does not fit" not in message
    another = plan(spent, "--share", "0.2")
    assert another.exit_code == 0
    assert "with a share of 0.2, would charge rho 0.0430 for a child" in " ".join(another.output.split())
    room = json.loads(plan(spent, "--json").output)["budget"]
    assert (room["releases"], room["share"], room["share_was_asked"]) == (["2026.11.0"], 1.0, False)
