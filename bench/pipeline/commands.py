"""Runs a command in its own process and measures seconds and peak resident memory, overall and by stage."""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

READINESS = str(Path(sys.executable).with_name("readiness"))
_EVERY = 0.02  # seconds between readings
_STAGE = re.compile(r"^\[\d/\d\] (\w+)", re.MULTILINE)
_OUT_OF_MEMORY = re.compile(r"MemoryError|Out of Memory|bad_alloc|[Uu]nable to allocate|[Cc]annot allocate memory")


@dataclass(frozen=True)
class Measured:
    """Wall time in `seconds`, peak resident memory in `peak_gib`, and input `rows`.

    If the command ran out of memory (`failed`), these are the values until it died.
    """

    what: str
    seconds: float
    peak_gib: float
    rows: int = 0
    failed: bool = False


def watch(
    what: str, command: Sequence[str], log: Path, rows: int = 0, *, most_gib: float | None = None
) -> tuple[Measured, list[Measured]]:
    """Run `command` with its output in `log`, and return the measurement of the whole and of each stage.

    Stages are recognised in the output of `readiness run`. A command limited to `most_gib` of data may fail by running
    out of memory, but for no other reason.
    """
    limited = [] if most_gib is None else ["prlimit", f"--data={int(most_gib * 1024**3)}"]
    started = time.monotonic()
    stages: list[tuple[str, float, float]] = [("start", started, 0.0)]
    with log.open("wb") as output:
        process = subprocess.Popen([*limited, *command], stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            said = _STAGE.findall(log.read_text(encoding="utf-8", errors="replace"))
            name, since, peak = stages[-1]
            stages[-1] = (name, since, max(peak, _measure_resident(process.pid)))
            if len(said) >= len(stages):
                stages.append((said[len(stages) - 1].lower(), time.monotonic(), 0.0))
            time.sleep(_EVERY)
    ended = time.monotonic()
    said_last = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    if process.returncode and not (most_gib and _OUT_OF_MEMORY.search(said_last)):
        raise SystemExit(f"{what} failed:\n{said_last}")
    ends = [since for _, since, _ in stages[1:]] + [ended]
    parts = [Measured(f"- {name}", end - since, peak) for (name, since, peak), end in zip(stages, ends, strict=True)]
    return Measured(what, ended - started, max(peak for *_, peak in stages), rows, bool(process.returncode)), parts


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
    try:
        started = " ".join(path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children"))
    except OSError:
        return 0.0
    return measure_memory(process, "VmRSS") + sum(map(_measure_resident, map(int, started.split())))


def measure_folders(home: Path) -> dict[str, float]:
    """Return the GiB in each folder of a home."""
    return {
        folder.name: sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1024**3
        for folder in sorted(home.iterdir())
        if folder.is_dir()
    }
