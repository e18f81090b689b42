"""Reader processes: each file is read in a separate process, so a crash loses only that file.

A template process imports the readers once and forks a reader for each file, which takes 20 ms instead of a second. A
reader has limits on memory and processor time, leaves no core file and can write only to its pipe. It returns JSON and
Arrow, never pickled objects, so a compromised reader cannot run code here.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Pipe
from threading import Lock
from typing import Any, TypeAlias

import pyarrow as pa

from privacy.doors import environment
from sources.errors import ExtractStopped, build_error

MEMORY_BYTES = 2 << 30
"""Added to the template's own memory; twice the largest limit that a reader sets itself."""
CPU_SECONDS, CPU_SECONDS_PER_MIB = 120, 6
"""The slowest format, .xlsx, takes 2.3 seconds for a MiB of 320,000 cells."""
SILENT_PER_CPU_SECOND = 5
"""Timeout for a message: elapsed seconds for each second of the reader's processor time limit."""
MAX_MESSAGE_BYTES = 1 << 30
_TEMPLATE = "sources.extract.reader_template"
OUT_OF_MEMORY = 3
BYTES, ROWS, STOPPED, END = b"S", b"R", b"X", b"E"
_LIBRARY_SETTINGS = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
"""Allocators must not reserve address space, which counts towards the memory limit. A process that forks must have only
one thread."""

Sent: TypeAlias = bytes | pa.RecordBatch
Serve: TypeAlias = Callable[..., Iterator[Sent]]
"""A generator that runs in the reader and yields what is sent back. Its first argument is a function that waits for
the next message."""


class Reader:
    """A reader process. Iterating yields the messages of `serve`, and raises `ExtractStopped` if `serve` does or if the
    reader ends early.

    `name` is the file's name in messages, `file_bytes` its size; `serve` and `arguments` are pickled for the reader.
    """

    def __init__(self, name: str, file_bytes: int, serve: Serve, *arguments: Any) -> None:
        self._name = name
        self._cpu_seconds = CPU_SECONDS + CPU_SECONDS_PER_MIB * (file_bytes >> 20)
        self._pipe, theirs = Pipe()
        # receives the reader's exit code; closing it tells the template to kill the reader
        self._watch, watching = Pipe()
        with theirs, watching:
            _fork(theirs.fileno(), watching.fileno())
        with suppress(OSError):  # as in `send`: the template was killed before it forked
            self._pipe.send((name, MEMORY_BYTES, self._cpu_seconds, serve, arguments))

    def send(self, message: bytes) -> None:
        with suppress(OSError):  # the reader has ended: `receive` reports it
            self._pipe.send_bytes(message)

    def receive_bytes(self) -> bytes:
        """Return the next message of the reader, which must be bytes."""
        if not isinstance(sent := self.receive(), bytes):
            raise self._stop("the reader crashed")
        return sent

    def __iter__(self) -> Iterator[Sent]:
        while (sent := self.receive()) is not None:
            yield sent

    def receive(self) -> Sent | None:
        """Return the next message of the reader; None at its end."""
        seconds = SILENT_PER_CPU_SECOND * self._cpu_seconds
        try:
            if not self._pipe.poll(seconds):
                raise self._stop(f"no progress in {seconds:g} seconds")
            message = memoryview(self._pipe.recv_bytes(MAX_MESSAGE_BYTES))
        except (EOFError, OSError):
            raise self._stop(self._explain_end()) from None
        kind, content = message[:1], message[1:]
        if kind == ROWS:
            return self._parse_rows(content)
        if kind == BYTES:
            return bytes(content)
        self.close()
        if kind == STOPPED:
            raise ExtractStopped(*json.loads(bytes(content)))
        return None

    def _parse_rows(self, content: memoryview) -> pa.RecordBatch:
        """Parse and validate the rows in a message: Arrow trusts lengths and offsets, even past the end of the data."""
        try:
            batch = pa.ipc.open_stream(pa.py_buffer(content)).read_next_batch()
            batch.validate(full=True)
        except (pa.ArrowException, OSError, StopIteration):
            raise self._stop("the reader crashed") from None
        return batch

    def close(self) -> None:
        """End the reader, even if it is busy."""
        self._pipe.close()
        self._watch.close()

    def _stop(self, why: str) -> ExtractStopped:
        self.close()
        return build_error(self._name, "reader-stopped", why)

    def _explain_end(self) -> str:
        try:
            code = int(self._watch.recv_bytes())
        except (EOFError, OSError, ValueError):
            code = 0
        if code == OUT_OF_MEMORY:
            return f"memory limit of {MEMORY_BYTES / 2**30:.3g} GiB"
        if code == -signal.SIGXCPU:
            return f"limit of {self._cpu_seconds} seconds of processor time"
        return "the reader crashed"


_template_lock = Lock()


def _fork(*ends: int) -> None:
    """Ask the template to fork a reader with these pipe ends; restart the template if it was killed."""
    with _template_lock:
        try:
            socket.send_fds(_start_template()[0], [b"1"], ends)
        except OSError:
            _start_template.cache_clear()
            socket.send_fds(_start_template()[0], [b"1"], ends)


@cache
def _start_template() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start the template process, which ends when this process does; requests go through the socket."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", _TEMPLATE, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # a library may print a file's content
            env=environment.build_child_environment(PYTHONPATH=os.pathsep.join(sys.path), **_LIBRARY_SETTINGS),
            process_group=0,  # only the parent handles Ctrl-C
        )
    return ours, process
