"""`eyfsp`: the Early Years Foundation Stage Profile return, one row per child assessed at the end of Reception."""

from sources.contracts.model import Due, Kind, RecordOnDay, Severity, SourceContract, checked, kept, reject
from sources.contracts.people import DEMOGRAPHICS, DERIVED, NHS_NUMBER, OF_MANY, PEOPLE_RULES, UPN, UPN_OF_TWO
from sources.reference.code_lists import GLD_GOALS, GOALS

GOAL_CODES = {"1": "Emerging", "2": "Expected", "A": "Not assessed"}
_NO_EXCEEDING = "3 (exceeding) ended with the framework of September 2021"
PRE_2021_PREFIXES = ("com_g", "phy_g", "pse_g", "lit_g", "mat_g", "utw_g", "exp_g")

# A spreadsheet may write 202425.0, people 2024/25 or 2024/2025: compared are the first four and the last two digits.
_PLAIN_YEAR = r"regexp_replace(regexp_replace(academic_year, '\.0+$', ''), '[^0-9]', '', 'g')"
_ANY_A = " OR ".join(f"{goal} = 'A'" for goal in GOALS)
_ALL_A = " AND ".join(f"{goal} = 'A'" for goal in GOALS)

DUE = Due(
    7, 31, 1, "last day for local authorities to correct their EYFS Profile return to the Department for Education"
)
"""In the second calendar year. GOV.UK, Early years foundation stage profile return guide, updated 13 March 2024:
deadline for submitting 12 July 2024, final date to correct errors 31 July 2024."""

# One such row is a mistake in the row; more than half of them mean that the file is of another year or council.
ANOTHER_YEAR = reject(
    "another-academic-year",
    "The academic year in the row is not the cohort of the file.",
    ("academic_year",),
    f"academic_year <> $cohort AND left({_PLAIN_YEAR}, 4) || right({_PLAIN_YEAR}, 2) <> $cohort",
    stop_share=0.5,
)
ANOTHER_COUNCIL = reject(
    "another-council",
    "The local authority code in the row is not the sending council's.",
    ("la_code",),
    # A spreadsheet may write 383.0.
    r"la_code NOT IN $la_codes AND regexp_replace(la_code, '\.0+$', '') NOT IN $la_codes",
    stop_share=0.5,
)

CONTRACT = SourceContract(
    name="eyfsp",
    title="EYFS Profile return",
    row_per="child assessed",
    expected=(RecordOnDay("EYFS Profile", DUE, Due(6, 1, 1, "assessments end in June")),),
    columns=(
        checked("la_code", "DfE three-digit code of the local authority"),
        checked("estab", "DfE four-digit establishment number"),
        checked("urn", "Unique reference number of the school"),
        checked("academic_year", "Academic year of the assessment, 202425"),
        UPN,
        NHS_NUMBER,
        *DEMOGRAPHICS,
        *(
            kept(goal, label, Kind.CODE, GOAL_CODES, blank=Severity.REJECT, invalid=Severity.REJECT, note=_NO_EXCEEDING)
            for goal, label in GOALS.items()
        ),
    ),
    record=(("upn",),),
    derived=DERIVED,
    rules=(
        *PEOPLE_RULES,
        UPN_OF_TWO,
        OF_MANY["upn"],
        OF_MANY["nhs_number"],
        reject(
            "goals-a-in-all-or-none",
            "A child not assessed (A) must be A in all 17 goals; this row mixes A with results.",
            tuple(GOALS),
            f"({_ANY_A}) AND NOT ({_ALL_A})",
        ),
        ANOTHER_YEAR,
        ANOTHER_COUNCIL,
    ),
    refused_columns={
        f"{prefix}{number:02d}": (
            "the file holds pre-2021 early learning goals (G01 to G17, emerging/expected/exceeding); the Profile has"
            " had E01 to E17 since September 2021"
        )
        for prefix in PRE_2021_PREFIXES
        for number in range(1, 18)
    },
    purposes={
        "sex": ("linkage", "pupil.sex"),
        **{goal: (f"pupil.{goal}", "pupil.goals_expected") for goal in GOALS if goal not in GLD_GOALS},
        **{goal: (f"pupil.{goal}", "pupil.goals_expected", "pupil.gld") for goal in GLD_GOALS},
    },
)
