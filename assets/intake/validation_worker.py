"""Validates extracts in a separate process while others are read.

Great Expectations takes 5.6 s of processor time to load, and runs pure Python, which holds the interpreter lock. Only
`ValidationRequest` and `Finding` pass between the processes: counts, and the path of a file without identifiers.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection, Pipe
from threading import Lock
from types import ModuleType

from assets.home.software import pause_garbage_collection
from assets.intake import quality
from assets.intake.quality import Finding, ValidationRequest
from privacy.doors import environment

GRACE_SECONDS = 10
"""Time that the process may take to end before it is killed."""
_NOT_FOUND = ("azure", "boto3", "botocore", "google", "psycopg2", "sqlalchemy")
"""Libraries for remote data, which Great Expectations loads if they are installed."""
_EMPTY = ("altair", "scipy.stats")
"""Libraries for expectations that no suite uses, which Great Expectations always loads."""
_starting = Lock()


def begin() -> None:
    """Start the worker process if it is not running, so that it is loaded when needed. It ends with this process."""
    with suppress(OSError):  # if the system cannot start a process, `judge` works in this one
        if not _is_loaded():
            with _starting:
                _start_worker()


def judge(extracts: Sequence[ValidationRequest]) -> list[tuple[Finding, ...]]:
    """Return the findings for each extract, in order: see `quality.judge`.

    If the worker was killed or failed, this process validates the extracts, so that errors are reported as usual.
    """
    if not _is_loaded():
        with suppress(EOFError, OSError):
            with _starting:
                worker = _start_worker()
            return worker.judge(extracts)
    return quality.judge(extracts)


def _is_loaded() -> bool:
    """Return whether to validate in this process, because Great Expectations is already loaded."""
    return "great_expectations" in sys.modules


@cache
def _start_worker() -> _Beside:
    return _Beside()


class _Beside:
    """The worker process and the parent's end of the pipe.

    The worker is terminated when the parent exits, and ends by itself if the pipe closes, as after a crash.
    """

    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        # `-W ignore` hides libraries' warnings, which are of no use to users
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment.build_child_environment(PYTHONPATH=os.pathsep.join(sys.path)),
            process_group=0,  # so that only the parent receives a keyboard interrupt
        )
        theirs.close()
        atexit.register(self._end)
        self._in_turn = Lock()

    def judge(self, extracts: Sequence[ValidationRequest]) -> list[tuple[Finding, ...]]:
        """Return the findings for each extract, in order. Raises `EOFError` or `OSError` if the worker has ended."""
        with self._in_turn:
            try:
                self._pipe.send(extracts)
                found: list[tuple[Finding, ...]] = self._pipe.recv()
            except BaseException:  # the next call must not read this call's answer
                self._process.terminate()
                raise
            return found

    def _end(self) -> None:
        self._pipe.close()
        self._process.terminate()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _answer(pipe: Connection) -> None:
    """Run the worker: answer requests until the pipe is closed or an error occurs."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # exits at once, but releases resources
    # the parent meets the same error when it validates, and reports it as usual
    with suppress(Exception):
        with pause_garbage_collection():
            # these take half of the loading time, and no suite uses them. If one is used after all, the worker fails
            # and the parent, which has all libraries, validates the extracts
            sys.modules.update({name: ModuleType(name) for name in _EMPTY})
            sys.modules.update(dict.fromkeys(_NOT_FOUND))  # type: ignore[arg-type]  # None: as if not installed
            quality.load()
        while True:
            pipe.send(quality.judge(pipe.recv()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # already ending


if __name__ == "__main__":
    _answer(Connection(int(sys.argv[1])))
