"""Runs a command in its own process and measures seconds, processor time and peak resident memory, also by stage."""

import ctypes
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

READINESS = str(Path(sys.executable).with_name("readiness"))
_EVERY = 0.02  # seconds between readings
_STAGE = re.compile(r"^\[\d/\d\] (\w+)", re.MULTILINE)
_ADOPT_ORPHANS = 36
"""PR_SET_CHILD_SUBREAPER of Linux: who began a command waits for the processes that it leaves behind."""
_OUT_OF_MEMORY = re.compile(r"MemoryError|Out of Memory|bad_alloc|[Uu]nable to allocate|[Cc]annot allocate memory")


@dataclass(frozen=True)
class Measured:
    """Wall time in `seconds`, peak resident memory in `peak_gib`, input `rows`, and seconds of all processors.

    If the command ran out of memory (`failed`), these are the values until it died.
    """

    what: str
    seconds: float
    peak_gib: float
    rows: int = 0
    failed: bool = False
    processor: float = 0.0


def watch(
    what: str,
    command: Sequence[str],
    log: Path,
    rows: int = 0,
    *,
    most_gib: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[Measured, list[Measured]]:
    """Run `command` with its output in `log`, and return the measurement of the whole and of each stage.

    Stages are recognised in the output of `readiness run`. A command limited to `most_gib` of data may fail by running
    out of memory, but for no other reason.
    """
    limited = [] if most_gib is None else ["prlimit", f"--data={int(most_gib * 1024**3)}"]
    ctypes.CDLL(None).prctl(_ADOPT_ORPHANS, 1, 0, 0, 0)
    names, begun, peaks = ["start"], [(time.monotonic(), _measure_processor())], [0.0]
    with log.open("wb") as output:
        process = subprocess.Popen([*limited, *command], stdout=output, stderr=subprocess.STDOUT, env=environment)
        while process.poll() is None:
            said = _STAGE.findall(log.read_text(encoding="utf-8", errors="replace"))
            peaks[-1] = max(peaks[-1], _measure_resident(process.pid))
            if len(said) >= len(names):
                names.append(said[len(names) - 1].lower())
                begun.append((time.monotonic(), _measure_processor()))
                peaks.append(0.0)
            time.sleep(_EVERY)
    ended = time.monotonic()
    with suppress(ChildProcessError):
        while True:
            os.wait()
    said_last = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    if process.returncode and not (most_gib and _OUT_OF_MEMORY.search(said_last)):
        raise SystemExit(f"{what} failed:\n{said_last}")
    ends = [*begun[1:], (ended, _measure_processor())]
    parts = [
        Measured(f"- {name}", end - since, peak, processor=spent_then - spent)
        for name, (since, spent), (end, spent_then), peak in zip(names, begun, ends, peaks, strict=True)
    ]
    (since, spent), (end, spent_then) = begun[0], ends[-1]
    whole = Measured(what, end - since, max(peaks), rows, bool(process.returncode), spent_then - spent)
    return whole, parts


def _measure_processor() -> float:
    """Return the processor seconds of all that this process has begun, so far."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    alive = sum(map(_sum_ticks, _list_children(os.getpid())))
    return ended.ru_utime + ended.ru_stime + alive / os.sysconf("SC_CLK_TCK")


def _sum_ticks(process: int) -> int:
    """Return the clock ticks of a process, of its descendants, and of those it has waited for."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    # utime, stime, cutime and cstime of proc(5), whose first two fields are cut off
    return sum(map(int, fields[11:15])) + sum(map(_sum_ticks, _list_children(process)))


def _list_children(process: int) -> list[int]:
    """Return the processes that a process has begun or adopted; none if it is gone."""
    try:
        found = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children")]
    except OSError:
        return []
    return [int(child) for listed in found for child in listed.split()]


def measure_memory(process: int | str, which: str) -> float:
    """Return `VmRSS` (resident now) or `VmHWM` (peak) of one process, or 0 if it is gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(rf"{which}:\s+(\d+)", status)
    return int(found[1]) / 1024**2 if found else 0.0


def reset_peak() -> None:
    """Begin to measure the peak memory of this process anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def _measure_resident(process: int) -> float:
    """Return the resident memory of a process and all its descendants."""
    return measure_memory(process, "VmRSS") + sum(map(_measure_resident, _list_children(process)))


def measure_folders(home: Path) -> dict[str, float]:
    """Return the GiB in each folder of a home."""
    return {
        folder.name: sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1024**3
        for folder in sorted(home.iterdir())
        if folder.is_dir()
    }
