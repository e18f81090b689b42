"""Code lists of the sources: ethnic groups, learning goals, reviews, ASQ-3, the survey of parents and deprivation."""

from dataclasses import dataclass
from functools import cache

from privacy.doors.shipped import read_yaml
from sources.reference import FOLDER, read_rows

ASIAN, BLACK, MIXED, WHITE, OTHER = MAJOR_GROUPS = (
    "Asian / Asian British",
    "Black / African / Caribbean / Black British",
    "Mixed / Multiple ethnic groups",
    "White",
    "Other ethnic group",
)
"""Groups of the 2021 census, in which Chinese belongs to Asian."""

_ROWS = read_rows(FOLDER / "ethnicity.csv")
ETHNICITY_CODES = {row["code"]: row["label"] for row in _ROWS}
"""Main codes of the DfE common basic data set (CBDS), with their labels."""
MAJOR_GROUP = {row["code"]: row["major_group"] for row in _ROWS if row["major_group"]}
"""Major group by main code; `REFU` (refused) and `NOBT` (not obtained) are left out."""

_GOALS = read_rows(FOLDER / "goals.csv")
GOALS = {row["goal"]: row["label"] for row in _GOALS}
"""The 17 early learning goals of the EYFS statutory framework in force since September 2021."""

# Goals 1 to 12 are those of the prime areas, literacy and mathematics.
GLD_GOALS = tuple(goal for goal in GOALS if int(goal[-2:]) <= 12)
"""A good level of development is "expected" in all of these (DfE, EYFSP methodology)."""

AREAS_OF_LEARNING = {row["goal"][:3]: row["area_of_learning"] for row in _GOALS}
"""The seven areas, by the prefix of their goals' column names."""

REVIEW_CODES = {
    "ANV": "Antenatal visit",
    "NBV": "New birth visit",
    "6-8W": "Six to eight week review",
    "12M": "Twelve month review",
    "2-2.5Y": "Two to two-and-a-half year review",
}
TWO_YEAR_REVIEW = "2-2.5Y"
REVIEW_NAMES = {
    "ANV": "antenatal_visit",
    "NBV": "new_birth_visit",
    "6-8W": "six_to_eight_week_review",
    "12M": "twelve_month_review",
    TWO_YEAR_REVIEW: "two_year_review",
}
"""Attribute in published tables that holds the timing of each review."""

DOMAINS: dict[str, str] = {
    "asq3_communication": "Communication",
    "asq3_gross_motor": "Gross motor",
    "asq3_fine_motor": "Fine motor",
    "asq3_problem_solving": "Problem solving",
    "asq3_personal_social": "Personal-social",
}
"""Column of each ASQ-3 domain, with the name used by the table of cut-offs."""

_CUT_OFFS = FOLDER / "asq3_cut_offs.csv"


@cache
def load_cut_offs() -> dict[tuple[str, str], float]:
    """Return cut-off scores by (domain column, questionnaire age in months); a score under the cut-off is "below"."""
    columns = {name: column for column, name in DOMAINS.items()}
    return {(columns[row["domain"]], row["age_months"]): float(row["cut_off"]) for row in read_rows(_CUT_OFFS)}


@cache
def load_snomed_codes() -> dict[str, tuple[str, str]]:
    """Map the SNOMED CT concept of each score in the Community Services Data Set to (column, questionnaire age)."""
    columns = {name: column for column, name in DOMAINS.items()}
    return {row["snomed_code"]: (columns[row["domain"]], row["age_months"]) for row in read_rows(_CUT_OFFS)}


@dataclass(frozen=True)
class Question:
    """A question; `answers` maps each code to its label."""

    label: str
    wording: str
    answers: dict[str, str]


_SURVEY = read_yaml(FOLDER / "survey.yaml")
RESPONDENT_ROLE: dict[str, str] = _SURVEY["respondents"]["respondent_role"]
CHILD_AGE_BAND: dict[str, str] = _SURVEY["respondents"]["child_age_band"]
FSM_OR_FUNDED: dict[str, str] = _SURVEY["respondents"]["fsm_or_funded"]
SERVICES: dict[str, str] = _SURVEY["services"]
"""Services that the family may have used, by column."""
USED = {"Y": "Yes", "N": "No", "1": "Yes", "2": "No", "0": "No"}
"""Whether a service was used, in the codes of several survey platforms."""
QUESTIONS: dict[str, Question] = {name: Question(**content) for name, content in _SURVEY["questions"].items()}
WHO_ANSWERED: dict[str, Question] = {
    "respondent_role": Question("Who answered", "What is your relationship to the child?", RESPONDENT_ROLE),
    **{
        name: Question(f"Used: {label}", f"Which services has your family used? {label}", USED)
        for name, label in SERVICES.items()
    },
}
"""Questions about the respondent and the services that the family used."""


IMD_EDITION = "2025"
"""Edition of the English Indices of Deprivation. A directory may state another in its column `imd_edition`."""
IMD_INDEX = f"Index of Multiple Deprivation {IMD_EDITION}"
IMD_SOURCE = (
    "English Indices of Deprivation 2025 (IoD2025), Ministry of Housing, Communities and Local Government, 30 October"
    " 2025; ranks of the 33,755 lower-layer super output areas of the census of 2021"
)
