"""What a report says about an extract, and what it may never say."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from assets.intake.deliveries import ExtractQuality, StoppedExtract
from assets.intake.quality_report.report import (
    build_council_report,
    build_extract_report,
    build_stopped_report,
    render,
    render_council,
)
from sources.errors import ExtractStopped
from sources.reference.code_lists import GOALS
from tests.support.daily import mark_slow_after
from tests.support.extracts import COHORT, build_row, format_rows, make_upn
from tests.support.intake.desk import EYFSP_HEADER, Desk
from tests.support.intake.files import build_children, build_xlsx
from tests.support.intake.spreadsheets import build_ods, build_xls, build_xlsb

Deliver = Callable[..., ExtractQuality]
Text = Callable[..., str]
Change = dict[str, str]
Report = Callable[..., dict[str, Any]]
GOOD: list[Change] = [{}] * 60
OWN = [{"upn": make_upn(383_200_024_000 + number)} for number in range(60)]
SECRET = "Qwyjibo"
STOPPED = StoppedExtract("leeds", "eyfsp", COHORT, "202425.csv", "", "2025-11-20T09:30", "too odd", "too odd")


@pytest.fixture
def report(deliver: Deliver, profiles: Text) -> Report:
    """The report of a Profile extract with one row for each mapping of changes, without an earlier delivery."""

    def built(*changes: Change, council: str = "leeds") -> dict[str, Any]:
        return build_extract_report(deliver(profiles(*changes), council=council), None)

    return built


def expected_in(goals: int) -> Change:
    """A child at the expected level in the first so many goals."""
    return {goal: "2" if place < goals else "1" for place, goal in enumerate(GOALS)}


def test_findings_by_importance_with_their_rows(report: Report) -> None:
    found = report(*GOOD, *[{"upn": ""}] * 5, {"com_e01": "3"}, {"com_e01": "4"}, {}, {"com_e01": "5"}, {"exp_e17": ""})
    assert [finding["rule"] for finding in found["findings"]] == ["com_e01-invalid", "exp_e17-blank", "upn-blank"]
    goal, blank, number = found["findings"]
    assert (goal["severity"], goal["rows"], goal["row_numbers"], goal["share"]) == ("reject", 3, "66-67, 69", 3 / 70)
    assert goal["columns"] == [{"column": "com_e01", "heading": "com_e01"}]
    assert (number["severity"], number["row_numbers"], number["more_rows"]) == ("warn", "61-65", 0)
    assert found["outcome"] == "taken with rows set aside"
    assert [found[f"rows_{what}"] for what in ("read", "kept", "rejected", "warned")] == [70, 66, 4, 5]
    by_column = {entry["column"]: entry for entry in found["identifiers"]}
    assert (by_column["upn"]["blank_rows"], by_column["upn"]["invalid_rows"]) == (5, 0)
    shown = {entry["column"] for key in ("completeness", "values") for entry in found[key]}
    assert not shown & {"upn", "nhs_number", "surname", "forename", "date_of_birth", "postcode"}
    page = render(found)
    for words in ("Rows 66-67, 69", blank["sentence"], "com_e01-invalid", "Leeds", "20 November 2025, 09:30"):
        assert words in page


@pytest.mark.parametrize("suffix", mark_slow_after(2, [".xlsx", ".ods", ".xls", ".xlsb"]))
def test_rows_of_a_sheet_are_numbered_as_in_the_sheet(desk: Desk, suffix: str) -> None:
    titled = [["Leeds"], ["By the school"], *build_children({}, {"com_e01": "3"}, {})]
    if suffix == ".xlsx":
        content = build_xlsx(titled, lambda book: setattr(book.active, "title", SECRET))
    else:
        content = {".xls": build_xls, ".xlsb": build_xlsb, ".ods": build_ods}[suffix](
            {SECRET: titled, "Notes": [["a"]]}
        )
    desk.land(b"", suffix=suffix).write_bytes(content)
    taken = desk.take()
    report = build_extract_report(taken, None)
    assert [rule.first_rows for rule in taken.rules if rule.rule == "com_e01-invalid"] == [(2,)]
    assert [f["row_numbers"] for f in report["findings"] if f["rule"] == "com_e01-invalid"] == ["5"]
    checked = suffix == ".xlsx"
    left = 0 if checked else 1
    assert report["sheet"] == {"number": 1, "header_row": 3, "left_aside": left, "formulas_checked": checked}
    assert ("no cell can be checked for a formula or an error" in render(report)) is not checked
    assert "Row numbers are those of the sheet" in render(report)
    assert SECRET not in json.dumps(report) + render(report)


def test_against_the_last_delivery(deliver: Deliver, profiles: Text) -> None:
    last = deliver(profiles(*[{"sex": "F"}, {"sex": "M"}] * 300), at="2025-10-01T16:05")
    now = deliver(profiles(*[{"sex": "F"}] * 400, *[{"sex": "M"}] * 50, *[{"sex": ""}] * 50))
    report = build_extract_report(now, last)
    sentences = " ".join(report["worth_a_look"])
    for words in ("500 rows. The last delivery had 600", "8,985", "filled in 90.0% of rows", "(F) is 88.9%"):
        assert words in sentences
    (sex,) = [entry for entry in report["completeness"] if entry["column"] == "sex"]
    assert (sex["share"], sex["last_share"], report["last"]["rows_read"]) == (0.9, 1.0, 600)
    assert "1 October 2025, 16:05" in render(report)


def test_against_published_figures(report: Report) -> None:
    """England's figures are shown for a council without its own, and not held against it."""
    own = report(*[expected_in(17)] * 400, *[expected_in(12)] * 100, *[expected_in(2)] * 500)
    level = next(figure for figure in own["figures"] if figure["label"] == "Good level of development")
    assert (level["rows"], level["of"], level["published_share"]) == (500, 1000, 0.639)
    assert (level["published_area"], level["published_cohort"], level["departs"]) == ("Leeds", "2024/25", True)
    assert any("63.9%. Yours is 13.9 points lower." in sentence for sentence in own["worth_a_look"])
    numbers = {"rows": 1000, "published": 8985, "area": "Leeds", "cohort": "2024/25", "share": 1000 / 8985}
    assert own["number_of_children"] == numbers | {"worth_a_look": True}
    other = report(*[expected_in(2) | {"la_code": "380"}] * 500, council="bradford")
    level = next(figure for figure in other["figures"] if figure["label"] == "Good level of development")
    assert (level["share"], level["published_area"], level["departs"]) == (0, "England", False)
    assert other["number_of_children"] is None


@pytest.mark.parametrize("place_of_secret", ["identifiers", "codes", "headings"])
def test_no_value_of_the_file_is_in_a_report(deliver: Deliver, profiles: Text, place_of_secret: str) -> None:
    columns = {
        "identifiers": ("surname", "forename", "postcode", "upn"),
        "codes": ("estab", "urn", "com_e01", "sex", "la_code", "academic_year"),
        "headings": (),
    }[place_of_secret]
    born = {"date_of_birth": "2019-03-07"} if place_of_secret == "identifiers" else {}
    text = profiles(*GOOD, dict.fromkeys(columns, SECRET) | born)
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
    groups = [(group["label"], group["rows"]) for group in language["groups"]]
    assert groups == [("English (ENG)", 20), ("Other than English (OTH)", 20)]
    assert SECRET not in json.dumps(report) + render(report)


def test_the_report_of_a_stopped_extract_gives_the_reason_and_what_stays(
    deliver: Deliver, desk: Desk, profiles: Text
) -> None:
    last = deliver(profiles(*GOOD), at="2025-10-01T16:05")
    desk.land(",".join(EYFSP_HEADER).replace("com_e01", "com_g01") + "\n")
    with pytest.raises(ExtractStopped) as stopped:
        desk.take()
    report = build_stopped_report(replace(STOPPED, for_sender=str(stopped.value)), last)
    assert report["outcome"] == "stopped"
    assert "pre-2021 early learning goals" in render(report)
    assert "202425.csv, taken on 1 October 2025, 16:05, with 60 rows." in render(report)
    assert "There is no earlier extract" in render(build_stopped_report(STOPPED, None))


def test_a_council_sees_all_its_extracts(report: Report) -> None:
    stopped = build_stopped_report(replace(STOPPED, source="hv_reviews", for_sender="No date column."), None)
    found = build_council_report([stopped, report(*GOOD, {"com_e01": "3"}, {"upn": ""})])
    assert [line["source"] for line in found["extracts"]] == ["eyfsp", "hv_reviews"]
    assert len(found["not_received"]) == 3
    rules = [(finding["source"], finding["rule"]) for finding in found["findings"]]
    assert rules == [("eyfsp", "com_e01-invalid"), ("eyfsp", "upn-blank")]
    for words in ("1 of 5 extracts is taken.", "No date column.", "School census"):
        assert words in render_council(found)
    assert json.loads(json.dumps(found)) == found


# --- What a report leads with: that the file, not its rows, is the wrong one


def first_of(page: str) -> str:
    """The text of the box that a page leads with."""
    return page.split('<div class="outcome', 1)[1].split("</div>", 1)[0]


def read_report(desk: Desk, name: str = "eyfsp") -> tuple[dict[str, Any], str]:
    folder = desk.home.get_cohort(COHORT).get_reports_folder("leeds")
    return json.loads((folder / f"{name}.json").read_text("utf-8")), (folder / f"{name}.html").read_text("utf-8")


def stopped_page(desk: Desk, name: str = "eyfsp") -> str:
    with pytest.raises(ExtractStopped):
        desk.take(name)
    return read_report(desk, name)[1]


def test_rows_of_another_year_are_reported_once(report: Report) -> None:
    found = report(*OWN, *[{"date_of_birth": "2019-03-07"}] * 12)
    (sentence,) = (each for each in found["whole_file"] if "2023/24" in each)
    assert sentence.startswith("Part of this looks like 2023/24: 12 of 72 dates of birth")
    assert sentence in first_of(render(found))
    assert "outside the cohort" not in render(found).split('id="fix"', 1)[1].split("</section>")[0]


def test_a_file_with_every_row_twice(deliver: Deliver, profiles: Text) -> None:
    once = profiles(*OWN)
    report = build_extract_report(deliver(once + once.split("\n", 1)[1]), None)
    assert "60 of 120 rows repeat an earlier row: was the file put together twice?" in report["whole_file"]
    assert "repeats an earlier one" not in render(report).split('id="fix"', 1)[1].split("</section>")[0]


@pytest.mark.slow
def test_the_same_file_again(desk: Desk, profiles: Text) -> None:
    path = desk.land(profiles(*OWN))
    desk.take()
    quality = desk.home.get_extract("eyfsp", COHORT, "leeds").quality
    os.utime(quality, (1, 1))  # it was looked at long before the file came
    assert desk.take().unchanged
    report, page = read_report(desk)
    assert report["sent_again"]
    assert "You sent the same file again" in first_of(page)
    path.write_text(path.read_text("utf-8").replace("\n", "\r\n"), "utf-8")
    desk.take()
    assert "Every count in it is as in your last delivery: is it the newer file?" in read_report(desk)[0]["whole_file"]


def shift(values: Sequence[str]) -> list[str]:
    return ["", *values[:-1]]


def test_a_line_shifted_by_a_cell_is_reported_once(deliver: Deliver, profiles: Text) -> None:
    lines = [line.split(",") for line in profiles(*OWN).splitlines()]
    lines[8:11] = map(shift, lines[8:11])
    lines.append(["Total", *[""] * (len(EYFSP_HEADER) - 2), "60"])
    text = "\n".join(map(",".join, lines)) + "\n"
    text += profiles({"sex": "X", "com_e01": "9"}, {"sex": "X", "upn": "A1"}).split("\n", 1)[1]
    rules = {f["rule"]: f["row_numbers"] for f in build_extract_report(deliver(text), None)["findings"]}
    assert rules.pop("garbled-row") == "8-10, 61"
    assert rules == {"sex-invalid": "62-63", "com_e01-invalid": "62", "upn-invalid": "63"}


def test_a_file_with_every_row_shifted_is_not_reported_row_by_row(desk: Desk, profiles: Text) -> None:
    header, *lines = profiles(*OWN).splitlines()
    desk.land("\n".join([header, *(",".join(shift(line.split(","))) for line in lines)]) + "\n")
    assert "garbled" not in stopped_page(desk)


def test_files_in_each_others_folder(desk: Desk, profiles: Text) -> None:
    desk.land(format_rows([build_row("school_census")] * 3))
    desk.land(profiles(*OWN), "school_census")
    boxes = {name: first_of(stopped_page(desk, name)) for name in ("eyfsp", "school_census")}
    assert "This looks like your school census: it has all columns of that" in boxes["eyfsp"]
    assert "This looks like your EYFS Profile" in boxes["school_census"]
    assert "issing column" not in str(boxes)


def test_headings_that_are_missing_beside_those_that_are_not_used(desk: Desk, profiles: Text) -> None:
    changed = {"date_of_birth": "DoB2", "sex": "Sex of child", "postcode": "Where from"}
    header, body = profiles(*OWN).split("\n", 1)
    desk.land(",".join(changed.get(name, name) for name in header.split(",")) + "\n" + body)
    page = stopped_page(desk)
    missing = [["'Gender' (sex)", "Sex of child"], ["'DOB' (date_of_birth)", "DoB2"], ["'Post Code' (postcode)", ""]]
    assert read_report(desk)[0]["headings"] == {"missing": missing, "unused": ["Where from"]}
    for words in ("<td>DoB2</td>", "Headings in your file that we do not use: Where from."):
        assert words in page
