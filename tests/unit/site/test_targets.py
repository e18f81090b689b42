"""How far a figure is from what is to be reached, in the words of the database's answer."""

from __future__ import annotations

import pytest

from ndl_export.site.figures import Line
from ndl_export.site.inference import Conclusions, Distance, to_targets
from ndl_export.tables.geography import geographies

LEEDS = geographies(["leeds"])[-1]
AIM = "75% by 2028 (national ambition)"


def said(*distances: Distance) -> tuple[str, ...]:
    found = Conclusions({}, {}, {}, {("202425", LEEDS.code): distances})
    return tuple(each.words for each in to_targets((Line("Leeds", LEEDS, ()),), found, "202425"))


def distance(verdict: str, **values: object) -> Distance:
    known = {"percent": 75.0, "year": 2028, "name": "national ambition", "verdict": verdict}
    known |= {"points": (11.2, 10.8, 11.6), "children": (1008.0, 972.0, 1044.0)}
    return Distance(**known | values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        (
            "not met",
            f"{AIM} is 11.2 points away (95% interval 10.8 to 11.6): 1,008 more children in a year group of this size"
            " (972 to 1,044).",
        ),
        ("met", f"{AIM} is reached."),
        ("cannot be said: the noise is too large", f"Whether {AIM} is reached cannot be said: the noise is too large."),
    ],
)
def test_what_the_database_answers_is_said(verdict: str, sentence: str) -> None:
    assert said(distance(verdict)) == (sentence,)


def test_a_local_target_is_said_after_the_national_one() -> None:
    local = distance("met", name="local plan", percent=70.0)
    assert [sentence[:3] for sentence in said(distance("met"), local)] == ["75%", "70%"]


def test_without_a_figure_nothing_is_said() -> None:
    assert said() == ()
