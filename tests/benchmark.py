"""`make bench`: time and peak memory of the main job, and the intake against a bare DuckDB copy of the same file.

    python -m tests.benchmark [--england] [--scale 1.0]

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

from assets.home import Home
from assets.intake import Intake
from privacy.keys import KeyRing
from sources.extract.landed import find

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
        floor = _intake_against_floor(root)
        read = sum(int(number.replace(",", "")) for number in re.findall(r"([\d,]+) rows read", output))
    PAGE.write_text(_page(options, rows, floor, read), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--england", action="store_true")
    parser.add_argument("--scale", type=float, default=1.0)
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


def _intake_against_floor(root: Path) -> tuple[float, float, int]:
    """Seconds of a bare DuckDB read and write of the largest review file, and of its intake; rows."""
    landed = find(root / "landing", "leeds", "hv_reviews", COHORT)
    assert landed
    con = duckdb.connect()
    reader = f"read_csv('{landed.path}', all_varchar = true, encoding = 'utf-8', ignore_errors = true)"
    started = time.monotonic()
    con.execute(f"COPY (SELECT * FROM {reader}) TO '{root / 'floor.parquet'}' (FORMAT parquet, COMPRESSION zstd)")
    floor = time.monotonic() - started
    intake = Intake(root / "landing", Home(root / "second"), KeyRing.load(root / "keys"))
    first = find(root / "landing", "halton", "hv_reviews", COHORT)
    assert first
    intake.take_in(first)
    started = time.monotonic()
    quality = intake.take_in(landed)
    return floor, time.monotonic() - started, quality.rows_read


def _page(options: argparse.Namespace, rows: list[Measured], floor: tuple[float, float, int], read: int) -> str:
    size = "153 councils of England" if options.england else "eight pilot councils"
    table = "\n".join(
        f"| {row.what} | {row.seconds:.1f} | {'' if row.peak_gib != row.peak_gib else f'{row.peak_gib:.2f}'} |"
        for row in rows
    )
    command = f"python -m tests.benchmark{' --england' if options.england else ''} --scale {options.scale:g}"
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return f"""# Benchmark

Made by `make bench` on {dt.date.today()}: {machine}, DuckDB {duckdb.__version__}.
Command: `{command}`; {size}, {read:,} rows read.

| what | seconds | peak GiB |
|---|---|---|
{table}

Intake of one review extract of {floor[2]:,} rows: {floor[1]:.2f} s, tokens and Great Expectations included.
A bare DuckDB read and write of the same file: {floor[0]:.2f} s.
"""


if __name__ == "__main__":
    main()
