"""`dimension.name`: everything that an area, cohort, characteristic or group may be called, for the macros.

Letter case, punctuation and `&` do not matter; a name that is not there is an error that names the nearest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import duckdb

from ndl_export.analyst_db.child_groups import ALSO_CALLED, EVERYONE, characteristics
from ndl_export.analyst_db.ddl import fill_table
from ndl_export.tables.geography import ALL_TOGETHER
from privacy.doors.sql import quoted


def add_names(connection: duckdb.DuckDBPyConnection) -> None:
    """`dimension.area` and `dimension.cohort` must be filled."""
    connection.execute(
        f"""INSERT INTO dimension.name
        SELECT DISTINCT 'area', called, area_code, area_name FROM dimension.area,
               LATERAL (SELECT unnest([area_name, area_code, old_la_code, council]) AS called) WHERE called IS NOT NULL
        UNION ALL (SELECT 'area', 'All councils', area_code, area_name FROM dimension.area
                   WHERE is_all_together ORDER BY area_code = {quoted(ALL_TOGETHER)} DESC LIMIT 1)
        UNION ALL SELECT 'cohort', unnest([time_period, label]), time_period, label FROM dimension.cohort"""
    )
    fill_table(connection, "dimension.name", [*_characteristics(), *_groups()])


def _characteristics() -> Iterator[tuple[str, str, str, str]]:
    for each in characteristics():
        for called in dict.fromkeys((each.name, each.attribute, *ALSO_CALLED.get(each.attribute, ()))):
            yield "characteristic", called, each.name, each.name


def _groups() -> Iterator[tuple[str, str, str, str]]:
    """The group's own name where no other has it, and in any case its name with that of its characteristic."""
    pairs = [(each, group) for each in characteristics() for group in each.groups]
    used = Counter(group for _, group in pairs)
    for each, group in pairs:
        if used[group] == 1:
            yield "group", group, each.key(group), each.key(group)
        if each.name != EVERYONE:
            for called in (each.name, *ALSO_CALLED.get(each.attribute, ())):
                yield "group", f"{called}: {group}", each.key(group), each.key(group)
    for called in ALSO_CALLED[EVERYONE]:
        yield "group", called, EVERYONE, EVERYONE
