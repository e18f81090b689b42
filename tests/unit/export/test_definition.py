"""A table is data: what a definition may say, and that whatever it may say makes a table of the public domain."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ndl_export.tables import FAMILIES, TABLES, Family, get_family, model, rows, schema
from ndl_export.tables.definition import Definition, InvalidDefinition, build_table, list_publishable, read_definition
from tests.support.daily import limit_examples

GLD = {"attribute": "gld", "categories": ["Yes"]}


def document(**changed: Any) -> dict[str, Any]:
    said = {
        "name": "gld_by_ethnic_group_and_fsm",
        "title": "Good level of development by ethnic group and free school meals",
        "description": "Children with a good level of development",
        "columns": ["ethnic_group", "fsm"],
        "figure": GLD,
    }
    return {key: value for key, value in (said | changed).items() if value is not None}


def refusal(family: str = "pupil", **changed: Any) -> str:
    with pytest.raises(InvalidDefinition) as refused:
        build_table(read_definition(document(**changed)), FAMILIES[family])
    return str(refused.value)


def test_a_table_that_its_family_does_not_list_is_an_error() -> None:
    module = ModuleType("made_up")
    module.FAMILY = FAMILIES["health"]
    module.TABLE = TABLES["asq3_outcomes"]
    assert get_family(module) is FAMILIES["health"]
    module.FORGOTTEN = replace(TABLES["asq3_outcomes"], name="forgotten")
    with pytest.raises(ValueError, match=r"made_up: FAMILY\.tables does not list forgotten"):
        get_family(module)


@pytest.mark.parametrize(
    ("family", "columns", "percent"),
    [
        ("pupil", ["fsm", "dots"], "children_percent"),
        ("health", ["sex", "imd_quintile"], "children_percent"),
        ("parents", ["child_send", "wait_band"], "response_percent"),
    ],
)
def test_a_table_of_counts_gives_each_row_as_a_percentage_of_its_last_column_at_the_total(
    family: str, columns: list[str], percent: str
) -> None:
    """The percentages by which the accuracy of a request is judged are published."""
    table = build_table(read_definition(document(columns=columns, figure=None)), FAMILIES[family])
    (block,) = table.blocks
    assert [measure.name for measure in table.measures if not measure.is_count] == [percent]
    assert all(percent in row.applies for row in rows.list_rows(table, all_together=True))
    assert block.judged_by == (block.ratios[percent],)
    assert block.ratios[percent].whole == model.Count(over=columns[-1])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "Gld"}, "name: is written in small letters"),
        ({"name": "a"}, "name: string should have at least 3"),
        ({"name": None}, "name: is missing"),
        ({"title": "<b>GLD</b>"}, "title: is one line of text without"),
        ({"title": "two\nlines"}, "title: is one line of text without"),
        ({"description": " "}, "description: is one line of text"),
        ({"sql": "DROP TABLE"}, "sql: 'sql' is not a key here"),
        ({"columns": []}, "columns: tuple should have at least 1"),
        ({"columns": "fsm"}, "columns: must be a list"),
        ({"columns": ["upn"]}, "columns.0.attribute: 'upn' is not an attribute of pupil; choose from: sex, fsm"),
        ({"columns": ["council"]}, "columns.0.attribute: 'council' is not an attribute of pupil"),
        ({"columns": ["linkage_agreement"]}, "'linkage_agreement' is not an attribute of pupil"),
        ({"columns": ["fsm", "fsm"]}, "fsm is named twice"),
        ({"columns": ["fsm", "gld"]}, "gld is named twice"),
        ({"columns": ["asq3", "dots"]}, "asq3 and dots are both found by linkage"),
        ({"columns": [{"attribute": "fsm", "name": "time_period"}]}, "a column cannot be called time_period"),
        ({"columns": [{"attribute": "fsm", "name": "children_count"}]}, "a column cannot be called children_count"),
        ({"columns": [{"attribute": "fsm", "levels": {"A": ["Yes"]}}]}, "fsm has no category 'Yes'"),
        ({"columns": [{"attribute": "fsm", "levels": {"A": []}}]}, "columns.0.levels.A: it is empty"),
        (
            {"columns": [{"attribute": "fsm", "levels": {"Total": ["Eligible for free school meals"]}}]},
            "'Total' is the word for all categories",
        ),
        ({"columns": [{"attribute": "gld", "levels": {"All": ["Yes", "No"]}}], "figure": None}, "not a group"),
        ({"figure": {"attribute": "gld", "categories": ["Maybe"]}}, "gld has no category 'Maybe'"),
        ({"figure": {"attribute": "sex", "categories": ["Female"]}}, "figure: give it a name"),
        ({"figure": GLD | {"name": "mine", "label": "of mine"}}, "already has measures"),
        (
            {"figure": {"attribute": "sex", "categories": ["Female"], "name": "gld_children", "label": "girls"}},
            "gld_children is the name of another figure",
        ),
        ({"geography": "wards"}, "geography: must be 'councils' or 'all_councils_together'"),
        ({"name": "A", "columns": [{"attribute": 1}]}, "characters\ncolumns.0.attribute: "),
        (
            {"columns": ["ethnic_group", "imd_quintile", "dots", "term_of_birth"]},
            "rows an area, and 1,000 are the most",
        ),
    ],
)
def test_what_a_definition_may_not_say(changed: dict[str, Any], said: str) -> None:
    assert said in refusal(**changed)


@st.composite
def definitions(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    family = FAMILIES[draw(st.sampled_from(sorted(FAMILIES)))]
    known = [each for each in list_publishable(family) if len(each.categories) > 1]
    chosen = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique_by=lambda each: each.name))
    columns: list[Any] = []
    for attribute in chosen:
        categories = draw(st.sets(st.sampled_from(attribute.categories), min_size=1, max_size=2))
        levels = {"A group": sorted(categories)} if len(categories) < len(attribute.categories) else None
        shape = {"attribute": attribute.name, "total": draw(st.booleans())}
        columns.append(draw(st.sampled_from([attribute.name, shape, shape | ({"levels": levels} if levels else {})])))
    return family.name, document(columns=columns, figure=None)


@given(definitions())
@limit_examples(60)
def test_whatever_may_be_asked_is_a_table_of_the_public_domain(drawn: tuple[str, dict[str, Any]]) -> None:
    name, said = drawn
    family = FAMILIES[name]
    definition = read_definition(said)
    assert read_definition(definition.model_dump(mode="json")) == definition
    if too_much := _refused(definition, family):
        assert "found by linkage" in too_much or "rows an area" in too_much
        return
    table = build_table(definition, family)
    published = {row.levels for row in rows.list_rows(table, all_together=True)}
    assert len(published) == len(rows.list_rows(table, all_together=True))
    for axis in table.blocks[0].axes:
        domain = set(family.get_attribute(axis.attribute).categories)
        assert all(set(level.categories or ()) <= domain for level in axis.selections)
    assert len(set(schema.build_arrow_schema(table).names)) == len(schema.build_arrow_schema(table).names)


def _refused(definition: Definition, family: Family) -> str:
    try:
        build_table(definition, family)
    except InvalidDefinition as refused:
        return str(refused)
    return ""
