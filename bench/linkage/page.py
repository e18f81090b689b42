"""The page that `make bench-linkage` writes: its figures. Its words are in `page.md`."""

from __future__ import annotations

import datetime as dt
import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.linkage.methods import Result
from bench.linkage.sets import TwoFiles

_PINS = {"recordlinkage": ("recordlinkage",), "anonlink": ("clkhash", "anonlink"), "pseudopeople": ("pseudopeople",)}
_RIVALS = Path(__file__).parent / "rivals"


@dataclass(frozen=True)
class Row:
    two: TwoFiles
    method: str
    result: Result


def line(row: Row) -> str:
    """One row of the table."""
    r = row.result
    twins = "" if r.twins_precision is None else f"{r.twins_precision:.4f}"
    figures = f"{r.precision:.4f} | {r.recall:.4f} | {r.f1:.4f} | {twins}"
    return f"| {row.two.name} | {row.method} | {figures} | {r.measured.seconds:.1f} | {r.measured.peak_gib:.2f} |"


def text(rows: list[Row]) -> str:
    table = [
        "| set | method | precision | recall | F1 | twins' precision | seconds | peak GiB |",
        "|---|---|---|---|---|---|---|---|",
        *map(line, rows),
    ]
    return (
        Path(__file__)
        .with_name("page.md")
        .read_text(encoding="utf-8")
        .format(
            date=dt.date.today(),
            machine=f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            versions=", ".join([f"{name} {version(name)}" for name in ("splink", "duckdb")] + _pinned()),
            table="\n".join(table),
            sizes="\n".join(_sizes(rows)),
        )
    )


def _sizes(rows: list[Row]) -> list[str]:
    sets = {row.two.name: row.two for row in rows}.values()
    sizes = [f"| {two.name} | {len(two.left):,} | {len(two.right):,} | {two.true_pairs:,} |" for two in sets]
    return ["| set | rows of one file | of the other | true pairs |", "|---|---|---|---|", *sizes]


def _pinned() -> list[str]:
    """Versions of the rivals and of the maker of sets, as their environments are made with."""
    found = []
    for environment, packages in _PINS.items():
        pins = dict(
            pin.split("==") for pin in (_RIVALS / f"{environment}.txt").read_text().splitlines() if pin.count("==") == 1
        )
        found += [f"{package} {pins[package]}" for package in packages]
    return found
