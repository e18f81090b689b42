"""Quoting of text, names and paths in SQL, whatever characters they contain."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_PATTERN = re.compile(r"[*?\[]")


def quote_text(text: str | Path) -> str:
    """Return `text` as an SQL string literal."""
    return "'" + str(text).replace("'", "''") + "'"


def quote_identifier(name: str) -> str:
    """Return `name` as an SQL identifier: a column, a table or a schema."""
    return '"' + name.replace('"', '""') + '"'


def quote_parquet(paths: Path | Iterable[Path], **options: str | bool) -> str:
    """Return the function that reads Parquet at exactly these paths; `options` are those of `read_parquet`."""
    return _build_reader_sql("read_parquet", [paths] if isinstance(paths, Path) else paths, options)


def quote_csv(path: Path, **options: str | bool) -> str:
    """Return the table function that reads a CSV file at exactly this path; `options` are those of `read_csv`."""
    return _build_reader_sql("read_csv", [path], options)


def _build_reader_sql(function: str, paths: Iterable[Path], options: Mapping[str, str | bool]) -> str:
    # DuckDB reads these characters as a pattern; in brackets, each stands only for itself.
    files = ", ".join(quote_text(_PATTERN.sub(r"[\g<0>]", str(path))) for path in paths)
    settings = "".join(f", {name} = {str(value).lower()}" for name, value in options.items())
    return f"{function}([{files}]{settings})"
