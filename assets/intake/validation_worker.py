"""Validates extracts in a separate process beside the pass.

Great Expectations takes 5.6 s of processor time to load, and its work is Python's, of which one process does one thing
at a time. `ValidationRequest` and `Finding` go between the two: counts, and the place of a file without identifiers.
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

from assets.home.loading import loading
from assets.intake import quality
from assets.intake.quality import Finding, ValidationRequest
from privacy.doors import environment

GRACE_SECONDS = 10
"""How long the process may take to end before it is killed."""
_NOT_FOUND = ("azure", "boto3", "botocore", "google", "psycopg2", "sqlalchemy")
"""Libraries for extracts that lie elsewhere, which Great Expectations loads where they are installed."""
_EMPTY = ("altair", "scipy.stats")
"""Libraries of expectations that no suite has, which it always loads."""
_starting = Lock()


def begin() -> None:
    """Start the process, once, so that it is ready when there is something to judge. It ends with this one."""
    with suppress(OSError):  # the system gives none
        if not _here():
            _beside()


def judge(extracts: Sequence[ValidationRequest]) -> list[tuple[Finding, ...]]:
    """Return findings by extract, in order: see `quality.judge`.

    If the process was killed or failed, the extracts are judged here, where an error is reported like any other.
    """
    if not _here():
        with suppress(EOFError, OSError):
            return _beside().judge(extracts)
    return quality.judge(extracts)


def _here() -> bool:
    """Return whether this process judges, because Great Expectations is already loaded."""
    return "great_expectations" in sys.modules


def _beside() -> _Beside:
    with _starting:
        return _started()


@cache
def _started() -> _Beside:
    return _Beside()


class _Beside:
    """The process, and this end of the pipe to it.

    It is ended when this process exits, and ends by itself when the pipe is closed, as after a crash.
    """

    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", __name__, str(theirs.fileno())],  # of libraries, to nobody here
            pass_fds=[theirs.fileno()],
            env=environment.of_a_child(PYTHONPATH=os.pathsep.join(sys.path)),
            process_group=0,  # an interruption from the keyboard is the parent's to act on
        )
        theirs.close()
        atexit.register(self._end)
        self._in_turn = Lock()

    def judge(self, extracts: Sequence[ValidationRequest]) -> list[tuple[Finding, ...]]:
        """Return findings by extract, in order: see `quality.judge`.

        If the process was killed or failed, the extracts are judged here, where an error is reported like any other.
        """
        with self._in_turn:
            try:
                self._pipe.send(extracts)
                found: list[tuple[Finding, ...]] = self._pipe.recv()
            except BaseException:  # nobody may read an answer that was not waited for
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
    """Judge, in the process, what comes until the pipe is closed; an error ends it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # at once, but with everything given back
    with suppress(Exception):
        with loading():
            _leave_out()
            quality.load()
        while True:
            pipe.send(quality.judge(pipe.recv()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending


def _leave_out() -> None:
    """Leave out libraries that no suite uses, which take half of Great Expectations' loading time.

    If one is used after all, that is an error, and the extracts are judged in the parent, which has them all.
    """
    sys.modules.update({name: ModuleType(name) for name in _EMPTY})
    sys.modules.update(dict.fromkeys(_NOT_FOUND))  # type: ignore[arg-type]  # None: as if it were not installed


if __name__ == "__main__":
    _answer(Connection(int(sys.argv[1])))
