"""Figures as rows of a DuckDB table, and as JSON.

A published table has one row for several measures; here each measure has a row of its own, with the columns of
`shapes.Figure`. DuckDB writes the JSON of all rows at once.
"""

from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa

from ndl_export.api.shapes import Figure
from ndl_export.facts.on_request import merge_tables
from ndl_export.facts.release_facts import Release
from ndl_export.tables import Measure, Table
from ndl_export.tables.schema import BREAK, FLAG_MEANINGS, ColumnRole, get_column_name
from privacy.doors.sql import quote_identifier, quote_text

COLUMNS = tuple(Figure.model_fields)
JSON = f"to_json(struct_pack({', '.join(map(quote_identifier, COLUMNS))}))::VARCHAR"
"""SQL for the JSON of one figure."""
ORDER = 'release_position, table_position, "row", measure_position'
_FIGURES = """
    CREATE TABLE figures (
        release VARCHAR, "table" VARCHAR, "row" INTEGER, measure VARCHAR, time_period VARCHAR, geographic_level VARCHAR,
        area_code VARCHAR, area_name VARCHAR, filters MAP(VARCHAR, VARCHAR), "value" JSON, "lower" DOUBLE,
        "upper" DOUBLE, unit VARCHAR, flag VARCHAR, flag_meaning VARCHAR, series_break BOOLEAN,
        release_position INTEGER, table_position INTEGER, measure_position INTEGER)"""


def get_unit(measure: Measure) -> str:
    """Return the unit of a measure: its symbol, or in words if it has none."""
    return measure.unit or measure.unit_in_words


def create_figures(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the empty table `figures`, in the connection's database."""
    connection.execute(_FIGURES)
    words = {"flag": list(map(str, FLAG_MEANINGS)), "meaning": list(FLAG_MEANINGS.values())}
    connection.register("flag_meanings", pa.table(words))


def add_figures(connection: duckdb.DuckDBPyConnection, release: Release, position: int = 0) -> None:
    """Add every figure of a release to the table `figures`; `position` orders releases."""
    for number, table in enumerate(merge_tables(release.requested).values()):
        rows = release.read(f"{table.name}.parquet", None)
        if rows is None:
            continue
        # The number of the row is part of the data, so that no order of execution can change it.
        numbered = rows.append_column("row", pa.array(np.arange(1, len(rows) + 1)))
        connection.register("bundle_rows", numbered)
        connection.execute(_build_insert(table, frozenset(rows.column_names), release.version, position, number))
        connection.unregister("bundle_rows")


def _build_insert(table: Table, there: frozenset[str], version: str, position: int, number: int) -> str:
    """Return SQL that adds the figures of one table, whose file has the columns `there`."""
    # A bundle of another schema may lack a column.
    measures = [measure for measure in table.measures if measure.name in there]
    names = [entry.name for entry in table.filters if entry.name in there]
    filters = ", ".join(f"{quote_text(name)}: {quote_identifier(name)}" for name in names)
    listed = ", ".join(_build_struct(measure, place, there) for place, measure in enumerate(measures))
    return f"""
        INSERT INTO figures
        SELECT {quote_text(version)}, {quote_text(table.name)}, "row", m.measure, time_period, geographic_level,
               area_code, area_name, MAP {{{filters}}}, m."value", m."lower", m."upper", m.unit, m.flag, f.meaning,
               series_break IS NOT DISTINCT FROM {quote_text(BREAK)}, {position}, {number}, m.place
        FROM (SELECT *, unnest([{listed}]) AS m FROM bundle_rows)
        LEFT JOIN flag_meanings AS f ON f.flag = m.flag"""


def _build_struct(measure: Measure, place: int, there: frozenset[str]) -> str:
    """Return SQL for the figure of one measure in a row."""
    roles = {
        "value": ColumnRole.FIGURE,
        "lower": ColumnRole.LOWER,
        "upper": ColumnRole.UPPER,
        "flag": ColumnRole.FLAG,
    }
    columns = {key: get_column_name(measure, role) for key, role in roles.items()}
    values = {key: quote_identifier(name) if name in there else "NULL" for key, name in columns.items()}
    # Counts are whole numbers and rates are not; JSON keeps both as the bundle has them.
    values["value"] = f"to_json({values['value']})"
    own = {"measure": quote_text(measure.name), "unit": quote_text(get_unit(measure)), "place": str(place)}
    return "{" + ", ".join(f"{quote_text(key)}: {value}" for key, value in (own | values).items()) + "}"


def read_by_area(
    connection: duckdb.DuckDBPyConnection, version: str, table: str, area: str | None = None
) -> Iterator[tuple[str, str, str]]:
    """Yield code and name of each area of a table, or of one, and its figures as JSON objects, one on each line."""
    query = f"""
        SELECT area_code, any_value(area_name), string_agg({JSON}, ',\n' ORDER BY {ORDER})
        FROM figures WHERE release = $version AND "table" = $table AND area_code = coalesce($area, area_code)
        GROUP BY area_code ORDER BY area_code"""
    yield from connection.execute(query, {"version": version, "table": table, "area": area}).fetchall()
