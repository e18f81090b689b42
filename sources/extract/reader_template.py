"""The template of reader processes: imports the readers, forks one for each request and watches it.

Run by `sources.extract.reader_process`, never imported. It must have a single thread, because a fork copies no other.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import numpy.ma  # Arrow loads it with the first rows of a file: here, so that no reader has to
import openpyxl  # noqa: F401  so that no reader has to
import pyarrow as pa

import sources.extract.open  # noqa: F401  the readers
from sources.errors import unexpected
from sources.extract.reader_process import END, OUT_OF_MEMORY, ROWS, SAID, STOPPED, Limits, Sent

USUAL_MESSAGE_BYTES = 32 << 20
"""One row may be longer: it has 500 values of 1 MiB at most."""


def _run_template(requests: socket.socket) -> None:
    """Fork a reader for each request, report how it ended, and kill it when nobody waits for it any more."""
    waiting: dict[int, tuple[int, Connection]] = {}
    while True:
        # Requests come first: no number of a file is given anew before the others of this look have had their turn.
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
                    # A copy of what is for another reader's end would keep that end from being noticed.
                    for handle in (requests.detach(), ends[1], *waiting, *watches, alive):
                        os.close(handle)
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
    """Send, in a reader, what the requested function yields; returns the exit code."""
    try:
        name, limits, serve, arguments = pipe.recv()
        _limit(limits)
        for message in _messages(name, serve(pipe.recv_bytes, *arguments)):
            pipe.send_bytes(message)
    except MemoryError:
        return OUT_OF_MEMORY
    except (EOFError, OSError):  # nobody waits for it any more
        return 0
    return 0


def _messages(name: str, sent: Iterable[Sent]) -> Iterator[bytes | memoryview]:
    try:
        for each in sent:
            if isinstance(each, bytes):
                yield SAID + each
            else:
                yield from _rows(each)
        yield END
    except MemoryError:
        raise
    except Exception as error:
        stop = unexpected(name, error)
        yield STOPPED + json.dumps([str(stop), stop.for_sender]).encode()


def _rows(batch: pa.RecordBatch) -> Iterator[memoryview]:
    """Split a batch into messages of a usual size."""
    rows = max(batch.num_rows * USUAL_MESSAGE_BYTES // max(batch.nbytes, USUAL_MESSAGE_BYTES), 1)
    for start in range(0, max(batch.num_rows, 1), rows):
        sink = pa.BufferOutputStream()
        sink.write(ROWS)
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch.slice(start, rows))
        yield memoryview(sink.getvalue())


def _limit(limits: Limits) -> None:
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
    """Stop Arrow from importing pandas with its first array, which would cost every reader half a second."""
    sys.modules["pandas"] = None  # type: ignore[assignment]
    with suppress(AttributeError, ImportError):
        pa.array(np.zeros(1))
    del sys.modules["pandas"]


if __name__ == "__main__":
    _leave_pandas_out()
    gc.freeze()
    _run_template(socket.socket(fileno=int(sys.argv[1])))
