"""A PostgreSQL server for tests, run from the system's binaries; it listens only on a socket in its own folder."""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.areas import describe_missing
from tests.support.waiting import PATIENCE, wait_until

OWNER = "ledger_owner"
UNPRIVILEGED = "nobody"


class Server:
    """A running server with one database."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def build_url(self, role: str = OWNER) -> str:
        return f"postgresql://{role}@/postgres?host={self._folder}"

    def empty(self) -> str:
        """Remove any ledger from the database and return its URL."""
        execute(self.build_url(), "SET client_min_messages = error; DROP SCHEMA IF EXISTS readiness_ledger CASCADE")
        return self.build_url()


def execute(url: str, statement: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
    """Run statements in one transaction over a connection of their own, and return the rows of the last."""
    import psycopg2

    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def run_server() -> Iterator[Server]:
    """Run a durable server (fsync is on) for the block, or skip the test where none can run.

    PostgreSQL refuses to run as root, so under root it runs as the user `nobody`.
    """
    binaries = _find_binaries()
    if binaries is None or not all(importlib.util.find_spec(name) for name in ("psycopg2", "dagster_postgres")):
        pytest.skip(describe_missing("postgresql"))
    folder = Path(tempfile.mkdtemp(prefix="ledger-postgres-"))
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    data, log = folder / "data", folder / "log"
    command = [binaries / "initdb", "-D", data, "-U", OWNER, "--auth=trust", "--no-sync", "--encoding=UTF8"]
    subprocess.run(command, check=True, capture_output=True, user=user, cwd=folder)
    options = ["-k", folder, "-c", "listen_addresses=", "-c", "shared_buffers=8MB", "-c", "logging_collector=off"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [binaries / "postgres", "-D", data, *options], stdout=out, stderr=out, user=user, cwd=folder
        )
    try:
        wait_until(lambda: _is_up(Server(folder)), of=process, said=log, every=0.05)
        yield Server(folder)
    finally:
        process.send_signal(signal.SIGQUIT)  # immediate, without a checkpoint: the folder is deleted anyway
        process.wait(PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)


def _is_up(server: Server) -> bool:
    import psycopg2

    try:
        psycopg2.connect(server.build_url()).close()
    except psycopg2.OperationalError:
        return False
    return True


def _find_binaries() -> Path | None:
    """Return the binaries' folder of the newest installed server."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    fit = [folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()]
    return max(fit, key=lambda folder: float(folder.parent.name.removeprefix("pgsql-") or 0), default=None)
