"""Wrong, odd and hostile values in every kind of column."""

from collections.abc import Iterator, Sequence

from sources.reference.code_lists import GOALS
from tests.support.extracts import add_check_letter, make_upn
from tests.support.intake.corpus import (
    FORENAME,
    PERSON,
    SURNAME,
    Case,
    Row,
    build_case,
    build_rows,
    format_text,
    make_nhs_number,
)

_UPN, _NHS = make_upn(997_700_000_008), make_nhs_number(8)
_WRONG_LETTER = ("A" if _UPN[0] != "A" else "B") + _UPN[1:]


KEPT, WARNED, ASIDE = "kept", "warned", "aside"
NO_VALUES = ("NULL", "N/A", "#N/A", "None", "-")

Value = tuple[str, str, str, str, set[str]]
"""Source, column, value, the row's outcome, and the rules that it breaks."""
Change = tuple[Row, str, set[str]]
"""A row's changed values, its outcome, and the rules that it breaks."""


def _iter_dates() -> Iterator[Value]:
    wrong = ("31/02/2020", "2020-13-01", "2019-02-29", "43792", "43792.0", "23/11/19", "11/23/2019", "23/11/2019")
    wrong += ("23 Nov 2019", "99999-01-01", "２０１９-11-23", "2019-11-23T10:30:00Z", "20191123", *NO_VALUES)
    for value in wrong:
        yield "eyfsp", "date_of_birth", value, WARNED, {"date_of_birth-invalid"}
    for value in ("2019-11-23 00:00:00", "2019-11-23T00:00:00", "  2019-11-23\t", "\u00a02019-11-23\u00a0"):
        yield "eyfsp", "date_of_birth", value, KEPT, set()
    yield "eyfsp", "date_of_birth", "", WARNED, {"date_of_birth-blank"}
    yield "eyfsp", "date_of_birth", "1900-01-01", WARNED, {"date-of-birth-placeholder"}
    for value in ("2031-01-01", "0001-01-01", "2010-11-23"):
        yield "eyfsp", "date_of_birth", value, ASIDE, {"born-in-another-cohort"}
    yield "eyfsp", "date_of_birth", "2018-11-23", WARNED, {"born-outside-cohort"}


def _iter_codes() -> Iterator[Value]:
    for value in ("3", "0", "２", "22", "2;1", "two", "2.5", *NO_VALUES):
        yield "eyfsp", "com_e01", value, ASIDE, {"com_e01-invalid"}
    yield "eyfsp", "com_e01", "", ASIDE, {"com_e01-blank"}
    for value in ("A", "a"):
        yield "eyfsp", "com_e01", value, ASIDE, {"goals-a-in-all-or-none"}
    for value in ("2.0", " 2 ", "1"):
        yield "eyfsp", "com_e01", value, KEPT, set()
    yield "eyfsp", "sex", "U", ASIDE, {"sex-invalid"}
    yield "eyfsp", "sex", "f", KEPT, set()
    yield "eyfsp", "sex", "", WARNED, {"sex-blank"}
    yield "eyfsp", "academic_year", "202324", ASIDE, {"another-academic-year"}
    yield "eyfsp", "academic_year", "2024/25", KEPT, set()
    yield "school_census", "ethnicity", "XXXX", WARNED, {"ethnicity-invalid"}
    yield "school_census", "ethnicity", "", KEPT, set()
    yield "school_census", "fsm_eligible", "maybe", WARNED, {"fsm_eligible-invalid"}
    yield "school_census", "sen_provision", "S", WARNED, {"sen_provision-invalid"}
    yield "school_census", "first_language", f"{SURNAME}ish", WARNED, {"first_language-invalid"}
    for value in NO_VALUES:
        yield "school_census", "ethnicity", value, WARNED, {"ethnicity-invalid"}
        yield "hv_reviews", "asq3_months", value, WARNED, {"asq3_months-invalid", "asq3-score-without-age"}
    yield "early_years_census", "entitlement", SURNAME, WARNED, {"entitlement-invalid"}
    yield "early_years_census", "progress_check_outcome", "fine", WARNED, {"progress_check_outcome-invalid"}
    yield "early_years_census", "progress_check_date", "2018-01-01", WARNED, {"progress-check-before-birth"}
    yield "early_years_census", "progress_check_date", "2044-01-01", WARNED, {"progress-check-after-reception"}
    yield "hv_reviews", "review", "8Y", ASIDE, {"review-invalid"}
    yield "hv_reviews", "review", "", ASIDE, {"review-blank"}
    yield "hv_reviews", "review", "2-2.5y", KEPT, set()
    yield "hv_reviews", "review_date", "soon", WARNED, {"review_date-invalid"}
    before = {"review-before-birth", "two-year-review-at-another-age", "asq3-age-against-review-date"}
    yield "hv_reviews", "review_date", "2018-02-01", WARNED, before
    yield "hv_reviews", "asq3_months", "12", WARNED, {"asq3_months-invalid", "asq3-score-without-age"}
    yield "parent_experience", "main_barrier", "11", WARNED, {"main_barrier-invalid"}
    yield "parent_experience", "main_barrier", f"The nurse called {FORENAME} lazy", WARNED, {"main_barrier-invalid"}


def _iter_numbers() -> Iterator[Value]:
    for value in (
        "61",
        "-1",
        "nan",
        "inf",
        "-inf",
        "1e3",
        "24,5",
        "60+",
        "４０",
        "1e999",
        "fifteen",
        "15h",
        *NO_VALUES,
    ):
        yield "hv_reviews", "asq3_gross_motor", value, WARNED, {"asq3_gross_motor-invalid"}
    for value in ("22.5", "0", "60", "", "4e1", "40.0"):
        yield "hv_reviews", "asq3_gross_motor", value, KEPT, set()


def _iter_identifiers() -> Iterator[Value]:
    for value in (_UPN, _UPN.lower(), f" {_UPN[:4]} {_UPN[4:]} ", add_check_letter("99770000000A")):
        yield "eyfsp", "upn", value, KEPT, set()
    for value in (_WRONG_LETTER, "8.0E+11", _UPN[:-1], _UPN + "0", *NO_VALUES):
        yield "eyfsp", "upn", value, WARNED, {"upn-invalid"}
    yield "eyfsp", "upn", "", WARNED, {"upn-blank"}
    for value in (f"{_NHS[:3]} {_NHS[3:6]} {_NHS[6:]}", f"{_NHS[:3]}-{_NHS[3:6]}-{_NHS[6:]}", ""):
        yield "hv_reviews", "nhs_number", value, KEPT, set()
    for value in ("0000000000", _NHS + "1", f"{_NHS}.0", "9.997770E+09", _NHS[:-1], *NO_VALUES):
        yield "hv_reviews", "nhs_number", value, WARNED, {"nhs_number-invalid"}
    for value in ("ze3 9jw", "ZE39JW", "ZE3  9JW", "ZZ99 3VZ", "ZE3 9jw "):
        yield "school_census", "postcode", value, KEPT, set()
    for value in ("ZE3", "ZE3 9", "somewhere", *NO_VALUES):
        yield "school_census", "postcode", value, WARNED, {"postcode-malformed"}
    yield "school_census", "postcode", "", WARNED, {"postcode-blank"}


_NAMES = {
    "apostrophe": "O'Qwyjibo",
    "typographic apostrophe": "O’Qwyjibo",
    "hyphens": "Qwyjibo-Smith--Jones-",
    "arabic": "محمد قويجيبو",
    "chinese": "李奎",
    "emoji": "Qwyjibo 👶🏽",
    "right-to-left marks": "\u202eobijywQ\u202c\u200f Qwyjibo",
    "html": "<script>alert('Qwyjibo')</script><img src=x onerror=alert(1)>",
    "sql": "Qwyjibo'); DROP TABLE extract;--",
    "formula": '=HYPERLINK("http://example.org/?q="&A1,"Qwyjibo")',
    "at sign": "@SUM(1+1)*cmd|' /C calc'!A0 Qwyjibo",
    "template": "{{7*7}}${7*7}%(Qwyjibo)s {0.__class__}",
    "ten thousand letters": "Qwyjibo" * 1430,
    "control characters": "Qwy\x01\x02\x1b[31mjibo\x7f",
    "combining marks": "Q̃wyji̊bo" + "\u0301" * 40,
    "surrogate-like escape": "\\ud800Qwyjibo\\x00",
    "nothing but marks": "--''--",
    **{f"the word {value}": value for value in NO_VALUES},
}


def _iter_names() -> Iterator[Value]:
    for name in _NAMES.values():
        yield "eyfsp", "surname", name, KEPT, set()
        yield "hv_reviews", "forename", name, KEPT, set()


def iter_cases() -> Iterator[Case]:
    """Yield a file for each column, with every value in a separate row between two valid ones."""
    values = [
        value for part in (_iter_dates, _iter_codes, _iter_numbers, _iter_identifiers, _iter_names) for value in part()
    ]
    for source, column in dict.fromkeys(value[:2] for value in values):
        of_column = [value[2:] for value in values if value[:2] == (source, column)]
        changes = [({column: value}, becomes, rules) for value, becomes, rules in of_column]
        if column == "upn":  # otherwise only the UPN distinguishes these children
            changes = [({"forename": FORENAME + "o" * i} | change[0], *change[1:]) for i, change in enumerate(changes)]
        yield _build_case(source, f"values of {column}", changes)
    nameless = {"surname-blank", "forename-blank", "no-name"}
    blank = dict.fromkeys(PERSON, "") | {"upn": ""}
    changes = [
        ({"surname": "", "forename": " "}, WARNED, nameless),
        (dict.fromkeys(GOALS, "a"), KEPT, set()),
        (blank, WARNED, {f"{name}-blank" for name in blank} | {"no-name"}),
    ]
    yield _build_case("eyfsp", "several columns", changes)
    twice = build_rows("school_census", {}, {}, {})
    twice[1] = twice[0]
    yield build_case("school_census", "a row twice", format_text(twice), kept=(1, 2, 3), warned={2: {"repeated-row"}})
    answers = build_rows("parent_experience", {}, {}, {})
    answers[1]["response_id"] = answers[0]["response_id"]
    yield build_case(
        "parent_experience",
        "response sent twice",
        format_text(answers),
        kept=(1, 3),
        aside={2: {"response-sent-twice"}},
    )


def _build_case(source: str, name: str, changes: Sequence[Change]) -> Case:
    """Return a case with the changed rows, each after two valid ones."""
    children = build_rows(source, *(change for changed, *_ in changes for change in ({}, {}, changed)), {})
    number = {index: 3 * index + 3 for index in range(len(changes))}
    aside = {number[index]: rules for index, (_, becomes, rules) in enumerate(changes) if becomes == ASIDE}
    warned = {number[index]: rules for index, (_, becomes, rules) in enumerate(changes) if becomes == WARNED}
    kept = tuple(row for row in range(1, len(children) + 1) if row not in aside)
    return build_case(source, f"{source}: {name}", format_text(children), kept=kept, aside=aside, warned=warned)
