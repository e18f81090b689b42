"""`parent_experience`: the survey of parents, one row per response. Never linked to children; no free text."""

from sources.contracts.model import Column, Kind, Role, Severity, SourceContract
from sources.contracts.people import YES_NO

RESPONDENT_ROLE = {
    "1": "Mother",
    "2": "Father",
    "3": "Grandparent or kinship carer",
    "4": "Foster or adoptive parent",
    "5": "Other",
    "9": "Prefer not to say",
}
CHILD_AGE_BAND = {
    "1": "Under 1",
    "2": "One",
    "3": "Two",
    "4": "Three",
    "5": "Four (Reception)",
    "6": "Five or over",
}
FSM_OR_FUNDED = {"1": "Yes", "2": "No", "8": "Don't know", "9": "Prefer not to say"}

QUESTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "child_send": (
        "Does your child have special educational needs or a disability?",
        {"1": "Yes", "2": "No", "3": "Being assessed", "8": "Don't know", "9": "Prefer not to say"},
    ),
    "sought_support": (
        "Have you sought support for your child?",
        {"1": "Got it", "2": "Still waiting", "3": "Refused", "4": "Did not seek"},
    ),
    "wait_band": (
        "How long did you wait?",
        {
            "1": "Under 4 weeks",
            "2": "4 to 12 weeks",
            "3": "13 to 18 weeks",
            "4": "Over 18 weeks",
            "5": "Not applicable",
        },
    ),
    "ease_of_access": (
        "How easy was it to get support?",
        {
            "1": "Very easy",
            "2": "Fairly easy",
            "3": "Neither easy nor difficult",
            "4": "Fairly difficult",
            "5": "Very difficult",
            "8": "Don't know",
        },
    ),
    "repeat_story_count": (
        "How often did you have to repeat your child's story?",
        {"1": "Never", "2": "Once", "3": "Two or three times", "4": "Four or more times", "8": "Don't know"},
    ),
    "sharing_would_have_helped": (
        "Would it have helped if the services had shared information?",
        {"1": "Yes", "2": "No", "8": "Don't know"},
    ),
    "comfortable_with_sharing": (
        "How comfortable are you with services sharing information about your child?",
        {
            "1": "Very comfortable",
            "2": "Fairly comfortable",
            "3": "Neither comfortable nor uncomfortable",
            "4": "Fairly uncomfortable",
            "5": "Not at all comfortable",
            "8": "Don't know",
        },
    ),
    "main_barrier": (
        "What was the main barrier to getting support?",
        {
            "1": "Waiting",
            "2": "Did not know",
            "3": "Not eligible",
            "4": "Cost",
            "5": "Transport",
            "6": "Language",
            "7": "Opening times",
            "8": "Not invited",
            "9": "None",
            "10": "Other",
        },
    ),
    "overall_satisfaction": (
        "Overall, how satisfied are you with the support?",
        {
            "1": "Very good",
            "2": "Fairly good",
            "3": "Neither good nor poor",
            "4": "Fairly poor",
            "5": "Very poor",
            "8": "Don't know",
        },
    ),
}
"""Each question with its wording and the labels of its answers."""

SERVICES = {
    "services_used_hv_2yr_review": "Health visitor two-year review",
    "services_used_family_hub": "Family hub",
    "services_used_funded_place": "Funded nursery or childminder place",
    "services_used_speech_language": "Speech and language therapy",
    "services_used_senco_or_send": "SENCO or SEND service",
    "services_used_other": "Other service",
}

CONTRACT = SourceContract(
    name="parent_experience",
    title="Survey of parents' experience",
    row_per="response",
    columns=(
        Column("response_id", Kind.TEXT, Role.IDENTIFIER, "The survey platform's number of the response", required=False),
        Column("wave", Kind.TEXT, Role.CHECK, "Survey wave", required=False),
        Column(
            "respondent_role",
            Kind.CODE,
            Role.PAYLOAD,
            "Who answered",
            RESPONDENT_ROLE,
            invalid=Severity.WARN,
        ),
        Column("child_age_band", Kind.CODE, Role.PAYLOAD, "Age of the child", CHILD_AGE_BAND, invalid=Severity.WARN),
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
            Column(question, Kind.CODE, Role.PAYLOAD, wording, answers, invalid=Severity.WARN)
            for question, (wording, answers) in QUESTIONS.items()
        ),
    ),
)
