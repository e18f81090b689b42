"""Find the header line among the first lines of a text file or a sheet."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from sources.extract.match import key

MAX_SKIPPED = 20
"""Title and blank lines that may stand before the header."""
MIN_KNOWN = 2
"""A line with fewer known column names is no header: its cells may be a child's, and no message repeats them."""


def known_names(cells: Iterable[str], known: Container[str]) -> int:
    """How many different column names of `known` (see `sources.extract.match.known_keys`) stand in a line."""
    return len({name for cell in cells if (name := key(cell)) in known})


def best_line(lines: Sequence[Sequence[str]], known: Container[str]) -> tuple[int, int]:
    """Where the line with most known names is, the first of equals, and how many it has."""
    counts = [known_names(line, known) for line in lines[: MAX_SKIPPED + 1]]
    best = max(range(len(counts)), key=counts.__getitem__, default=0)
    return best, counts[best] if counts else 0
