"""The ledger refuses, in Python and in SQL, to delete or change entries, or to overspend."""

import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import HealthCheck, given, strategies as st

from privacy.release.ledger import (
    BudgetExceeded,
    BudgetNotApproved,
    Ledger,
    LedgerCorrupt,
    ReleaseConflict,
    StatedCharge,
)
from privacy.release.ledger_storage import LedgerUnavailable
from tests.support.daily import limit_examples
from tests.support.release.backends import PostgreSQL, SQLite, approve_budget

PLAN, MAC = "p" * 64, "m" * 64


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request, tmp_path):
    if request.param == "sqlite":
        return SQLite(tmp_path)
    return PostgreSQL(request.getfixturevalue("database_server").empty())


@pytest.fixture
def ledger(backend):
    return approve_budget(backend)


def following(ledger, **changes):
    """Return an entry that would follow the last one."""
    last = ledger.list_entries()[-1]
    blank = replace(last, seq=last.seq + 1, previous_hash=last.entry_hash, note="", **changes)
    return replace(blank, entry_hash=blank.compute_hash())


def test_a_ledger_keeps_its_place_while_it_is_written_and_read(backend, ledger):
    place = ledger.find_place()
    ledger.reserve("202425", "2026.11.0", "pupil", 0.185, PLAN, MAC)
    assert Ledger(backend.location).find_place() == ledger.find_place() == place


def test_a_copy_of_a_file_is_at_another_place_and_a_file_that_was_moved_is_not(tmp_path):
    """Also a copy that replaced the original with all its times: inodes are reused, birth times are not."""
    one, two, three = (tmp_path / f"{name}.sqlite" for name in ("one", "two", "three"))
    place = Ledger(one).find_place()
    shutil.copy2(one, two)
    assert Ledger(two).find_place() != place
    one.rename(three)
    assert Ledger(three).find_place() == place
    three.unlink()
    shutil.copy2(two, three)
    assert Ledger(three).find_place() not in (place, Ledger(two).find_place())


def test_tables_that_were_made_anew_are_at_another_place(database_server):
    """Such as tables restored from a dump, for a worker that may only read and add rows."""
    from privacy.release.ledger_postgres import _PLACE

    place = Ledger(location := database_server.empty()).find_place()
    PostgreSQL(location).execute_raw("CREATE ROLE reader; GRANT USAGE ON SCHEMA readiness_ledger TO reader")
    PostgreSQL(location).execute_raw(f"SET ROLE reader; {' '.join(_PLACE.split())}")
    assert Ledger(database_server.empty()).find_place() != place


def test_a_release_is_charged_and_ended(ledger):
    pupil = ledger.reserve("202425", "2026.11.0", "pupil", 0.185, PLAN, MAC)
    ledger.reserve("202425", "2026.11.0", "health", 0.03, PLAN, MAC)
    assert ledger.compute_remaining("202425") == 0.085
    assert ledger.commit(pupil, "f" * 64).is_committed
    ledger.void(ledger.find("202425", "2026.11.0", "health"), "power cut")
    assert ledger.find("202425", "2026.11.0", "health") is None
    assert ledger.compute_remaining("202425") == 0.115
    ledger.commit(ledger.reserve("202425", "2026.11.0", "health", 0.02, PLAN, MAC), "e" * 64)
    assert ledger.compute_remaining("202425") == 0.095
    assert [e.kind for e in ledger.list_entries()] == [
        "APPROVE",
        "RESERVE",
        "RESERVE",
        "COMMIT",
        "VOID",
        "RESERVE",
        "COMMIT",
    ]
    assert ledger.find("202425", "2026.11.0", "pupil").end.measurement_sha256 == "f" * 64
    assert ledger.find("202425", "2026.11.1", "pupil") is None
    ledger.verify_chain()


def test_a_cohort_is_approved_once(ledger):
    assert ledger.approve("202425", 0.30).seq == 1
    with pytest.raises(BudgetNotApproved, match=r"approved with rho 0\.3; a cap of 0\.4 is not"):
        ledger.approve("202425", 0.40)
    with pytest.raises(BudgetNotApproved, match="no approved budget"):
        ledger.reserve("202526", "1", "pupil", 0.1, PLAN, MAC)
    assert ledger.get_cap("202425") == 0.30
    assert ledger.get_cap("202526") == ledger.compute_remaining("202526") == 0


def test_overspending_is_refused_with_what_would_fit(ledger):
    ledger.reserve("202425", "1", "pupil", 0.185, PLAN, MAC)
    with pytest.raises(
        BudgetExceeded, match=r"0\.185 .* 0\.115 left of 0\.3: a plan of rho 0\.115 or less \(62\.1%.* 1\.27 times"
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
    ledger.void(charge, "stopped")
    with pytest.raises(ReleaseConflict, match="already ended as VOID"):
        ledger.commit(charge, "f" * 64)
    again = ledger.reserve("202425", "1", "pupil", 0.1, PLAN, MAC)
    with pytest.raises(ReleaseConflict, match="already ended"):
        ledger.commit(charge, "f" * 64)
    ledger.commit(again, "f" * 64)
    for end in (ledger.void, ledger.commit):
        with pytest.raises(ReleaseConflict, match="already ended as COMMIT"):
            end(again, "f" * 64)
    with pytest.raises(ReleaseConflict, match="charged once per release"):
        ledger.reserve("202425", "1", "pupil", 0.1, PLAN, MAC)
    with pytest.raises(LedgerCorrupt, match="no charge"):
        ledger.commit(replace(charge, entry=replace(charge.entry, nano_rho=1)), "f" * 64)


@pytest.mark.parametrize("name", ["", "a b", "../x"])
def test_names_are_fit_for_paths(ledger, name):
    with pytest.raises(ValueError, match="may hold only"):
        ledger.reserve("202425", name, "pupil", 0.1, PLAN, MAC)
    assert len(ledger.list_entries()) == 1


def test_raw_sql_can_neither_change_nor_remove(ledger, backend):
    ledger.reserve("202425", "1", "pupil", 0.2, PLAN, MAC)
    identity = ledger.get_identity()
    ledger.add_sign_off('{"kind":"approval"}')
    for table in ("entries", "sign_offs"):
        for statement in backend.changes:
            with pytest.raises(backend.refused, match="append-only"):
                backend.execute_raw(statement.format(table))
    with pytest.raises(backend.refused, match="must follow the last one"):
        backend.execute_raw("INSERT INTO sign_offs VALUES (7, '{}', '', '', 'a')")
    assert ledger.compute_remaining("202425") == 0.1
    assert (ledger.get_identity(), len(ledger.sign_offs())) == (identity, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "RESERVE", "release": "2", "family": "pupil", "nano_rho": 100_000_001}, "overspend"),
        ({"kind": "RESERVE", "release": "1", "family": "pupil", "nano_rho": 1}, "charged once per release"),
        ({"kind": "RESERVE", "cohort": "202526", "release": "1", "family": "pupil", "nano_rho": 1}, "overspend"),
        ({"kind": "APPROVE", "release": "", "family": "", "nano_rho": 10**12}, "approved once"),
        ({"kind": "COMMIT", "release": "9", "family": "pupil"}, "match one open charge"),
        ({"kind": "COMMIT", "release": "1", "family": "pupil", "nano_rho": 1}, "match one open charge"),
        ({"kind": "VOID", "release": "1", "family": "pupil", "nano_rho": 1}, "match one open charge"),
        ({"kind": "VOID", "release": "0", "family": "pupil", "nano_rho": 100_000_000}, "match one open charge"),
        ({"kind": "VOID", "release": "9", "family": "pupil"}, "match one open charge"),
        ({"kind": "APPROVE", "release": "", "family": "", "nano_rho": 10**12, "unit": "response"}, "approved once"),
        ({"kind": "RESERVE", "release": "1", "family": "a", "nano_rho": 50_000_001, "unit": "response"}, "overspend"),
        ({"kind": "RESERVE", "release": "1", "family": "a", "nano_rho": 1, "unit": "other"}, "overspend"),
        ({"kind": "VOID", "release": "1", "family": "parents", "nano_rho": 50_000_000}, "match one open charge"),
    ],
)
def test_raw_sql_cannot_break_a_rule(ledger, backend, changes, message):
    """Neither within one account nor across two: the last charge of responses is no charge of a child. By none of the
    backend's ways to insert."""
    ledger.approve("202425", 0.1, unit="response")
    ledger.reserve("202425", "1", "parents", 0.05, PLAN, MAC, unit="response")
    ledger.commit(ledger.reserve("202425", "0", "pupil", 0.1, PLAN, MAC), "f" * 64)
    ledger.reserve("202425", "1", "pupil", 0.1, PLAN, MAC)
    before = ledger.list_entries()
    for verb in backend.verbs:
        with pytest.raises(backend.refused, match=message):
            backend.insert(following(ledger, **changes), verb)
    assert ledger.list_entries() == before


def test_raw_sql_cannot_insert_anywhere_but_at_the_end(ledger, backend):
    ledger.reserve("202425", "1", "pupil", 0.2, PLAN, MAC)
    entry = following(ledger, kind="RESERVE", release="2", family="pupil", nano_rho=5)
    wrong = (replace(entry, seq=1), replace(entry, seq=7), replace(entry, previous_hash="0" * 64))
    for each, verb in product(wrong, backend.verbs):
        with pytest.raises(backend.refused, match="must follow the last one"):
            backend.insert(each, verb)
    assert ledger.compute_remaining("202425") == 0.1


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE entries SET nano_rho = 1000 WHERE seq = 2",
        "UPDATE entries SET plan_sha256 = 'x' WHERE seq = 3",
        "DELETE FROM entries WHERE seq = 2",
        "UPDATE entries SET recorded_at = '2020-01-01T00:00:00+00:00' WHERE seq = 1",
        "UPDATE sign_offs SET content = '{}' WHERE seq = 1",
        "DELETE FROM sign_offs WHERE seq = 1",
    ],
)
def test_who_drops_the_triggers_still_leaves_a_trace(ledger, backend, tampering):
    first = ledger.reserve("202425", "1", "pupil", 0.1, PLAN, MAC)
    ledger.commit(first, "f" * 64)
    for _ in range(2):
        ledger.add_sign_off('{"kind":"approval"}')
    table = "sign_offs" if "sign_offs" in tampering else "entries"
    for trigger in ("never_update", "never_delete"):
        backend.drop(trigger, table)
    backend.execute_raw(tampering)
    with pytest.raises(LedgerCorrupt, match="altered"):
        ledger.verify_chain()
    uses = {
        "entries": (
            lambda: ledger.reserve("202425", "2", "pupil", 0.1, PLAN, MAC),
            lambda: ledger.find("202425", "1", "pupil"),
        ),
        "sign_offs": (lambda: ledger.add_sign_off("{}"), ledger.get_identity),
    }
    for use in uses[table]:
        with pytest.raises(LedgerCorrupt):
            use()


def test_a_ledger_that_was_cut_short_lacks_what_was_published(ledger, backend):
    charge = ledger.reserve("202425", "1", "pupil", 0.1, PLAN, MAC)
    published = StatedCharge("a bundle", "202425", "1", "pupil", PLAN, charge.entry.entry_hash)
    with pytest.raises(LedgerCorrupt, match="a bundle states for pupil of release 1, cohort 202425"):
        ledger.check_known([published])
    ledger.commit(charge, "f" * 64)
    ledger.check_known([published])
    backend.drop("never_delete")
    backend.execute_raw("DELETE FROM entries WHERE seq > 1")
    ledger.verify_chain()
    with pytest.raises(LedgerCorrupt, match="another ledger, or an old copy"):
        ledger.check_known([published])


def test_entries_that_follow_from_nothing_are_seen(ledger, backend):
    """Even if someone drops the triggers and rebuilds the hash chain."""
    backend.drop("end_once" if isinstance(backend, SQLite) else "only_append")
    ledger.commit(ledger.reserve("202425", "1", "pupil", 0.1, PLAN, MAC), "f" * 64)
    backend.insert(following(ledger, kind="VOID"), "INSERT INTO {} ")
    with pytest.raises(LedgerCorrupt, match="entry 4 of the ledger, VOID, does not follow"):
        ledger.compute_remaining("202425")


def test_the_file_is_durable(tmp_path):
    backend = SQLite(tmp_path)
    ledger = approve_budget(backend)
    assert backend.execute_raw("PRAGMA journal_mode") == [("wal",)]
    with closing(ledger._storage._connect()) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_racing_charges_cannot_overspend(backend, ledger):
    def attempt(number: int) -> bool:
        try:
            Ledger(backend.location).reserve("202425", f"r{number}", "pupil", 0.07, PLAN, MAC)
        except BudgetExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(16))) == 4
    assert ledger.compute_remaining("202425") == 0.02
    ledger.verify_chain()


@limit_examples(15, [HealthCheck.function_scoped_fixture])
@given(amounts=st.lists(st.floats(1e-6, 0.2), max_size=8))
def test_the_books_always_balance(ledger, amounts):
    cohort = f"c{len(ledger.list_entries())}"
    ledger.approve(cohort, 0.3)
    spent = 0
    for number, rho in enumerate(amounts):
        if spent + math.ceil(rho * 1e9) <= 300_000_000:
            spent += ledger.reserve(cohort, f"r{number}", "f", rho, PLAN, MAC).entry.nano_rho
            continue
        with pytest.raises(BudgetExceeded) as refused:
            ledger.reserve(cohort, f"r{number}", "f", rho, PLAN, MAC)
        assert refused.value.left == ledger.compute_remaining(cohort)
    assert spent <= 300_000_000
    assert ledger.compute_remaining(cohort) == (300_000_000 - spent) / 1e9


def test_units_have_accounts_of_their_own(ledger):
    """Charges for responses do not reduce the children's budget, and neither account can be raised."""
    with pytest.raises(BudgetNotApproved, match="no approved budget for a response"):
        ledger.reserve("202425", "1", "parents", 0.1, PLAN, MAC, unit="response")
    ledger.approve("202425", 0.185, unit="response")
    charge = ledger.reserve("202425", "1", "parents", 0.15, PLAN, MAC, unit="response")
    assert charge.entry.unit == "response"
    assert (ledger.compute_remaining("202425"), ledger.compute_remaining("202425", "response")) == (0.3, 0.035)
    with pytest.raises(BudgetExceeded, match=r"for a response of cohort 202425, which has rho 0\.035 left"):
        ledger.reserve("202425", "2", "parents", 0.15, PLAN, MAC, unit="response")
    with pytest.raises(BudgetExceeded):
        ledger.check_fits("202425", "2", {"parents": 0.15}, unit="response")
    with pytest.raises(BudgetNotApproved, match="approved once"):
        ledger.approve("202425", 0.3, unit="response")
    ledger.reserve("202425", "1", "pupil", 0.3, PLAN, MAC)
    ledger.commit(charge, "f" * 64)
    assert ledger.sum_other_charges("202425", "2", "response") == 150_000_000
    assert ledger.sum_other_charges("202425", "2") == 0
    ledger.verify_chain()


def test_a_release_is_not_begun_that_would_stop_halfway(ledger):
    split = {"pupil": 0.15, "health": 0.05}
    ledger.check_fits("202425", "1", split)
    for family, rho in split.items():
        ledger.reserve("202425", "1", family, rho, PLAN, MAC)
    ledger.check_fits("202425", "1", split)
    with pytest.raises(
        BudgetExceeded,
        match=r"release 2 \(pupil, health\) would charge rho 0\.2 .* 0\.1 left of 0\.3: .*\(50% of what was asked\)",
    ):
        ledger.check_fits("202425", "2", split)
    ledger.reserve("202425", "2", "pupil", 0.05, PLAN, MAC)
    ledger.check_fits("202425", "2", split)
    assert ledger.compute_remaining("202425") == 0.05


def test_what_is_no_ledger_is_not_opened(tmp_path):
    (tmp_path / "ledger.sqlite").write_text("not a database" * 100)
    with pytest.raises(LedgerUnavailable, match=r"ledger\.sqlite cannot be opened: file is not a database"):
        Ledger(tmp_path / "ledger.sqlite")
