"""Search finds what whole questions ask for, and refusals name tools rather than SQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ndl_export.analyst_db.words import WORDS
from ndl_export.answers.published import open_published
from ndl_export.answers.questions import Questions
from ndl_export.answers.vocabulary import NameIndex, NoSuchFigure, Statistic
from tests.support import export

ASKED = yaml.safe_load(Path(export.__file__).with_name("questions.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def questions(series: Path) -> Iterator[Questions]:
    with open_published(str(series.parent)) as found:
        yield Questions(found)


def answers(found: Statistic, measure: str, *categories: str) -> bool:
    """Whether a statistic is of the measure and the categories, and of one more at most, such as an answer."""
    own = {category for _, category in found.signature}
    return found.measure == measure and set(categories) <= own and len(own) <= len(categories) + 1


def test_whole_questions_lead_to_the_right_measure_first(questions: Questions) -> None:
    index = NameIndex(questions.vocabulary)
    missed = [asked for asked, *expected in ASKED if not answers(index.search(asked, 1)[0], *expected)]
    assert len(missed) <= 0.05 * len(ASKED), missed


def test_synonyms_are_of_categories_that_are_published(questions: Questions) -> None:
    named = {(label, category) for label, synonyms in WORDS.synonyms.items() for category in synonyms}
    assert named <= questions.vocabulary.categories


@pytest.mark.parametrize(
    ("group", "category"),
    [
        ("on free school meals", "Eligible for free school meals"),
        ("summer-born", "Summer-born"),
        ("EAL pupils", "Other than English"),
        ("Asian children", "Asian / Asian British"),
        ("children on free school meals", "Eligible for free school meals"),
        ("pupils with SEND", "All SEN provision"),
    ],
)
def test_a_group_is_understood_as_people_name_it(group: str, category: str, questions: Questions) -> None:
    assert questions.read_subject("ready for school", "Leeds", [group]).statistic.categories == category


@pytest.mark.parametrize(("area", "cohort"), [("Atlantis", None), ("Leeds", "2018/19"), ("England", None)])
def test_a_refusal_names_no_sql(area: str, cohort: str | None, questions: Questions) -> None:
    with pytest.raises(NoSuchFigure) as refused:
        questions.read_subject("ready for school", area, (), cohort)
    assert "FROM " not in str(refused.value)
    assert "`" in str(refused.value)
