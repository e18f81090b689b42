"""Schema `dimension`: what the codes and categories of the tables stand for, and in which order they come.

Everything is made from the table definitions, the schema and the public reference data. Categories that only earlier
releases have come after those of today.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import duckdb

from ndl_export.analyst_db.categories import category_type
from ndl_export.analyst_db.child_groups import characteristics, comparisons
from ndl_export.analyst_db.facts import FLAG_TYPE, LEVEL_TYPE
from ndl_export.analyst_db.published import Release, all_categories
from ndl_export.analyst_db.sql import Field, TableShape, create_enum, fill_table
from ndl_export.ees import RELIABILITY
from ndl_export.geography import (
    ALL_TOGETHER,
    DEVOLVED,
    LOCAL_AUTHORITY,
    NATIONAL,
    REGIONAL,
    Geography,
    geographies,
)
from ndl_export.missing import SOURCES, not_sent
from ndl_export.schema import FLAG_MEANINGS, Flag
from ndl_export.tables import FAMILIES, TABLES
from ndl_export.tables.dimensions import BREAKDOWN_FILTER, TOPIC_FILTER
from ndl_export.tables.health import DOMAINS
from ndl_export.tables.parents import QUESTIONS
from ndl_export.tables.pupil import CONCERN_GIVEN_SEEN
from sources.reference import survey
from sources.reference.asq3 import cut_offs
from sources.reference.cohorts import Cohort
from sources.reference.goals import AREAS_OF_LEARNING, GLD_GOALS, GOALS
from sources.reference.places import place

_LEVELS = (NATIONAL, ALL_TOGETHER, REGIONAL, DEVOLVED, LOCAL_AUTHORITY)
_POSITION = Field("position", "INTEGER NOT NULL", "Order of the categories")
_ADDS_UP = Field("adds_up", "VARCHAR[]", "Categories of the attribute that it adds up; empty for all of them")
_ATTRIBUTE = Field("attribute", "VARCHAR", "Attribute of the table definitions that the category is of")


def add_types(connection: duckdb.DuckDBPyConnection, found: list[Release]) -> dict[str, tuple[str, ...]]:
    """The ENUM types; returns the categories of each filter."""
    create_enum(connection, FLAG_TYPE, [flag.value for flag in Flag], "What a _flag column may hold")
    create_enum(connection, LEVEL_TYPE, _LEVELS, "Kinds of area, the widest first")
    categories = all_categories(found)
    for name, values in categories.items():
        create_enum(connection, category_type(name), values, f"Categories of the column {name}, in order")
    return categories


def add_dimensions(
    connection: duckdb.DuckDBPyConnection, found: list[Release], categories: Mapping[str, tuple[str, ...]]
) -> None:
    """The tables; `categories` as from `add_types`, which made their types."""
    areas = _areas(found)
    fill_table(connection, _AREA, (_area_row(area) for area in areas.values()))
    fill_table(connection, _AREA_MEMBER, dict.fromkeys(_members(found)))
    fill_table(connection, _COHORT, (_cohort_row(cohort) for cohort in _cohorts(found)))
    fill_table(connection, _TABLE, _table_rows())
    fill_table(connection, _MEASURE, _measure_rows())
    fill_table(connection, _FLAG, ((f, m, f in _SHOWN, f is Flag.RELIABLE, RELIABILITY.get(f)) for f, m in _FLAGS))
    fill_table(connection, _BREAKDOWN, _breakdown_rows(categories))
    for name in _PLAIN_FILTERS:
        fill_table(connection, _plain(name), _plain_rows(name, categories[name]))
    fill_table(connection, _GOAL, _goal_rows())
    fill_table(connection, _DOMAIN, ((label, code, n) for n, (code, label) in enumerate(DOMAINS.items(), start=1)))
    cut_off_rows = ((DOMAINS[code], int(months), score) for (code, months), score in cut_offs().items())
    fill_table(connection, _CUT_OFF, cut_off_rows)
    fill_table(connection, _QUESTION, _question_rows())
    fill_table(connection, _ANSWER, _answer_rows())
    fill_table(connection, _SEEN_AND_CONCERN, _seen_and_concern_rows())
    fill_table(connection, _CHARACTERISTIC, _characteristic_rows())
    fill_table(connection, _CHILD_GROUP, _child_group_rows())
    fill_table(connection, _COMPARISON, ((c.comparison, c.topic, c.first, c.second) for c in comparisons()))


_AREA = TableShape(
    "dimension.area",
    "Every area that a release has rows for. Joins to area_code of every table",
    (
        Field("area_code", "VARCHAR", f"Official code (ONS, nine characters); {ALL_TOGETHER!r} where it has none"),
        Field("area_name", "VARCHAR NOT NULL", "Name, as in the Department for Education's tables"),
        Field("geographic_level", f"{LEVEL_TYPE} NOT NULL", "Kind of area"),
        Field("is_all_together", "BOOLEAN NOT NULL", "Whether it is all councils of a release together"),
        Field("council", "VARCHAR", "Folder name of the council, as in releases.release; councils only"),
        Field("old_la_code", "VARCHAR", "Three-digit code of the Department for Education; councils only"),
        Field("region_code", "VARCHAR", "Region that the council lies in"),
        Field("region_name", "VARCHAR", "Name of that region"),
        Field("english_devolved_area_code", "VARCHAR", "Devolved area that the council lies in, where it does"),
        Field("english_devolved_area_name", "VARCHAR", "Name of that devolved area"),
    ),
    ("area_code",),
)
_AREA_MEMBER = TableShape(
    "dimension.area_member",
    "Which councils the figures of an area add up, by release and family of tables: a council that had not sent what a"
    " family counts is not in its sums",
    (
        Field("release_version", "VARCHAR", "Version of the release; see releases.release"),
        Field("family", "VARCHAR", "Family of tables; see dimension.published_table"),
        Field("area_code", "VARCHAR", "The area; see dimension.area"),
        Field("council_code", "VARCHAR", "Code of a council in it; see dimension.area"),
    ),
    ("release_version", "family", "area_code", "council_code"),
)
_COHORT = TableShape(
    "dimension.cohort",
    "Cohorts of children, by the academic year in which they end Reception. Joins to time_period of every table",
    (
        Field("time_period", "VARCHAR", "The academic year as the tables write it: 202425"),
        Field("label", "VARCHAR NOT NULL", "The academic year as printed: 2024/25"),
        Field("born_from", "DATE NOT NULL", "First date of birth of the cohort"),
        Field("born_to", "DATE NOT NULL", "Last date of birth of the cohort"),
    ),
    ("time_period",),
)
_TABLE = TableShape(
    "dimension.published_table",
    "The published tables, which stand in the schemas releases and latest",
    (
        Field("table_name", "VARCHAR", "Name in both schemas, and of the files in the bundle"),
        Field("title", "VARCHAR NOT NULL", "Title"),
        Field("family", "VARCHAR NOT NULL", "Family: tables over one population, measured together and consistent"),
        Field("population", "VARCHAR NOT NULL", "Whom its figures are about"),
        Field("description", "VARCHAR NOT NULL", "What it says"),
        Field(
            "counted_source", "VARCHAR NOT NULL", "Source whose rows are counted; a council without it has no figures"
        ),
        Field("filters", "VARCHAR[] NOT NULL", "Columns that say which children or responses a row is about"),
    ),
    ("table_name",),
)
_MEASURE = TableShape(
    "dimension.measure",
    "The figures of each table. Each has its interval in <measure>_lower_ci and _upper_ci, and a flag in"
    " <measure>_flag",
    (
        Field("table_name", "VARCHAR", "Table; see dimension.published_table"),
        Field("measure", "VARCHAR", "Name of its column"),
        Field("label", "VARCHAR NOT NULL", "Label"),
        Field("kind", "VARCHAR NOT NULL", "count, percent, average or difference"),
        Field("unit", "VARCHAR NOT NULL", "% for percentages, pp for percentage points, else empty"),
        Field("decimals", "INTEGER NOT NULL", "Decimals that the figure is rounded to"),
        Field("description", "VARCHAR NOT NULL", "What it is"),
    ),
    ("table_name", "measure"),
)
_FLAGS = tuple(FLAG_MEANINGS.items())
_SHOWN = (Flag.RELIABLE, Flag.UNRELIABLE)
_FLAG = TableShape(
    "dimension.flag",
    "What the _flag columns say of a figure",
    (
        Field("flag", FLAG_TYPE, "The flag"),
        Field("meaning", "VARCHAR NOT NULL", "What it means"),
        Field("is_shown", "BOOLEAN NOT NULL", "Whether the figure is given"),
        Field("is_usable", "BOOLEAN NOT NULL", "Whether the figure can be used without more ado"),
        Field("in_csv", "VARCHAR", "The word for it in the CSV files; empty where they have a symbol in every column"),
    ),
    ("flag",),
)
_BREAKDOWN = TableShape(
    "dimension.breakdown",
    "Breakdown topics and their categories, in order. Joins to breakdown_topic and breakdown",
    (
        Field(TOPIC_FILTER.name, category_type(TOPIC_FILTER.name), TOPIC_FILTER.description),
        Field(BREAKDOWN_FILTER.name, category_type(BREAKDOWN_FILTER.name), BREAKDOWN_FILTER.description),
        _POSITION,
        _ATTRIBUTE,
        _ADDS_UP,
        Field("tables", "VARCHAR[] NOT NULL", "Tables that have it"),
    ),
    (TOPIC_FILTER.name, BREAKDOWN_FILTER.name),
)
_GOAL = TableShape(
    "dimension.early_learning_goal",
    "The 17 early learning goals, in the order of the EYFS Profile",
    (
        Field("early_learning_goal", category_type("early_learning_goal"), "The goal"),
        Field("code", "VARCHAR NOT NULL", "Its code in the EYFS Profile return"),
        Field("area_of_learning", "VARCHAR NOT NULL", "Area of learning that it belongs to"),
        Field("counts_towards_gld", "BOOLEAN NOT NULL", "Whether a good level of development asks for it"),
        _POSITION,
    ),
    ("early_learning_goal",),
)
_DOMAIN = TableShape(
    "dimension.asq3_domain",
    "Domains of the ASQ-3 questionnaire",
    (
        Field("asq3_domain", category_type("asq3_domain"), "The domain, or all five together"),
        Field(
            "code", "VARCHAR NOT NULL", "Column of its score in the health visitors' extract; of no score for all five"
        ),
        _POSITION,
    ),
    ("asq3_domain",),
)
_CUT_OFF = TableShape(
    "dimension.asq3_cut_off",
    "Cut-off scores of ASQ-3: a score below it is below the cut-off",
    (
        Field("asq3_domain", category_type("asq3_domain"), "The domain"),
        Field("questionnaire_months", "INTEGER", "Age of the questionnaire, in months"),
        Field("cut_off", "DOUBLE NOT NULL", "The score, of 0 to 60"),
    ),
    ("asq3_domain", "questionnaire_months"),
)
_QUESTION = TableShape(
    "dimension.question",
    "Questions of the survey of parents",
    (
        Field("question", category_type("question"), "The question as the tables name it"),
        Field("code", "VARCHAR NOT NULL", "Its column in the survey's extract"),
        Field("wording", "VARCHAR NOT NULL", "The question as it was asked"),
        _POSITION,
    ),
    ("question",),
)
_ANSWER = TableShape(
    "dimension.answer",
    "Answers to each question, in the order of the questionnaire",
    (
        Field("question", category_type("question"), "The question"),
        Field("answer", category_type("answer"), "The answer"),
        Field("code", "VARCHAR", "Its code in the survey's extract; empty where no answer was given"),
        _POSITION,
    ),
    ("question", "answer"),
)
_SEEN_AND_CONCERN = TableShape(
    "dimension.seen_and_concern",
    "Which services can have raised a concern, by who has seen the child; others are not applicable in joined_dots",
    (
        Field("seen_by", category_type("seen_by"), "Services that have seen the child"),
        Field("concern_by", category_type("concern_by"), "Services that raised a concern"),
        Field("can_occur", "BOOLEAN NOT NULL", "Whether the two can go together"),
    ),
    ("seen_by", "concern_by"),
)
_CHARACTERISTIC = TableShape(
    "dimension.characteristic",
    "What the groups of gld_by_group differ in, and where their figures come from",
    (
        Field("characteristic", "VARCHAR", "Name, as the macros take it"),
        _POSITION,
        Field("attribute", "VARCHAR NOT NULL", "Attribute of the table definitions; the macros take it too"),
        Field("table_name", "VARCHAR NOT NULL", "Table that the figures come from"),
        Field("column_name", "VARCHAR NOT NULL", "Column of that table with the groups"),
    ),
    ("characteristic",),
)
_CHILD_GROUP = TableShape(
    "dimension.child_group",
    "Groups of children in gld_by_group, in order",
    (
        Field("characteristic", "VARCHAR", "What the groups differ in; see dimension.characteristic"),
        Field("child_group", "VARCHAR", "The group"),
        Field("group_key", "VARCHAR NOT NULL UNIQUE", "Name that no other group has, as the macros take it"),
        _POSITION,
    ),
    ("characteristic", "child_group"),
)
_COMPARISON = TableShape(
    "dimension.comparison",
    "The two groups of each comparison in gld_differences: the figure is the first less the second",
    (
        Field("comparison", category_type("comparison"), "The comparison"),
        Field(TOPIC_FILTER.name, category_type(TOPIC_FILTER.name), "What the groups differ in"),
        Field("first_group", "VARCHAR NOT NULL", "Group that is compared, as group_key of dimension.child_group"),
        Field(
            "second_group", "VARCHAR", "Group that it is compared with; empty: the same group in all councils together"
        ),
    ),
    ("comparison",),
)

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


def _plain(name: str) -> TableShape:
    entry = _PLAIN_FILTERS[name]
    return TableShape(
        f"dimension.{name}",
        f"Categories of the column {name}: {entry.description}",
        (Field(name, category_type(name), entry.label), _POSITION, _ATTRIBUTE, _ADDS_UP),
        (name,),
    )


def _plain_rows(name: str, categories: Iterable[str]) -> Iterator[tuple[object, ...]]:
    selections = {
        selection.label: (axis.attribute, selection.categories)
        for table in TABLES.values()
        for block in table.blocks
        for axis in block.axes
        if axis.filter == name
        for selection in axis.selections
    }
    for number, category in enumerate(categories, start=1):
        attribute, adds_up = selections.get(category, (None, None))
        yield category, number, attribute, list(adds_up) if adds_up else None


def _areas(found: list[Release]) -> dict[str, Geography]:
    """Areas by code, the newest release first."""
    areas: dict[str, Geography] = {}
    for _, _, area in _areas_of_families(list(reversed(found))):
        areas.setdefault(area.code, area)
    return areas


def _areas_of_families(found: list[Release]) -> Iterator[tuple[str, str, Geography]]:
    for release in found:
        for family in FAMILIES:
            for area in geographies(release.councils, not_sent(release.missing, family)):
                yield str(release.version), family, area


def _members(found: list[Release]) -> Iterator[tuple[str, str, str, str]]:
    for version, family, area in _areas_of_families(found):
        for council in area.councils:
            yield version, family, area.code, place(council).new_la_code


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


def _cohort_row(cohort: Cohort) -> tuple[object, ...]:
    return cohort.code, cohort.label, cohort.born_from, cohort.born_to


def _table_rows() -> Iterator[tuple[object, ...]]:
    for table in TABLES.values():
        source = SOURCES[FAMILIES[table.family].source].title
        filters = [f.name for f in table.filters]
        yield table.name, table.title, table.family, table.population, table.description, source, filters


def _measure_rows() -> Iterator[tuple[object, ...]]:
    for table in TABLES.values():
        for m in table.measures:
            yield table.name, m.name, m.label, m.kind.value, m.unit, m.decimals, m.description


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
        named = list(dict.fromkeys(tables[topic, label]))
        yield topic, label, number, attribute, list(adds_up) if adds_up else None, named


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
