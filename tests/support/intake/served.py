"""What a test has a reader process do; light to load there."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable, Iterator

Wait = Callable[[], bytes]


def what_it_may(_: Wait) -> Iterator[bytes]:
    """Its process, and the limit of its core file."""
    yield json.dumps([os.getpid(), resource.getrlimit(resource.RLIMIT_CORE)[0]]).encode()


def holds_memory(_: Wait) -> Iterator[bytes]:
    yield str(len(bytearray(1 << 30))).encode()


def takes_time(_: Wait) -> Iterator[bytes]:
    while True:
        pass
    yield b""


def says_nothing(_: Wait) -> Iterator[bytes]:
    yield str(os.getpid()).encode()
    time.sleep(600)


def crashes(_: Wait) -> Iterator[bytes]:
    yield b"begun"
    os.abort()


def fails(_: Wait) -> Iterator[bytes]:
    raise ValueError("Qwyjibo")
    yield b""
