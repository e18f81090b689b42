"""Where extracts are judged: in a process of its own, beside the pass.

Great Expectations takes seconds to load, and its work is Python's, of which one process does one thing at a time. What
goes between the two are `Judged` and `Finding`: counts, and the place of a file without identifiers.
"""

from __future__ import annotations

import atexit
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from multiprocessing import current_process, get_context
from multiprocessing.connection import Connection
from threading import Lock

from assets.findings import Finding, Judged

_starting = Lock()


def begin() -> None:
    """Start the process, once, so that it is ready when there is something to judge. It ends with this one."""
    with suppress(OSError):  # the system gives none
        if not _here():
            _beside()


def judge(source: str, extracts: Sequence[Judged]) -> list[tuple[Finding, ...]]:
    """Findings by extract of one source, in their order: see `quality.judge`.

    Should the process have ended, killed or by an error, they are judged here, where an error is told like any other.
    """
    if not _here():
        with suppress(EOFError, OSError):
            return _beside().judge(source, extracts)
    from assets import quality  # imported where it judges: it takes seconds

    return quality.judge(source, extracts)


def _here() -> bool:
    """Whether this process judges: where it is loaded already, or where no child may be had."""
    return "great_expectations" in sys.modules or current_process().daemon


def _beside() -> _Beside:
    with _starting:
        return _started()


@cache
def _started() -> _Beside:
    return _Beside()


class _Beside:
    """The process, and this end of the pipe to it. It is told to end when this one exits, and ends when it finds the
    pipe closed, as after a death."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        atexit.register(self._pipe.close)
        self._in_turn = Lock()

    def judge(self, source: str, extracts: Sequence[Judged]) -> list[tuple[Finding, ...]]:
        """Raises `EOFError` or `OSError` where the process has ended."""
        with self._in_turn:
            try:
                self._pipe.send((source, extracts))
                return self._pipe.recv()
            except BaseException:  # nobody may read an answer that was not waited for
                self._process.terminate()
                raise


def _answer(pipe: Connection) -> None:
    """In the process: judge what comes until the pipe is closed; an error ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from the keyboard it reaches every process; the parent acts on it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # at once, but with everything given back
    with suppress(Exception):
        from assets import quality

        quality.load()
        while True:
            pipe.send(quality.judge(*pipe.recv()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending
