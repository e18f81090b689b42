"""Functions that tests run in a reader process; the module imports quickly there."""

import json
import os
import resource
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pyarrow as pa

from sources.extract.reader_process import ROWS

Wait = Callable[[], bytes]


def show_limits(_: Wait) -> Iterator[bytes]:
    """Yield the process id and the limit of its core file."""
    yield json.dumps([os.getpid(), resource.getrlimit(resource.RLIMIT_CORE)[0]]).encode()


def list_open(_: Wait) -> Iterator[bytes]:
    """Yield the descriptors of open pipes and sockets."""
    yield json.dumps([handle for handle in range(256) if _is_a_pipe(handle)]).encode()


def _is_a_pipe(handle: int) -> bool:
    with suppress(OSError):
        mode = os.fstat(handle).st_mode
        return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
    return False


def hold_memory(_: Wait) -> Iterator[bytes]:
    yield str(len(bytearray(1 << 30))).encode()


def take_time(_: Wait) -> Iterator[bytes]:
    while True:
        pass
    yield b""


def say_nothing(_: Wait) -> Iterator[bytes]:
    yield str(os.getpid()).encode()
    time.sleep(600)


def crash(_: Wait) -> Iterator[bytes]:
    yield b"begun"
    os.abort()


def fail(_: Wait) -> Iterator[bytes]:
    raise ValueError("Qwyjibo")
    yield b""


def send_rows_past_their_end(wait: Wait) -> Iterator[bytes]:
    """Send rows whose lengths exceed the data, as a reader compromised by a file could."""
    said, sink = "Q" * 7_777, pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, (rows := pa.record_batch({"surname": [said]})).schema) as stream:
        stream.write_batch(rows)
    ends = (len(said)).to_bytes(4, "little"), (1 << 30).to_bytes(4, "little")
    wait.__self__.send_bytes(ROWS + sink.getvalue().to_pybytes().replace(*ends))
    yield b""
