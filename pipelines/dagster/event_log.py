"""Dagster's event log in a home folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import dagster as dg
import sqlalchemy
from dagster import DagsterEventType, EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as _Status
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS

_EVENT = SqlEventLogStorageTable.insert()
_UNPLANNED = AssetCheckExecutionsTable.insert()
_OF_RUN = ("asset_key", "check_name", "run_id")
_PLANNED = AssetCheckExecutionsTable.update().where(
    *(AssetCheckExecutionsTable.c[name] == sqlalchemy.bindparam(f"planned_{name}") for name in _OF_RUN),
    AssetCheckExecutionsTable.c.partition.is_not_distinct_from(sqlalchemy.bindparam("planned_partition")),
)


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
        """Add an event. One of a check is written as Dagster writes it, with statements that are made once."""
        if event.run_id and event.dagster_event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
            self._store_evaluation(event, event.get_dagster_event().asset_check_evaluation_data)
        else:
            super().store_event(event)

    def _store_evaluation(self, event: EventLogEntry, evaluation: dg.AssetCheckEvaluation) -> None:
        row = self._event_to_row(event)
        target = evaluation.target_materialization_data
        of_what = {
            "asset_key": evaluation.asset_key.to_string(),
            "check_name": evaluation.check_name,
            "run_id": event.run_id,
            "partition": evaluation.partition,
        }
        with self.run_connection(event.run_id) as connection:
            connection.execute(_EVENT, row)
        with self.index_connection() as connection:
            said = {
                "execution_status": (_Status.SUCCEEDED if evaluation.passed else _Status.FAILED).value,
                "evaluation_event": row["event"],
                "evaluation_event_timestamp": row["timestamp"],
                "evaluation_event_storage_id": connection.execute(_EVENT, row).lastrowid,
                "materialization_event_storage_id": target.storage_id if target else None,
            }
            planned = {f"planned_{name}": value for name, value in of_what.items()}
            if not connection.execute(_PLANNED, said | planned).rowcount:
                connection.execute(_UNPLANNED, said | of_what)

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
                sqlalchemy.event.listen(self._open[shard], "connect", _not_waiting_for_the_disk)
            return self._open[shard]

    def _close(self, shards: list[str]) -> None:
        for shard in shards:
            self._open.pop(shard).dispose()


def _not_waiting_for_the_disk(connection: sqlite3.Connection, _: Any) -> None:
    """Of a file with a write-ahead log, which stays sound whatever part of the log reaches the disk."""
    connection.execute("PRAGMA synchronous = NORMAL")
