"""Text as SQL, and text cells in SQL."""

from __future__ import annotations


def quoted(text: str) -> str:
    """`text` as an SQL string literal, whatever it holds."""
    return "'" + text.replace("'", "''") + "'"


def trimmed(cell: str) -> str:
    """The text of the SQL expression `cell` without spaces at its ends; NULL where nothing is left."""
    return f"nullif(trim({cell}, ' ' || chr(9) || chr(10) || chr(13) || chr(160)), '')"
