"""Run a command in a process of its own, and measure it: its wall time and its own peak memory.

A process that is spawned starts with its parent's peak as its own, so a small interpreter stands between: this module,
run as a script. It imports nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass


class CommandFailed(Exception):
    """The command ended with another status than 0; the message ends with what it printed."""


@dataclass(frozen=True)
class Measured:
    """Wall time of the whole process, interpreter and libraries included, and its peak resident memory."""

    seconds: float
    peak_gib: float


def measure(command: list[str]) -> Measured:
    """Run `command` from the current folder. Raises `CommandFailed`."""
    between = [sys.executable, "-I", "-S", __file__, *command]
    done = subprocess.run(between, capture_output=True, text=True, check=False)
    status, seconds, peak_kib = json.loads(done.stdout.splitlines()[-1])
    if status:
        raise CommandFailed(f"{' '.join(command[:3])} ... failed: {done.stderr[-2000:]}")
    return Measured(seconds, peak_kib / 1024**2)


def _spawn(command: list[str]) -> None:
    began = time.monotonic()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
    _, status, usage = os.wait4(pid, 0)
    print(json.dumps([status, time.monotonic() - began, usage.ru_maxrss]))


if __name__ == "__main__":
    _spawn(sys.argv[1:])
