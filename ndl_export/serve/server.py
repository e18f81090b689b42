"""Runs the HTTP service: limits on connections, and on what one of them may hold up.

A connection that sends nothing, or one byte at a time, is closed after a time, and so is one that does not take its
answer. Limits by client belong in the proxy in front, because behind a proxy every client has the same address.
"""

import asyncio
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

_MOST_CONNECTIONS = 500
"""Connections at the same time, below the usual limit of 1,024 open files; requests on more are refused with 503."""
_LARGEST_HEAD = 16 * 2**10
"""Size limit of the head of a request, in bytes."""
_HEAD_SECONDS, _ANSWER_SECONDS, _IDLE_SECONDS = 10.0, 60.0, 5
"""Seconds until a request is complete, until its answer is taken, and between two requests of a connection."""


class TimedProtocol(H11Protocol):
    """HTTP/1.1 in which every request and every answer has a time limit: uvicorn has none for either."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._timed: object = None
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start(_HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not self._timed:
            self._timed = self.cycle
            self._start(_ANSWER_SECONDS)

    def on_response_complete(self) -> None:
        self._start(_HEAD_SECONDS)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._limit:
            self._limit.cancel()

    def _start(self, seconds: float) -> None:
        """Start the time until the connection is closed anew."""
        if self._limit:
            self._limit.cancel()
        # `abort`, because `close` waits for a reader to take what was written.
        self._limit = self.loop.call_later(seconds, self.transport.abort)


def run(app: FastAPI, listening: socket.socket) -> None:
    """Serve the application until the process is told to end."""
    config = uvicorn.Config(
        app,
        http=TimedProtocol,
        h11_max_incomplete_event_size=_LARGEST_HEAD,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS,
        log_level="warning",
        # What readers ask for is nobody's business.
        access_log=False,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[listening])
