"""Tables, filters, groups and categories without words, and words of nothing, are errors that name file and entry."""

from copy import deepcopy
from typing import Any

import pytest

from ndl_export.analyst_db import words
from ndl_export.tables import pupil
from ndl_export.tables.model import RateBlock, define_table

_FSM = "Free school meal eligibility: Eligible for free school meals"


def _edit(content: dict[str, Any], *place: str, to: Any = None) -> dict[str, Any]:
    """Return a copy of the content with the entry at this place replaced or, without `to`, removed."""
    found = inside = deepcopy(content)
    for name in place[:-1]:
        inside = inside[name]
    if to is None:
        del inside[place[-1]]
    else:
        inside[place[-1]] = to
    return found


@pytest.mark.parametrize(
    ("place", "to", "fault"),
    [
        (("groups", _FSM), None, f"names.yaml: groups: '{_FSM}' is missing"),
        (("groups", _FSM), (), f"names.yaml: groups: '{_FSM}' has no name"),
        (("groups", "Sex: Unknown"), ["?"], "names.yaml: groups: 'Sex: Unknown' is of nothing that the table"),
        (("characteristics", "fsm"), None, "names.yaml: characteristics: 'fsm' is missing"),
        (("areas", "atlantis"), ["A"], "names.yaml: areas: 'atlantis' is of nothing"),
        (("shown_short", "Hair"), {"Red": "R"}, "names.yaml: shown_short: 'Hair' is of nothing"),
        (("shown_short", "Seen by", "Nobody"), "N", "names.yaml: shown_short: Seen by: 'Nobody' is of nothing"),
    ],
)
def test_names_that_do_not_fit_the_definitions(place: tuple[str, ...], to: Any, fault: str) -> None:
    (found,) = words.find_name_faults(_edit(words.ALSO_CALLED, *place, to=to))
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("place", "to", "fault"),
    [
        (("views", "goals_expected"), None, "short_views.yaml: views: 'goals_expected' is missing"),
        (("views", "no_table"), {"words": {}, "figure": "x"}, "short_views.yaml: views: 'no_table' is of nothing"),
        (("text_columns", "goal"), None, "short_views.yaml: text_columns: 'goal' is missing"),
        (("text_columns", "moon"), "Its phase", "short_views.yaml: text_columns: 'moon' is of nothing"),
        (
            ("views", "first_concern", "at_total"),
            [],
            "short_views.yaml: views: first_concern: words and at_total: 'b",
        ),
        (("views", "gld_headline", "figure"), "x", "short_views.yaml: views: gld_headline: figure and count: 'x'"),
    ],
)
def test_views_that_do_not_fit_the_definitions(place: tuple[str, ...], to: Any, fault: str) -> None:
    faults = list(words.find_view_faults(_edit(words.STATED, *place, to=to)))
    assert any(found.startswith(fault) for found in faults), faults


def test_a_table_without_words_is_not_defined() -> None:
    block = RateBlock(
        axes=(pupil.build_axis("hair", pupil.SEX),), base="children_count", numerator=("gld", ("Yes",)), rate="happy"
    )
    with pytest.raises(ValueError, match=r"measures\.csv: 'happy' is missing\ntables\.yaml: 'hair' is missing"):
        define_table("hair", "pupil", "", [block])
    with pytest.raises(ValueError, match=r"tables\.yaml: goals_expected: filters: 'hair' is missing\n.*has no level"):
        define_table("goals_expected", "pupil", "", [block])
