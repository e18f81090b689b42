"""What a report says about an extract, and what it may never say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from assets.intake.deliveries import ExtractQuality, StoppedExtract
from assets.intake.quality_report.facts import build_extract_report, build_stopped_report
from assets.intake.quality_report.publish import build_council_report, render, render_council
from sources.errors import ExtractStopped
from sources.reference.goals import GOALS
from tests.support.daily import first
from tests.support.extracts import COHORT, row, text, upn
from tests.support.intake.desk import EYFSP_HEADER, Desk
from tests.support.intake.files import as_xlsx, children
from tests.support.intake.spreadsheets import as_ods, as_xls, as_xlsb

Deliver = Callable[..., ExtractQuality]
Text = Callable[..., str]
GOOD: list[dict[str, str]] = [{}] * 60
SECRET = "Qwyjibo"
STOPPED = StoppedExtract(
    *("leeds", "eyfsp", "202425", "202425.csv", "", "2025-11-20T09:30"),
    sentence="leeds/eyfsp/202425.csv: too odd",
    for_sender="leeds/eyfsp/202425.csv: too odd",
)


def expected_in(goals: int) -> dict[str, str]:
    """A child at the expected level in the first so many goals."""
    return {goal: "2" if place < goals else "1" for place, goal in enumerate(GOALS)}


def test_findings_by_importance_with_their_rows(deliver: Deliver, profiles: Text) -> None:
    rows = [*GOOD, *[{"upn": ""}] * 5, {"com_e01": "3"}, {"com_e01": "4"}, {}, {"com_e01": "5"}, {"exp_e17": ""}]
    report = build_extract_report(deliver(profiles(*rows)), None)
    assert [finding["rule"] for finding in report["findings"]] == ["com_e01-invalid", "exp_e17-blank", "upn-blank"]
    goal, blank, upn = report["findings"]
    assert (goal["severity"], goal["rows"], goal["row_numbers"]) == ("reject", 3, "66-67, 69")
    assert goal["share"] == 3 / 70
    assert goal["columns"] == [{"column": "com_e01", "heading": "com_e01"}]
    assert (upn["severity"], upn["row_numbers"], upn["more_rows"]) == ("warn", "61-65", 0)
    assert report["outcome"] == "taken with rows set aside"
    assert (report["rows_read"], report["rows_kept"], report["rows_rejected"], report["rows_warned"]) == (70, 66, 4, 5)
    page = render(report)
    for words in ("Rows 66-67, 69", blank["sentence"], "com_e01-invalid", "Leeds", "20 November 2025, 09:30"):
        assert words in page


@pytest.mark.parametrize("suffix", first(2, [".xlsx", ".ods", ".xls", ".xlsb"]))
def test_rows_of_a_sheet_are_numbered_as_in_the_sheet(desk: Desk, suffix: str) -> None:
    rows = children({}, {"com_e01": "3"}, {})
    titled = [["Leeds"], ["By the school"], *rows]
    if suffix == ".xlsx":
        content = as_xlsx(titled, lambda book: setattr(book.active, "title", SECRET))
    else:
        content = {".xls": as_xls, ".xlsb": as_xlsb, ".ods": as_ods}[suffix]({SECRET: titled, "Notes": [["a"]]})
    desk.land(b"", suffix=suffix).write_bytes(content)
    taken = desk.take()
    report = build_extract_report(taken, None)
    assert [rule.first_rows for rule in taken.rules if rule.rule == "com_e01-invalid"] == [(2,)]
    assert [f["row_numbers"] for f in report["findings"] if f["rule"] == "com_e01-invalid"] == ["5"]
    checked = suffix == ".xlsx"
    left = 0 if checked else 1
    assert report["sheet"] == {"number": 1, "header_row": 3, "left_aside": left, "formulas_checked": checked}
    assert ("no cell can be checked for a formula or an error" in render(report)) is not checked
    aside = " and left 1 other sheet aside" if left else ""
    assert f"We read sheet 1{aside}. Row numbers are those of the sheet" in render(report)
    assert SECRET not in json.dumps(report) + render(report)


def test_columns_have_the_headings_of_the_file(deliver: Deliver, profiles: Text) -> None:
    taken = deliver(profiles(*GOOD, {"com_e01": "3"}, {"upn": ""}))
    report = build_extract_report(replace(taken, headings={"com_e01": "EYFSP E01", "upn": "Pupil UPN"}), None)
    assert report["findings"][0]["columns"] == [{"column": "com_e01", "heading": "EYFSP E01"}]
    assert {entry["heading"] for entry in report["identifiers"] if entry["column"] == "upn"} == {"Pupil UPN"}
    page = render(report)
    for words in ("EYFSP E01 <code", "Pupil UPN <code"):
        assert words in page


def test_a_sound_extract_has_nothing_to_fix(deliver: Deliver, profiles: Text) -> None:
    taken = deliver(profiles(*[{"la_code": "380"}] * 60), council="bradford")
    report = build_extract_report(taken, None)
    assert (report["outcome"], report["findings"], report["failed_checks"]) == ("taken", [], [])
    assert "Nothing. Every row passed every rule." in render(report)
    assert sum(entry["times"] for entry in report["passed_checks"]) == len(taken.findings) > len(GOALS)


def test_a_check_of_the_whole_file_that_fails(deliver: Deliver, profiles: Text) -> None:
    rows = [{"la_code": "380", "sex": ""}] * 12 + [{"la_code": "380"}] * 48
    report = build_extract_report(deliver(profiles(*rows), council="bradford"), None)
    (check,) = report["failed_checks"]
    assert (check["column"], check["severity"]) == ("sex", "warning")
    report["failed_checks"] = [check | {"heading": "Gender", "sentence": "sex is thin.", "rows": 12}]
    page = render(report)
    assert "The whole file: Gender (sex) is thin (12 rows)." in page
    assert "<li>Gender (sex) is thin.</li>" in page


def test_only_the_first_hundred_rows_are_named(deliver: Deliver, profiles: Text) -> None:
    report = build_extract_report(deliver(profiles(*[{"postcode": ""}] * 130)), None)
    (finding,) = report["findings"]
    assert (finding["row_numbers"], finding["more_rows"]) == ("1-100", 30)
    assert "1-100 and 30 rows more" in render(report)


def test_identifiers_are_counted_and_have_no_distribution(deliver: Deliver, profiles: Text) -> None:
    report = build_extract_report(deliver(profiles(*GOOD, {"upn": ""}, {"upn": "X123"}, {"upn": "X124"})), None)
    by_column = {entry["column"]: entry for entry in report["identifiers"]}
    assert (by_column["upn"]["blank_rows"], by_column["upn"]["invalid_rows"]) == (1, 2)
    shown = {entry["column"] for key in ("completeness", "values") for entry in report[key]}
    assert not shown & {"upn", "nhs_number", "surname", "forename", "date_of_birth", "postcode"}


def test_against_the_last_delivery(deliver: Deliver, profiles: Text) -> None:
    last = deliver(profiles(*[{"sex": "F"}, {"sex": "M"}] * 300), at="2025-10-01T16:05")
    now = deliver(profiles(*[{"sex": "F"}] * 400, *[{"sex": "M"}] * 50, *[{"sex": ""}] * 50))
    report = build_extract_report(now, last)
    assert report["worth_a_look"][:3] == [
        "The file has 500 rows. The last delivery had 600.",
        "We kept 500 rows. The published number of children in Leeds for 2024/25 is 8,985, so the file has 5.6% of that"
        " number.",
        "sex is filled in 90.0% of rows. In the last delivery it was filled in 100.0%.",
    ]
    assert "sex: Female (F) is 88.9% of filled rows. In the last delivery it was 50.0%." in report["worth_a_look"]
    (sex,) = [entry for entry in report["completeness"] if entry["column"] == "sex"]
    assert (sex["share"], sex["last_share"]) == (0.9, 1.0)
    assert report["last"]["rows_read"] == 600
    assert "1 October 2025, 16:05" in render(report)


def test_against_published_figures(deliver: Deliver, profiles: Text) -> None:
    rows = [expected_in(17)] * 400 + [expected_in(12)] * 100 + [expected_in(2)] * 500
    report = build_extract_report(deliver(profiles(*rows)), None)
    by_label = {figure["label"]: figure for figure in report["figures"]}
    level = by_label["Good level of development"]
    assert (level["rows"], level["of"], level["published_share"]) == (500, 1000, 0.639)
    assert (level["published_area"], level["published_cohort"], level["departs"]) == ("Leeds", "2024/25", True)
    assert (
        "Good level of development: 50.0% in your file. Published for Leeds, 2024/25: 63.9%."
        " Yours is 13.9 points lower." in report["worth_a_look"]
    )
    assert report["number_of_children"] == {
        "rows": 1000,
        "published": 8985,
        "area": "Leeds",
        "cohort": "2024/25",
        "share": 1000 / 8985,
        "worth_a_look": True,
    }


def test_england_is_shown_and_not_held_against_a_council(deliver: Deliver, profiles: Text) -> None:
    rows = [expected_in(2) | {"la_code": "380"}] * 500
    report = build_extract_report(deliver(profiles(*rows), council="bradford"), None)
    level = next(figure for figure in report["figures"] if figure["label"] == "Good level of development")
    assert (level["share"], level["published_area"], level["departs"]) == (0, "England", False)
    assert report["number_of_children"] is None


@pytest.mark.parametrize("place_of_secret", ["identifiers", "codes", "headings"])
def test_no_value_of_the_file_is_in_a_report(deliver: Deliver, profiles: Text, place_of_secret: str) -> None:
    changes = {
        "identifiers": dict.fromkeys(("surname", "forename", "postcode", "upn"), SECRET)
        | {"date_of_birth": "2019-03-07"},
        "codes": dict.fromkeys(("estab", "urn", "com_e01", "sex", "la_code", "academic_year"), SECRET),
        "headings": {},
    }[place_of_secret]
    text = profiles(*GOOD, changes)
    if place_of_secret == "headings":
        text = "\n".join(f"{line},{SECRET}" for line in text.splitlines()) + "\n"
    report = build_extract_report(deliver(text), None)
    shown = json.dumps(report) + render(report) + render_council(build_council_report([report]))
    for value in (SECRET, SECRET.lower(), "2019-03-07", "March 2019", "Thornton", "Amelia", "LS1 4AP", "700000"):
        assert value not in shown


def test_a_name_in_the_language_column_is_not_in_a_report(deliver: Deliver) -> None:
    header = "UPN,Legal Surname,Legal Forename,Gender,DOB,Post Code,Ethnicity Code,Eligible for free meals,SEN Status"
    row = ",Thornton,Amelia,Female,29/02/2020,LS1 4AP,WBRI,No,No SEN"
    text = f"{header},First Language\n" + f"{row},{SECRET}\n{row},English\n{row},POL\n" * 20
    report = build_extract_report(deliver(text, "school_census"), None)
    (language,) = [entry for entry in report["values"] if entry["column"] == "first_language"]
    assert [(group["label"], group["rows"]) for group in language["groups"]] == [
        ("English (ENG)", 20),
        ("Other than English (OTH)", 20),
    ]
    assert SECRET not in json.dumps(report) + render(report)
    ethnic = {figure["label"]: figure["share"] for figure in report["figures"] if figure["topic"] == "Ethnic group"}
    assert ethnic["White"] == 1


def test_the_report_of_a_stopped_extract_gives_the_reason_and_what_stays(
    deliver: Deliver, desk: Desk, profiles: Text
) -> None:
    last = deliver(profiles(*GOOD), at="2025-10-01T16:05")
    desk.land(",".join(EYFSP_HEADER).replace("com_e01", "com_g01") + "\n")
    with pytest.raises(ExtractStopped) as stopped:
        desk.take()
    report = build_stopped_report(replace(STOPPED, for_sender=str(stopped.value)), last)
    assert report["outcome"] == "stopped"
    page = render(report)
    assert "pre-2021 early learning goals" in page
    assert "stays in place: 202425.csv, taken on 1 October 2025, 16:05, with 60 rows." in page
    assert "There is no earlier extract" in render(build_stopped_report(STOPPED, None))


def test_a_council_sees_all_its_extracts(deliver: Deliver, profiles: Text) -> None:
    taken = build_extract_report(deliver(profiles(*GOOD, {"com_e01": "3"}, {"upn": ""})), None)
    stopped = build_stopped_report(
        replace(STOPPED, source="hv_reviews", for_sender="The date column is missing."), None
    )
    report = build_council_report([stopped, taken])
    assert [line["source"] for line in report["extracts"]] == ["eyfsp", "hv_reviews"]
    assert len(report["not_received"]) == 3
    assert [(finding["source"], finding["rule"]) for finding in report["findings"]] == [
        ("eyfsp", "com_e01-invalid"),
        ("eyfsp", "upn-blank"),
    ]
    page = render_council(report)
    for words in ("1 of 5 extracts is taken.", "The date column is missing.", "Spring school census"):
        assert words in page
    assert json.loads(json.dumps(report)) == report


# --- What a report leads with: that the file, not its rows, is the wrong one

OWN = [{"upn": upn(383_200_024_000 + number)} for number in range(60)]


def first_of(page: str) -> str:
    """The text of the box that a page leads with."""
    return page.split('<div class="outcome', 1)[1].split("</div>", 1)[0]


def read_report(desk: Desk, name: str = "eyfsp") -> tuple[dict[str, Any], str]:
    """The report of an extract of Leeds, and its page."""
    folder = desk.home.cohort(COHORT).reports("leeds")
    return json.loads((folder / f"{name}.json").read_text("utf-8")), (folder / f"{name}.html").read_text("utf-8")


def stopped_page(desk: Desk, name: str = "eyfsp") -> str:
    with pytest.raises(ExtractStopped):
        desk.take(name)
    return read_report(desk, name)[1]


def test_rows_of_another_year_are_reported_once(deliver: Deliver, profiles: Text) -> None:
    report = build_extract_report(deliver(profiles(*OWN, *[{"date_of_birth": "2019-03-07"}] * 12)), None)
    (sentence,) = (said for said in report["whole_file"] if "2023/24" in said)
    assert sentence.startswith("Part of this looks like 2023/24: 12 of 72 dates of birth")
    page = render(report)
    assert sentence in first_of(page)
    assert "outside the cohort" not in page.split('id="fix"', 1)[1].split("</section>")[0]


def test_a_file_of_another_year_is_stopped_in_one_sentence(desk: Desk, profiles: Text) -> None:
    desk.land(profiles(*[each | {"date_of_birth": "2019-03-07"} for each in OWN]))
    page = stopped_page(desk)
    assert "This looks like 2023/24: 60 of 60 dates of birth" in first_of(page)
    assert page.count("2023/24") == 2  # of that sentence
    assert "born-outside-cohort" not in page


def test_another_councils_children(deliver: Deliver, profiles: Text) -> None:
    theirs = [{"upn": upn(344_200_024_000 + number)} for number in range(60)]
    report = build_extract_report(deliver(profiles(*theirs)), None)
    assert report["whole_file"] == [
        "This looks like Wirral’s: 60 of 60 pupil numbers (UPN) were given out there, 0 of Leeds’s own."
    ]
    assert not build_extract_report(deliver(profiles(*OWN)), None)["whole_file"]


def test_a_file_with_every_row_twice(deliver: Deliver, profiles: Text) -> None:
    once = profiles(*OWN)
    report = build_extract_report(deliver(once + once.split("\n", 1)[1]), None)
    assert "60 of 120 rows repeat an earlier row: was the file put together twice?" in report["whole_file"]
    assert "repeats an earlier one" not in render(report).split('id="fix"', 1)[1].split("</section>")[0]


def test_dates_of_two_forms(deliver: Deliver, profiles: Text) -> None:
    exchanged = [each | {"date_of_birth": "2020-25-02"} for each in OWN[:25]]
    report = build_extract_report(deliver(profiles(*OWN[25:], *exchanged)), None)
    (sentence,) = report["whole_file"]
    assert sentence.startswith("25 of 60 rows: date_of_birth must be a date written YYYY-MM-DD")
    assert sentence.endswith("others may be read as the wrong day.")


@pytest.mark.slow
def test_the_same_file_again(desk: Desk, profiles: Text) -> None:
    path = desk.land(profiles(*OWN))
    desk.take()
    quality = desk.home.extract("eyfsp", COHORT, "leeds").quality
    os.utime(quality, (1, 1))  # it was looked at long before the file came
    assert desk.take().unchanged
    report, page = read_report(desk)
    assert report["sent_again"]
    assert "You sent the same file again" in first_of(page)
    path.write_text(path.read_text("utf-8").replace("\n", "\r\n"), "utf-8")
    desk.take()
    assert "Every count in it is as in your last delivery: is it the newer file?" in read_report(desk)[0]["whole_file"]


def shifted(values: Sequence[str]) -> list[str]:
    return ["", *values[:-1]]


def test_a_line_shifted_by_a_cell_is_reported_once(deliver: Deliver, profiles: Text) -> None:
    lines = [line.split(",") for line in profiles(*OWN).splitlines()]
    lines[8:11] = map(shifted, lines[8:11])
    lines.append(["Total", *[""] * (len(EYFSP_HEADER) - 2), "60"])
    text = "\n".join(map(",".join, lines)) + "\n"
    text += profiles({"sex": "X", "com_e01": "9"}, {"sex": "X", "upn": "A1"}).split("\n", 1)[1]
    report = build_extract_report(deliver(text), None)
    rules = {rule["rule"]: rule["row_numbers"] for rule in report["findings"]}
    assert rules.pop("garbled-row") == "8-10, 61"
    assert rules == {"sex-invalid": "62-63", "com_e01-invalid": "62", "upn-invalid": "63"}, (
        "a rule or two are told apart"
    )


def test_a_file_with_every_row_shifted_is_not_reported_row_by_row(desk: Desk, profiles: Text) -> None:
    header, *lines = profiles(*OWN).splitlines()
    desk.land("\n".join([header, *(",".join(shifted(line.split(","))) for line in lines)]) + "\n")
    assert "garbled" not in stopped_page(desk)


def test_files_in_each_others_folder(desk: Desk, profiles: Text) -> None:
    desk.land(text([row("school_census")] * 3))
    desk.land(profiles(*OWN), "school_census")
    said = {name: first_of(stopped_page(desk, name)) for name in ("eyfsp", "school_census")}
    assert "This looks like your Spring school census, Reception: it has all columns of that" in said["eyfsp"]
    assert "This looks like your EYFS Profile return" in said["school_census"]
    assert "issing column" not in str(said)


def test_another_councils_headings(desk: Desk) -> None:
    header = (
        "lea_no,school_no,school_urn,acad_year,pupil_upn,pupil_surname,pupil_forename,pupil_sex,pupil_dob,pupil_postcode,"
        + ",".join(f"goal_{number:02d}" for number in range(1, 18))
    )
    desk.land(f"{header}\n344,{',' * (header.count(',') - 1)}\n")
    assert "This looks like EYFS Profile return of Wirral" in first_of(stopped_page(desk))


def test_headings_that_are_missing_beside_those_that_are_not_used(desk: Desk, profiles: Text) -> None:
    changed = {"date_of_birth": "DoB2", "sex": "Sex of child", "postcode": "Where from"}
    header, body = profiles(*OWN).split("\n", 1)
    desk.land(",".join(changed.get(name, name) for name in header.split(",")) + "\n" + body)
    page = stopped_page(desk)
    report, _ = read_report(desk)
    assert report["headings"] == {
        "missing": [
            ["'Gender' (sex)", "Sex of child"],
            ["'DOB' (date_of_birth)", "DoB2"],
            ["'Post Code' (postcode)", ""],
        ],
        "unused": ["Where from"],
    }
    for words in ("<td>DoB2</td>", "Headings in your file that we use for nothing: Where from."):
        assert words in page


def test_the_page_of_a_council_leads_to_those_of_its_extracts(desk: Desk, profiles: Text) -> None:
    desk.land(profiles(*OWN))
    desk.take()
    desk.land("upn,surname\n", "school_census")
    stopped_page(desk, "school_census")
    folder = desk.home.cohort(COHORT).reports("leeds")
    page = (folder / "council.html").read_text("utf-8")
    for name in ("eyfsp", "school_census"):
        assert f'<a href="{name}.html">' in page
        assert (folder / f"{name}.html").exists()
    first = first_of(page)
    assert first.index("school_census.html") < first.index("eyfsp.html")
    assert "stopped. Missing column" in first
    assert "60 of about 8,985 children" in first
