"""Properties specific to a ledger in a database server: locks across sessions, roles, and server settings."""

import multiprocessing
import os
import signal
import sys
import threading
from contextlib import closing

import pytest

from privacy.release.ledger import BudgetExceeded, Ledger
from privacy.release.ledger_storage import Entry, LedgerUnavailable
from tests.support.areas import describe_missing
from tests.support.release import postgres
from tests.support.release.backends import PostgreSQL, approve_budget
from tests.support.waiting import PATIENCE, run_processes, wait_until

SPAWN = multiprocessing.get_context("spawn")


def spending(barrier, location, release, rho):
    """Wait for the other processes and charge; exit with 1 if the budget does not allow it."""
    ledger = Ledger(location)
    barrier.wait()
    try:
        ledger.reserve("202425", release, "pupil", rho, "p" * 64, "m" * 64)
    except BudgetExceeded:
        sys.exit(1)


def holding(held, location):
    """Take the lock of a measuring process, signal that, and hold it until killed."""
    with Ledger(location).lock_exclusively():
        held.set()
        signal.pause()


@pytest.fixture
def backend(database_server: postgres.Server) -> PostgreSQL:
    return PostgreSQL(database_server.empty())


def test_of_processes_racing_for_the_last_of_the_budget_one_gets_it(backend):
    ledger, barrier = approve_budget(backend), SPAWN.Barrier(2)
    ledger.reserve("202425", "1", "pupil", 0.2, "p" * 64, "m" * 64)
    racers = (SPAWN.Process(target=spending, args=(barrier, backend.location, f"2.{n}", 0.1)) for n in range(2))
    assert sorted(run_processes(*racers)) == [0, 1]
    assert ledger.compute_remaining("202425") == 0
    ledger.verify_chain()


def test_sessions_that_ignore_the_lock_cannot_overspend(backend):
    import psycopg2

    ledger = approve_budget(backend)
    first, second = (psycopg2.connect(backend.location).cursor() for _ in range(2))
    insert = (
        "INSERT INTO readiness_ledger.entries SELECT 2, 'RESERVE', cohort, %s, 'pupil', 200000000, '', '', '', '',"
        " unit, recorded_at, entry_hash, %s FROM readiness_ledger.entries"
    )
    first.execute(insert, ("1", "a"))
    refused: list[Exception] = []

    def other() -> None:
        try:
            second.execute(insert, ("2", "b"))
        except psycopg2.Error as error:
            refused.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    first.connection.commit()
    thread.join(PATIENCE)
    first.connection.close()
    second.connection.close()
    assert isinstance(refused[0], psycopg2.IntegrityError)
    assert len(ledger.list_entries()) == 2


def test_the_lock_of_a_process_that_was_killed_is_let_go(backend):
    approve_budget(backend)
    held = SPAWN.Event()
    holder = SPAWN.Process(target=holding, args=(held, backend.location))
    holder.start()
    assert held.wait(PATIENCE)
    entered = threading.Event()

    def enter() -> None:
        with Ledger(backend.location).lock_exclusively():
            entered.set()

    waiting = threading.Thread(target=enter)
    waiting.start()
    assert not entered.wait(0.3)
    holder.kill()
    holder.join(PATIENCE)
    assert holder.exitcode == -signal.SIGKILL
    assert entered.wait(PATIENCE)
    waiting.join()


def test_the_wait_for_the_lock_ends_with_a_signal(backend):
    approve_budget(backend)
    held, other = SPAWN.Event(), SPAWN.Event()
    holder, waiting = (SPAWN.Process(target=holding, args=(each, backend.location)) for each in (held, other))
    holder.start()
    assert held.wait(PATIENCE)
    waiting.start()
    tries = "SELECT 1 FROM pg_stat_activity WHERE starts_with(query, 'SELECT pg_try_advisory_lock')"
    wait_until(lambda: len(backend.execute_raw(tries)) == 2)
    assert not other.is_set()
    os.kill(waiting.pid, signal.SIGINT)
    waiting.join(PATIENCE)
    assert waiting.exitcode == 1
    holder.kill()
    holder.join()


def test_a_worker_needs_to_read_and_append_and_no_more(backend):
    from psycopg2.errors import InsufficientPrivilege

    approve_budget(backend)
    backend.execute_raw(
        "CREATE ROLE worker LOGIN; GRANT USAGE ON SCHEMA readiness_ledger TO worker; "
        "GRANT SELECT, INSERT ON readiness_ledger.entries TO worker"
    )
    url = backend.location.replace(postgres.OWNER, "worker", 1)
    with pytest.raises(LedgerUnavailable, match=r"SELECT and INSERT on .*sign_offs"):
        Ledger(url).add_sign_off("{}")
    backend.execute_raw("GRANT SELECT, INSERT ON readiness_ledger.sign_offs TO worker")
    ledger = Ledger(url)
    ledger.add_sign_off("{}")
    ledger.commit(ledger.reserve("202425", "1", "pupil", 0.1, "p" * 64, "m" * 64), "f" * 64)
    for statement in (
        "UPDATE readiness_ledger.entries SET nano_rho = 1",
        "DELETE FROM readiness_ledger.sign_offs",
        "DROP TRIGGER never_update ON readiness_ledger.entries",
        "SET session_replication_role = replica",
    ):
        with pytest.raises(InsufficientPrivilege):
            postgres.execute(url, statement)


def test_a_table_without_its_triggers_is_refused(backend):
    approve_budget(backend)
    backend.execute_raw("ALTER TABLE entries DISABLE TRIGGER never_update")
    with pytest.raises(LedgerUnavailable, match="lost its trigger never_update"):
        Ledger(backend.location)


def test_a_server_that_may_forget_is_refused(backend):
    import psycopg2

    approve_budget(backend)
    with closing(psycopg2.connect(backend.location)) as connection:
        connection.autocommit = True  # ALTER SYSTEM runs in no transaction
        cursor = connection.cursor()
        cursor.execute("ALTER SYSTEM SET fsync = off")
        cursor.execute("SELECT pg_reload_conf(), pg_sleep(0.2)")
        try:
            with pytest.raises(LedgerUnavailable, match="fsync off"):
                Ledger(backend.location)
        finally:
            cursor.execute("ALTER SYSTEM RESET fsync")
            cursor.execute("SELECT pg_reload_conf()")


def test_a_connection_that_breaks_in_the_middle_is_said_and_charges_nothing(backend):
    ledger = approve_budget(backend)

    def broken() -> None:
        with ledger._storage.begin_writing() as logs:
            backend.execute_raw("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            logs.read(Entry)

    with pytest.raises(LedgerUnavailable, match=r"broke off.*run again finds out"):
        broken()
    assert len(ledger.list_entries()) == 1


def test_a_server_that_is_not_there_is_said_without_the_password():
    pytest.importorskip("psycopg2", reason=describe_missing("postgresql"))
    with pytest.raises(LedgerUnavailable, match="cannot be reached") as refused:
        Ledger("postgresql://someone:s3cret@127.0.0.1:1/nothing")
    assert "s3cret" not in str(refused.value)


def test_without_the_client_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    monkeypatch.delitem(sys.modules, "privacy.release.ledger_postgres", raising=False)
    with pytest.raises(LedgerUnavailable, match="extra `postgres`"):
        Ledger("postgresql:///nothing")
