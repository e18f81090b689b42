"""`make bench`: time and peak memory of the main job, and of the intake of one large extract against a bare copy.

    python -m tests.benchmark [--england] [--scale 1.0] [--extract-rows 5000000]

Writes docs/benchmark.md, with the machine and the command.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb

from privacy.keys import KeyRing
from tests.benchmark_intake import measure

COHORT = "202425"
PAGE = Path(__file__).parent.parent / "docs" / "benchmark.md"


@dataclass(frozen=True)
class Measured:
    what: str
    seconds: float
    peak_gib: float


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        KeyRing.create(root / "keys")
        place = ["--england"] if options.england else []
        landing = ["--landing", str(root / "landing"), "--cohort", COHORT]
        run = ["run", *landing, "--home", str(root / "home"), "--keys", str(root / "keys"), "--release", "2026.11.0"]
        rows: list[Measured] = []
        rows.append(_command("synthetic extracts", root, "synth", *landing, "--scale", str(options.scale), *place)[0])
        whole, output = _command("landing to bundle and database", root, *run)
        rows += [whole, *_stages(output)]
        rows.append(_command("the same again, nothing changed", root, *run)[0])
        rows.append(_command("verify the bundle", root, "verify", str(root / "home" / "release" / "2026.11.0"))[0])
        rows.append(_command("readiness --help", root, "--help")[0])
        read = sum(int(number.replace(",", "")) for number in re.findall(r"([\d,]+) rows read", output))
    large = [Measured(*way) for way in measure(options.extract_rows)]
    PAGE.write_text(_page(options, rows, large, read), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--england", action="store_true")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--extract-rows", type=int, default=5_000_000)
    return parser.parse_args()


def _command(what: str, root: Path, *arguments: str) -> tuple[Measured, str]:
    """Run one command in a process of its own; its wall time and peak resident memory."""
    log = root / "output.txt"
    script = str(Path(sys.executable).with_name("readiness"))
    started = time.monotonic()
    with log.open("wb") as output:
        pid = os.posix_spawn(
            script,
            [script, *arguments],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, output.fileno(), 1), (os.POSIX_SPAWN_DUP2, output.fileno(), 2)],
        )
        _, status, usage = os.wait4(pid, 0)
    text = log.read_text(encoding="utf-8")
    if status:
        raise SystemExit(f"{what} failed:\n{text[-2000:]}")
    return Measured(what, time.monotonic() - started, usage.ru_maxrss / 1024**2), text


def _stages(output: str) -> list[Measured]:
    found = re.findall(r"\[\d/\d\] (\w+).*?done in ([\d.]+) s", output, re.DOTALL)
    return [Measured(f"- {name.lower()}", float(seconds), float("nan")) for name, seconds in found]


def _page(options: argparse.Namespace, rows: list[Measured], large: list[Measured], read: int) -> str:
    size = "153 councils of England" if options.england else "eight pilot councils"
    command = f"python -m tests.benchmark{' --england' if options.england else ''} --scale {options.scale:g}"
    command += f" --extract-rows {options.extract_rows}"
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    floor, without, whole = large
    hashed = options.extract_rows / (whole.seconds - without.seconds)
    return f"""# Benchmark

Made by `make bench` on {dt.date.today()}: {machine}, DuckDB {duckdb.__version__}.
Command: `{command}`; {size}, {read:,} rows read.

{_table(rows)}

One EYFS Profile extract of {options.extract_rows:,} rows, each way in a process of its own:

{_table(large)}

Without hashing, intake takes {without.seconds / floor.seconds:.1f} times as long as the bare copy. Tokens alone, two
keyings of all tokens of a row: {hashed:,.0f} rows a second.
"""


def _table(rows: list[Measured]) -> str:
    lines = [
        f"| {row.what} | {row.seconds:.1f} | {'' if row.peak_gib != row.peak_gib else f'{row.peak_gib:.2f}'} |"
        for row in rows
    ]
    return "\n".join(["| what | seconds | peak GiB |", "|---|---|---|", *lines])


if __name__ == "__main__":
    main()
