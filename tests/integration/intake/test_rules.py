"""What is wrong with a row or a file is said by rule and number; good rows go on; no value is ever quoted."""

import datetime as dt

import pytest

from sources.document import render
from sources.errors import ExtractStopped
from sources.reference.code_lists import GOALS
from tests.support import PROJECT
from tests.support.extracts import build_row, format_rows
from tests.support.intake.desk import EYFSP_ROW, Desk, build_eyfsp, build_reviews

GOOD = [{}] * 9
SECRET = "Qwyjibo"


REJECTED: list[tuple[dict[str, str], str]] = [
    ({"com_e01": "3"}, "com_e01-invalid"),
    ({"exp_e17": ""}, "exp_e17-blank"),
    ({"mat_e11": "A"}, "goals-a-in-all-or-none"),
    ({"sex": "X"}, "sex-invalid"),
    ({"academic_year": "202324"}, "another-academic-year"),
    ({"la_code": "340"}, "another-council"),
    ({"date_of_birth": "2016-01-01"}, "born-in-another-cohort"),
]
WARNED: list[tuple[dict[str, str], str]] = [
    ({"upn": "I" + EYFSP_ROW["upn"][1:]}, "upn-invalid"),
    ({"upn": ""}, "upn-blank"),
    ({"date_of_birth": "31/02/2020"}, "date_of_birth-invalid"),
    ({"date_of_birth": "1900-01-01"}, "date-of-birth-placeholder"),
    ({"date_of_birth": "2019-08-31"}, "born-outside-cohort"),
    ({"surname": "", "forename": ""}, "no-name"),
    ({"sex": ""}, "sex-blank"),
    ({"postcode": ""}, "postcode-blank"),
]
ACCEPTED: list[dict[str, str]] = [
    *({"academic_year": year} for year in ("2024/25", "2024-2025", "202425.0")),
    *({"la_code": code} for code in ("383.0", "E08000035")),
    *({"com_e01": "2.0"}, {"sex": "f"}, dict.fromkeys(GOALS, "A")),
]


def test_each_row_is_rejected_or_warned_of_by_its_own_rule(desk: Desk) -> None:
    """The other rows, among them ones that write the same in another way, are kept."""
    changes = [*GOOD * 3, *ACCEPTED, *({"surname": SECRET} | change for change, _ in (*REJECTED, *WARNED))]
    desk.land(build_eyfsp(*changes))
    quality = desk.take()
    start = len(changes) - len(REJECTED) - len(WARNED) + 1
    rejected = {(start + place, rule) for place, (_, rule) in enumerate(REJECTED)}
    assert desk.list_quarantined() == rejected
    warned = {(start + len(REJECTED) + place, rule) for place, (_, rule) in enumerate(WARNED)}
    assert warned - {(row, count.rule) for count in quality.rules for row in count.first_rows} == set()
    assert desk.list_kept() == [row for row in range(1, len(changes) + 1) if row not in dict(rejected)]
    assert SECRET not in repr(quality)
    (exceeding,) = [entry.sentence for entry in quality.rules if entry.rule == "com_e01-invalid"]
    assert "exceeding" in exceeding


def test_official_columns_that_are_not_kept_are_read_past(desk: Desk) -> None:
    child = build_row("early_years_census") | {"funded_hours": SECRET, "eypp": SECRET, "ethnicity": SECRET}
    desk.land(format_rows([child], list(child)), "early_years_census")
    quality = desk.take("early_years_census")
    assert (quality.rows_kept, quality.rows_warned, quality.rules) == (1, 0, ())
    assert not {"funded_hours", "eypp", "ethnicity"} & set(desk.read_table("early_years_census").column_names)


def test_a_stopped_file_leaves_the_good_one_and_no_trace(desk: Desk) -> None:
    desk.land(build_eyfsp(*GOOD))
    desk.take()
    before = desk.list_kept(columns="*")
    desk.land(build_eyfsp(*[{"com_e01": "9", "surname": SECRET}] * 9))
    with pytest.raises(ExtractStopped) as stopped:
        desk.take()
    assert SECRET not in str(stopped.value)
    assert desk.list_kept(columns="*") == before
    assert not [path for path in desk.home.restricted.iterdir() if path.name.startswith("staging")]


def test_reviews_keep_what_can_be_kept(desk: Desk) -> None:
    changes: list[dict[str, str]] = [{}] * 9 + [
        {"asq3_communication": "61"},
        {"asq3_months": "12"},
        {"review": "8Y"},
        {"review_date": "2019-05-01"},
        {"nhs_number": "9990000000"},
    ]
    desk.land(build_reviews(*({"concern": "N"} | change for change in changes)), source="hv_reviews")
    quality = desk.take("hv_reviews")
    assert desk.list_quarantined("hv_reviews") == {(12, "review-invalid")}
    assert desk.list_kept("hv_reviews", columns="asq3_communication")[8:10] == [24.02, None]
    assert {"asq3_communication-invalid", "asq3_months-invalid", "review-before-birth", "nhs_number-invalid"} <= {
        entry.rule for entry in quality.rules
    }


def test_payload_is_typed_and_derived(desk: Desk) -> None:
    desk.land(build_eyfsp({}, {"date_of_birth": "2019-09-01", "postcode": "ls29jt"}, {"postcode": "ZZ99 3VZ"}))
    desk.take()
    assert desk.list_kept(columns="sex, com_e01, term_of_birth, imd_quintile") == [
        ("F", "2", "Spring-born", 1),
        ("F", "2", "Autumn-born", 5),
        ("F", "2", "Spring-born", None),
    ]


def test_whether_a_review_was_on_time_is_kept_and_the_day_is_not(desk: Desk) -> None:
    """Of a child born on 29 February 2020: 14 days, eight weeks, 12 months and two and a half years."""
    limits = {"ANV": "2020-02-29", "NBV": "2020-03-14", "6-8W": "2020-04-25", "12M": "2021-02-28"}
    rows = [
        {"review": review, "review_date": str(dt.date.fromisoformat(day) + dt.timedelta(late))}
        for review, day in (limits | {"2-2.5Y": "2022-08-29"}).items()
        for late in (0, 1)
    ]
    born = {"date_of_birth": "2020-02-29"}
    desk.land(
        build_reviews(*(born | row for row in (*rows, {"review": "NBV", "review_date": ""}))), source="hv_reviews"
    )
    desk.take("hv_reviews")
    assert desk.list_kept("hv_reviews", columns="review_on_time") == [*["Y", "N"] * 5, None]
    assert {day.day for day in desk.list_kept("hv_reviews", columns="review_date") if day} == {1}


def test_malformed_rows_are_quarantined_under_their_own_numbers(desk: Desk) -> None:
    lines = build_eyfsp(*[{}] * 3, {"com_e01": "7"}, *[{}] * 9).splitlines()
    lines[1] = lines[1].replace("Thornton", '"Thorn\nton"')
    lines[2] += ",one,too,many"
    lines[5] = lines[5].rpartition(",")[0]
    desk.land("\n".join(lines) + "\n")
    quality = desk.take()
    assert (quality.rows_read, quality.rows_rejected) == (13, 3)
    assert desk.list_quarantined() == {(2, "malformed-row"), (4, "com_e01-invalid"), (5, "malformed-row")}
    assert desk.list_kept() == [1, 3, *range(6, 14)]


def test_a_file_with_many_malformed_rows_is_stopped(desk: Desk) -> None:
    lines = build_eyfsp(*[{}] * 90).splitlines()
    desk.land("\n".join([*lines[:70], *(line + ",one,too,many" for line in lines[70:])]) + "\n")
    with pytest.raises(ExtractStopped, match="More than 20% of the rows were rejected"):
        desk.take()


def test_the_page_of_sources_is_the_contracts() -> None:
    page = PROJECT / "docs" / "sources.md"
    assert page.read_text(encoding="utf-8") == render(), "run make docs"
