"""Claims and sentences: what is right is supported, and nothing else is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ndl_export.answers.claims import CANNOT_BE_SAID, NOT_SUPPORTED, SUPPORTED, InvalidClaim, check_claim
from ndl_export.answers.published import open_published
from ndl_export.answers.questions import Questions
from ndl_export.answers.sentences import check_sentence

AREA = "Leeds"


@pytest.fixture(scope="module")
def questions(series: Path) -> Iterator[Questions]:
    with open_published(str(series.parent)) as found:
        yield Questions(found)


@pytest.fixture(scope="module")
def words(questions: Questions) -> dict[str, str]:
    """Figures of one area as words of a sentence."""

    def value(measure: str | None, *groups: str) -> float:
        return float(questions.get_figure(questions.read_subject(measure, AREA, groups))["value"])

    ready = value("GLD")
    return {
        "ready": f"{ready}",
        "whole": f"{ready:.0f}",
        "unready": f"{100 - ready:.1f}",
        "wrong": f"{ready + 3:.1f}",
        "below": f"{ready - 5:.0f}",
        "above": f"{ready + 5:.0f}",
        "girls": f"{value('GLD', 'girls')}",
        "boys": f"{value('GLD', 'boys')}",
        "children": f"{value('number of children'):,.0f}",
        "writing": f"{value('expected level', 'writing')}",
    }


@pytest.mark.parametrize(
    "sentence",
    [
        "{ready}% of children in Leeds had a good level of development in 2024/25.",
        "{whole} per cent of Leeds children were ready for school",
        "In Leeds, {whole}% of pupils were school-ready.",
        "{unready}% of Leeds children were not ready for school",
        "{unready}% of children in Leeds weren't ready for school",
        "Between {below} and {above} per cent of Leeds children reached a good level of development",
        "More than {below}% of Leeds children were ready for school",
        "Fewer than {above}% of Leeds children were ready for school",
        "{girls}% of girls and {boys}% of boys in Leeds were ready for school",
        "Among girls in Leeds, {girls}% were ready for school; among boys, {boys}%.",
        "There were {children} children in Leeds in the cohort",
        "{writing}% of Leeds children were at the expected level in writing",
        "As the minister said this morning, {ready}% of Leeds children were ready for school",
        "Councillors heard on Tuesday that {ready}% of Leeds children were ready for school #earlyyears",
    ],
)
def test_what_is_right_is_supported(sentence: str, questions: Questions, words: dict[str, str]) -> None:
    found = check_sentence(questions, sentence.format(**words))
    assert (found.verdict, found.figures != []) == (SUPPORTED, True), found.reason


@pytest.mark.parametrize(
    ("sentence", "verdict", "rule"),
    [
        ("{wrong}% of Leeds children were ready for school", NOT_SUPPORTED, "other value"),
        ("{boys}% of girls and {girls}% of boys in Leeds were ready for school", NOT_SUPPORTED, "other value"),
        ("More than {above}% of Leeds children were ready for school", NOT_SUPPORTED, "other value"),
        ("{ready}% of children were ready for school", CANNOT_BE_SAID, "no area"),
        ("Thanks to our hubs, {ready}% of Leeds children were ready for school", CANNOT_BE_SAID, "cause"),
        ("{ready}% of Leeds children will be ready for school", CANNOT_BE_SAID, "forecast"),
        ("My daughter in Leeds is ready for school", CANNOT_BE_SAID, "child"),
        ("{ready}% of Manchester children were ready for school", CANNOT_BE_SAID, "not published"),
        ("In 2018/19, {ready}% of Leeds children were ready for school", CANNOT_BE_SAID, "not published"),
        ("Children on free school meals were twice as likely as others in Leeds to be ready", CANNOT_BE_SAID, "ratio"),
        ("Leeds ranks third for school readiness", None, "rank"),
        ("In Leeds, girls and children on free school meals combined came to 60% ready", NOT_SUPPORTED, "sum"),
        ("{ready}% of looked-after children in Leeds were ready for school", CANNOT_BE_SAID, "unreadable"),
        ("Among looked-after children, {ready}% in Leeds were ready for school", CANNOT_BE_SAID, "unreadable"),
        ("Of children whose parents said they worried, {ready}% in Leeds were ready", CANNOT_BE_SAID, "unreadable"),
        ("It is false that {ready}% of Leeds children were ready for school", CANNOT_BE_SAID, "unreadable"),
        ("{ready}% of Leeds children were nearly ready for school", CANNOT_BE_SAID, "unreadable"),
        ("{ready}% of Leeds parents were ready for school", CANNOT_BE_SAID, "unreadable"),
        ("{ready}% of Leeds schools had a good level of development", CANNOT_BE_SAID, "unreadable"),
        ("{ready}% of children in Leeds and Wirral were ready for school", CANNOT_BE_SAID, "unreadable"),
        ("{ready}% of Leeds children", CANNOT_BE_SAID, "unreadable"),
        ("-{ready}% of Leeds children were ready for school", CANNOT_BE_SAID, "unreadable"),
        ("Vaccination rates rose in Leeds", CANNOT_BE_SAID, "unreadable"),
        ("{ready}% (95% interval 1% to 2%) of Leeds children were ready for school", NOT_SUPPORTED, "interval"),
    ],
)
def test_what_is_not_right_is_not_supported(
    sentence: str, verdict: str | None, rule: str, questions: Questions, words: dict[str, str]
) -> None:
    found = check_sentence(questions, sentence.format(**words))
    assert found.verdict != SUPPORTED
    assert verdict in (None, found.verdict)
    assert rule in found.rule, found.reason


@pytest.mark.parametrize("measure", ["school readiness", "the good level of development"])
@pytest.mark.parametrize(("more", "less"), [("did better than", "did worse than"), ("were ahead of", "were behind")])
def test_a_comparison_is_supported_one_way_at_most(measure: str, more: str, less: str, questions: Questions) -> None:
    pair = [questions.read_subject("GLD", AREA, [group]) for group in ("girls", "boys")]
    verdict = questions.answer_comparison(*pair).verdict
    said = {how: check_sentence(questions, f"Girls in Leeds {how} boys on {measure}").verdict for how in (more, less)}
    expected = {"ahead": (SUPPORTED, NOT_SUPPORTED), "behind": (NOT_SUPPORTED, SUPPORTED)}
    assert tuple(said.values()) == expected.get(verdict, (CANNOT_BE_SAID, CANNOT_BE_SAID))


def test_what_noise_and_chance_explain_cannot_be_said(questions: Questions) -> None:
    rows = questions.published.query(
        "SELECT area_name, less_area_name FROM gld_compared('Total', 'Total', false, '202425', '202425')"
        " WHERE is_council AND less_is_council AND verdict = 'cannot say'"
    )
    rules = set()
    for row in rows:
        found = check_sentence(questions, f"{row['area_name']} beat {row['less_area_name']} on school readiness")
        assert found.verdict != SUPPORTED
        rules.add((found.verdict, found.rule))
    assert rules <= {(CANNOT_BE_SAID, "inside noise"), (NOT_SUPPORTED, "unreliable")}
    assert (CANNOT_BE_SAID, "inside noise") in rules


def test_a_change_is_judged_between_the_cohorts(questions: Questions) -> None:
    answer = questions.answer_trend(questions.read_subject("GLD", AREA).statistic, questions.read_area(AREA))
    rose = check_sentence(questions, "School readiness in Leeds rose from last year")
    fell = check_sentence(questions, "School readiness in Leeds fell since 2023/24")
    conclusion = answer.may_conclude[0]
    assert (rose.verdict == SUPPORTED) == ("rose" in conclusion)
    assert (fell.verdict == SUPPORTED) == ("fell" in conclusion)
    assert rose.corrected == fell.corrected


def test_per_cent_is_not_points(questions: Questions) -> None:
    pair = [questions.read_subject("GLD", AREA, [group]) for group in ("FSM", "Not FSM")]
    answer = questions.answer_comparison(*pair)
    points = abs(round(answer.figures[0]["value"] - answer.figures[1]["value"], 1))
    who = "children eligible for free school meals in Leeds were {} {} other children on school readiness"
    where = {"ahead": "ahead of", "behind": "behind"}.get(answer.verdict)
    if where and all(each["flag"] is None for each in answer.figures):
        assert check_sentence(questions, who.format(f"{points} points", where)).verdict == SUPPORTED
        assert check_sentence(questions, who.format(f"{points}%", where)).rule == "points"


def test_a_claim_in_parts(questions: Questions, words: dict[str, str]) -> None:
    right = {"area": AREA, "measure": "ready for school", "value": float(words["ready"]), "unit": "%"}
    assert check_claim(questions, right).verdict == SUPPORTED
    assert check_claim(questions, right | {"group": "girls"}).rule in ("other value", "value")
    assert check_claim(questions, right | {"cause": "the hubs"}).rule == "cause"
    assert check_claim(questions, right | {"release": "2001.01.0"}).rule == "other release"
    assert check_claim(questions, right | {"unit": "points"}).rule == "unit"
    assert check_claim(questions, right | {"area": None}).rule == "no area"
    assert check_claim(questions, {"area": "England", "measure": "GLD", "value": 1.0}).verdict != SUPPORTED
    compared = {"area": AREA, "measure": "GLD", "group": "girls", "comparison": "higher", "than": {"group": "boys"}}
    assert check_claim(questions, compared).verdict in (SUPPORTED, NOT_SUPPORTED, CANNOT_BE_SAID)
    for wrong, field in ({"colour": "red"}, "colour"), ({"value": "many"}, "value"), ({"comparison": "nice"}, "compar"):
        with pytest.raises(InvalidClaim, match=field):
            check_claim(questions, right | wrong)


@given(text=st.text(max_size=200))
def test_any_text_is_judged(text: str, questions: Questions) -> None:
    found = check_sentence(questions, text)
    assert found.verdict != SUPPORTED or found.figures


@pytest.mark.parametrize(
    "whom",
    [
        *("new Leeds children", "old Leeds children", "good Leeds children", "Leeds primary children"),
        *("Leeds children with a health visitor", "Leeds children from ethnic groups", "Leeds children in the survey"),
        *("Leeds children who read", "Leeds children who were asked", "Leeds children who know the minister"),
        *("Leeds children named in the news", "Leeds children living here", "Leeds children in neighbourhoods"),
        *("Leeds children in groups", "Leeds children who went", "Leeds children out of school", "whole Leeds classes"),
    ],
)
@pytest.mark.parametrize("when", ["", " before they started school"])
def test_a_common_word_may_say_whom_it_is_about(
    whom: str, when: str, questions: Questions, words: dict[str, str]
) -> None:
    found = check_sentence(questions, f"{words['ready']}% of {whom} were ready for school{when}")
    assert (found.verdict, found.rule) == (CANNOT_BE_SAID, "unreadable")


@given(
    word=st.sampled_from(["looked-after", "disabled", "adopted", "Catholic", "dyslexic", "refugee", "gifted", "rural"])
)
def test_a_word_that_is_not_known_is_never_passed_over(word: str, questions: Questions, words: dict[str, str]) -> None:
    sentence = f"{words['ready']}% of {word} children in Leeds were ready for school"
    assert check_sentence(questions, sentence).verdict != SUPPORTED
