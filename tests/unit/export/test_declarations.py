"""Declarations that are incomplete, come twice or are used by nothing are errors that name file, line and entry."""

import re
from copy import deepcopy
from typing import Any

import pytest

from ndl_export.analyst_db.child_groups import list_characteristics
from ndl_export.analyst_db.words import Words, find_area_faults
from ndl_export.tables import pupil
from ndl_export.tables.declarations import DECLARATIONS, FILES, Declarations, WrongDeclaration
from ndl_export.tables.model import RateBlock, define_table

_CONTENTS = {name: DECLARATIONS.files[name].model_dump() for name in FILES}


def _edit(file: str, *place: str, to: Any) -> dict[str, dict[str, Any]]:
    """Return a copy of the contents with the entry at this place of a file replaced or, if `to` is None, removed."""
    contents = deepcopy(_CONTENTS)
    inside = contents[file]
    for name in place[:-1]:
        inside = inside[name]
    if to is None:
        del inside[place[-1]]
    else:
        inside[place[-1]] = to
    return contents


@pytest.mark.parametrize(
    ("file", "place", "to", "fault"),
    [
        ("pupil", ("tables", "gld_headline", "title"), None, r"pupil.yaml:\d+: tables.gld_headline.title: is missing"),
        ("pupil", ("tables", "gld_headline", "hue"), "red", "tables.gld_headline.hue: 'hue' is not a key here"),
        ("pupil", ("tables", "gld_headline", "since"), "soon", "tables.gld_headline.since: "),
        ("shared", ("characteristics", "sex", "groups", "Male"), [], "characteristics.sex.groups.Male: "),
        ("health", ("filters", "sex"), {"label": "Sex", "description": "Sex"}, "filters.sex is in pupil.yaml too"),
    ],
)
def test_an_entry_that_cannot_be_used(file: str, place: tuple[str, ...], to: Any, fault: str) -> None:
    with pytest.raises(WrongDeclaration, match=rf"^{file}.yaml:\d+: .*" if "yaml" not in fault else fault) as error:
        Declarations(_edit(file, *place, to=to))
    assert re.search(fault, str(error.value))


@pytest.mark.parametrize(
    ("file", "place", "to", "fault"),
    [
        ("pupil", ("characteristics", "hair"), {"names": ["Hair"]}, "characteristics.hair: it is of nothing"),
        ("shared", ("characteristics", "sex", "groups", "Unknown"), ["?"], "characteristics.sex.groups.Unknown: it is"),
        ("pupil", ("filters", "seen_by", "shown_short", "Nobody"), "N", "filters.seen_by.shown_short.Nobody: it is of"),
        ("pupil", ("filters", "seen_by", "synonyms", "Nobody"), ["n"], "filters.seen_by.synonyms.Nobody: it is of"),
        ("pupil", ("view_columns", "moon"), "Its phase", "view_columns.moon: no view has it"),
        ("pupil", ("view_columns", "goal"), None, "tables.early_learning_goals.view: 'goal' has no description"),
        ("pupil", ("tables", "first_concern", "view", "at_total"), [], "tables.first_concern.view: the filter 'b"),
        ("pupil", ("tables", "gld_headline", "view", "figure"), "x", "tables.gld_headline.view: the table has no mea"),
    ],
)
def test_words_that_do_not_fit_the_tables(file: str, place: tuple[str, ...], to: Any, fault: str) -> None:
    faults = [*Words(Declarations(_edit(file, *place, to=to))).iter_faults()]
    assert len(faults) == 1
    assert re.match(rf"{file}.yaml:\d+: {fault}", faults[0])


def test_an_area_that_there_is_not() -> None:
    assert find_area_faults({"atlantis": ["A"]}) == ["area_names.yaml: areas: 'atlantis' is no area"]


def test_a_group_without_names_is_shown_as_published() -> None:
    """If its name is that of another characteristic's group too, with the characteristic."""
    names = Words(Declarations(_edit("pupil", "characteristics", to={})))
    goals = Words(DECLARATIONS)
    (fsm,) = (each for each in list_characteristics() if each.attribute == "fsm")
    assert names.list_group_names(fsm, fsm.groups[0]) == (fsm.groups[0],)
    (seen,) = (each for each in list_characteristics() if each.attribute == "seen_by")
    assert names.list_group_names(seen, "Both") == ("Both (Seen by)",)
    assert goals.list_group_names(fsm, fsm.groups[0])[0] != fsm.groups[0]


def test_a_table_without_words_is_not_defined() -> None:
    block = RateBlock(
        axes=(pupil.build_axis("hair", pupil.SEX),), base="children_count", numerator=("gld", ("Yes",)), rate="happy"
    )
    with pytest.raises(
        WrongDeclaration, match=r"measures\.csv: 'happy' is missing\npupil\.yaml: tables\.hair is missing"
    ):
        define_table("hair", "pupil", "", [block])
    fault = r"pupil\.yaml:\d+: tables\.joined_dots\.filters: 'hair' is missing\n.*has no level"
    with pytest.raises(WrongDeclaration, match=fault):
        define_table("joined_dots", "pupil", "", [block])
