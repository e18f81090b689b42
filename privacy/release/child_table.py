"""Exact counts of the child table, and a keyed identity that does not reveal it. Restricted zone only.

This is the only module that reads rows. Its counts go to the noise mechanism and nowhere else; its error messages name
a column at most, never a value or a number of rows.
"""

import hashlib
import hmac
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import duckdb
import numpy as np
import pyarrow as pa

from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_identifier, quote_parquet, quote_text
from privacy.release.mechanism import Counts
from privacy.release.plan import Plan
from privacy.release.workload import Attribute, Nesting

UNIT_COLUMN = "child_id"
MINIMUM_KEY_BYTES = 32
BATCH_ROWS = 100_000

ChildTable: TypeAlias = pa.Table | Path
"""An Arrow table, or the path of a Parquet file."""


class ChildTableError(ValueError):
    """A child table that must not be counted."""


def count_cells(table: ChildTable, plan: Plan) -> Counts:
    """Count the rows of the child table in every cell of every measured marginal: one contribution per row.

    Raises ChildTableError for a missing column, a repeated or missing `child_id`, or a value outside its public domain.
    """
    with _open_table(table) as connection:
        _check_columns(connection, [UNIT_COLUMN, *plan.family.columns])
        _check_units(connection)
        codes = ", ".join(_build_code_sql(attribute, plan.family.nesting) for attribute in plan.family.attributes)
        connection.execute(f"CREATE TEMP TABLE coded AS SELECT {codes} FROM children")
        names = [attribute.name for attribute in plan.family.attributes]
        outside = ", ".join(f"count(*) - count({quote_identifier(name)})" for name in names)
        for name, rows in zip(names, connection.execute(f"SELECT {outside} FROM coded").fetchall()[0], strict=True):
            if rows:
                raise ChildTableError(f"column {name!r} holds a value outside its public domain")
        # Coded once for all measured marginals, of which the pilot has 106 over pupils.
        coded = {name: np.asarray(codes) for name, codes in connection.execute("FROM coded").fetchnumpy().items()}
    counts = {}
    for attributes in plan.sigmas:
        shape = plan.family.get_shape(attributes)
        cells = np.ravel_multi_index([coded[name] for name in attributes], shape)  # in row-major order
        counts[attributes] = np.bincount(cells, minlength=math.prod(shape)).reshape(shape)
    return counts


def compute_input_mac(table: ChildTable, key: bytes, columns: Sequence[str] | None = None) -> str:
    """Return the keyed identity of a child table: HMAC-SHA256, hexadecimal, over the multiset of its rows.

    The order of rows and columns does not matter, nor does `child_id`. Raises ValueError for a key under 32 bytes.
    """
    if len(key) < MINIMUM_KEY_BYTES:
        raise ValueError(f"the key of the input MAC needs at least {MINIMUM_KEY_BYTES} bytes")
    # With a key, because a plain hash would let somebody confirm a guessed data set.
    digest = hmac.new(key, digestmod=hashlib.sha256)
    with _open_table(table) as connection:
        names = sorted(columns or (name for name in _list_columns(connection) if name != UNIT_COLUMN))
        _check_columns(connection, names)
        # Names are covered too: the same values in other columns are another table.
        digest.update(("\n".join(names) + "\n").encode())
        connection.execute("SET arrow_large_buffer_size = true")  # identical rows may add up to more than 2 GiB of text
        # Grouped first, so that equal rows are sorted as one.
        distinct = f"SELECT {_build_line_sql(names)} AS line, count(*) AS n FROM children GROUP BY line"
        lines = connection.sql(f"SELECT repeat(line, n) FROM ({distinct}) ORDER BY line")
        for batch in lines.to_arrow_reader(BATCH_ROWS):
            digest.update(_view_text(batch.column(0)))
    return digest.hexdigest()


def _build_line_sql(names: Sequence[str]) -> str:
    """Return SQL that writes a row as a line of text: a JSON list of these columns."""
    # Each column is converted separately, because DuckDB then converts a repeated value only once.
    values = (
        f"coalesce(CAST(to_json(CAST({quote_identifier(name)} AS VARCHAR)) AS VARCHAR), 'null')" for name in names
    )
    listed = ", ',', ".join(values)
    return f"concat('[', {listed}, ']', chr(10))"


def _view_text(lines: pa.LargeStringArray) -> memoryview:
    """Return the text of all lines, end to end, without copying it."""
    _, places, text = lines.buffers()
    starts = np.frombuffer(places, np.int64)[lines.offset : lines.offset + len(lines) + 1]
    return memoryview(text)[starts[0] : starts[-1]]


def _open_table(table: ChildTable) -> duckdb.DuckDBPyConnection:
    """Return a database with the table as the view `children`."""
    connection = open_in_memory()
    if isinstance(table, pa.Table):
        connection.register("children", table)
    else:
        connection.execute(f"CREATE VIEW children AS FROM {quote_parquet(table)}")
    return connection


def _list_columns(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [column[0] for column in connection.execute("SELECT * FROM children LIMIT 0").description or ()]


def _check_columns(connection: duckdb.DuckDBPyConnection, required: Sequence[str]) -> None:
    there = _list_columns(connection)
    if missing := [name for name in required if name not in there]:
        raise ChildTableError(f"the child table has no column {missing[0]!r}")


def _check_units(connection: duckdb.DuckDBPyConnection) -> None:
    counted = f"SELECT count(*), count({UNIT_COLUMN}), count(DISTINCT {UNIT_COLUMN}) FROM children"
    if len(set(connection.execute(counted).fetchall()[0])) > 1:
        raise ChildTableError(f"column {UNIT_COLUMN!r} must hold one value per row, each once: a child counts once")


def _build_code_sql(attribute: Attribute, nesting: Nesting | None) -> str:
    """Return SQL for the position of a value, or of the group it belongs to, in the public domain; NULL outside it."""
    column, positions = attribute.name, {category: i for i, category in enumerate(attribute.categories)}
    if nesting is not None and nesting.outer == attribute.name:
        column = nesting.inner
        positions = {member: positions[group] for group, inside in nesting.members.items() for member in inside}
    cases = " ".join(f"WHEN {quote_text(category)} THEN {i}" for category, i in positions.items())
    value, name = quote_identifier(column), quote_identifier(attribute.name)
    return f"(CASE CAST({value} AS VARCHAR) {cases} END)::UINTEGER AS {name}"
