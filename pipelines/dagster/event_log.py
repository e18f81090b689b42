"""Dagster's event log in SQLite files, as it is, but for this: a file that is written to stays open.

Dagster opens a file for each event, and to close it SQLite writes all of it back. An intake of many extracts has
thousands of events.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import sqlalchemy
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS


class OpenEventLog(SqliteEventLogStorage):
    """Keeps two files open: that of all runs, and that of the run that it last saw."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._open: dict[str, sqlalchemy.Engine] = {}
        self._opening = Lock()
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
