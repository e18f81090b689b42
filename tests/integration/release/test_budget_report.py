"""`readiness budget` says what was spent, on what, and what became of it, from the ledger alone."""

import json
import os
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipelines.cli import main
from privacy.release.ledger import Ledger
from privacy.release.mechanism import compute_epsilon
from tests.support.areas import describe_missing

CHARGES = (
    ("2026.11.0", "pupil", 0.1),
    ("2026.11.0", "health", 0.03),
    ("2027.02.0", "pupil", 0.05),
    ("2027.02.1", "pupil", 0.02),
)


def budget(home: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["budget", "--home", str(home), *options])


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
    run = ["run", "--landing", str(landing), "--home", str(home), "--keys", str(home / "keys"), "--create-keys"]
    for command in (["budget", "--home", str(home)], [*run, "--cohort", "202425"]):
        done = CliRunner().invoke(main, command)
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
