"""Claims in parts: what is right is supported, and nothing else is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ndl_export.answers.claims import CANNOT_BE_SAID, NOT_SUPPORTED, SUPPORTED, InvalidClaim, check_claim
from ndl_export.answers.published import open_published
from ndl_export.answers.questions import Questions

Parts = dict[str, Any]
LEEDS: Parts = {"area": "Leeds", "measure": "ready for school"}


@pytest.fixture(scope="module")
def questions(series: Path) -> Iterator[Questions]:
    with open_published(str(series.parent)) as found:
        yield Questions(found)


@pytest.fixture(scope="module")
def figures(questions: Questions) -> dict[str, float]:
    """Figures of one area, by their placeholder in a claim."""

    def value(measure: str | None, *groups: str) -> float:
        return float(questions.get_figure(questions.read_subject(measure, "Leeds", groups))["value"])

    ready = value("GLD")
    return {
        "<ready>": ready,
        "<whole>": round(ready),
        "<unready>": round(100 - ready, 1),
        "<wrong>": ready + 3,
        "<below>": ready - 5,
        "<above>": ready + 5,
        "<girls>": value("GLD", "girls"),
        "<children>": value("number of children"),
        "<writing>": value("expected level", "writing"),
    }


def fill(parts: Parts, figures: dict[str, float]) -> Parts:
    """Return a claim about Leeds with the figures that it names."""
    return LEEDS | {name: figures.get(part, part) if isinstance(part, str) else part for name, part in parts.items()}


@pytest.mark.parametrize(
    "parts",
    [
        {"value": "<ready>", "unit": "%", "cohort": "2024/25"},
        {"value": "<whole>", "unit": "%"},
        {"value": "<unready>", "measure": "not ready for school"},
        {"value": "<above>", "least": "<below>", "unit": "%"},
        {"value": "<below>", "about": "more than"},
        {"value": "<above>", "about": "less than"},
        {"value": "<girls>", "group": "girls"},
        {"value": "<children>", "measure": "number of children", "unit": "children"},
        {"value": "<writing>", "measure": "expected level", "group": "writing"},
    ],
)
def test_what_is_right_is_supported(parts: Parts, questions: Questions, figures: dict[str, float]) -> None:
    found = check_claim(questions, fill(parts, figures))
    assert (found.verdict, found.figures != []) == (SUPPORTED, True), found.reason


@pytest.mark.parametrize(
    ("parts", "verdict", "rule"),
    [
        ({"value": "<wrong>", "unit": "%"}, NOT_SUPPORTED, "other value"),
        ({"value": "<ready>", "unit": "points"}, NOT_SUPPORTED, "unit"),
        ({"value": "<above>", "about": "more than"}, NOT_SUPPORTED, "other value"),
        ({"value": "<ready>", "interval": [1, 2]}, NOT_SUPPORTED, "interval"),
        ({"value": "<ready>", "area": None}, CANNOT_BE_SAID, "no area"),
        ({"value": "<ready>", "area": "England"}, None, ""),
        ({"value": "<ready>", "area": "Manchester"}, CANNOT_BE_SAID, "not published"),
        ({"value": "<ready>", "cohort": "2018/19"}, CANNOT_BE_SAID, "not published"),
        ({"value": "<ready>", "measure": "vaccination"}, CANNOT_BE_SAID, "not published"),
        ({"value": "<ready>", "group": "looked-after children"}, CANNOT_BE_SAID, "not published"),
        ({"value": "<ready>", "release": "2001.01.0"}, CANNOT_BE_SAID, "other release"),
        ({"value": "<ready>", "cause": "the hubs"}, CANNOT_BE_SAID, "cause"),
        ({"value": "<ready>", "forecast": "will be"}, CANNOT_BE_SAID, "forecast"),
        ({"child": "my daughter"}, CANNOT_BE_SAID, "child"),
        ({"comparison": "higher", "group": "FSM", "than": {"group": "not FSM"}, "times": 2}, CANNOT_BE_SAID, "ratio"),
        ({"rank": 3, "comparison": "highest"}, None, "rank"),
        ({"added": ["girls", "FSM"], "value": 60, "unit": "%"}, NOT_SUPPORTED, "sum"),
    ],
)
def test_what_is_not_right_is_not_supported(
    parts: Parts, verdict: str | None, rule: str, questions: Questions, figures: dict[str, float]
) -> None:
    found = check_claim(questions, fill(parts, figures))
    assert found.verdict != SUPPORTED
    assert verdict in (None, found.verdict)
    assert rule in found.rule, found.reason


def test_a_comparison_is_supported_one_way_at_most(questions: Questions) -> None:
    pair = [questions.read_subject("GLD", "Leeds", [group]) for group in ("girls", "boys")]
    verdict = questions.answer_comparison(*pair).verdict
    compared = LEEDS | {"group": "girls", "than": {"group": "boys"}}
    said = [check_claim(questions, compared | {"comparison": how}).verdict for how in ("higher", "lower")]
    expected = {"ahead": [SUPPORTED, NOT_SUPPORTED], "behind": [NOT_SUPPORTED, SUPPORTED]}
    assert said == expected.get(verdict, [CANNOT_BE_SAID, CANNOT_BE_SAID])


def test_what_noise_and_chance_explain_cannot_be_said(questions: Questions) -> None:
    rows = questions.published.query(
        "SELECT area_name, less_area_name FROM gld_compared('Total', 'Total', false, '202425', '202425')"
        " WHERE is_council AND less_is_council AND verdict = 'cannot say'"
    )
    rules = set()
    for row in rows:
        than = {"comparison": "higher", "than": {"area": row["less_area_name"]}}
        found = check_claim(questions, LEEDS | {"area": row["area_name"]} | than)
        assert found.verdict != SUPPORTED
        rules.add((found.verdict, found.rule))
    assert rules <= {(CANNOT_BE_SAID, "inside noise"), (NOT_SUPPORTED, "unreliable")}
    assert (CANNOT_BE_SAID, "inside noise") in rules


def test_a_change_is_judged_between_the_cohorts(questions: Questions) -> None:
    answer = questions.answer_trend(questions.read_subject("GLD", "Leeds").statistic, questions.read_area("Leeds"))
    rose = check_claim(questions, LEEDS | {"comparison": "rose"})
    fell = check_claim(questions, LEEDS | {"comparison": "fell", "than": {"cohort": "2023/24"}})
    conclusion = answer.may_conclude[0]
    assert (rose.verdict == SUPPORTED) == ("rose" in conclusion)
    assert (fell.verdict == SUPPORTED) == ("fell" in conclusion)
    assert rose.corrected == fell.corrected


def test_per_cent_is_not_points(questions: Questions) -> None:
    pair = [questions.read_subject("GLD", "Leeds", [group]) for group in ("FSM", "Not FSM")]
    answer = questions.answer_comparison(*pair)
    points = abs(round(answer.figures[0]["value"] - answer.figures[1]["value"], 1))
    where = {"ahead": "higher", "behind": "lower"}.get(answer.verdict)
    if where and all(each["flag"] is None for each in answer.figures):
        compared = LEEDS | {"group": "FSM", "than": {"group": "Not FSM"}, "comparison": where}
        assert check_claim(questions, compared | {"points": points}).verdict == SUPPORTED
        assert check_claim(questions, compared | {"percent": points}).rule == "points"


def test_text_states_the_precision_and_the_unit_of_a_value(questions: Questions, figures: dict[str, float]) -> None:
    ready, words = figures["<ready>"], LEEDS | {"measure": "number of children"}
    assert check_claim(questions, LEEDS | {"value": f"{ready:.1f}%"}).verdict == SUPPORTED
    assert check_claim(questions, LEEDS | {"value": f"{ready:.1f}0"}).verdict == SUPPORTED
    assert check_claim(questions, LEEDS | {"value": f"{ready + 0.4:.2f}"}).rule == "other value"
    assert check_claim(questions, words | {"value": f"{figures['<children>']:,.0f}"}).verdict == SUPPORTED
    assert check_claim(questions, words | {"value": f"{figures['<children>']:.0f}%"}).rule == "unit"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"colour": "red"}, "colour"), ({"value": "many"}, "value"), ({"comparison": "nice"}, "compar")],
)
def test_a_claim_of_another_form_is_refused(wrong: Parts, field: str, questions: Questions) -> None:
    with pytest.raises(InvalidClaim, match=field):
        check_claim(questions, LEEDS | wrong)


@given(measure=st.text(max_size=100), group=st.text(max_size=100))
def test_any_text_is_judged(measure: str, group: str, questions: Questions) -> None:
    found = check_claim(questions, LEEDS | {"measure": measure, "group": group, "value": 50})
    assert found.verdict != SUPPORTED or found.figures
