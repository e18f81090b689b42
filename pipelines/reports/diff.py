"""`readiness diff`: two releases side by side, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from ndl_export.documents.changes import HEADER
from ndl_export.publish.release_diff import ReleaseDiff, Side

_SHOWN = 20
"""Figures listed unless all are asked for."""
_COLUMNS = ("table", "measure", "time_period", "area_name", "row", "previous", "current", "change")


def render(found: ReleaseDiff, *, everything: bool) -> str:
    """Changes of the schema, figures by table, and figures that moved: the first few, or `everything`."""
    blocks = [f"{_named(found.before)} -> {_named(found.now)}", _schema(found), _figures(found)]
    moved = [line for one in found.figures.values() for line in one.moved]
    if moved:
        blocks.append(_moved(moved, len(moved) if everything else _SHOWN))
    return "\n\n".join(blocks)


def _named(side: Side) -> str:
    return f"Release {side.release.version} (schema {side.schema_version or 'version not stated'})"


def _schema(found: ReleaseDiff) -> str:
    if not found.changes:
        return "Schema: no change."
    rows = ((each.weight.name.lower(), each.table, each.column, each.category, each.what) for each in found.changes)
    listed = _grid(("change", "table", "column", "category", "what"), rows)
    return f"Schema\n{listed}" + (f"\nThese ask for schema {found.asked_for}." if found.asked_for else "")


def _figures(found: ReleaseDiff) -> str:
    rows = (
        (name, f"{one.compared:,}", f"{len(one.moved):,}", f"{one.added:,}", f"{one.left_out:,}")
        for name, one in found.figures.items()
    )
    listed = _grid(("table", "compared", "moved", "rows added", "rows left out"), rows)
    anew = f"\nNot compared: {', '.join(found.not_compared)}." if found.not_compared else ""
    return f"Figures. Of those that did not change, about 5 in 100 are listed as moved.\n{listed}{anew}"


def _moved(lines: Sequence[tuple[str, ...]], shown: int) -> str:
    places = [HEADER.index(name) for name in _COLUMNS]
    listed = _grid(_COLUMNS, ([line[place] for place in places] for line in islice(lines, shown)))
    more = f"\nand {len(lines) - shown:,} more: --all lists them, --json gives their intervals" * (len(lines) > shown)
    return f"Figures that moved beyond the interval of their change\n{listed}{more}"


def _grid(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [header, *rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(f"  {line}".rstrip() for line in padded)
