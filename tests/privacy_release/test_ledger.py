"""The ledger refuses, in Python and in SQL, to forget, to change its mind, or to overspend."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import astuple, fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.release import BudgetExceeded, BudgetNotApproved, Entry, Ledger, LedgerCorrupt, ReleaseConflict

PLAN, MAC = "p" * 64, "m" * 64


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    ledger = Ledger(path)
    ledger.approve("202425", 0.30, note="signed by the privacy lead")
    return ledger


def raw(path, statement, parameters=()):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, parameters).fetchall()


def insert(path, entry, verb="INSERT"):
    columns = ", ".join(f.name for f in fields(Entry))
    marks = ", ".join("?" * len(fields(Entry)))
    raw(path, f"{verb} INTO entries ({columns}) VALUES ({marks})", astuple(entry))


def following(ledger, **changes):
    """An entry that would follow the last one."""
    last = ledger.entries()[-1]
    blank = replace(last, seq=last.seq + 1, previous_hash=last.entry_hash, note="", **changes)
    return replace(blank, entry_hash=blank.computed_hash())


def test_a_release_is_charged_and_ended(ledger):
    pupil = ledger.reserve("202425", "2026.11.0", "pupil", 0.185, PLAN, MAC)
    ledger.reserve("202425", "2026.11.0", "health", 0.03, PLAN, MAC)
    assert ledger.remaining("202425") == 0.085
    assert ledger.commit(pupil, "f" * 64).is_committed
    assert ledger.write_off(ledger.find("202425", "2026.11.0", "health"), "power cut").is_written_off
    assert ledger.remaining("202425") == 0.085
    assert [e.kind for e in ledger.entries()] == ["APPROVE", "RESERVE", "RESERVE", "COMMIT", "WRITE_OFF"]
    assert ledger.find("202425", "2026.11.0", "pupil").end.measurement_sha256 == "f" * 64
    assert ledger.find("202425", "2026.11.1", "pupil") is None
    ledger.verify_chain()


def test_a_cohort_is_approved_once(ledger):
    assert ledger.approve("202425", 0.30).seq == 1
    with pytest.raises(BudgetNotApproved, match=r"approved with rho 0\.3; a cap of 0\.4 is not"):
        ledger.approve("202425", 0.40)
    with pytest.raises(BudgetNotApproved, match="no approved budget"):
        ledger.reserve("202526", "1", "pupil", 0.1, PLAN, MAC)
    assert ledger.cap("202425") == 0.30
    assert ledger.cap("202526") == ledger.remaining("202526") == 0


def test_overspending_is_refused_with_what_would_fit(ledger):
    ledger.reserve("202425", "1", "pupil", 0.185, PLAN, MAC)
    with pytest.raises(
        BudgetExceeded, match=r"0\.185 .* 0\.115 left of 0\.3: a plan of rho 0\.115 or less .* 1\.27 times"
    ):
        ledger.reserve("202425", "2", "pupil", 0.185, PLAN, MAC)
    ledger.reserve("202425", "2", "pupil", 0.115, PLAN, MAC)
    with pytest.raises(BudgetExceeded, match="nothing more can be released"):
        ledger.reserve("202425", "3", "pupil", 1e-12, PLAN, MAC)


def test_charges_round_up_and_caps_down(ledger):
    assert ledger.reserve("202425", "1", "pupil", 0.1000000001, PLAN, MAC).entry.nano_rho == 100_000_001
    assert ledger.approve("202526", 0.1000000019).nano_rho == 100_000_001
    for rho in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="rho must be positive"):
            ledger.reserve("202425", "2", "pupil", rho, PLAN, MAC)


def test_a_family_is_charged_once_per_release_and_ended_once(ledger):
    charge = ledger.reserve("202425", "1", "pupil", 0.1, PLAN, MAC)
    with pytest.raises(ReleaseConflict, match="charged once per release"):
        ledger.reserve("202425", "1", "pupil", 0.1, PLAN, MAC)
    ledger.write_off(charge, "lost")
    with pytest.raises(ReleaseConflict, match="already ended as WRITE_OFF"):
        ledger.commit(charge, "f" * 64)
    with pytest.raises(LedgerCorrupt, match="no charge"):
        ledger.commit(replace(charge, entry=replace(charge.entry, nano_rho=1)), "f" * 64)


@pytest.mark.parametrize("name", ["", "a b", "../x"])
def test_names_are_fit_for_paths(ledger, name):
    with pytest.raises(ValueError, match="may hold only"):
        ledger.reserve("202425", name, "pupil", 0.1, PLAN, MAC)
    assert len(ledger.entries()) == 1


def test_raw_sql_can_neither_change_nor_remove(ledger, path):
    ledger.reserve("202425", "1", "pupil", 0.2, PLAN, MAC)
    for statement in (
        "UPDATE entries SET nano_rho = 1",
        "DELETE FROM entries",
        "UPDATE OR REPLACE entries SET seq = 1 WHERE seq = 2",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw(path, statement)
    assert ledger.remaining("202425") == 0.1


@pytest.mark.parametrize("verb", ["INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE", "REPLACE"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "RESERVE", "release": "2", "family": "pupil", "nano_rho": 100_000_001}, "overspend"),
        ({"kind": "RESERVE", "release": "1", "family": "pupil", "nano_rho": 1}, "charged once per release"),
        ({"kind": "RESERVE", "cohort": "202526", "release": "1", "family": "pupil", "nano_rho": 1}, "overspend"),
        ({"kind": "APPROVE", "release": "", "family": "", "nano_rho": 10**12}, "approved once"),
        ({"kind": "COMMIT", "release": "9", "family": "pupil"}, "match one open charge"),
        ({"kind": "COMMIT", "release": "1", "family": "pupil", "nano_rho": 1}, "match one open charge"),
    ],
)
def test_raw_sql_cannot_break_a_rule(ledger, path, verb, changes, message):
    ledger.reserve("202425", "1", "pupil", 0.2, PLAN, MAC)
    before = ledger.entries()
    with pytest.raises(sqlite3.IntegrityError, match=message):
        insert(path, following(ledger, **changes), verb)
    assert ledger.entries() == before


@pytest.mark.parametrize("verb", ["INSERT", "INSERT OR REPLACE"])
def test_raw_sql_cannot_insert_anywhere_but_at_the_end(ledger, path, verb):
    ledger.reserve("202425", "1", "pupil", 0.2, PLAN, MAC)
    entry = following(ledger, kind="RESERVE", release="2", family="pupil", nano_rho=5)
    for wrong in (replace(entry, seq=1), replace(entry, seq=7), replace(entry, previous_hash="0" * 64)):
        with pytest.raises(sqlite3.IntegrityError, match="must follow the last one"):
            insert(path, wrong, verb)
    assert ledger.remaining("202425") == 0.1


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE entries SET nano_rho = 1000 WHERE seq = 2",
        "UPDATE entries SET plan_sha256 = 'x' WHERE seq = 3",
        "DELETE FROM entries WHERE seq = 2",
        "UPDATE entries SET recorded_at = '2020-01-01T00:00:00+00:00' WHERE seq = 1",
    ],
)
def test_who_drops_the_triggers_still_leaves_a_trace(ledger, path, tampering):
    first = ledger.reserve("202425", "1", "pupil", 0.1, PLAN, MAC)
    ledger.commit(first, "f" * 64)
    for trigger in ("never_update", "never_delete"):
        raw(path, f"DROP TRIGGER {trigger}")
    raw(path, tampering)
    with pytest.raises(LedgerCorrupt, match="altered"):
        ledger.verify_chain()
    with pytest.raises(LedgerCorrupt):
        ledger.reserve("202425", "2", "pupil", 0.1, PLAN, MAC)
    with pytest.raises(LedgerCorrupt):
        ledger.find("202425", "1", "pupil")


def test_a_ledger_that_was_cut_short_lacks_what_was_published(ledger, path):
    published = ledger.reserve("202425", "1", "pupil", 0.1, PLAN, MAC).entry.entry_hash
    ledger.verify_chain(anchors=[published])
    raw(path, "DROP TRIGGER never_delete")
    raw(path, "DELETE FROM entries WHERE seq = 2")
    ledger.verify_chain()
    with pytest.raises(LedgerCorrupt, match="which was published"):
        ledger.verify_chain(anchors=[published])


def test_the_file_is_durable(path, ledger):
    assert raw(path, "PRAGMA journal_mode") == [("wal",)]
    with closing(ledger._storage._connect()) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert Ledger(path).entries() == ledger.entries()


def test_racing_charges_cannot_overspend(path, ledger):
    def attempt(number: int) -> bool:
        try:
            Ledger(path).reserve("202425", f"r{number}", "pupil", 0.07, PLAN, MAC)
        except BudgetExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(16))) == 4
    assert ledger.remaining("202425") == 0.02
    ledger.verify_chain()


@settings(max_examples=15, deadline=None)
@given(amounts=st.lists(st.floats(1e-6, 0.2), max_size=8))
def test_the_books_always_balance(tmp_path_factory, amounts):
    ledger = Ledger(tmp_path_factory.mktemp("books") / "ledger.sqlite")
    ledger.approve("c", 0.3)
    spent = 0
    for number, rho in enumerate(amounts):
        try:
            spent += ledger.reserve("c", f"r{number}", "f", rho, PLAN, MAC).entry.nano_rho
        except BudgetExceeded:
            assert spent + rho * 1e9 > 300_000_000 - 1
    assert spent <= 300_000_000
    assert ledger.remaining("c") == (300_000_000 - spent) / 1e9
