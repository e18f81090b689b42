"""`school_census`: the spring school census, Reception pupils. Linked to the EYFS Profile by UPN."""

from sources.contracts.model import Due, Kind, RecordOnDay, SourceContract, kept
from sources.contracts.people import (
    DEMOGRAPHICS,
    DERIVED,
    ETHNICITY,
    NHS_NUMBER,
    OF_MANY,
    PEOPLE_RULES,
    SEN_PROVISION,
    UPN,
    UPN_OF_TWO,
    YES_NO,
)

LANGUAGE_CODES = {"ENG": "English", "OTH": "Other than English"}
"""Other languages are not used, so they are not kept apart. ENB is "believed to be English", OTB "believed to be
other"; refused, not obtained and pending are unknown (DfE, Find and explore data in the National Pupil Database,
`LANG1ST`)."""

DUE = Due(2, 17, 1, "latest day on which the spring school census return can be due, four weeks after census day")
"""In the second calendar year. Census day is the third Thursday of January and returns are due on the Wednesday in the
fourth week after it: 19 January and 15 February 2023, 18 January and 14 February 2018, 17 January and 13 February 2019
(GOV.UK, School census: guide to submitting data). A third Thursday is the 21st at the latest; the Wednesday the 17th.
"""

CONTRACT = SourceContract(
    name="school_census",
    title="Spring school census, Reception",
    row_per="pupil",
    expected=(RecordOnDay("Spring school census", DUE, Due(1, 15, 1, "earliest census day")),),
    columns=(
        UPN,
        NHS_NUMBER,
        *DEMOGRAPHICS,
        ETHNICITY,
        kept("fsm_eligible", "Known to be eligible for free school meals; blank = unknown", Kind.CODE, YES_NO),
        SEN_PROVISION,
        kept(
            "first_language",
            "First language: ENG, another CBDS language code, or blank = unknown; kept as English or another",
            Kind.CODE,
            LANGUAGE_CODES,
            also={"ENB": "ENG", "OTB": "OTH", "REF": "", "NOT": "", "PEN": ""},
            other="OTH",
            pattern="[A-Z]{3,4}",
            note="or another CBDS language code of three or four letters",
        ),
    ),
    record=(("upn",),),
    derived=DERIVED,
    rules=(*PEOPLE_RULES, UPN_OF_TWO, OF_MANY["upn"], OF_MANY["nhs_number"]),
    purposes={
        "sex": ("linkage",),
        "ethnicity": ("pupil.ethnic_group",),
        "fsm_eligible": ("pupil.fsm",),
        "sen_provision": ("pupil.sen_provision",),
        "first_language": ("pupil.first_language",),
    },
)
