"""Template of reader processes: imports the readers, forks one for each request and watches it.

Run by `sources.extract.reader_process`, never imported. It must have a single thread, because a fork copies only one.
"""

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
import numpy.ma  # Arrow imports it with a file's first rows; imported here once for all readers
import openpyxl  # noqa: F401  imported here once for all readers
import pyarrow as pa

import sources.extract.open  # noqa: F401  the readers
from sources.errors import wrap_error
from sources.extract.reader_process import BYTES, END, OUT_OF_MEMORY, ROWS, STOPPED, Sent

USUAL_MESSAGE_BYTES = 32 << 20
"""A single row may be longer: it has at most 500 values of 1 MiB."""


def _run_template(requests: socket.socket) -> None:
    """Fork a reader for each request, report its exit code, and kill it once its client has gone."""
    waiting: dict[int, tuple[int, Connection]] = {}
    while True:
        # Requests are handled first, so that no file descriptor in this round's list is reused before its turn.
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
                    # Kept copies of other readers' descriptors would hide that those readers have ended.
                    for handle in (requests.detach(), ends[1], *waiting, *watches, alive):
                        os.close(handle)
                    # not `sys.exit`, which would run the template's clean-up in each reader
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
    """Run the requested function in a reader, send what it yields, and return the exit code."""
    try:
        name, memory_bytes, cpu_seconds, serve, arguments = pipe.recv()
        _limit(memory_bytes, cpu_seconds)
        for message in _iter_messages(name, serve(pipe.recv_bytes, *arguments)):
            pipe.send_bytes(message)
    except MemoryError:
        return OUT_OF_MEMORY
    except (EOFError, OSError):  # the client has gone
        return 0
    return 0


def _iter_messages(name: str, sent: Iterable[Sent]) -> Iterator[bytes | memoryview]:
    try:
        for each in sent:
            if isinstance(each, bytes):
                yield BYTES + each
            else:
                yield from _iter_row_messages(each)
        yield END
    except MemoryError:
        raise
    except Exception as error:
        stop = wrap_error(name, error)
        yield STOPPED + json.dumps([str(stop), stop.for_sender]).encode()


def _iter_row_messages(batch: pa.RecordBatch) -> Iterator[memoryview]:
    """Yield a batch as messages of about `USUAL_MESSAGE_BYTES`."""
    rows = max(batch.num_rows * USUAL_MESSAGE_BYTES // max(batch.nbytes, USUAL_MESSAGE_BYTES), 1)
    for start in range(0, max(batch.num_rows, 1), rows):
        sink = pa.BufferOutputStream()
        sink.write(ROWS)
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch.slice(start, rows))
        yield memoryview(sink.getvalue())


def _limit(memory_bytes: int, cpu_seconds: int) -> None:
    statm = Path("/proc/self/statm")
    taken = int(statm.read_text().split()[0]) * resource.getpagesize() if statm.exists() else 0
    for what, most in (
        (resource.RLIMIT_CORE, 0),  # a core file would contain the file's content
        (resource.RLIMIT_AS, taken + memory_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
    ):
        with suppress(ValueError, OSError):  # macOS has no memory limit
            # only a privileged process may set a limit above the hard one
            hard = resource.getrlimit(what)[1]
            resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    with suppress(OSError):  # if memory runs out, the reader is killed first
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    # otherwise Arrow would import pandas with the first array of every reader, which takes half a second
    sys.modules["pandas"] = None  # type: ignore[assignment]
    with suppress(AttributeError, ImportError):
        pa.array(np.zeros(1))
    del sys.modules["pandas"]
    # a garbage collection in a reader would otherwise copy the memory pages that it shares with the template
    gc.freeze()
    _run_template(socket.socket(fileno=int(sys.argv[1])))
