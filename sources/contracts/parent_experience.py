"""`parent_experience`: the survey of parents, one row per response. Never linked to children; no free text."""

from sources.contracts.model import Due, Kind, RecordOnDay, SourceContract, checked, identifier, kept, reject
from sources.reference.code_lists import (
    CHILD_AGE_BAND,
    FSM_OR_FUNDED,
    QUESTIONS,
    RESPONDENT_ROLE,
    SERVICES,
    USED,
    WHO_ANSWERED,
)

DUE = Due(7, 31, 1, "policy of the programme: with the EYFS Profile, at the end of the cohort's Reception year")
"""In the second calendar year. The programme runs this survey itself; there is no official date."""

CONTRACT = SourceContract(
    name="parent_experience",
    title="Survey of parents' experience",
    row_per="response",
    expected=(RecordOnDay("Survey of parents", DUE, Due(9, 1, 0, "start of the Reception year")),),
    columns=(
        identifier("response_id", "The survey platform's number of the response", Kind.TEXT, required=False),
        checked("wave", "Survey wave"),
        kept("respondent_role", "Who answered", Kind.CODE, RESPONDENT_ROLE),
        kept("child_age_band", "Age of the child", Kind.CODE, CHILD_AGE_BAND),
        kept("fsm_or_funded", "Free school meals or a funded place for two-year-olds", Kind.CODE, FSM_OR_FUNDED),
        *(kept(name, f"Used: {label}", Kind.CODE, USED, required=False) for name, label in SERVICES.items()),
        *(kept(name, question.wording, Kind.CODE, question.answers) for name, question in QUESTIONS.items()),
    ),
    record=(("response_id", "wave"), ("response_id",)),
    # Responses are counted as they are, not found by linkage, so a second one would count twice.
    repeated=reject(
        "response-sent-twice",
        "An earlier row has the same response number and wave; the first is kept.",
        ("response_id", "wave"),
    ),
    purposes={name: (f"parents.{name}",) for name in ("child_age_band", "fsm_or_funded", *WHO_ANSWERED, *QUESTIONS)},
)
