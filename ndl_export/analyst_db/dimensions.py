"""Schema `dimension`: the meaning and the order of codes and categories in the tables.

`dimension.name` has the names that the macros accept. Letter case, punctuation and `&` are ignored; an unknown name is
an error that suggests the nearest ones. Published names, codes and folder names follow from the definitions; other
names in common use are in the declarations of the families.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, product

import pyarrow.compute as pc

from ndl_export.analyst_db import child_groups
from ndl_export.analyst_db.database import FLAG_TYPE, LEVEL_TYPE, Database
from ndl_export.analyst_db.words import ALL_TOGETHER_NAMES, AREA_NAMES, WORDS
from ndl_export.facts.missing import list_missing_councils
from ndl_export.facts.release_facts import PublishedRelease
from ndl_export.tables import FAMILIES, TABLES, Table
from ndl_export.tables.geography import (
    ALL_TOGETHER,
    DEVOLVED,
    LOCAL_AUTHORITY,
    NATIONAL,
    REGIONAL,
    Geography,
    list_geographies,
)
from ndl_export.tables.health import DOMAINS
from ndl_export.tables.model import BREAKDOWN_FILTER, TOPIC_FILTER
from ndl_export.tables.parents import QUESTIONS, WHO_ANSWERED
from ndl_export.tables.pupil import CONCERN_GIVEN_SEEN
from ndl_export.tables.schema import BREAK, BREAK_COLUMN, SYMBOLS, Flag
from privacy.doors.sql import quote_text
from sources.reference import code_lists
from sources.reference.code_lists import AREAS_OF_LEARNING, GLD_GOALS, GOALS, load_cut_offs
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place
from sources.reference.published_figures import load_breaks, load_targets
from sources.reference.source_titles import SOURCE_TITLES

_LEVELS = (NATIONAL, ALL_TOGETHER, REGIONAL, DEVOLVED, LOCAL_AUTHORITY)
_SHOWN = (Flag.UNRELIABLE, Flag.LINKAGE, BREAK)
"""Symbols that accompany a figure rather than replace it."""
_IN_SHORT = {
    Flag.UNRELIABLE: "unreliable",
    Flag.LINKAGE: "linkage",
    Flag.WITHHELD: "withheld",
    Flag.NOT_APPLICABLE: "not applicable",
    Flag.NOT_AVAILABLE: "not sent",
    BREAK: "break",
}


def add_types(database: Database, found: list[PublishedRelease]) -> dict[str, tuple[str, ...]]:
    """Create the ENUM types; return the categories of each filter, with those that only earlier releases have last."""
    database.create_enum(FLAG_TYPE, SYMBOLS, "Symbols: what a _flag column or series_break may hold")
    database.create_enum(LEVEL_TYPE, _LEVELS, "Kinds of area, the widest first")
    categories = {name: list(values) for name, values in child_groups.list_filter_categories().items()}
    for table, release in product(TABLES.values(), found):
        rows = release.read(f"{table.name}.parquet", [f.name for f in table.filters])
        for name, levels in zip(rows.column_names, rows.columns, strict=True) if rows is not None else ():
            # Sorted, because the order of rows in a file says nothing about the order of categories.
            there = sorted(pc.unique(levels).to_pylist())
            categories[name] += [category for category in there if category not in categories[name]]
    for name, values in categories.items():
        database.create_enum(child_groups.get_type_name(name), values, f"Categories of the column {name}, in order")
    return {name: tuple(values) for name, values in categories.items()}


def add_dimensions(
    database: Database, found: list[PublishedRelease], categories: Mapping[str, tuple[str, ...]]
) -> None:
    """Fill the tables; `categories` comes from `add_types`, which must have created the types."""
    for entry in _PLAIN_FILTERS.values():
        database.create_table(
            f"dimension.{entry.name}",
            f"Categories of the column {entry.name}: {entry.description}",
            {
                entry.name: (child_groups.get_type_name(entry.name), entry.label),
                "position": ("INTEGER NOT NULL", "Order of the categories"),
                "attribute": ("VARCHAR", "Attribute of the table definitions that the category is of"),
                "adds_up": ("VARCHAR[]", "Categories of the attribute that it adds up; empty for all of them"),
            },
            (f"PRIMARY KEY ({entry.name})",),
        )
    plain = {name: _iter_plain_rows(name, categories[name]) for name in _PLAIN_FILTERS}
    filters = {"breakdown": _iter_breakdown_rows(categories), **plain, **_build_filter_rows()}
    for name, rows in (_build_release_rows(found) | _build_table_rows() | filters | _build_group_rows()).items():
        database.fill(f"dimension.{name}", rows)


Rows = Iterable[Sequence[object]]


def _build_release_rows(found: list[PublishedRelease]) -> dict[str, Rows]:
    """Return rows about the areas and cohorts of the releases, by table."""
    areas: dict[str, Geography] = {}
    # The newest release first, so that each area gets its newest name.
    for *_, area in iter_areas(found[::-1]):
        areas.setdefault(area.code, area)
    cohorts = sorted({cohort for release in found for cohort in release.cohorts})
    members = (
        (*which, area.code, get_place(council).new_la_code)
        for *which, area in iter_areas(found)
        for council in area.councils
    )
    return {
        "area": (_build_area_row(area) for area in areas.values()),
        "area_member": dict.fromkeys(members),
        "cohort": ((each.code, each.label, each.born_from, each.born_to) for each in map(Cohort, cohorts)),
        "series_break": (
            (b.cohort, b.name, b.what, b.not_known or None, sorted(b.attributes), sorted(b.councils), b.source)
            for b in load_breaks()
        ),
        "target": ((t.name, t.area_code or "", t.percent, t.year, t.source) for t in load_targets()),
    }


def iter_areas(found: list[PublishedRelease]) -> Iterator[tuple[str, str, str, Geography]]:
    """Yield each area with its release, cohort (the newest first) and family."""
    for release in found:
        for cohort, family in product(sorted(release.cohorts, reverse=True), FAMILIES):
            for area in list_geographies(release.councils, list_missing_councils(release.missing[cohort], family)):
                yield release.version, cohort, family, area


def _build_area_row(area: Geography) -> tuple[object, ...]:
    own = (area.code, area.name, area.level, area.level in (NATIONAL, ALL_TOGETHER))
    if area.level != LOCAL_AUTHORITY:
        return *own, *[None] * 6
    council = get_place(area.councils[0])
    region = council.region_code, council.region_name
    devolved = council.english_devolved_area_code or None, council.english_devolved_area_name or None
    return *own, council.council, council.old_la_code, *region, *devolved


def build_table_row(table: Table) -> tuple[object, ...]:
    """Return the row of a table in `dimension.published_table`."""
    source = SOURCE_TITLES[FAMILIES[table.family].source]
    filters = [f.name for f in table.filters]
    return table.name, table.title, table.family, table.population, table.description, source, filters


def iter_measure_rows(table: Table) -> Iterator[tuple[object, ...]]:
    """Yield the rows of a table's measures in `dimension.measure`."""
    for m in table.measures:
        yield table.name, m.name, m.label, m.kind.label, m.unit, m.decimals, m.description


_QUESTIONS = code_lists.QUESTIONS | code_lists.WHO_ANSWERED


def _build_table_rows() -> dict[str, Rows]:
    """Return rows about tables, measures and symbols, by table."""
    return {
        "published_table": map(build_table_row, TABLES.values()),
        "measure": chain.from_iterable(map(iter_measure_rows, TABLES.values())),
        "flag": (
            (symbol, meaning, _IN_SHORT[symbol], BREAK_COLUMN.name if symbol == BREAK else "_flag", symbol in _SHOWN)
            for symbol, meaning in SYMBOLS.items()
        ),
    }


def _build_filter_rows() -> dict[str, Rows]:
    """Return rows about categories that have more than an order: goals, domains, questions, who saw a child."""
    every_concern = dict.fromkeys(chain.from_iterable(CONCERN_GIVEN_SEEN.values()))
    return {
        "early_learning_goal": (
            (label, code, AREAS_OF_LEARNING[code[:3]], code in GLD_GOALS, number)
            for number, (code, label) in enumerate(GOALS.items(), start=1)
        ),
        "asq3_domain": ((label, code, number) for number, (code, label) in enumerate(DOMAINS.items(), start=1)),
        "asq3_cut_off": ((DOMAINS[code], int(months), score) for (code, months), score in load_cut_offs().items()),
        "question": (
            (question.label, code, question.wording, number)
            for number, (code, question) in enumerate(_QUESTIONS.items(), start=1)
        ),
        "answer": (
            (question.label, answer, codes.get(answer), number)
            for question in (*QUESTIONS, *WHO_ANSWERED)
            # The first code of a label, because survey platforms may write it differently.
            for codes in [{label: code for code, label in reversed(_QUESTIONS[question.name].answers.items())}]
            for number, answer in enumerate(question.categories, start=1)
        ),
        "seen_and_concern": (
            (seen, concern, concern in possible)
            for seen, possible in CONCERN_GIVEN_SEEN.items()
            for concern in every_concern
        ),
    }


def _build_group_rows() -> dict[str, Rows]:
    """Return rows about groups of children, by table."""
    groups = [(each, group) for each in child_groups.list_characteristics() for group in each.groups]
    return {
        "characteristic": (
            (each.name, number, each.attribute, each.table, each.column)
            for number, each in enumerate(child_groups.list_characteristics(), start=1)
        ),
        "child_group": (
            (each.name, group, each.build_key(group), number) for number, (each, group) in enumerate(groups, start=1)
        ),
        "short_name": iter_short_names(),
        "comparison": ((c.comparison, c.topic, c.first, c.second) for c in child_groups.list_comparisons()),
    }


_WITH_OWN_SHAPE = {
    TOPIC_FILTER.name,
    BREAKDOWN_FILTER.name,
    "comparison",
    "early_learning_goal",
    "asq3_domain",
    "question",
    "answer",
}
_PLAIN_FILTERS = {f.name: f for table in TABLES.values() for f in table.filters if f.name not in _WITH_OWN_SHAPE}
"""Filters whose categories have only the common columns."""


def _iter_selections(filter_name: str) -> Iterator[tuple[str, str, str, str | None, tuple[str, ...] | None]]:
    """Yield the table, topic and category of every level of a filter, and the attribute and categories it adds up."""
    for table in TABLES.values():
        for block in table.blocks:
            topic = block.constants.get(TOPIC_FILTER.name, "")
            if filter_name in block.constants:
                yield table.name, topic, block.constants[filter_name], None, None
            for axis in block.axes:
                for level in axis.selections if axis.filter == filter_name else ():
                    yield table.name, topic, level.label, axis.attribute, level.categories


def _iter_plain_rows(name: str, categories: Iterable[str]) -> Iterator[tuple[object, ...]]:
    found = {label: each for _, _, label, *each in _iter_selections(name) if each[0]}
    for number, category in enumerate(categories, start=1):
        attribute, adds_up = found.get(category, (None, None))
        yield category, number, attribute, adds_up or None


def _iter_breakdown_rows(categories: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[object, ...]]:
    tables: dict[tuple[str, str], dict[str, None]] = {}
    found: dict[tuple[str, str], tuple[str | None, tuple[str, ...] | None]] = {}
    for table, topic, label, attribute, adds_up in _iter_selections(BREAKDOWN_FILTER.name):
        if topic:
            found.setdefault((topic, label), (attribute, adds_up))
            tables.setdefault((topic, label), {})[table] = None
    order = {name: {c: n for n, c in enumerate(values)} for name, values in categories.items()}
    keys = sorted(tables, key=lambda key: (order[TOPIC_FILTER.name][key[0]], order[BREAKDOWN_FILTER.name][key[1]]))
    for number, (topic, label) in enumerate(keys, start=1):
        attribute, adds_up = found[topic, label]
        yield topic, label, number, attribute, adds_up or None, list(tables[topic, label])


_Name = tuple[str, str, str, str]


def iter_short_names() -> Iterator[tuple[str, str, str]]:
    """Yield the label of a filter or name of a characteristic, its category, and the category's short name."""
    for filter_label, words in WORDS.shown_short.items():
        for category, short in words.items():
            yield filter_label, category, short
    for each in child_groups.list_characteristics():
        for group in each.groups:
            if group not in WORDS.shown_short.get(each.name, {}):
                yield each.name, group, WORDS.list_group_names(each, group)[0]


def add_names(database: Database) -> None:
    """Fill `dimension.name`, from `dimension.area`, `dimension.cohort` and other sources."""
    database.execute(
        """INSERT INTO dimension.name
        SELECT DISTINCT 'area', called, area_code, area_name FROM dimension.area,
               LATERAL (SELECT unnest([area_name, area_code, old_la_code, council]) AS called) WHERE called IS NOT NULL
        UNION ALL SELECT 'cohort', unnest([time_period, label]), time_period, label FROM dimension.cohort"""
    )
    # If one release covers some councils and another all of England, names for all together refer to the former.
    areas = database.connection.execute(
        f"SELECT area_code, area_name, council, is_all_together FROM dimension.area"
        f" ORDER BY area_code = {quote_text(ALL_TOGETHER)} DESC"
    ).fetchall()
    characteristics = (
        ("characteristic", called, each.name, each.name)
        for each in child_groups.list_characteristics()
        for called in (each.name, each.attribute, *WORDS.list_names(each))
    )
    rows = [*_iter_area_names(areas), *characteristics, *_iter_group_names()]
    # Lists overlap, and kind and name are the primary key.
    database.fill("dimension.name", {row[:2]: row for row in rows}.values())


def _iter_area_names(areas: list[tuple[str, str, str | None, bool]]) -> Iterator[_Name]:
    """Yield names that `dimension.area` does not have; names for all councils together refer to one area."""
    together = next(((code, name) for code, name, _, is_together in areas if is_together), None)
    for called in ALL_TOGETHER_NAMES if together else ():
        assert together is not None
        yield "area", called, *together
    for code, name, council, _ in areas:
        for called in (*AREA_NAMES.get(council or "", ()), *AREA_NAMES.get(code, ())):
            yield "area", called, code, name


def _iter_group_names() -> Iterator[_Name]:
    """Yield a group's own name if it is unique, its name with its characteristic's, and names in common use."""
    pairs = [(each, group) for each in child_groups.list_characteristics() for group in each.groups]
    used = Counter(group for _, group in pairs)
    for each, group in pairs:
        key = each.build_key(group)
        names = [group] if used[group] == 1 else []
        if each.name != child_groups.EVERYONE:
            prefixes = (each.name, *WORDS.list_names(each))
            names += [f"{called}: {group}" for called in prefixes]
        for called in (*names, *WORDS.list_group_names(each, group)):
            yield "group", called, key, key
