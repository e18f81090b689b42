"""The figures of the page that `make bench-linkage` writes. The text is in `page.md`."""

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
    """Return a line about one run, shown while the benchmark works."""
    r = row.result
    return f"{row.two.name}, {row.method}: precision {r.precision:.4f}, recall {r.recall:.4f}, F1 {r.f1:.4f}"


def table(rows: list[Row]) -> list[str]:
    """Return a row for each set: its size, full results of this pipeline, and the F1 of every other method."""
    methods = list(dict.fromkeys(row.method for row in rows))
    ours, others = methods[0], methods[1:]
    by_set: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_set.setdefault(row.two.name, {})[row.method] = row
    heads = ("set", "rows", "true pairs", "precision", "recall", "F1", *(f"F1, {each}" for each in others))
    return [
        f"| {' | '.join(heads)} | seconds | peak GiB |",
        "|---" * (len(heads) + 2) + "|",
        *(_line(found[ours], [found.get(each) for each in others]) for found in by_set.values()),
    ]


def _line(ours: Row, others: list[Row | None]) -> str:
    two, r = ours.two, ours.result
    cells = (
        two.name,
        f"{len(two.left):,} and {len(two.right):,}",
        f"{two.true_pairs:,}",
        *(f"{each:.4f}" for each in (r.precision, r.recall, r.f1)),
        *(f"{each.result.f1:.4f}" if each else "" for each in others),
        f"{r.measured.seconds:.1f}",
        f"{r.measured.peak_gib:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def _twins(rows: list[Row]) -> str:
    known = [f"{each.method} {each.result.twins_precision:.4f}" for each in rows if each.result.twins_precision]
    return "; ".join(known) or "not measured"


def text(rows: list[Row]) -> str:
    return (
        Path(__file__)
        .with_name("page.md")
        .read_text(encoding="utf-8")
        .format(
            date=dt.date.today(),
            machine=f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            versions=", ".join([f"{name} {version(name)}" for name in ("splink", "duckdb")] + _pinned()),
            table="\n".join(table(rows)),
            twins=_twins(rows),
        )
    )


def _pinned() -> list[str]:
    """Return the pinned versions of the rivals and of the generator of sets."""
    found = []
    for environment, packages in _PINS.items():
        pins = dict(
            pin.split("==") for pin in (_RIVALS / f"{environment}.txt").read_text().splitlines() if pin.count("==") == 1
        )
        found += [f"{package} {pins[package]}" for package in packages]
    return found
