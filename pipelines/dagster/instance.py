"""Dagster's storage in a home folder: its event log, closing runs of dead processes, and retention."""

import datetime as dt
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Lock
from typing import Any

import dagster as dg
import sqlalchemy
from dagster._core.instance.ref import InstanceRef
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS

from assets.home import processing_log, retention_policy
from assets.home.paths import Home
from assets.keeping.retention import expire, find_due_items
from privacy.doors import clock, environment, locks
from privacy.keys import KeyRing

INSTANCE_SETTINGS = Path(__file__).parent / "dagster.yaml"
_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_RUNS_AT_ONCE = 500
PROCESS = "readiness/process"
"""Tag of a run that a command executes itself: the name of a file that is locked as long as the command runs."""
LOCATION, REPOSITORY = "readiness", "__repository__"
"""Names of the code location in workspace.yaml and pyproject.toml, and of the repository that Dagster makes of it."""
OF_LOCATION = {".dagster/repository": f"{REPOSITORY}@{LOCATION}"}
"""Tag by which the web server finds the runs of a code location."""
_ALIVE = ".alive"
_NOT_ENDED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


class OpenEventLog(SqliteEventLogStorage):
    """Dagster's event log in SQLite files, with two of them kept open: that of all runs and that of the latest run.

    Dagster opens a file for each event, and SQLite writes all of it back when it is closed: 12% of the processor time
    of the demonstration. Events are not synced to disk one by one: a process that dies loses none, and a power cut
    loses only the latest.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._open: dict[str, sqlalchemy.Engine] = {}
        self._opening = Lock()
        self._tables: set[str] = set()
        super().__init__(*args, **kwargs)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "OpenEventLog":
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sqlalchemy.Connection]:
        """Yield a transaction on the file of a run, or on that of all runs."""
        with self._opening:
            if shard not in self._open:
                with super()._connect(shard):
                    pass  # opening it creates the file
                self._close([other for other in self._open if INDEX_SHARD_NAME not in (shard, other)])
                place, patience = self.conn_string_for_shard(shard), {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
                self._open[shard] = sqlalchemy.create_engine(place, connect_args=patience)
            engine = self._open[shard]
        with engine.begin() as connection:
            yield connection

    def has_table(self, table_name: str) -> bool:
        """Return whether the file of all runs has a table, which it keeps once it has it.

        Dagster asks for every event of a check, each time over a connection opened for the question.
        """
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def dispose(self) -> None:
        with self._opening:
            self._close(list(self._open))
        super().dispose()

    def _close(self, shards: list[str]) -> None:
        for shard in shards:
            self._open.pop(shard).dispose()


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def _configure_connection(connection: object, _: Any) -> None:
    """Set up a connection to one of Dagster's files, the only ones that SQLAlchemy opens here."""
    if isinstance(connection, sqlite3.Connection):
        with suppress(sqlite3.OperationalError):  # another process is creating the file
            connection.execute("PRAGMA journal_mode = WAL")
        # a write-ahead log stays consistent without a sync for each transaction
        connection.execute("PRAGMA synchronous = NORMAL")


def prepare_storage(home: Home) -> Path:
    """Return the folder of Dagster's storage in a home folder, created if needed, with the project's settings."""
    home.prepare()
    # each time, because the project's settings may have changed since the home folder was made
    shutil.copyfile(INSTANCE_SETTINGS, home.dagster / INSTANCE_SETTINGS.name)
    return home.dagster


def open_instance(home: Home) -> dg.DagsterInstance:
    """Open the Dagster instance of a home folder, with the project's settings."""
    folder = prepare_storage(home)
    # the event log is in the folder that Dagster's own would use
    config = {"base_dir": str(folder / "history" / "runs")}
    event_log = {"module": OpenEventLog.__module__, "class": OpenEventLog.__name__, "config": config}
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides={"event_log_storage": event_log}))


def open_history(home: Home) -> dg.DagsterInstance:
    """Open the instance that `DAGSTER_HOME` names, or that of the home folder, or an empty one.

    The caller closes it.
    """
    if (named := environment.get_dagster_home()) is not None:
        return dg.DagsterInstance.from_config(str(named))
    return open_instance(home) if home.dagster.is_dir() else dg.DagsterInstance.ephemeral()


@contextmanager
def open_working_instance(home: Home) -> Iterator[tuple[dg.DagsterInstance, dict[str, str]]]:
    """Yield the instance for runs that this process executes itself, and their tags.

    Runs of dead processes are closed first: Dagster would show them as running for ever, and its queue would wait for
    them.
    """
    with open_instance(home) as opened, _mark_alive(home.processes) as tags:
        _end_left_over(opened, home.processes)
        yield opened, tags


@contextmanager
def _mark_alive(folder: Path) -> Iterator[dict[str, str]]:
    """Yield tags for runs that show that this process is alive; `folder` has a locked file for each process."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{uuid.uuid4().hex}{_ALIVE}"
    unlocked = place.with_suffix("")
    # locked before it gets the name that others look for: unlocked, it would be taken for a dead process's file
    with locks.hold_lock(unlocked):
        try:
            unlocked.rename(place)
            yield {PROCESS: place.name}
        finally:
            place.unlink(missing_ok=True)


def place_in_history(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Make the web server show a run that a command executed: on the timeline, and among the runs of its job."""
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(LOCATION), REPOSITORY)
    instance.run_storage.replace_job_origin(run, RemoteJobOrigin(repository, run.job_name))


def _end_left_over(instance: dg.DagsterInstance, folder: Path) -> None:
    """Mark the runs of dead processes as failed."""
    unfinished = instance.get_runs(dg.RunsFilter(statuses=_NOT_ENDED))
    # Read after the runs, because a process has its file before it has a run.
    alive = {place.name for place in folder.glob(f"*{_ALIVE}") if locks.is_held(place)}
    for run in unfinished:
        # anyone who starts a run in Dagster can write its tags, so no path is built from one; a run with a parent was
        # executed again in Dagster and has inherited them
        if (name := run.tags.get(PROCESS)) and name not in alive and not run.parent_run_id:
            instance.report_run_failed(run, "The process of this run ended before it did. The next one picks it up.")
            place_in_history(instance, instance.get_run_by_id(run.run_id) or run)
    for place in folder.glob(f"*{_ALIVE}"):
        if not locks.is_held(place):
            place.unlink(missing_ok=True)


def expire_all(
    home: Home,
    landing: Path | None,
    keys: KeyRing | None,
    *,
    dry_run: bool = False,
    storage: dg.DagsterInstance | None = None,
    now: dt.datetime | None = None,
) -> list[str]:
    """Remove what the retention policy no longer allows, from the restricted zone, landing and Dagster's storage.

    Returns a sentence for each thing that was removed, or would be with `dry_run`. `storage` is Dagster's, by default
    that of the home folder if it exists. Raises `InUse` and `InvalidRetention`.
    """
    policy, now = retention_policy.get_retention(), now or clock.now()
    found = (find_due_items if dry_run else expire)(home, landing, keys, now)
    sentences = [
        f"{entry.what} of {'/'.join(filter(None, (entry.cohort, entry.council, entry.source)))}" for entry in found.held
    ]
    sentences += [f"landing file {file.landed.name}" for file in found.landing]
    sentences += [f"children in no table, of {each.extracts[0].cohort}" for each in found.children]
    before = now - dt.timedelta(days=policy.dagster_days)
    # a job passes its own storage, which need not be in the home folder
    if storage is None and not home.dagster.is_dir():
        return sentences
    with open_instance(home) if storage is None else nullcontext(storage) as runs:
        old = dg.RunsFilter(statuses=list(_ENDED), created_before=before)
        if number := runs.get_runs_count(old):
            sentences.append(f"{number} runs of Dagster's storage, before {before:%Y-%m-%d}")
            if not dry_run:
                processing_log.record(home, processing_log.Processing.EXPIRY, note=sentences[-1])
                while ended := runs.get_run_records(old, limit=_RUNS_AT_ONCE):
                    for run in ended:
                        runs.delete_run(run.dagster_run.run_id)
    return sentences
