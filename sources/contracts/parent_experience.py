"""`parent_experience`: the survey of parents, one row per response. Never linked to children; no free text."""

from sources.contracts.model import Column, Due, Kind, Role, Rule, Severity, SourceContract
from sources.contracts.people import YES_NO
from sources.reference.survey import CHILD_AGE_BAND, FSM_OR_FUNDED, QUESTIONS, RESPONDENT_ROLE

SERVICES = {
    "services_used_hv_2yr_review": "Health visitor two-year review",
    "services_used_family_hub": "Family hub",
    "services_used_funded_place": "Funded nursery or childminder place",
    "services_used_speech_language": "Speech and language therapy",
    "services_used_senco_or_send": "SENCO or SEND service",
    "services_used_other": "Other service",
}

DUE = Due(7, 31, 1, "policy of the programme: with the EYFS Profile, at the end of the cohort's Reception year")
"""Of the second calendar year. The survey is the programme's own; there is no official date."""

CONTRACT = SourceContract(
    name="parent_experience",
    title="Survey of parents' experience",
    row_per="response",
    due=DUE,
    columns=(
        Column(
            "response_id",
            Kind.TEXT,
            Role.IDENTIFIER,
            "The survey platform's number of the response",
            required=False,
        ),
        Column("wave", Kind.TEXT, Role.CHECK, "Survey wave", required=False),
        Column(
            "respondent_role",
            Kind.CODE,
            Role.PAYLOAD,
            "Who answered",
            RESPONDENT_ROLE,
            invalid=Severity.WARN,
        ),
        Column(
            "child_age_band",
            Kind.CODE,
            Role.PAYLOAD,
            "Age of the child",
            CHILD_AGE_BAND,
            invalid=Severity.WARN,
        ),
        Column(
            "fsm_or_funded",
            Kind.CODE,
            Role.PAYLOAD,
            "Free school meals or a funded place for two-year-olds",
            FSM_OR_FUNDED,
            invalid=Severity.WARN,
        ),
        *(
            Column(
                service,
                Kind.CODE,
                Role.PAYLOAD,
                f"Used: {label}",
                YES_NO | {"1": "Yes", "2": "No", "0": "No"},
                required=False,
                invalid=Severity.WARN,
            )
            for service, label in SERVICES.items()
        ),
        *(
            Column(name, Kind.CODE, Role.PAYLOAD, question.wording, question.answers, invalid=Severity.WARN)
            for name, question in QUESTIONS.items()
        ),
    ),
    repeated=Rule(
        "response-sent-twice",
        Severity.REJECT,
        "An earlier row has the same response number and wave; the first is kept.",
        ("response_id", "wave"),
        "false",
    ),
)
