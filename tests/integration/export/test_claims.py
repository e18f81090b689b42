"""Claims in parts: what is right is supported, and nothing else is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ndl_export.answers.claims import CANNOT_BE_SAID, NOT_SUPPORTED, SUPPORTED, InvalidClaim, agrees, check_claim
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
    [
        ({"colour": "red"}, "colour"),
        ({"value": "many"}, "value"),
        ({"comparison": "nice"}, "compar"),
        ({"comparison": "higher", "than": {"council": "Wirral"}}, "council"),
        ({"target": "met", "points": 3}, "points"),
        ({"target": "met", "value": 60}, "value"),
        ({"comparison": "highest", "points": 20}, "points"),
        ({"comparison": "highest", "value": 60}, "value"),
        ({"rank": 2, "than": {"area": "Wirral"}}, "than"),
        ({"value": 60, "times": 2}, "times"),
        ({"value": 60, "than": {"area": "Wirral"}}, "than"),
        ({"comparison": "same", "than": {"area": "Wirral"}, "points": 0}, "points"),
        ({"comparison": "higher", "than": {"area": "Wirral"}, "about": "nearly"}, "about"),
        ({"comparison": "higher", "than": {"area": "Wirral"}, "unit": "%"}, "unit"),
        ({"comparison": "higher", "than": {"area": "Wirral"}, "points": 2, "percent": 3}, "two ways"),
        ({"comparison": "higher", "than": {"area": "England", "group": "girls"}}, "England"),
        ({"comparison": "rose", "than": {"area": "Wirral"}}, "between cohorts"),
        ({"value": 60, "least": 50, "about": "nearly"}, "two ways"),
        ({"value": 57.9, "decimals": 0}, "decimals"),
        ({"unit": "%"}, "unit"),
        ({"added": ["girls", "boys"], "value": 60, "interval": [1, 2]}, "interval"),
        ({"value": float("inf"), "about": "less than"}, "value"),
    ],
)
def test_a_claim_of_another_form_or_with_a_part_that_is_not_judged_is_refused(
    wrong: Parts, field: str, questions: Questions
) -> None:
    with pytest.raises(InvalidClaim, match=field):
        check_claim(questions, LEEDS | wrong)


@pytest.mark.parametrize(
    ("parts", "rule"),
    [
        ({"area": "England", "value": "<england>", "interval": [1, 2]}, "interval"),
        ({"area": "England", "value": "<england>", "unit": "points"}, "unit"),
        ({"area": "England", "comparison": "rose"}, "england"),
        ({"area": None, "added": ["Leeds", "Wirral"], "measure": "writing", "value": "<sum>"}, "not published"),
        ({"area": None, "added": ["Leeds", "Wirral"], "measure": "not ready for school", "value": "<sum>"}, "not publ"),
        ({"area": None, "added": ["Leeds", "Wirral"], "unit": "children", "value": "<sum children>"}, "unit"),
        ({"area": "Leeds", "added": ["Leeds", "Wirral"], "value": "<sum>"}, "not published"),
        ({"added": ["girls", "boys"], "group": ["FSM"], "value": "<ready>"}, "not published"),
        ({"value": "<ready>", "release": "2025.11.0"}, "other release"),
        ({"cohort": "2023/24", "comparison": "rose", "than": {"cohort": "2024/25"}}, "not published"),
        ({"interval": [1, 2]}, "interval"),
    ],
)
def test_every_part_of_a_claim_is_judged(
    parts: Parts, rule: str, questions: Questions, figures: dict[str, float]
) -> None:
    added = questions.answer_sum(["Leeds", "Wirral"], []).added
    england = questions.find_beside_england(questions.read_subject("GLD", "All councils"))["england"]
    more = {"<sum>": added["gld_children_percent"]["value"], "<sum children>": added["children_count"]["value"]}
    more |= {"<england>": round(england, 1)}
    found = check_claim(questions, fill(parts, figures | more))
    assert found.verdict != SUPPORTED
    assert rule in found.rule, found.reason


def test_a_sum_is_judged_by_its_measure(questions: Questions) -> None:
    added = questions.answer_sum(["Leeds", "Wirral"], []).added
    for measure, unit in (("ready for school", "%"), (None, "%"), ("number of children", "children")):
        value = added["children_count" if unit == "children" else "gld_children_percent"]["value"]
        parts = {"added": ["Leeds", "Wirral"], "measure": measure, "value": round(value, 1), "unit": unit}
        assert check_claim(questions, parts).verdict == SUPPORTED


@pytest.mark.parametrize(
    ("about", "stated", "value", "is_right"),
    [
        *(("nearly", 4, 0.6, False), ("nearly", 61, 57.4, False), ("about", 1000, 675, False)),
        *(("nearly", 4, 3.9, True), ("nearly", 61, 60.6, True), ("about", 1000, 1020, True)),
        *(("nearly", 60, 58.4, True), ("nearly", 60, 60.1, False), ("just over", 50, 51, True)),
        *(("just over", 50, 50, False), ("about", 1000, 1031, False), ("about", 0, 0.1, False)),
    ],
)
def test_nearly_is_near(about: str, stated: float, value: float, is_right: bool) -> None:
    assert agrees(value, stated, 0, about) == is_right


@given(
    stated=st.decimals(0, 10**6, places=2).map(float),
    value=st.floats(0, 10**6),
    decimals=st.integers(0, 2),
    about=st.sampled_from(["about", "nearly", "just over"]),
)
def test_an_approximate_number_is_off_by_a_share_of_itself_and_half_of_its_last_place_at_most(
    stated: float, value: float, decimals: int, about: str
) -> None:
    stated = round(stated, decimals)
    zeros = len(f"{stated:.0f}") - len(f"{stated:.0f}".rstrip("0"))
    most = min(0.03 * stated, 0.5 * 10.0 ** (-decimals if decimals else zeros))
    side = {"about": True, "nearly": value < stated, "just over": value > stated}[about]
    is_near = side and abs(value - stated) <= most
    if abs(abs(value - stated) - most) > 1e-6 and abs(value - stated) > 1e-6:
        assert agrees(value, stated, decimals, about) == is_near


@given(measure=st.text(max_size=100), group=st.text(max_size=100))
def test_any_text_is_judged(measure: str, group: str, questions: Questions) -> None:
    found = check_claim(questions, LEEDS | {"measure": measure, "group": group, "value": 50})
    assert found.verdict != SUPPORTED or found.figures
