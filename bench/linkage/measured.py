"""Runs a command in its own process and measures its wall time and peak memory.

A spawned process inherits its parent's peak memory. A small interpreter is therefore started in between: this module,
run as a script. It imports only the standard library.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass


class CommandFailed(Exception):
    """Raised if the command exited with a status other than 0; the message ends with its output."""


@dataclass(frozen=True)
class Measured:
    """Wall time of the whole process, including interpreter and libraries, its peak resident memory and its output."""

    seconds: float
    peak_gib: float
    output: str


def measure(command: list[str]) -> Measured:
    """Run `command` in the current folder. Raises `CommandFailed`."""
    between = [sys.executable, "-I", "-S", __file__, *command]
    done = subprocess.run(between, capture_output=True, text=True, check=False)
    status, seconds, peak_kib = json.loads(done.stdout.splitlines()[-1])
    if status:
        raise CommandFailed(f"{' '.join(command[:3])} ... failed: {done.stderr[-2000:]}")
    return Measured(seconds, peak_kib / 1024**2, done.stderr)


def _spawn(command: list[str]) -> None:
    began = time.monotonic()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
    _, status, usage = os.wait4(pid, 0)
    print(json.dumps([status, time.monotonic() - began, usage.ru_maxrss]))


if __name__ == "__main__":
    _spawn(sys.argv[1:])
