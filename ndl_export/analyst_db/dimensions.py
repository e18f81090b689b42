"""Schema `dimension`: what the codes and categories of the tables stand for, and in which order they come.

Everything is made from the table definitions, the schema and the public reference data. Categories that only earlier
releases have come after those of today.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, product

from ndl_export.analyst_db.categories import axes_of, category_type
from ndl_export.analyst_db.child_groups import characteristics, comparisons
from ndl_export.analyst_db.database import Database
from ndl_export.analyst_db.facts import FLAG_TYPE, LEVEL_TYPE
from ndl_export.analyst_db.names import short_names
from ndl_export.analyst_db.releases import Release, all_categories
from ndl_export.facts.missing import SOURCES, not_sent
from ndl_export.tables import FAMILIES, TABLES, Filter, Table
from ndl_export.tables.dimensions import BREAKDOWN_FILTER, TOPIC_FILTER
from ndl_export.tables.geography import (
    ALL_TOGETHER,
    DEVOLVED,
    LOCAL_AUTHORITY,
    NATIONAL,
    REGIONAL,
    Geography,
    geographies,
)
from ndl_export.tables.health import DOMAINS
from ndl_export.tables.parents import QUESTIONS
from ndl_export.tables.pupil import CONCERN_GIVEN_SEEN
from ndl_export.tables.schema import BREAK, BREAK_COLUMN, SYMBOLS, Flag
from sources.reference import survey
from sources.reference.asq3 import cut_offs
from sources.reference.breaks import breaks
from sources.reference.cohorts import Cohort
from sources.reference.goals import AREAS_OF_LEARNING, GLD_GOALS, GOALS
from sources.reference.places import place
from sources.reference.targets import targets

_LEVELS = (NATIONAL, ALL_TOGETHER, REGIONAL, DEVOLVED, LOCAL_AUTHORITY)
_SHOWN = (Flag.UNRELIABLE, Flag.LINKAGE, BREAK)
"""Symbols that take no figure away."""
_IN_SHORT = {
    Flag.UNRELIABLE: "unreliable",
    Flag.LINKAGE: "linkage",
    Flag.WITHHELD: "withheld",
    Flag.NOT_APPLICABLE: "not applicable",
    Flag.NOT_AVAILABLE: "not sent",
    BREAK: "break",
}


def add_types(database: Database, found: list[Release]) -> dict[str, tuple[str, ...]]:
    """The ENUM types; returns the categories of each filter."""
    database.create_enum(FLAG_TYPE, SYMBOLS, "Symbols: what a _flag column or series_break may hold")
    database.create_enum(LEVEL_TYPE, _LEVELS, "Kinds of area, the widest first")
    categories = all_categories(found)
    for name, values in categories.items():
        database.create_enum(category_type(name), values, f"Categories of the column {name}, in order")
    return categories


def add_dimensions(database: Database, found: list[Release], categories: Mapping[str, tuple[str, ...]]) -> None:
    """Fill the tables; `categories` as from `add_types`, which made their types."""
    for entry in _PLAIN_FILTERS.values():
        _create_plain(database, entry)
    rows: dict[str, Iterable[Sequence[object]]] = {
        "area": (_area_row(area) for area in _areas(found).values()),
        "area_member": dict.fromkeys(_members(found)),
        "cohort": ((each.code, each.label, each.born_from, each.born_to) for each in _cohorts(found)),
        "series_break": _break_rows(),
        "published_table": map(table_row, TABLES.values()),
        "measure": chain.from_iterable(map(measure_rows, TABLES.values())),
        "flag": _symbol_rows(),
        "breakdown": _breakdown_rows(categories),
        **{name: _plain_rows(name, categories[name]) for name in _PLAIN_FILTERS},
        "early_learning_goal": _goal_rows(),
        "asq3_domain": ((label, code, n) for n, (code, label) in enumerate(DOMAINS.items(), start=1)),
        "asq3_cut_off": ((DOMAINS[code], int(months), score) for (code, months), score in cut_offs().items()),
        "question": _question_rows(),
        "answer": _answer_rows(),
        "seen_and_concern": _seen_and_concern_rows(),
        "target": ((t.name, t.area_code or "", t.percent, t.year, t.source) for t in targets()),
        "characteristic": _characteristic_rows(),
        "child_group": _child_group_rows(),
        "short_name": short_names(),
        "comparison": ((c.comparison, c.topic, c.first, c.second) for c in comparisons()),
    }
    for name, values in rows.items():
        database.fill(f"dimension.{name}", values)


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


def _create_plain(database: Database, entry: Filter) -> None:
    database.create_table(
        f"dimension.{entry.name}",
        f"Categories of the column {entry.name}: {entry.description}",
        {
            entry.name: (category_type(entry.name), entry.label),
            "position": ("INTEGER NOT NULL", "Order of the categories"),
            "attribute": ("VARCHAR", "Attribute of the table definitions that the category is of"),
            "adds_up": ("VARCHAR[]", "Categories of the attribute that it adds up; empty for all of them"),
        },
        (f"PRIMARY KEY ({entry.name})",),
    )


def _plain_rows(name: str, categories: Iterable[str]) -> Iterator[tuple[object, ...]]:
    selections = {
        selection.label: (axis.attribute, selection.categories)
        for table in TABLES.values()
        for axis in axes_of(table, name)
        for selection in axis.selections
    }
    for number, category in enumerate(categories, start=1):
        attribute, adds_up = selections.get(category, (None, None))
        yield category, number, attribute, adds_up or None


def _areas(found: list[Release]) -> dict[str, Geography]:
    """Areas by code, the newest release first."""
    areas: dict[str, Geography] = {}
    for *_, area in _areas_of_families(list(reversed(found))):
        areas.setdefault(area.code, area)
    return areas


def _areas_of_families(found: list[Release]) -> Iterator[tuple[str, str, str, Geography]]:
    """By release, cohort (the newest first) and family."""
    for release in found:
        for cohort, family in product(sorted(release.cohorts, reverse=True), FAMILIES):
            for area in geographies(release.councils, not_sent(release.missing[cohort], family)):
                yield str(release.version), cohort, family, area


def _members(found: list[Release]) -> Iterator[tuple[str, ...]]:
    for *which, area in _areas_of_families(found):
        for council in area.councils:
            yield *which, area.code, place(council).new_la_code


def _symbol_rows() -> Iterator[tuple[object, ...]]:
    for symbol, meaning in SYMBOLS.items():
        yield symbol, meaning, _IN_SHORT[symbol], BREAK_COLUMN.name if symbol == BREAK else "_flag", symbol in _SHOWN


def _break_rows() -> Iterator[tuple[object, ...]]:
    for each in breaks():
        of = sorted(each.attributes), sorted(each.councils)
        yield each.cohort, each.name, each.what, each.not_known or None, *of, each.source


def _area_row(area: Geography) -> tuple[object, ...]:
    together = area.level in (NATIONAL, ALL_TOGETHER)
    if area.level != LOCAL_AUTHORITY:
        return (area.code, area.name, area.level, together, *[None] * 6)
    council = place(area.councils[0])
    return (
        area.code,
        area.name,
        area.level,
        together,
        council.council,
        council.old_la_code,
        council.region_code,
        council.region_name,
        council.english_devolved_area_code or None,
        council.english_devolved_area_name or None,
    )


def _cohorts(found: list[Release]) -> list[Cohort]:
    return [Cohort(code) for code in sorted(set(chain.from_iterable(release.cohorts for release in found)))]


def table_row(table: Table) -> tuple[object, ...]:
    """A published table in `dimension.published_table`."""
    source = SOURCES[FAMILIES[table.family].source].title
    filters = [f.name for f in table.filters]
    return table.name, table.title, table.family, table.population, table.description, source, filters


def measure_rows(table: Table) -> Iterator[tuple[object, ...]]:
    """Its figures in `dimension.measure`."""
    for m in table.measures:
        yield table.name, m.name, m.label, m.kind.label, m.unit, m.decimals, m.description


def _breakdown_rows(categories: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[object, ...]]:
    tables: dict[tuple[str, str], list[str]] = {}
    selections: dict[tuple[str, str], tuple[str | None, tuple[str, ...] | None]] = {}
    for table in TABLES.values():
        for block in table.blocks:
            topic = block.constants.get(TOPIC_FILTER.name)
            axis = next((axis for axis in block.axes if axis.filter == BREAKDOWN_FILTER.name), None)
            if topic is None or (axis is None and BREAKDOWN_FILTER.name not in block.constants):
                continue
            levels = axis.selections if axis else ()
            shown = {s.label: (axis.attribute, s.categories) for s in levels} if axis else {}
            for label in shown or (block.constants[BREAKDOWN_FILTER.name],):
                selections.setdefault((topic, label), shown.get(label, (None, None)))
                tables.setdefault((topic, label), []).append(table.name)
    order = {name: {c: n for n, c in enumerate(values)} for name, values in categories.items()}
    keys = sorted(tables, key=lambda key: (order[TOPIC_FILTER.name][key[0]], order[BREAKDOWN_FILTER.name][key[1]]))
    for number, (topic, label) in enumerate(keys, start=1):
        attribute, adds_up = selections[topic, label]
        yield topic, label, number, attribute, adds_up or None, list(dict.fromkeys(tables[topic, label]))


def _goal_rows() -> Iterator[tuple[object, ...]]:
    for number, (code, label) in enumerate(GOALS.items(), start=1):
        yield label, code, AREAS_OF_LEARNING[code[:3]], code in GLD_GOALS, number


def _question_rows() -> Iterator[tuple[object, ...]]:
    for number, (code, question) in enumerate(survey.QUESTIONS.items(), start=1):
        yield question.label, code, question.wording, number


def _answer_rows() -> Iterator[tuple[object, ...]]:
    for question in QUESTIONS:
        codes = {label: code for code, label in survey.QUESTIONS[question.name].answers.items()}
        for number, answer in enumerate(question.categories, start=1):
            yield question.label, answer, codes.get(answer), number


def _seen_and_concern_rows() -> Iterator[tuple[object, ...]]:
    every_concern = dict.fromkeys(chain.from_iterable(CONCERN_GIVEN_SEEN.values()))
    for seen, possible in CONCERN_GIVEN_SEEN.items():
        for concern in every_concern:
            yield seen, concern, concern in possible


def _characteristic_rows() -> Iterator[tuple[object, ...]]:
    for number, each in enumerate(characteristics(), start=1):
        yield each.name, number, each.attribute, each.table, each.column


def _child_group_rows() -> Iterator[tuple[object, ...]]:
    pairs = [(each, group) for each in characteristics() for group in each.groups]
    for number, (each, group) in enumerate(pairs, start=1):
        yield each.name, group, each.key(group), number
