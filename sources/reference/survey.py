"""The survey of parents: its questions, their answers and the words they are published in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """`answers` maps each code to its label."""

    label: str
    wording: str
    answers: dict[str, str]


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

QUESTIONS: dict[str, Question] = {
    "child_send": Question(
        "Child has special educational needs or a disability",
        "Does your child have special educational needs or a disability?",
        {"1": "Yes", "2": "No", "3": "Being assessed", "8": "Don't know", "9": "Prefer not to say"},
    ),
    "sought_support": Question(
        "Sought support",
        "Have you sought support for your child?",
        {"1": "Got it", "2": "Still waiting", "3": "Refused", "4": "Did not seek"},
    ),
    "wait_band": Question(
        "Length of wait",
        "How long did you wait?",
        {
            "1": "Under 4 weeks",
            "2": "4 to 12 weeks",
            "3": "13 to 18 weeks",
            "4": "Over 18 weeks",
            "5": "Not applicable",
        },
    ),
    "ease_of_access": Question(
        "Ease of getting support",
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
    "repeat_story_count": Question(
        "Times the child's story had to be repeated",
        "How often did you have to repeat your child's story?",
        {"1": "Never", "2": "Once", "3": "Two or three times", "4": "Four or more times", "8": "Don't know"},
    ),
    "sharing_would_have_helped": Question(
        "Sharing information would have helped",
        "Would it have helped if the services had shared information?",
        {"1": "Yes", "2": "No", "8": "Don't know"},
    ),
    "comfortable_with_sharing": Question(
        "Comfortable with services sharing information",
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
    "main_barrier": Question(
        "Main barrier to getting support",
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
    "overall_satisfaction": Question(
        "Overall satisfaction",
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
