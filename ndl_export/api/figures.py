"""Figures in the shape `shapes.Figure`, from the analyst database's view `releases.figure`, as rows and as JSON."""

from collections.abc import Iterator

import duckdb

from ndl_export.api.shapes import Figure
from privacy.doors.sql import quote_identifier

COLUMNS = tuple(Figure.model_fields)
JSON = f"to_json(struct_pack({', '.join(map(quote_identifier, COLUMNS))}))::VARCHAR"
"""SQL for the JSON of one figure."""
# Counts are whole numbers and rates are not; JSON keeps both as the bundle has them.
FIGURES = """
    SELECT f.release_version AS release, f.table_name AS "table", f.row_number AS "row", f.measure, f.time_period,
           f.geographic_level::VARCHAR AS geographic_level, f.area_code, f.area_name,
           map(t.filters, f.levels) AS filters,
           if(f.kind = 'count', to_json(f.figure::BIGINT), to_json(f.figure)) AS "value",
           f.lower_ci AS "lower", f.upper_ci AS "upper", f.unit, f.flag, g.meaning AS flag_meaning,
           f.is_broken AS series_break, f.levels, f.is_all_together
    FROM releases.figure AS f
    JOIN dimension.published_table AS t USING (table_name)
    LEFT JOIN dimension.flag AS g ON g.flag::VARCHAR = f.flag"""
"""SQL for every figure: the columns of its JSON, and those that answers are selected by."""

IS_CURRENT = "(time_period, release) IN (SELECT time_period, release_version FROM releases.current)"
"""SQL that keeps figures of the current release of each cohort."""


def read_by_area(
    connection: duckdb.DuckDBPyConnection, version: str, table: str, area: str | None = None
) -> Iterator[tuple[str, str, str]]:
    """Yield the code, name and figures (a JSON object on each line) of each area of a table, or of one area."""
    query = f"""
        SELECT area_code, any_value(area_name), string_agg({JSON}, ',\n' ORDER BY position)
        FROM figures WHERE release = $version AND "table" = $table AND area_code = coalesce($area, area_code)
        GROUP BY area_code ORDER BY area_code"""
    yield from connection.execute(query, {"version": version, "table": table, "area": area}).fetchall()
