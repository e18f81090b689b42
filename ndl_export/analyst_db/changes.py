"""Changes since the previous release: `changes.csv` (figures that moved by more than the noise) and `changelog.md`.

Two releases draw their noise independently, so the interval of a change follows from both: by Zou and Donner (2008) for
percentages and averages, and by the sum of squares for counts. Both are about the same children, so chance plays no
part. A figure has moved if that interval excludes zero when it is as wide as the number of figures compared in the
cohort requires (Holm 1979; the macros `asked_at` and `certain_from` of the database).

If one release has the noisy counts of the other and further ones, both describe the same children: the ledger refuses
further counts of another table. Nothing can have moved then but the noise, so such a cohort lists only how many figures
are shown differently, and how wide their intervals are beside those before.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ndl_export.analyst_db.database import Database
from ndl_export.facts.missing import format_missing
from ndl_export.facts.release_facts import TITLE, Earlier, PublishedRelease, ReleaseFacts
from ndl_export.pages import kit
from ndl_export.tables import TABLES, Measure, Table
from ndl_export.tables.schema import ColumnRole, build_decimals_sql, get_column_name, list_key_names
from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_text
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

_TEMPLATES = Path(__file__).parent / "templates"
HEADER = (
    *("table", "measure", "time_period", "geographic_level", "area_code", "area_name", "row"),
    *(f"{what}{end}" for what in ("previous", "current", "change") for end in ("", "_lower_ci", "_upper_ci")),
)


@dataclass(frozen=True)
class TableChanges:
    """The comparison of one table: figures in both releases, lines of those that moved, rows added and left out since.

    If one release has the noisy counts of the other and further ones, `changed` is the number of figures that are shown
    differently, and `width_ratio` the median ratio of the widths of their intervals, now to before.
    """

    compared: int
    moved: tuple[tuple[str, ...], ...]
    added: int
    left_out: int
    changed: int = 0
    width_ratio: float | None = None


def select_cohort(tables: Mapping[str, pa.Table], cohort: str) -> dict[str, pa.Table]:
    """Return the rows of one cohort, by table."""
    return {name: data.filter(pc.equal(data["time_period"], cohort)) for name, data in tables.items()}


def compare(
    tables: Mapping[str, pa.Table],
    previous: PublishedRelease | None,
    defined: Mapping[str, Table] = TABLES,
    sharpened: Collection[str] = (),
) -> dict[str, TableChanges]:
    """Compare the tables in `defined` whose key columns both releases have; empty without a previous release.

    `sharpened` are cohorts for which one release has the noisy counts of the other and further ones. Rows of cohorts
    that only one release has are not compared, so they count neither as added nor as left out.
    """
    if previous is None:
        return {}
    rows: dict[str, tuple[int, int, int]] = {}
    with open_in_memory() as connection:
        # The macros of the database itself, so the changelog concludes what an analyst would conclude with them.
        Database(connection).create_written("macros.sql", _HOLM)
        connection.execute(_CHANGED)
        for name, table in defined.items():
            both = [release[name] for release in (previous.tables, tables) if name in release]
            if len(both) < 2 or not all(_has(data, list_key_names(table)) for data in both):
                continue
            before, now = both
            connection.register("before", before)
            # A result of SQL has no order; `position` keeps that of the table.
            connection.register("now", now.append_column("position", pa.array(range(now.num_rows))))
            for measure in table.measures:
                if _has(before, _get_column_names(measure)) and _has(now, _get_column_names(measure)):
                    connection.execute(_insert_changed_sql(table, measure, sharpened))
            [rows[name]] = connection.execute(_COUNT_ROWS.format(same=_match_rows_sql(table))).fetchall()
        return {name: _compare_table(connection, defined[name], *counted) for name, counted in rows.items()}


_COUNT_ROWS = """
    SELECT (SELECT count(*) FROM now JOIN before ON {same}),
        (SELECT count(*) FROM now WHERE time_period IN (SELECT time_period FROM before)),
        (SELECT count(*) FROM before WHERE time_period IN (SELECT time_period FROM now))
"""
"""Rows in both releases, and rows of each in the cohorts that both have."""


def _compare_table(
    connection: duckdb.DuckDBPyConnection, table: Table, matched: int, now: int, before: int
) -> TableChanges:
    [(compared, changed, ratio)] = connection.execute(
        "SELECT count(*), count(*) FILTER (sharpened AND shown_anew),"
        " median((cu - cl) / (pu - pl)) FILTER (sharpened AND pu > pl)"
        f""" FROM changed WHERE "table" = {quote_text(table.name)}"""
    ).fetchall()
    moved = connection.execute(kit.render(_TEMPLATES, "moved.sql", table=table)).fetchall()
    return TableChanges(compared, tuple(moved), now - matched, before - matched, changed, ratio)


_HOLM = ("normal_beyond", "asked_at", "certain_from")
_CHANGED = """
    CREATE TABLE changed ("table" VARCHAR, measure VARCHAR, decimals INTEGER, number INTEGER, position BIGINT,
        time_period VARCHAR, geographic_level VARCHAR, area_code VARCHAR, area_name VARCHAR, "row" VARCHAR,
        p DOUBLE, pl DOUBLE, pu DOUBLE, p_decimals INTEGER, c DOUBLE, cl DOUBLE, cu DOUBLE, c_decimals INTEGER,
        sharpened BOOLEAN, shown_anew BOOLEAN, change DOUBLE, down DOUBLE, up DOUBLE)
"""
"""Figures in both releases, their change, and how far its 95% interval reaches down and up."""


def _has(data: pa.Table, names: tuple[str, ...]) -> bool:
    return set(names) <= set(data.column_names)


def _get_column_names(measure: Measure) -> tuple[str, ...]:
    """Return the columns of the value compared and of the ends of its interval."""
    value = ColumnRole.ESTIMATE if measure.is_count else ColumnRole.FIGURE
    return tuple(get_column_name(measure, role) for role in (value, ColumnRole.LOWER, ColumnRole.UPPER))


def _match_rows_sql(table: Table) -> str:
    """Return the SQL condition for joining the same row of both releases."""
    # Codes of levels that a row is not about are NULL, which `=` would never match.
    return " AND ".join(f"now.{key} IS NOT DISTINCT FROM before.{key}" for key in list_key_names(table))


def _insert_changed_sql(table: Table, measure: Measure, sharpened: Collection[str]) -> str:
    """Return SQL that adds the rows with the measure in both releases to table `changed`."""
    value, lower, upper = _get_column_names(measure)
    flag = get_column_name(measure, ColumnRole.FLAG)
    return kit.render(
        _TEMPLATES,
        "changed.sql",
        table=table,
        measure=measure,
        value=value,
        lower=lower,
        upper=upper,
        # estimates of counts have one decimal
        decimals={
            release: "1" if measure.is_count else build_decimals_sql(measure, f"{release}.{flag}")
            for release in ("before", "now")
        },
        same=_match_rows_sql(table),
        sharpened=sorted(sharpened),
    )


def render_changelog_page(
    facts: ReleaseFacts, earlier: Earlier, comparisons: Mapping[str, Mapping[str, TableChanges]]
) -> str:
    """Return the page; `comparisons` are by cohort, as returned by `compare`."""
    cohorts = [
        _build_cohort_values(facts, cohort, earlier.of.get(cohort), comparisons[cohort])
        for cohort in sorted(facts.cohorts)
    ]
    return kit.render(_TEMPLATES, "changelog.md", facts=facts, title=TITLE, cohorts=cohorts, replaced=earlier.replaced)


def _build_cohort_values(
    facts: ReleaseFacts, cohort: str, previous: PublishedRelease | None, comparison: Mapping[str, TableChanges]
) -> dict[str, Any]:
    """Return the page's values for one cohort; `differs` has, by name, the values now and before."""
    found: dict[str, Any] = {"cohort": cohort, "label": Cohort(cohort).label, "previous": previous}
    if previous is None:
        return found
    requested, requested_before = (
        {each.name for each in tables if cohort in each.cohorts}
        for tables in (facts.on_request.tables, previous.requested)
    )
    standard_before = set(previous.tables) - {each.name for each in previous.requested}
    differs = {
        "Councils": [{get_place(council).la_name for council in each.councils} for each in (facts, previous)],
        "Sources not sent": [set(format_missing({cohort: each.missing.get(cohort, {})})) for each in (facts, previous)],
        "Tables": [set(TABLES), standard_before],
    }
    if requested or requested_before:
        differs["Tables on request"] = [requested, requested_before]
    return found | {
        "differs": differs,
        "not_compared": sorted(
            facts.on_request.select_cohort(cohort).keys() & previous.tables.keys() - comparison.keys()
        ),
        "sharpened": cohort in previous.find_sharpened(facts),
        "epsilon": facts.epsilon[cohort],
        "comparison": comparison,
        "widths": _describe_widths(comparison.values()),
    }


def _describe_widths(compared: Iterable[TableChanges]) -> str:
    """Return the sentence on intervals of a cohort of which one release has further counts, as the page prints them."""
    widths = {round(100 * one.width_ratio, 1) for one in compared if one.width_ratio is not None} - {100.0}
    if not widths:
        return "In no table are most intervals narrower or wider than before."
    kinds = [*(["narrower"] if min(widths) < 100 else []), *(["wider"] if max(widths) > 100 else [])]
    return f"In some tables intervals are {' and in others '.join(kinds)} than before."
