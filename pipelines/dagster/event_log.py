"""Dagster's event log in a home folder, and how its files are written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

import dagster as dg
import sqlalchemy
from dagster import DagsterEventType, EventLogEntry
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS

_EVENT = SqlEventLogStorageTable.insert()
_INSERT = AssetCheckExecutionsTable.insert()
_UPDATE = AssetCheckExecutionsTable.update().where(
    *(
        AssetCheckExecutionsTable.c[name].is_not_distinct_from(sqlalchemy.bindparam(f"of_{name}"))
        for name in ("asset_key", "check_name", "run_id", "partition")
    )
)
_PLANNED = DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED


class OpenEventLog(SqliteEventLogStorage):
    """Dagster's event log in SQLite files, with two of them open between events: that of all runs and that of the
    latest run.

    Dagster opens a file for each event, and to close it SQLite writes all of it back. An intake of many extracts has
    thousands of events. Nor does each wait for the disk: the death of a process loses none, a power cut the latest.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._open: dict[str, sqlalchemy.Engine] = {}
        self._opening = Lock()
        self._tables: set[str] = set()
        super().__init__(*args, **kwargs)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> OpenEventLog:
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def run_connection(self, run_id: str | None = None) -> Iterator[sqlalchemy.Connection]:
        """A transaction on the file of a run."""
        with self._engine(str(run_id)).begin() as connection:
            yield connection

    @contextmanager
    def index_connection(self) -> Iterator[sqlalchemy.Connection]:
        """A transaction on the file of all runs."""
        with self._engine(INDEX_SHARD_NAME).begin() as connection:
            yield connection

    def store_event(self, event: EventLogEntry) -> None:
        """Add an event. What is said of checks is written as Dagster writes it, but with statements that are made once,
        and what a run plans to check put into text once, not for each partition."""
        of_check = event.dagster_event_type in (DagsterEventType.ASSET_CHECK_EVALUATION, _PLANNED)
        if not event.run_id or not of_check:
            return super().store_event(event)
        row = self._event_to_row(event)
        with self.run_connection(event.run_id) as connection:
            connection.execute(_EVENT, row)
        with self.index_connection() as connection:
            said = {
                "run_id": event.run_id,
                "evaluation_event": row["event"],
                "evaluation_event_timestamp": row["timestamp"],
                "evaluation_event_storage_id": connection.execute(_EVENT, row).lastrowid,
            }
            if event.dagster_event_type is _PLANNED:
                _plan(connection, said, event.get_dagster_event().asset_check_planned_data)
            else:
                _evaluate(connection, said, event.get_dagster_event().asset_check_evaluation_data)

    def has_table(self, table_name: str) -> bool:
        """Whether there is a table. Dagster asks at every event; one that was there is looked for no more."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def dispose(self) -> None:
        with self._opening:
            self._close(list(self._open))
        super().dispose()

    def _engine(self, shard: str) -> sqlalchemy.Engine:
        with self._opening:
            if shard not in self._open:
                with super().run_connection(shard):
                    pass  # which makes the file where there is none
                self._close([other for other in self._open if INDEX_SHARD_NAME not in (shard, other)])
                place, patience = self.conn_string_for_shard(shard), {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
                self._open[shard] = sqlalchemy.create_engine(place, connect_args=patience)
            return self._open[shard]

    def _close(self, shards: list[str]) -> None:
        for shard in shards:
            self._open.pop(shard).dispose()


def _plan(connection: sqlalchemy.Connection, said: dict[str, Any], planned: AssetCheckEvaluationPlanned) -> None:
    partitions = planned.partitions_subset.get_partition_keys() if planned.partitions_subset else [None]
    of_check = {
        "asset_key": planned.asset_key.to_string(),
        "check_name": planned.check_name,
        "execution_status": Status.PLANNED.value,
    }
    connection.execute(_INSERT, [said | of_check | {"partition": partition} for partition in partitions])


def _evaluate(connection: sqlalchemy.Connection, said: dict[str, Any], evaluation: dg.AssetCheckEvaluation) -> None:
    target = evaluation.target_materialization_data
    said |= {
        "execution_status": (Status.SUCCEEDED if evaluation.passed else Status.FAILED).value,
        "materialization_event_storage_id": target.storage_id if target else None,
    }
    of_what = {
        "asset_key": evaluation.asset_key.to_string(),
        "check_name": evaluation.check_name,
        "run_id": said.pop("run_id"),
        "partition": evaluation.partition,
    }
    if not connection.execute(_UPDATE, said | {f"of_{name}": value for name, value in of_what.items()}).rowcount:
        connection.execute(_INSERT, said | of_what)


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def _not_waiting_for_the_disk(connection: object, _: Any) -> None:
    """Every file that SQLAlchemy opens here is Dagster's. It has a write-ahead log from its first statement on, where
    Dagster waits for the disk until its tables are made, and stays sound whatever part of that log reaches the disk."""
    if isinstance(connection, sqlite3.Connection):
        with suppress(sqlite3.OperationalError):  # another process is making it
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
