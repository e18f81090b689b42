"""Waits for a condition, with time limits that suffice on a busy machine.

At a load of 60 on two cores everything takes thirty times as long.
"""

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

PATIENCE = 600.0
"""Seconds until a test gives up on something that takes seconds on a quiet machine."""

Found = TypeVar("Found")


def wait_until(
    look: Callable[[], Found],
    *,
    of: subprocess.Popen[bytes] | None = None,
    said: Path | None = None,
    patience: float = PATIENCE,
    every: float = 0.1,
) -> Found:
    """Call `look` until its result is true, and return it. Fails at once if the process `of` ends, or after `patience`
    seconds, with the output that the process wrote to the file `said`."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        ended = of is not None and of.poll() is not None
        if ended or time.monotonic() > deadline:
            what = f"ended with {of.returncode}" if of is not None and ended else f"not so within {patience:.0f} s"
            raise AssertionError(f"{what}: {said.read_text(errors='replace')[-4000:] if said else found}")
        time.sleep(every)
    return found


def run_processes(*processes: Any, patience: float | None = PATIENCE) -> list[int | None]:
    """Start processes, wait until they have ended, and return their exit codes."""
    for process in processes:
        process.start()
    for process in processes:
        process.join(patience)
    return [process.exitcode for process in processes]


def is_answering(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
