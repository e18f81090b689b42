"""Processes forked from one that has loaded what a run needs, which takes 7 s of processor time.

A run that is killed, starved or given another clock has to be a process, but need not load its libraries itself.
"""

import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload(
    [
        "tests.conftest",
        "great_expectations",
        "splink",
        "pipelines.definitions",
        "tests.support.loaded",
        "tests.support.rehearsals",
    ]
)
"""One list for all, because a process has one server of forks, which takes the list that was set last. `tests.conftest`
comes first: an import of Great Expectations ends a process whose main module has no file."""


def become_command(
    words: Sequence[str], environment: Mapping[str, str], folder: Path, files: Sequence[Connection | TextIO]
) -> None:
    """Run `readiness` in this process, as if it had been started with these words, surroundings and standard files."""
    from pipelines.cli import main
    from privacy.doors import clock
    from tests.conftest import get_test_clock
    from tests.support import rehearsals

    rehearsals.rehearse_in_this_process(rehearsals.REHEARSED in environment)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    clock.read_machine_time = get_test_clock()
    os.chdir(folder)
    for number, file in enumerate(files):
        os.dup2(file.fileno(), number)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, buffering=1, closefd=False) for number, mode in enumerate(("r", "w", "w"))
    )
    sys.argv = ["readiness", *words]
    status = None
    try:
        main(prog_name="readiness")
    except SystemExit as end:
        status = end.code
    # A forked process ends without it, and open SQLite databases would leave their write-ahead logs.
    gc.collect()
    sys.exit(status)
