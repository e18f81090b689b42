"""`readiness plan` and `readiness budget`: whether a share fits, what was spent, on what, and what became of it."""

import json
import os
import re
import sqlite3
from pathlib import Path

import pytest
from click.testing import Result

from assets.home.paths import Home
from assets.release.fix_release import compute_remaining_budget
from ndl_export.tables import TABLES
from privacy.release.ledger import Ledger, Reservation
from privacy.release.mechanism import compute_epsilon
from privacy.release.policy import load_policy
from sources.reference.places import PILOT
from tests.support.areas import describe_missing
from tests.support.installation.commands import invoke

COHORT = "202425"


def plan(home: Path, *options: str) -> Result:
    return invoke("plan", "--home", home, "--cohort", COHORT, *options)


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


CHARGES = (
    ("2026.11.0", "pupil", 0.1),
    ("2026.11.0", "health", 0.03),
    ("2027.02.0", "pupil", 0.05),
    ("2027.02.1", "pupil", 0.02),
)


def budget(home: Path, *options: str) -> Result:
    return invoke("budget", "--home", home, *options)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two releases and a revision: one charge given back, one still open."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.approve("202425", 0.30)
    made = [ledger.reserve("202425", release, family, rho, "p", "m") for release, family, rho in CHARGES]
    ledger.commit(made[0], "f" * 64)
    ledger.commit(made[1], "e" * 64)
    ledger.void(ledger.reserve("202425", "2027.02.2", "pupil", 0.05, "p", "m"), "stopped")
    ledger.commit(made[2], "f" * 64)
    return tmp_path


def test_the_statement_adds_up(home: Path) -> None:
    (account,) = json.loads(budget(home, "--json").output)
    assert [(c["release"], c["family"], c["rho"]) for c in account["charges"]] == list(CHARGES)
    assert [c["state"] for c in account["charges"]] == ["measured", "measured", "measured", "open"]
    assert [(r["release"], r["rho"], r["to_date_rho"]) for r in account["releases"]] == [
        ("2026.11.0", 0.13, 0.13),
        ("2027.02.0", 0.05, 0.18),
        ("2027.02.1", 0.02, 0.2),
    ]
    assert (account["cap_rho"], account["spent"]["rho"], account["remaining_rho"]) == (0.3, 0.2, 0.1)
    assert account["given_back"] == 1
    assert (
        account["releases"][0]["epsilon"]
        == compute_epsilon(0.13, 1e-6)
        < sum(compute_epsilon(r, 1e-6) for r in (0.1, 0.03))
    )


def test_lines_that_are_no_signatures_are_reported(home: Path) -> None:
    ledger = Ledger(home / "ledger.sqlite")
    assert "are ignored" not in budget(home).output
    for content in ('{"kind":"allowed","approvals":7}', "not JSON"):
        ledger.add_sign_off(content)
    for shown in (budget(home), invoke("doctor", "--home", home)):
        assert re.search(r"2 lines .* are\s+ignored: 1, 2\.", shown.output, re.DOTALL), shown.output


def test_the_table_has_every_charge_with_its_state(home: Path) -> None:
    text = budget(home).output
    rows = [line.split() for line in text.splitlines()]
    assert any(row[:3] == ["2026.11.0", "health", "measured"] and row[-2:] == ["0.0300", "1.12"] for row in rows)
    message = " ".join(text.split())
    for part in ("Open: a run is drawing noise now", "Given back: 1 times", "of rho 0.3000, 0.2000 is spent"):
        assert part in message
    assert "2027.02.2" not in text


def test_a_ledger_that_is_out_of_reach_is_one_sentence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg2", reason=describe_missing("postgresql"))
    monkeypatch.setenv("READINESS_LEDGER", "postgresql://someone:s3cret@127.0.0.1:1/nothing")
    landing = home / "landing"
    (landing / "leeds" / "eyfsp").mkdir(parents=True)
    (landing / "leeds" / "eyfsp" / "202425.csv").write_text("upn\n")
    os.utime(landing / "leeds" / "eyfsp" / "202425.csv", (0, 0))
    run = ("run", "--landing", landing, "--keys", home / "keys", "--create-keys", "--cohort", "202425")
    for command in (("budget",), run):
        done = invoke(*command, "--home", home)
        assert done.exit_code == 5
        assert "readiness: the ledger's database cannot be reached" in done.output
        assert "s3cret" not in done.output


def test_no_ledger_and_a_broken_one_are_one_sentence(home: Path, tmp_path: Path) -> None:
    nowhere = budget(tmp_path / "elsewhere")
    assert (nowhere.exit_code, "no release has been made" in nowhere.output) == (1, True)
    with sqlite3.connect(home / "ledger.sqlite") as connection:
        connection.execute("DROP TRIGGER never_update")
        connection.execute("UPDATE entries SET nano_rho = 1 WHERE seq = 2")
    broken = budget(home)
    assert broken.exit_code == 5
    assert "entry 2 of the ledger was altered" in broken.output
