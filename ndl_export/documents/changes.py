"""`changes.csv`: figures that moved, against the newest older release of the cohort, by more than noise explains.

Two releases draw their noise independently, so the change of a figure has an interval that follows from both: for
percentages and averages that of Zou and Donner (2008), as in the methodology, for counts the sum of squares. A figure
has moved where that 95% interval leaves out zero. Of figures that did not change, 5 in 100 are expected to be listed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ndl_export.facts.previous import Previous
from ndl_export.tables import TABLES, Measure, Table
from ndl_export.tables.geography import CODE_COLUMNS, NAME_COLUMNS
from ndl_export.tables.schema import Role, column_name, key_names
from privacy.doors.database import in_memory
from privacy.doors.sql import quoted

HEADER = (
    "table",
    "measure",
    "time_period",
    "geographic_level",
    "area_code",
    "area_name",
    "row",
    "previous",
    "previous_lower_ci",
    "previous_upper_ci",
    "current",
    "current_lower_ci",
    "current_upper_ci",
    "change",
    "change_lower_ci",
    "change_upper_ci",
)


@dataclass(frozen=True)
class Compared:
    """One table: figures that both releases give, lines of those that moved, rows added and left out since."""

    compared: int
    moved: tuple[tuple[str, ...], ...]
    added: int
    left_out: int


def of_cohort(tables: Mapping[str, pa.Table], cohort: str) -> dict[str, pa.Table]:
    """The rows of one cohort."""
    return {name: data.filter(pc.equal(data["time_period"], cohort)) for name, data in tables.items()}


def compare(tables: Mapping[str, pa.Table], previous: Previous | None) -> dict[str, Compared]:
    """Every table whose rows both releases define alike, by name; empty where there is no previous release.

    Rows of cohorts that the one has and the other has not are neither added nor left out: they are not compared.
    """
    if previous is None:
        return {}
    with in_memory() as connection:
        return {
            name: _compare(connection, TABLES[name], *_of_both(previous.tables[name], tables[name]))
            for name, table in TABLES.items()
            if all(name in both and _has(both[name], key_names(table)) for both in (previous.tables, tables))
        }


def _of_both(before: pa.Table, now: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The rows of cohorts that both have."""
    older, newer = (
        data.filter(pc.is_in(data["time_period"], value_set=pc.unique(other["time_period"]).cast(pa.string())))
        for data, other in ((before, now), (now, before))
    )
    return older, newer


def changes_csv(comparisons: Mapping[str, Mapping[str, Compared]]) -> str:
    """One line for each figure that moved, by cohort and in order of the tables; only a header where nothing is
    compared."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEADER)
    for comparison in comparisons.values():
        for compared in comparison.values():
            writer.writerows(compared.moved)
    return stream.getvalue()


def _compare(connection: duckdb.DuckDBPyConnection, table: Table, before: pa.Table, now: pa.Table) -> Compared:
    connection.register("before", before)
    connection.register("now", now.append_column("position", pa.array(range(now.num_rows))))
    same = " AND ".join(f"now.{key} IS NOT DISTINCT FROM before.{key}" for key in key_names(table))
    matched = _number(connection, f"SELECT count(*) FROM now JOIN before ON {same}")
    compared, moved = 0, []
    for measure in table.measures:
        if all(_has(data, _columns(measure)) for data in (before, now)):
            connection.execute(f"CREATE OR REPLACE TEMP TABLE changed AS {_changed(table, measure, same)}")
            compared += _number(connection, "SELECT count(*) FROM changed")
            moved += connection.execute(_lines(measure)).fetchall()
    return Compared(compared, tuple(moved), now.num_rows - matched, before.num_rows - matched)


def _has(data: pa.Table, names: tuple[str, ...]) -> bool:
    return set(names) <= set(data.column_names)


def _columns(measure: Measure) -> tuple[str, str, str]:
    """Columns of the value compared and of the ends of its interval."""
    value = Role.ESTIMATE if measure.is_count else Role.FIGURE
    return column_name(measure, value), column_name(measure, Role.LOWER), column_name(measure, Role.UPPER)


def _changed(table: Table, measure: Measure, same: str) -> str:
    """SQL of the rows that have the measure in both releases, each with its change and the interval of the change."""
    value, lower, upper = _columns(measure)
    levels = " || '; ' || ".join(f"{quoted(entry.label)} || ': ' || now.{entry.name}" for entry in table.filters)
    return f"""
        WITH pairs AS (
            SELECT now.position, {quoted(table.name)} AS "table", now.time_period, now.geographic_level,
                {_own(CODE_COLUMNS)} AS area_code, {_own(NAME_COLUMNS)} AS area_name, {levels} AS "row",
                before.{value} AS p, before.{lower} AS pl, before.{upper} AS pu,
                now.{value} AS c, now.{lower} AS cl, now.{upper} AS cu
            FROM now JOIN before ON {same}
            WHERE before.{value} IS NOT NULL AND now.{value} IS NOT NULL
        ),
        widths AS (SELECT *, {_widths(measure)} FROM pairs)
        SELECT *, c - p AS change, c - p - sqrt(c_below ** 2 + p_above ** 2) AS change_lower,
            c - p + sqrt(c_above ** 2 + p_below ** 2) AS change_upper
        FROM widths
    """


def _own(column: Mapping[str, str]) -> str:
    """SQL of the code or name of a row's own area; `column` by level."""
    cases = " ".join(f"WHEN {quoted(level)} THEN now.{name}" for level, name in column.items())
    return f"CASE now.geographic_level {cases} ELSE now.geographic_level END"


def _widths(measure: Measure) -> str:
    """SQL of how far an interval reaches below and above its value; that of a count is cut off at 0."""
    if measure.is_count:
        of = {name: f"greatest({name}u - {name}, {name} - {name}l)" for name in "pc"}
        return ", ".join(f"{width} AS {name}_{side}" for name, width in of.items() for side in ("below", "above"))
    return ", ".join(
        f"greatest({difference}, 0) AS {name}_{side}"
        for name in "pc"
        for side, difference in (("below", f"{name} - {name}l"), ("above", f"{name}u - {name}"))
    )


def _lines(measure: Measure) -> str:
    """SQL of the lines of those that moved."""
    decimals = max(measure.decimals, 1)
    numbers = ("p", "pl", "pu", "c", "cl", "cu", "change", "change_lower", "change_upper")
    texts = ", ".join(f"CAST(CAST({number} AS DECIMAL(18, {decimals})) AS VARCHAR)" for number in numbers)
    return f"""
        SELECT "table", {quoted(measure.name)}, time_period, geographic_level, area_code, area_name, "row", {texts}
        FROM changed WHERE change_lower > 0 OR change_upper < 0 ORDER BY position
    """


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    ((number,),) = connection.execute(query).fetchall()
    return int(number)
