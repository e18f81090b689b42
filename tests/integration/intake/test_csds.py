"""Reviews from the tables of the Community Services Data Set: joined as meant, broken links set aside by row."""

from typing import Any

import pytest

from sources.errors import ExtractStopped
from sources.extract.landing import Landed
from sources.extract.readers.csds import list_csds_parts, list_folder_contents, open_csds
from sources.reference.cohorts import Cohort
from tests.support.daily import mark_slow_after
from tests.support.intake.desk import COHORT, Desk
from tests.support.intake.files import build_zip
from tests.support.intake.spreadsheets import build_xls
from tests.support.intake.standards import (
    Tables,
    build_contract_csv,
    build_csds,
    build_csds_files,
    build_reviews,
    build_workbook,
    write_folder,
)

SCORES = {"communication": "22.5", "gross_motor": "40", "fine_motor": "30", "problem_solving": "60"}
REVIEW = {
    "local_patient_id": "P1",
    "nhs_number": "",
    "nhs_number_status": "01",
    "surname": "Qwyjibo",
    "forename": "Amelia",
    "sex": "F",
    "date_of_birth": "2020-02-29",
    "postcode": "LS1 4AP",
    "review": "2-2.5Y",
    "review_date": "2022-05-01",
    "asq3_months": "24",
    "asq3_personal_social": "45",
    **{f"asq3_{domain}": score for domain, score in SCORES.items()},
}
WITHOUT_ASQ3 = REVIEW | {"asq3_months": ""}
CODES_27 = {"asq3_communication": "953261000000103", "asq3_fine_motor": "953271000000105"}


@pytest.fixture
def read(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Reads tables, or files by name, as reviews and the rows set aside: rule -> numbers."""

    def read(tables: Tables, files: dict[str, str] | None = None) -> tuple[list[dict[str, Any]], dict[str, list[int]]]:
        folder = write_folder(tmp_path_factory.mktemp("landing") / "202425", build_csds_files(tables) | (files or {}))
        landed = Landed("leeds", "hv_reviews", "202425", folder)
        table = open_csds(landed.name, list_csds_parts(list_folder_contents(landed)), Cohort("202425"))
        rows = [row for batch in table.read(table.header) for row in batch.to_pylist()]
        return rows, {rule.id: numbers for rule, numbers in table.set_aside.items() if numbers}

    return read


@pytest.fixture
def expected(desk: Desk) -> list[Any]:
    """What a contract-named file of `build_reviews()` gives."""
    path = desk.land(build_contract_csv("hv_reviews", build_reviews()), source="hv_reviews")
    desk.take("hv_reviews")
    path.unlink()
    return [*desk.list_kept("hv_reviews", columns="*"), desk.list_quarantined("hv_reviews")]


@pytest.mark.parametrize("form", mark_slow_after(2, ["folder", "xls", "xlsx", "zip", "semicolons"]))
def test_the_same_reviews_as_text_and_as_tables(desk: Desk, expected: list[Any], form: str) -> None:
    tables = build_csds(build_reviews())
    files = build_csds_files(tables)
    path = desk.landing / "leeds" / "hv_reviews" / "202425"
    match form:
        case "folder":
            write_folder(path, files)
        case "semicolons":
            write_folder(path, {name: text.replace(",", ";") for name, text in files.items()})
        case "zip":
            path.with_suffix(".zip").write_bytes(build_zip({f"May/{name}": text for name, text in files.items()}))
        case "xlsx":
            path.with_suffix(".xlsx").write_bytes(build_workbook(tables))
        case "xls":
            sheets = {name: [list(rows[0]), *(list(row.values()) for row in rows)] for name, rows in tables.items()}
            path.with_suffix(".xls").write_bytes(build_xls(sheets))
    quality = desk.take("hv_reviews")
    assert [*desk.list_kept("hv_reviews", columns="*"), desk.list_quarantined("hv_reviews")] == expected
    assert quality.rows_read == len(build_reviews())
    page = (desk.home.get_cohort(COHORT).get_reports_folder("leeds") / "hv_reviews.html").read_text(encoding="utf-8")
    assert ("no cell can be checked for a formula" in page) is (form == "xls")
    assert "We read sheet" not in page


def test_a_missing_table_or_item_stops_by_its_name(read: Any) -> None:
    for table in ("CYP001", "CYP101", "CYP201", "CYP202", "CYP612"):
        with pytest.raises(ExtractStopped, match=f"leeds/hv_reviews/202425: no {table}"):
            read({name: rows for name, rows in build_csds([REVIEW]).items() if name != table})
    tables = build_csds([REVIEW])
    del tables["CYP001"][0]["PERSON BIRTH DATE"]
    with pytest.raises(ExtractStopped, match="no column PERSON BIRTH DATE"):
        read(tables)


NATIONAL = {
    "LOCAL PATIENT IDENTIFIER (EXTENDED)": "LocalPatientID",
    "SERVICE REQUEST IDENTIFIER": "ServiceRequestID",
    "CARE CONTACT IDENTIFIER": "CareContactID",
    "CARE CONTACT DATE": "Contact_Date",
    "ATTENDANCE STATUS": "AttendOrNot",
    "CARE ACTIVITY IDENTIFIER": "CareActivityID",
    "COMMUNITY CARE ACTIVITY TYPE CODE": "Activity_Type",
    "CODED ASSESSMENT TOOL TYPE (SNOMED CT)": "SNOMED_ID",
    "PERSON SCORE": "Score",
    "PERSON STATED GENDER CODE": "Gender",
    "PERSON BIRTH DATE": "DateOfBirth",
    "NHS NUMBER STATUS INDICATOR CODE": "NHSNumber_Status",
}


@pytest.mark.parametrize("renamed", [NATIONAL, {name: name.lower().replace(" ", "_") for name in NATIONAL}])
def test_headings_by_another_name(read: Any, renamed: dict[str, str]) -> None:
    tables = build_csds([REVIEW])
    others = {
        table: [{renamed.get(heading, heading): value for heading, value in row.items()} for row in rows]
        for table, rows in tables.items()
    }
    assert read(others) == read(tables)


@pytest.mark.parametrize(
    ("code", "review"),
    [("08", "NBV"), ("9", "6-8W"), ("10", "12M"), ("11.0", "2-2.5Y"), ("02", None), ("12", None), ("", None)],
)
def test_a_mandated_review_without_asq3(read: Any, code: str, review: str | None) -> None:
    tables = build_csds([WITHOUT_ASQ3])
    tables["CYP202"][0]["COMMUNITY CARE ACTIVITY TYPE CODE"] = code
    rows, _ = read(tables)
    assert [(row["review"], row["asq3_months"]) for row in rows] == ([(review, None)] if review else [])
    tables = build_csds([REVIEW])
    tables["CYP202"][0]["COMMUNITY CARE ACTIVITY TYPE CODE"] = code
    assert [row["review"] for row in read(tables)[0]] == ["2-2.5Y"], "ASQ-3 outranks the type of activity"


@pytest.mark.parametrize(("attendance", "kept"), [("5", 1), ("6", 1), ("", 1), ("2", 0), ("3", 0), ("4", 0), ("7", 0)])
def test_only_contacts_that_were_attended_are_reviews(read: Any, attendance: str, kept: int) -> None:
    for review, set_aside in ((REVIEW, {"contact-not-attended": [1]}), (WITHOUT_ASQ3, {})):
        tables = build_csds([review])
        tables["CYP201"][0]["ATTENDANCE STATUS"] = attendance
        rows, aside = read(tables)
        assert len(rows) == kept
        assert aside == ({} if kept else set_aside)


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ("CYP202", "assessment-without-activity"),
        ("CYP201", "activity-without-contact"),
        ("CYP101", "contact-without-referral"),
        ("CYP001", "referral-without-person"),
    ],
)
def test_a_broken_link_is_set_aside_once_a_review(read: Any, table: str, rule: str) -> None:
    tables = build_csds([REVIEW | {"local_patient_id": patient} for patient in ("P1", "P2", "P3")])
    del tables[table][1]
    rows, set_aside = read(tables)
    assert [row["local_patient_id"] for row in rows] == ["P1", "P3"]
    assert list(set_aside) == [rule]
    assert len(set_aside[rule]) == 1
    found_in, identifier = {
        "CYP202": ("CYP612", "CARE ACTIVITY IDENTIFIER"),
        "CYP201": ("CYP202", "CARE ACTIVITY IDENTIFIER"),
        "CYP101": ("CYP201", "CARE CONTACT IDENTIFIER"),
        "CYP001": ("CYP101", "SERVICE REQUEST IDENTIFIER"),
    }[table]
    assert tables[found_in][set_aside[rule][0] - 1][identifier] in {"A1", "C1", "R1"}


def test_what_is_no_review_breaks_no_link(read: Any) -> None:
    """Other tools, other activities and ASQ:SE-2 by itself are normal in these tables."""
    tables = build_csds([REVIEW])
    for tool in ("1234567890", "1054011000000104"):
        row = dict(tables["CYP612"][0]) | {"CARE ACTIVITY IDENTIFIER": "elsewhere"}
        tables["CYP612"].append(row | {"CODED ASSESSMENT TOOL TYPE (SNOMED CT)": tool})
    tables["CYP202"].append(
        dict(tables["CYP202"][0]) | {"CARE ACTIVITY IDENTIFIER": "X", "CARE CONTACT IDENTIFIER": "X"}
    )
    rows, set_aside = read(tables)
    assert len(rows) == 1
    assert not set_aside


def test_months_of_submissions_are_one_table_whose_later_rows_win_but_for_the_record_number(read: Any) -> None:
    tables, later = build_csds([REVIEW]), build_csds([REVIEW | {"surname": "Marsh", "asq3_communication": "50"}])
    files = {f"{name.removesuffix('.csv')}_later.csv": text for name, text in build_csds_files(later).items()}
    rows, set_aside = read(tables, files)
    assert [(row["surname"], row["asq3_communication"], row["source_row"]) for row in rows] == [("Marsh", "50", 2)]
    assert not set_aside
    tables = build_csds([REVIEW])
    first = tables["CYP001"][0] | {"RECORD NUMBER": "1000"}
    tables["CYP001"] = [first, first | {"PERSON FAMILY NAME": "Marsh", "RECORD NUMBER": "999"}]
    assert [row["surname"] for row in read(tables)[0]] == [REVIEW["surname"]]


def test_the_questionnaire_of_most_domains_counts(read: Any) -> None:
    tables = build_csds([REVIEW])
    sample = tables["CYP612"][0]
    for code in CODES_27.values():
        tables["CYP612"].append(sample | {"CODED ASSESSMENT TOOL TYPE (SNOMED CT)": code, "PERSON SCORE": "1"})
    (row,) = read(tables)[0]
    assert (row["asq3_months"], row["asq3_communication"]) == ("24", REVIEW["asq3_communication"])


def _at_referral(tables: Tables, day: str) -> Tables:
    """The same scores recorded against the referral."""
    tables["CYP609"] = [
        {
            "SERVICE REQUEST IDENTIFIER": "R0",
            "CODED ASSESSMENT TOOL TYPE (SNOMED CT)": row["CODED ASSESSMENT TOOL TYPE (SNOMED CT)"],
            "PERSON SCORE": row["PERSON SCORE"],
            "ASSESSMENT TOOL COMPLETION DATE": day,
        }
        for row in tables["CYP612"]
    ]
    tables["CYP612"] = tables["CYP612"][:1]
    return tables


def test_scores_at_the_referral_are_a_review_of_their_date_or_join_that_of_the_day(read: Any) -> None:
    """Without their referral they are set aside."""
    tables = _at_referral(build_csds([REVIEW]), "2022-05-09")
    rows, set_aside = read(tables)
    assert [(row["review"], row["review_date"], row["source_row"]) for row in rows] == [
        ("2-2.5Y", "2022-05-09", 609_000_002)
    ]
    assert rows[0]["asq3_personal_social"] == REVIEW["asq3_personal_social"]
    assert not set_aside
    tables = _at_referral(build_csds([REVIEW]), REVIEW["review_date"])
    tables["CYP202"][0]["COMMUNITY CARE ACTIVITY TYPE CODE"] = "11"
    rows, _ = read(tables)
    assert [(row["source_row"], row["asq3_months"]) for row in rows] == [(1, "24")]
    tables = _at_referral(build_csds([REVIEW]), "2022-05-09")
    tables["CYP609"] = [row | {"SERVICE REQUEST IDENTIFIER": "R9"} for row in tables["CYP609"]]
    assert read(tables) == ([], {"assessment-without-referral": [2]})


def test_children_of_other_cohorts_are_left_out(read: Any) -> None:
    dates = ["2018-08-31", "2018-09-01", "2021-08-31", "2021-09-01", "1900-01-01", "", "31/02/2020", "1985-03-01"]
    rows, set_aside = read(
        build_csds([REVIEW | {"local_patient_id": f"P{n}", "date_of_birth": d} for n, d in enumerate(dates)])
    )
    assert [row["date_of_birth"] or "" for row in rows] == [dates[1], dates[2], *dates[4:7]]
    assert not set_aside


def test_malformed_rows_count_on_from_file_to_file(read: Any) -> None:
    tables = build_csds([REVIEW, REVIEW | {"local_patient_id": "P2"}])
    files = build_csds_files({"CYP101": tables["CYP101"]})
    tables["CYP101"] = []
    lines = next(iter(files.values())).splitlines()
    halves = {"CYP101_a.csv": [*lines[:2], "R9,P9,more"], "CYP101_b.csv": [lines[0], "R9", lines[2]]}
    files = {name: "\n".join(half) + "\n" for name, half in halves.items()}
    del tables["CYP101"]
    rows, set_aside = read(tables, files)
    assert len(rows) == 2
    assert set_aside == {"malformed-row-cyp101": [2, 3]}
