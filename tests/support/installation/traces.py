"""Searches every file below a folder for a child: raw bytes, decoded tables and databases."""

import hashlib
import sqlite3
import struct
from collections.abc import Collection
from pathlib import Path

import duckdb
import pyarrow.parquet

from privacy.doors import sealed
from privacy.keys import KeyRing


def find_traces(
    root: Path, tokens: Collection[int], texts: Collection[str], keys: KeyRing, but: Path | None = None
) -> list[str]:
    """Return the files, also sealed ones, with a text or a token (binary or written out), except below `but`."""
    forms = [form for token in tokens for form in (struct.pack("<Q", token), str(token).encode(), b"%016x" % token)]
    forms += [text.encode() for text in texts]
    found = []
    for path in sorted(path for path in root.rglob("*") if path.is_file() and not (but and path.is_relative_to(but))):
        content = path.read_bytes() + decode(path, keys)
        if any(form in content for form in forms):
            found.append(str(path.relative_to(root)))
    return found


def decode(path: Path, keys: KeyRing) -> bytes:
    """Return the values in a Parquet file, sealed or not, or a database, as text; empty for other files."""
    text = ""
    if path.suffix == ".parquet":
        key = "intake" if path.name.endswith(".marks.parquet") else "tokens"
        is_open = sealed.is_open(path)
        table = (
            pyarrow.parquet.read_table(path) if is_open else sealed.open_sealed(path, keys.get_private_key(key)).read()
        )
        text = "\n".join(str(column.to_pylist()) for column in table.columns)
    elif path.suffix == ".duckdb":
        with duckdb.connect(str(path), read_only=True) as con:
            names = con.sql("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
            text = "\n".join(str(con.sql(f'FROM "{s}"."{t}"').fetchall()) for s, t in names)
    elif path.suffix in (".sqlite", ".db"):
        with sqlite3.connect(path) as connection:
            text = "\n".join(connection.iterdump())
    return text.encode()


def hash_files(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
