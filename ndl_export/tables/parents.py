"""Family `parents`: responses to the survey of parents, one row per response, not linked to children."""

from collections.abc import Iterator
from dataclasses import replace

from ndl_export.tables import model
from ndl_export.tables.definition import declare_tables
from sources.reference import code_lists

POPULATION = "Responses to the survey of parents, by the council that ran it"
NOT_ANSWERED, NOT_APPLICABLE = "Not answered", "Not applicable"
"""Shares include responses without an answer, but not responses to which the question does not apply."""


def _build_attribute(name: str, label: str, answers: dict[str, str]) -> model.TableAttribute:
    return model.TableAttribute(name, label, (*dict.fromkeys(answers.values()), NOT_ANSWERED))


_SURE = ("Yes", "No")
AGE_BAND = _build_attribute("child_age_band", "Age of the child", code_lists.CHILD_AGE_BAND)
FUNDED = _build_attribute("fsm_or_funded", "Free school meals or funded two-year-old place", code_lists.FSM_OR_FUNDED)
QUESTIONS, WHO_ANSWERED = (
    tuple(_build_attribute(name, question.label, question.answers) for name, question in questions.items())
    for questions in (code_lists.QUESTIONS, code_lists.WHO_ANSWERED)
)
_RESPONDENT, *_SERVICES = WHO_ANSWERED


_AGES = AGE_BAND.categories[:-1]
_BREAKDOWNS = {
    AGE_BAND: (
        # Ages in two groups as well, for areas with few responses.
        model.Selection("Under three", _AGES[:3]),
        model.Selection("Three or over", _AGES[3:]),
        *(model.Selection(age, (age,)) for age in _AGES),
    ),
    FUNDED: tuple(model.Selection(answer, (answer,)) for answer in _SURE),
    _RESPONDENT: (
        *(model.Selection(role, (role,)) for role in _RESPONDENT.categories[:2]),
        # Few fathers answer surveys of parents, and even fewer other carers, who are shown together.
        model.Selection("Another carer", _RESPONDENT.categories[2:5]),
    ),
    **{service: tuple(model.Selection(answer, (answer,)) for answer in _SURE) for service in _SERVICES},
}
"""Levels of each breakdown. Responses without an answer, or unsure of a funded place, count only in the totals."""
_WEIGHTS = {
    **dict.fromkeys((AGE_BAND.label, FUNDED.label), "parents_by_group"),
    **{attribute.label: "parents_by_service" for attribute in WHO_ANSWERED},
}
"""Kind of cell of each breakdown."""
_ABOUT_SUPPORT = ("sought_support", "ease_of_access")
"""Questions broken down by who answered and by services used. If all ten were, every interval would be wider: the share
of responses by council that can be used fell from 79% to 64% (`readiness plan`, 8 councils, 2026-11-29)."""


def _list_breakdowns(question: model.TableAttribute) -> tuple[model.TableAttribute, ...]:
    if question in WHO_ANSWERED:
        return ()
    return tuple(_BREAKDOWNS) if question.name in _ABOUT_SUPPORT else (AGE_BAND, FUNDED)


def _iter_blocks(
    question: model.TableAttribute, levels: tuple[model.Axis, ...], topic: dict[str, str]
) -> Iterator[model.Block]:
    """Yield the blocks of a question: responses with each answer, and their share of those to which it applies."""
    answers = model.Axis("answer", question.name, model.select_each(question))
    block = model.Block(
        axes=(*levels, answers),
        constants={"question": question.label} | topic,
        base="response_count",
        councils=not levels and question not in WHO_ANSWERED,
        weight=_WEIGHTS.get(topic["breakdown_topic"], "parents_who" if question in WHO_ANSWERED else "parents"),
    )
    shared = model.ShareBlock(**vars(block), share="response_percent", share_of="answer")
    if NOT_APPLICABLE not in question.categories:
        yield shared
        return
    # `Not applicable` is counted but not part of the whole: the length of a wait is a share of the parents who waited.
    yield block
    applying = tuple(level for level in answers.selections if level.label != NOT_APPLICABLE)
    whole = tuple(level.label for level in applying)
    yield replace(shared, axes=(*levels, replace(answers, selections=applying, whole=whole)))


PARENT_EXPERIENCE = model.define_table(
    "parent_experience",
    "parents",
    POPULATION,
    (
        block
        for question in (*QUESTIONS, *WHO_ANSWERED)
        for levels, topic in model.build_breakdowns(*_list_breakdowns(question), levels=_BREAKDOWNS)
        for block in _iter_blocks(question, levels, topic)
    ),
)

_IN_CODE = model.Family(
    name="parents",
    unit="response",
    source="parent_experience",
    is_linked=False,
    population=POPULATION,
    confidential_table="responses",
    confidential_description="Responses to the survey of parents, one row each.",
    attributes=(AGE_BAND, FUNDED, *WHO_ANSWERED, *QUESTIONS, *model.list_declared_attributes("parents")),
    tables=(PARENT_EXPERIENCE,),
    counted="response_count",
    share="response_percent",
    weight="parents_by_group",
)
"""The family with the tables that need code."""
FAMILY = declare_tables(_IN_CODE)
