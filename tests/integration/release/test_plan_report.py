"""`readiness plan`: in brief, of one council, whole, as JSON; and whether the share asked for fits the budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from assets.home.paths import Home
from assets.release.begin import room_for
from ndl_export.tables import TABLES
from pipelines.cli import main
from privacy.release.ledger import Ledger
from privacy.release.policy import PolicyError, load_policy
from sources.reference.places import PILOT

COHORT = "202425"


def plan(home: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["plan", "--home", str(home), "--cohort", COHORT, *options])


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> str:
    shown = plan(tmp_path_factory.mktemp("home"))
    assert shown.exit_code == 0
    return shown.output


@pytest.fixture
def spent(tmp_path: Path) -> Path:
    """A home whose first release has spent the whole split."""
    ledger, policy = Ledger(Home(tmp_path).ledger), load_policy()
    for unit, account in policy.accounts.items():
        ledger.approve(COHORT, account.cap_rho, unit=unit)
        for family, rho in account.split.items():
            ledger.reserve(COHORT, "2026.11.0", family, rho, "p" * 64, "m" * 64, unit=unit)
    return tmp_path


def test_in_brief_a_table_is_one_line_and_a_few_warnings(brief: str) -> None:
    lines = brief.splitlines()
    assert len(lines) < 60
    in_brief = [line for line in lines if line.endswith("%")]
    assert [line.split()[0] for line in in_brief] == list(TABLES)
    for line in in_brief:
        least, median, most = (float(width) for width in line.split()[1:4])
        assert least <= median <= most
    assert "in 8 councils" in brief


def test_the_largest_groups_are_warned_of_first(brief: str) -> None:
    warned = [line for line in brief.splitlines() if line.startswith("joined_dots") and "in the median council" in line]
    sizes = [float(line.partition("(of ")[2].split()[0].replace(",", "")) for line in warned]
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes) > 0


def test_all_names_every_area_and_every_warning(brief: str, tmp_path: Path) -> None:
    whole = plan(tmp_path, "--all").output
    found = json.loads(plan(tmp_path, "--json").output)
    assert "see --all" not in whole
    assert whole.count(", withheld in ") == len(found["warnings"]) >= brief.count(", withheld in ")
    assert sum(line.startswith("gld_headline") and "Liverpool City Region" in line for line in whole.splitlines()) == 1


def test_one_council_is_shown_alone_and_must_take_part(tmp_path: Path) -> None:
    shown = plan(tmp_path, "--council", "leeds").output
    assert shown.count("Leeds") == len(TABLES)
    assert "Halton" not in shown
    refused = plan(tmp_path, "--council", "york")
    assert refused.exit_code == 1
    assert all(council in refused.output for council in PILOT)


def test_a_plan_opens_no_ledger(tmp_path: Path) -> None:
    assert "rho 0.3 for a child and rho 0.185 for a response left: it fits" in plan(tmp_path).output
    assert list(tmp_path.iterdir()) == []


def test_a_share_that_does_not_fit_is_said_before_a_release(spent: Path) -> None:
    policy = load_policy()
    room = room_for(Home(spent), COHORT, 0.5)
    assert not room.fits
    assert room.left_rho == {
        unit: pytest.approx(account.cap_rho - sum(account.split.values())) for unit, account in policy.accounts.items()
    }
    assert room_for(Home(spent), COHORT, room.largest_share).fits
    assert not room_for(Home(spent), COHORT, room.largest_share + 0.001).fits
    refused = plan(spent, "--share", "0.5")
    assert refused.exit_code == 1
    assert f"IT DOES NOT FIT; the largest share that would is {room.largest_share:g}" in refused.output
    assert plan(spent, "--share", f"{room.largest_share:g}").exit_code == 0
    for unit, account in policy.scaled(room.largest_share).accounts.items():
        Ledger(Home(spent).ledger).check_fits(COHORT, "2026.12.0", account.split, unit=unit)


def test_a_share_that_no_release_may_spend_is_refused(tmp_path: Path) -> None:
    refused = plan(tmp_path, "--share", "0.0001")
    assert refused.exit_code == 1
    assert "a release spends a share of at least 0.001, not 0.0001" in refused.output


def test_a_share_of_the_split_is_not_held_to_the_minimum(tmp_path: Path) -> None:
    shown = plan(tmp_path, "--share", "0.01").output
    assert "NOT MET: a share of the split is measured all the same" in shown
    assert "would not be measured" not in shown


def test_what_is_no_share_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError):
        room_for(Home(tmp_path), COHORT, 0.0)
    assert plan(tmp_path, "--share", "1.5").exit_code == 1
