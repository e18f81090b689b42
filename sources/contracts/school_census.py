"""`school_census`: the spring school census, Reception pupils. Reaches the Profile child by UPN."""

from sources.contracts.model import Column, Kind, Role, Severity, SourceContract
from sources.contracts.people import (
    DEMOGRAPHICS,
    ETHNICITY,
    NHS_NUMBER,
    PEOPLE_RULES,
    SEN_CODES,
    UPN,
    YES_NO,
)

CONTRACT = SourceContract(
    name="school_census",
    title="Spring school census, Reception",
    row_per="pupil",
    columns=(
        UPN,
        NHS_NUMBER,
        *DEMOGRAPHICS,
        ETHNICITY,
        Column(
            "fsm_eligible",
            Kind.CODE,
            Role.PAYLOAD,
            "Known to be eligible for free school meals; blank = unknown",
            YES_NO,
            invalid=Severity.WARN,
        ),
        Column(
            "sen_provision",
            Kind.CODE,
            Role.PAYLOAD,
            "Special educational needs provision",
            SEN_CODES,
            invalid=Severity.WARN,
        ),
        Column(
            "first_language",
            Kind.TEXT,
            Role.PAYLOAD,
            "First language: ENG, another CBDS language code, or blank = unknown",
            invalid=Severity.WARN,
            pattern="[A-Z]{3,4}",
            note="a CBDS language code of three or four letters, or a value that the council file maps",
        ),
    ),
    rules=PEOPLE_RULES,
)
