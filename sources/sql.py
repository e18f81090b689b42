"""Text as SQL."""

from __future__ import annotations


def quoted(text: str) -> str:
    """`text` as an SQL string literal, whatever it holds."""
    return "'" + text.replace("'", "''") + "'"
