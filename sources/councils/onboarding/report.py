"""A checked sample as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sources.councils.onboarding.check import ColumnCheck, SampleCheck
from sources.councils.onboarding.shapes import MIN_ROWS

_HEAD = ("contract column", "read from", "required", "filled", "refused", "written", "refused values")
_WIDEST = 44


def render(check: SampleCheck) -> str:
    """The whole report of one sample."""
    return "\n".join(_lines(check)) + "\n"


def _lines(check: SampleCheck) -> Iterator[str]:
    yield f"{check.source}: {check.file}, cohort {check.cohort}, {check.rows:,} rows, {check.rejected:,} to be rejected"
    if check.contract_form:
        yield "The file has every required column under the contract's own name: it needs no council file."
    yield ""
    yield from _table([_HEAD, *(_row(column) for column in check.columns)])
    yield from _list("Rules across columns that rows break", [
        f"{rule.rule} ({rule.severity}), rows: {rule.rows:,}. {rule.sentence}" for rule in check.rules
    ])  # fmt: skip
    yield from _list("Columns of the file that are not used", [
        heading + (f" (like {column})" if column else "") for heading, column in check.unused
    ])  # fmt: skip
    yield from _list("To do", check.suggestions)
    yield from _list("Note", check.notes)
    yield from _list("The intake would stop this file", check.stops)
    if not check.stops:
        yield "\nThe intake would take this file."


def _row(check: ColumnCheck) -> tuple[str, ...]:
    there = check.origin != "missing"
    return (
        check.column,
        _origin(check),
        "yes" if check.required else "no",
        f"{check.filled:.1%}" if there else "",
        f"{check.refused:.1%} {check.refused_severity}" if check.refused else "",
        check.shape or "",
        _refused(check),
    )


def _origin(check: ColumnCheck) -> str:
    match check.origin:
        case "column":
            return check.headings[0]
        case "derived":
            return f"made from {', '.join(check.headings)}"
        case "constant":
            return "the same in every row"
    return "MISSING" if check.required else "-"


def _refused(check: ColumnCheck) -> str:
    if check.refused_values is None:
        return check.refused_shape or ""
    shown = ", ".join(f"{value} ({rows:,})" for value, rows in check.refused_values.values)
    others = check.refused_values.others
    more = f"{others} other value{'s' if others > 1 else ''}" if others else ""
    return "; ".join(part for part in (shown, more) if part)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as they need to be; the last one is not cut."""
    cut = [[_cut(cell) for cell in row[:-1]] + [row[-1]] for row in rows]
    widths = [max(len(row[index]) for row in cut) for index in range(len(rows[0]) - 1)]
    for row in cut:
        yield "  ".join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)), row[-1]]).rstrip()


def _cut(cell: str) -> str:
    return cell if len(cell) <= _WIDEST else cell[: _WIDEST - 1] + "…"


def _list(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"\n{title}:"
        yield from (f"  - {line}" for line in lines)


LEGEND = (
    "Values are never shown, but for coded columns that are kept, where a value stands in at least"
    f" {MIN_ROWS} rows. Shapes: A and a for letters, 9 for digits; of names only how long most are."
)
