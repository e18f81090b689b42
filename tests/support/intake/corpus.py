"""Corpus of realistic and hostile extracts, each with its expected result.

Every row is about a planted child. A case has good rows around its bad one; `kept`, `aside` and `warned` are data row
numbers, and `stops` is text that the message must contain.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sources.contracts import CONTRACTS
from sources.reference.code_lists import DOMAINS, QUESTIONS, SERVICES
from tests.support.extracts import COHORT, build_row, make_nhs_number, make_upn
from tests.support.intake.files import build_csv

Row = dict[str, str]
Table = list[list[str]]

SURNAME, FORENAME, POSTCODE, BORN = "Qwyjibo", "Zorblax", "ZE3 9JW", "2019-11-23"
_FIRST_UPN, _FIRST_NHS = 997_700_000_000, 777_000
_NHS_NUMBERS = [number for index in range(300) if (number := make_nhs_number(_FIRST_NHS + index))]
PLANTED = re.compile(
    "qwyjib|zorbla|ze3 ?9jw|9977000000|999777|2019-11-2[0-9]|2[0-9][/.-]11[/.-](20)?19|11/23/2019|23[ -]nov|23 november"
    "|20191123|(?<![0-9a-z.])43792(?![0-9a-z])",
    re.IGNORECASE,
)
"""Any spelling of the children's identifiers in the rows."""


@dataclass(frozen=True)
class Case:
    """A case: `files` are written by name into the folder of council and source."""

    name: str
    source: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    kept: tuple[int, ...] = ()
    aside: Mapping[int, set[str]] = field(default_factory=dict)
    warned: Mapping[int, set[str]] = field(default_factory=dict)
    stops: str = ""

    def put(self, folder: Path) -> None:
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def build_case(source: str, name: str, content: bytes, suffix: str = ".csv", **expected: object) -> Case:
    return Case(name, source, {f"{COHORT}{suffix}": content}, **expected)


PERSON = {"surname": SURNAME, "forename": FORENAME, "sex": "F", "date_of_birth": BORN, "postcode": POSTCODE}
_LEFT_OUT = {
    "eyfsp": {"la_code", "estab", "urn", "nhs_number"},
    "early_years_census": {"setting_urn"},
    "parent_experience": set(SERVICES),
}
_OWN = {
    "hv_reviews": dict.fromkeys(DOMAINS, "40") | {"review_date": "2022-02-01"},
    "parent_experience": dict.fromkeys(("respondent_role", "child_age_band", "fsm_or_funded", *QUESTIONS), "1"),
}
SOUND: dict[str, Row] = {
    source: {
        name: value
        for name, value in build_row(source, PERSON if "sex" in contract else {}, _OWN.get(source, {})).items()
        if name not in _LEFT_OUT.get(source, ())
    }
    for source, contract in CONTRACTS.items()
}
"""A row of each source; `child` fills in the child's numbers."""


def build_child(source: str, number: int, **change: str) -> Row:
    row = dict(SOUND[source])
    numbers = {
        "upn": make_upn(_FIRST_UPN + number),
        "nhs_number": make_nhs_number(number),
        "local_patient_id": f"P{SURNAME}{number}",
        "response_id": f"R{SURNAME}{number}",
    }
    return row | {name: value for name, value in numbers.items() if name in row} | change


def make_nhs_number(number: int) -> str:
    """Return the `number`th valid NHS number that starts with 999777."""
    return _NHS_NUMBERS[number]


def build_rows(source: str, *changes: Row) -> list[Row]:
    return [build_child(source, number) | change for number, change in enumerate(changes)]


def surround(source: str, **change: str) -> list[Row]:
    """Return the changed row between two valid ones."""
    return build_rows(source, {}, change, {})


def build_table(source_rows: Sequence[Row], header: Sequence[str] | None = None) -> Table:
    names = list(header or source_rows[0])
    return [names, *([row.get(name, "") for name in names] for row in source_rows)]


def format_text(source_rows: Sequence[Row], encoding: str = "utf-8", **form: object) -> bytes:
    return build_csv(build_table(source_rows), encoding, **form)


def build_many(source: str, count: int = 24) -> list[Row]:
    first = dt.date.fromisoformat(BORN)
    return [
        build_child(source, number)
        | ({"date_of_birth": str(first - dt.timedelta(number % 4))} if "sex" in SOUND[source] else {})
        for number in range(count)
    ]


def move_headings(source_rows: Sequence[Row], **headings: str) -> Table:
    """Return the table with some headings replaced."""
    header, *body = build_table(source_rows)
    return [[headings.get(name, name) for name in header], *body]
