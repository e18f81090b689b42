"""Names that the macros accept for areas, cohorts, characteristics and groups of children.

`dimension.name` has all of them. Letter case, punctuation and `&` are ignored; an unknown name is an error that
suggests the nearest ones. Published names, codes and folder names follow from the definitions; other names in common
use are in `names.yaml`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ndl_export.analyst_db.child_groups import EVERYONE, list_characteristics
from ndl_export.analyst_db.database import Database
from ndl_export.tables.geography import ALL_TOGETHER
from privacy.doors.sql import quote_text

ALSO_CALLED: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "names.yaml").read_text(encoding="utf-8"))
"""Other names, by kind, and by attribute, key of a group, folder name of a council or official code."""
_Name = tuple[str, str, str, str]


def iter_short_names() -> Iterator[tuple[str, str, str]]:
    """Yield the label of a filter or name of a characteristic, its category, and the category's short name."""
    for filter_label, words in ALSO_CALLED["shown_short"].items():
        for category, short in words.items():
            yield filter_label, category, short
    for each in list_characteristics():
        for group in each.groups:
            if group not in ALSO_CALLED["shown_short"].get(each.name, {}):
                yield each.name, group, ALSO_CALLED["groups"][each.key(group)][0]


def add_names(database: Database) -> None:
    """Fill `dimension.name`, from `dimension.area`, `dimension.cohort` and other sources."""
    database.execute(
        """INSERT INTO dimension.name
        SELECT DISTINCT 'area', called, area_code, area_name FROM dimension.area,
               LATERAL (SELECT unnest([area_name, area_code, old_la_code, council]) AS called) WHERE called IS NOT NULL
        UNION ALL SELECT 'cohort', unnest([time_period, label]), time_period, label FROM dimension.cohort"""
    )
    # One release may be of some councils and another of all England; names of all together refer to the first.
    areas = database.connection.execute(
        f"SELECT area_code, area_name, council, is_all_together FROM dimension.area"
        f" ORDER BY area_code = {quote_text(ALL_TOGETHER)} DESC"
    ).fetchall()
    rows = [*_iter_area_names(areas), *_iter_characteristic_names(), *_iter_group_names()]
    # Lists overlap, and kind and name are the primary key.
    database.fill("dimension.name", {row[:2]: row for row in rows}.values())


def _iter_area_names(areas: list[tuple[str, str, str | None, bool]]) -> Iterator[_Name]:
    """Yield names that `dimension.area` does not have; names for all councils together refer to one area."""
    together = next(((code, name) for code, name, _, is_together in areas if is_together), None)
    for called in ALSO_CALLED["all_together"] if together else ():
        assert together is not None
        yield "area", called, *together
    for code, name, council, _ in areas:
        for called in (*ALSO_CALLED["areas"].get(council, ()), *ALSO_CALLED["areas"].get(code, ())):
            yield "area", called, code, name


def _iter_characteristic_names() -> Iterator[_Name]:
    for each in list_characteristics():
        for called in (each.name, each.attribute, *ALSO_CALLED["characteristics"][each.attribute]):
            yield "characteristic", called, each.name, each.name


def _iter_group_names() -> Iterator[_Name]:
    """Yield a group's own name if it is unique, its name with its characteristic's, and names in common use."""
    pairs = [(each, group) for each in list_characteristics() for group in each.groups]
    used = Counter(group for _, group in pairs)
    for each, group in pairs:
        key = each.key(group)
        names = [group] if used[group] == 1 else []
        if each.name != EVERYONE:
            prefixes = (each.name, *ALSO_CALLED["characteristics"][each.attribute])
            names += [f"{called}: {group}" for called in prefixes]
        for called in (*names, *ALSO_CALLED["groups"][key]):
            yield "group", called, key, key
