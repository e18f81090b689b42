"""What a report leads with: that the file, not its rows, is the wrong one; and one bad line is told once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from assets.intake.deliveries import ExtractQuality
from assets.intake.quality_report.facts import extract_report
from assets.intake.quality_report.publish import render
from sources.errors import ExtractStopped
from tests.support.extracts import COHORT, row, text, upn
from tests.support.intake.desk import EYFSP_HEADER, Desk

Deliver = Callable[..., ExtractQuality]
Text = Callable[..., str]
POSTCODE = "'Post Code' (postcode)"
OWN = [{"upn": upn(383_200_024_000 + number)} for number in range(60)]


def first_of(page: str) -> str:
    """The text of the box that a page leads with."""
    return page.split('<div class="outcome', 1)[1].split("</div>", 1)[0]


def told(desk: Desk, name: str = "eyfsp") -> tuple[dict[str, Any], str]:
    """The report of an extract of Leeds, and its page."""
    folder = desk.home.reports(COHORT, "leeds")
    return json.loads((folder / f"{name}.json").read_text("utf-8")), (folder / f"{name}.html").read_text("utf-8")


def stopped_page(desk: Desk, name: str = "eyfsp") -> str:
    with pytest.raises(ExtractStopped):
        desk.take(name)
    return told(desk, name)[1]


def test_a_part_of_another_year_is_told_once(deliver: Deliver, profiles: Text) -> None:
    report = extract_report(deliver(profiles(*OWN, *[{"date_of_birth": "2019-03-07"}] * 12)), None)
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
    report = extract_report(deliver(profiles(*theirs)), None)
    assert report["whole_file"] == [
        "This looks like Wirral’s: 60 of 60 pupil numbers (UPN) were given out there, 0 of Leeds’s own."
    ]
    assert not extract_report(deliver(profiles(*OWN)), None)["whole_file"]


def test_rows_that_stand_twice(deliver: Deliver, profiles: Text) -> None:
    once = profiles(*OWN)
    report = extract_report(deliver(once + once.split("\n", 1)[1]), None)
    assert "60 of 120 rows repeat an earlier row: was the file put together twice?" in report["whole_file"]
    assert "repeats an earlier one" not in render(report).split('id="fix"', 1)[1].split("</section>")[0]


def test_dates_of_two_forms(deliver: Deliver, profiles: Text) -> None:
    exchanged = [each | {"date_of_birth": "2020-25-02"} for each in OWN[:25]]
    report = extract_report(deliver(profiles(*OWN[25:], *exchanged)), None)
    (sentence,) = report["whole_file"]
    assert sentence.startswith("25 of 60 rows: date_of_birth must be a date written YYYY-MM-DD")
    assert sentence.endswith("others may be read as the wrong day.")


@pytest.mark.slow
def test_the_same_file_again(desk: Desk, profiles: Text) -> None:
    path = desk.land(profiles(*OWN))
    desk.take()
    quality = desk.home.quality("eyfsp", COHORT, "leeds")
    os.utime(quality, (1, 1))  # it was looked at long before the file came
    assert desk.take().unchanged
    report, page = told(desk)
    assert report["sent_again"]
    assert "You sent the same file again" in first_of(page)
    path.write_text(path.read_text("utf-8").replace("\n", "\r\n"), "utf-8")
    desk.take()
    assert "Every count in it is as in your last delivery: is it the newer file?" in told(desk)[0]["whole_file"]


def shifted(values: Sequence[str]) -> list[str]:
    return ["", *values[:-1]]


def test_a_line_that_is_shifted_by_a_cell_is_told_once(deliver: Deliver, profiles: Text) -> None:
    lines = [line.split(",") for line in profiles(*OWN).splitlines()]
    lines[8:11] = map(shifted, lines[8:11])
    lines.append(["Total", *[""] * (len(EYFSP_HEADER) - 2), "60"])
    text = "\n".join(map(",".join, lines)) + "\n"
    text += profiles({"sex": "X", "com_e01": "9"}, {"sex": "X", "upn": "A1"}).split("\n", 1)[1]
    report = extract_report(deliver(text), None)
    rules = {rule["rule"]: rule["row_numbers"] for rule in report["findings"]}
    assert rules.pop("garbled-row") == "8-10, 61"
    assert rules == {"sex-invalid": "62-63", "com_e01-invalid": "62", "upn-invalid": "63"}, (
        "a rule or two are told apart"
    )


def test_a_file_whose_every_row_is_shifted_is_not_told_by_the_row(desk: Desk, profiles: Text) -> None:
    header, *lines = profiles(*OWN).splitlines()
    desk.land("\n".join([header, *(",".join(shifted(line.split(","))) for line in lines)]) + "\n")
    assert "garbled" not in stopped_page(desk)


def test_files_that_stand_in_each_others_folder(desk: Desk, profiles: Text) -> None:
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
    report, _ = told(desk)
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
    folder = desk.home.reports(COHORT, "leeds")
    page = (folder / "council.html").read_text("utf-8")
    for name in ("eyfsp", "school_census"):
        assert f'<a href="{name}.html">' in page
        assert (folder / f"{name}.html").exists()
    first = first_of(page)
    assert first.index("school_census.html") < first.index("eyfsp.html")
    assert "stopped. Missing column" in first
    assert "60 of about 8,985 children" in first
