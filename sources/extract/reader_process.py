"""Reader processes: each file of a sender is read in a process that may crash without costing more than that file.

A template process loads the readers once and forks a reader for each file, which takes 20 ms in place of a second. A
reader has a limit of memory and of processor time, leaves no core file and writes to the pipe alone. What comes back
is JSON and Arrow, never pickled objects: a reader that a file has taken over can run nothing here.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from privacy.doors import environment
from sources.errors import ExtractStopped, unexpected
from sources.extract.rules import READER_STOPPED, stopped

MEMORY_BYTES = 2 << 30
"""Beyond what the template takes: twice what any reader bounds itself to."""
CPU_SECONDS, CPU_SECONDS_PER_MIB = 120, 2
"""The slowest format, a return in XML, takes .06 seconds for a MiB."""
SILENT_PER_CPU_SECOND = 5
"""Seconds on the clock without a word from a reader, for each second of its processor time."""
USUAL_MESSAGE_BYTES, MAX_MESSAGE_BYTES = 32 << 20, 1 << 30
"""One row may be longer: it has 500 values of 1 MiB at most."""
_OUT_OF_MEMORY = 3
_SAID, _ROWS, _STOPPED, _END = b"S", b"R", b"X", b"E"
_OF_LIBRARIES = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
"""Address space counts against the limit: allocators must not reserve it, and only one thread may run at a fork."""

Sent: TypeAlias = bytes | pa.RecordBatch
Serve: TypeAlias = Callable[..., Iterator[Sent]]
"""Runs in the reader: a generator of what is sent back. Its first argument waits for the next message from here."""


@dataclass(frozen=True)
class _Limits:
    memory_bytes: int
    cpu_seconds: int


class Reader:
    """One reader process. Iterating over it gives what its function sends, and raises `ExtractStopped` where that
    stops the extract or the reader ends before its time.

    `name` is how messages call the file, `file_bytes` its size; `serve` and `arguments` are pickled for the reader.
    """

    def __init__(self, name: str, file_bytes: int, serve: Serve, *arguments: Any) -> None:
        self._name = name
        self._limits = _Limits(MEMORY_BYTES, CPU_SECONDS + CPU_SECONDS_PER_MIB * (file_bytes >> 20))
        self._pipe, theirs = Pipe()
        self._watch, watching = Pipe()
        with theirs, watching:
            _fork(theirs.fileno(), watching.fileno())
        self._pipe.send((name, self._limits, serve, arguments))

    def send(self, message: bytes) -> None:
        with suppress(OSError):  # it has ended, which is noticed when it is asked for an answer
            self._pipe.send_bytes(message)

    def said(self) -> bytes:
        """The next thing that the reader sends, which must be text."""
        if not isinstance(sent := self.receive(), bytes):
            raise self._stopped("the reader crashed")
        return sent

    def __iter__(self) -> Iterator[Sent]:
        while (sent := self.receive()) is not None:
            yield sent

    def receive(self) -> Sent | None:
        """The next thing that the reader sends; None at its end."""
        seconds = SILENT_PER_CPU_SECOND * self._limits.cpu_seconds
        try:
            if not self._pipe.poll(seconds):
                raise self._stopped(f"no progress in {seconds:g} seconds")
            message = memoryview(self._pipe.recv_bytes(MAX_MESSAGE_BYTES))
        except (EOFError, OSError):
            raise self._stopped(self._why_it_ended()) from None
        kind, content = message[:1], message[1:]
        if kind == _ROWS:
            return pa.ipc.open_stream(pa.py_buffer(content)).read_next_batch()
        if kind == _SAID:
            return bytes(content)
        self.close()
        if kind == _STOPPED:
            raise ExtractStopped(*json.loads(bytes(content)))
        return None

    def close(self) -> None:
        """End the reader, wherever it is."""
        self._pipe.close()
        self._watch.close()

    def _stopped(self, why: str) -> ExtractStopped:
        self.close()
        return stopped(self._name, READER_STOPPED, why)

    def _why_it_ended(self) -> str:
        try:
            code = int(self._watch.recv_bytes())
        except (EOFError, OSError, ValueError):
            code = 0
        if code == _OUT_OF_MEMORY:
            return f"memory limit of {self._limits.memory_bytes / 2**30:.3g} GiB"
        if code == -signal.SIGXCPU:
            return f"limit of {self._limits.cpu_seconds} seconds of processor time"
        return "the reader crashed"


_in_turn = Lock()


def _fork(*ends: int) -> None:
    """Have the template fork a reader with these ends of pipes; one that was killed is started again."""
    with _in_turn:
        try:
            socket.send_fds(_template()[0], [b"1"], ends)
        except OSError:
            _template.cache_clear()
            socket.send_fds(_template()[0], [b"1"], ends)


@cache
def _template() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start the template process, which ends when this one does; requests go through the socket."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # a library may print what a file holds
            env=environment.of_a_child(PYTHONPATH=os.pathsep.join(sys.path), **_OF_LIBRARIES),
            process_group=0,  # an interruption from the keyboard is the parent's to act on
        )
    return ours, process


def _run_template(requests: socket.socket) -> None:
    """In the template: fork a reader for each request, say how it ended, and kill it once nobody waits for it."""
    waiting: dict[int, tuple[int, Connection]] = {}
    while True:
        watches = {watch.fileno(): alive for alive, (_, watch) in waiting.items()}
        for ready in select.select([requests.fileno(), *waiting, *watches], [], [])[0]:
            if ready == requests.fileno():
                ends = socket.recv_fds(requests, 1, 2)[1]
                if not ends:
                    for reader, _ in waiting.values():
                        os.kill(reader, signal.SIGKILL)
                    return
                alive, lives = os.pipe()  # closes with the reader
                if not (reader := os.fork()):
                    requests.close()
                    os._exit(_run_reader(Connection(ends[0])))
                os.close(lives)
                os.close(ends[0])
                waiting[alive] = reader, Connection(ends[1])
            elif ready in waiting:
                reader, watch = waiting.pop(ready)
                os.close(ready)
                with watch, suppress(OSError):
                    watch.send_bytes(str(os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1])).encode())
            elif watches[ready] in waiting:
                os.kill(waiting[watches[ready]][0], signal.SIGKILL)


def _run_reader(pipe: Connection) -> int:
    """In a reader: send what the function of the request gives; the exit code."""
    try:
        name, limits, serve, arguments = pipe.recv()
        _limit(limits)
        for message in _messages(name, serve(pipe.recv_bytes, *arguments)):
            pipe.send_bytes(message)
    except MemoryError:
        return _OUT_OF_MEMORY
    except (EOFError, OSError):  # nobody waits for it any more
        return 0
    return 0


def _messages(name: str, sent: Iterable[Sent]) -> Iterator[bytes | memoryview]:
    try:
        for each in sent:
            if isinstance(each, bytes):
                yield _SAID + each
            else:
                yield from _rows(each)
        yield _END
    except MemoryError:
        raise
    except Exception as error:
        stop = error if isinstance(error, ExtractStopped) else unexpected(name, error)
        yield _STOPPED + json.dumps([str(stop), stop.for_sender]).encode()


def _rows(batch: pa.RecordBatch) -> Iterator[memoryview]:
    """The batch in messages of a usual size."""
    rows = max(batch.num_rows * USUAL_MESSAGE_BYTES // max(batch.nbytes, USUAL_MESSAGE_BYTES), 1)
    for start in range(0, max(batch.num_rows, 1), rows):
        sink = pa.BufferOutputStream()
        sink.write(_ROWS)
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch.slice(start, rows))
        yield memoryview(sink.getvalue())


def _limit(limits: _Limits) -> None:
    held = Path("/proc/self/statm")
    taken = int(held.read_text().split()[0]) * resource.getpagesize() if held.exists() else 0
    for what, most in (
        (resource.RLIMIT_CORE, 0),  # it would hold what was read
        (resource.RLIMIT_AS, taken + limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
    ):
        with suppress(ValueError, OSError):  # macOS knows no limit of memory
            hard = resource.getrlimit(what)[1]
            resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    with suppress(OSError):  # where memory runs out, the reader goes first
        Path("/proc/self/oom_score_adj").write_text("1000")


def _leave_pandas_out() -> None:
    """In the template: Arrow looks for pandas once, with its first array, and would load it in every reader for half a
    second."""
    sys.modules["pandas"] = None  # type: ignore[assignment]
    with suppress(AttributeError, ImportError):
        pa.array(np.zeros(1))
    del sys.modules["pandas"]


if __name__ == "__main__":
    import numpy.ma

    import sources.extract.open  # noqa: F401

    _leave_pandas_out()
    gc.freeze()
    _run_template(socket.socket(fileno=int(sys.argv[1])))
