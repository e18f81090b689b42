"""The page of the benchmark."""

import datetime as dt
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from bench.pipeline.commands import Measured

_HEAD = "| what | seconds | peak GiB | rows a second | times the floor |\n|---|---|---|---|---|"

_HOW = """The floor is DuckDB reading every extract as text and writing its rows as Parquet. The usual script
(`bench/pipeline/usual.py`) does the work with pandas, Splink on clear text and OpenDP, without tokens, quality reports,
intervals, ledger or bundle. Each is a separate process, imports included. Peaks are of resident memory of a command and
what it starts; the usual script may hold 20 GiB of data."""


@dataclass(frozen=True)
class Size:
    """The measurements at one size: `rows` landed; `stored` is GiB by folder of the home after one release."""

    name: str
    rows: int
    synth: Measured
    floor: Measured
    usual: Measured
    whole: Measured
    stages: list[Measured]
    again: Measured | None
    verified: Measured | None
    corrected: Measured | None
    stored: dict[str, float]
    as_sent: list[Measured]
    """Measured to the children's tables: the same rows in parts, and beside those of another cohort."""

    @property
    def title(self) -> str:
        return (
            "England, 153 councils" if self.name == "England" else f"Eight pilot councils, {self.name} times their size"
        )


def render_page(
    arguments: Sequence[str], sizes: list[Size], start: Measured, large: list[Measured], large_rows: int
) -> str:
    """Return the whole page in Markdown."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    command = " ".join(["python -m bench.pipeline", *arguments])
    full = [size for size in sizes if size.again]
    return (
        "\n\n".join(
            [
                "# Benchmark",
                f"Made by `make bench` on {dt.date.today()}: {machine}, DuckDB {duckdb.__version__}.",
                f"Command: `{command}`.",
                _HOW,
                *(_render_size(size) for size in full),
                *(_render_as_sent(size) for size in full if size.as_sent),
                _render_growth(sizes),
                f"`readiness --help` takes {start.seconds:.2f} s.",
                _render_one_large(large, large_rows),
            ]
        )
        + "\n"
    )


def _render_size(size: Size) -> str:
    extra = [found for found in (size.again, size.verified, size.corrected) if found]
    rows = [size.floor, size.usual, size.whole, *size.stages, *extra]
    lines = [_format_line(row, size) for row in rows]
    stored = ", ".join(f"{name} {gib:.2f}" for name, gib in size.stored.items())
    return (
        f"## {size.title}: {size.rows:,} rows\n\n" + "\n".join([_HEAD, *lines]) + f"\n\nStored after it, GiB: {stored}."
    )


def _render_as_sent(size: Size) -> str:
    lines = [f"| {row.what} | {row.seconds:.1f} | {row.peak_gib:.2f} |" for row in size.as_sent]
    return (
        f"## As councils send them, to the children's tables: the {size.rows:,} rows of the pilot\n\n"
        + "\n".join(["| what | seconds | peak GiB |", "|---|---|---|", *lines])
        + "\n\nFiles of two cohorts hold twice the rows; they are read once, by the first run."
    )


def _format_line(row: Measured, size: Size) -> str:
    if row.failed:
        return f"| {row.what}: out of memory | {row.seconds:.1f} | {row.peak_gib:.2f} | | |"
    rate = f"{size.rows / row.seconds:,.0f}" if row.seconds >= 0.05 else ""
    return f"| {row.what} | {row.seconds:.1f} | {row.peak_gib:.2f} | {rate} | {row.seconds / size.floor.seconds:.1f} |"


def _render_growth(sizes: list[Size]) -> str:
    head = "| size | rows | floor s | usual script s | GiB | landing to bundle s | GiB | microseconds a row |"
    lines = [
        f"| {size.name} | {size.rows:,} | {size.floor.seconds:.1f} | {_format_both(size.usual)}"
        f" | {_format_both(size.whole)} "
        f"| {1e6 * size.whole.seconds / size.rows:,.0f} |"
        for size in sizes
    ]
    return "## Growth\n\n" + "\n".join([head, "|---|---|---|---|---|---|---|---|", *lines])


def _format_both(measured: Measured) -> str:
    if measured.failed:
        return f"out of memory after {measured.seconds:.0f} | {measured.peak_gib:.2f}"
    return f"{measured.seconds:.1f} | {measured.peak_gib:.2f}"


def _render_one_large(large: list[Measured], rows: int) -> str:
    floor, without, whole = large
    lines = [f"| {way.what} | {way.seconds:.1f} | {way.peak_gib:.2f} |" for way in large]
    hashed = rows / (whole.seconds - without.seconds)
    return (
        f"## Intake of one EYFS Profile extract of {rows:,} rows\n\n"
        + "\n".join(["| what | seconds | peak GiB |", "|---|---|---|", *lines])
        + f"\n\nWithout hashing, intake takes {without.seconds / floor.seconds:.1f} times as long as the bare copy."
        + f"\nTokens alone, two keyings of all tokens of a row: {hashed:,.0f} rows a second."
    )
