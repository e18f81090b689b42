"""The pages: well-formed, self-contained, escaped, and made for everyone to read."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from assets.intake.deliveries import ExtractQuality, StoppedExtract
from assets.intake.quality_report import report
from sources.contracts import CONTRACTS
from tests.support import report_pages
from tests.support.browser import IN_A_BROWSER

pytestmark = pytest.mark.slow

Deliver = Callable[..., ExtractQuality]
Text = Callable[..., str]
HOSTILE = "<script>alert(1)</script>\" onload='x' &amp; \x00\u202e"
REVIEWS = (
    "Patient ID,NHS Number,NHS Number Status,Surname,First Name,Sex,Date of Birth,Patient Postcode,Contact Type,"
    "Event Date,ASQ-3 Questionnaire,ASQ-3 Communication Score,ASQ:SE-2 Total,Concern Identified,Onward Referral\n"
    + "1,,,Thornton,Amelia,Female,29-Feb-2020,LS1 4AP,2-2.5 year review,03-May-2022,27 month,24.5,30,No,No\n" * 20
    + "2,,,Thornton,Amelia,Female,29-Feb-2020,LS1 4AP,12 month,03-Mar-2021,,,,Yes,\n"
)


@pytest.fixture
def pages(deliver: Deliver, profiles: Text) -> dict[str, str]:
    """Return pages of an extract, with hostile texts too, of reviews, of a stopped extract and of a council."""
    taken = deliver(profiles(*[{}] * 30, {"com_e01": "3"}, {"sex": ""}))
    headings = {column.name: HOSTILE for column in CONTRACTS["eyfsp"].columns}
    rules = tuple(replace(rule, sentence=HOSTILE) for rule in taken.rules)
    hostile = report.build_extract_report(replace(taken, rules=rules, file=HOSTILE, headings=headings), taken)
    stopped = StoppedExtract("leeds", "hv_reviews", "202425", "202425.csv", "", "2025-11-20T09:30", HOSTILE, HOSTILE)
    return {
        "extract": report.render(report.build_extract_report(taken, taken)),
        "hostile": report.render(hostile),
        "reviews": report.render(report.build_extract_report(deliver(REVIEWS, "hv_reviews"), None)),
        "stopped": report.render(report.build_stopped_report(stopped, None)),
        "council": report.render_council(
            report.build_council_report([hostile, report.build_stopped_report(stopped, None)])
        ),
    }


def test_pages_are_self_contained_escape_every_text_and_can_be_read_by_everyone(pages: dict[str, str]) -> None:
    for name, page in pages.items():
        report_pages.check_asks_nothing_of_the_network(page)
        report_pages.check_can_be_read_by_everyone(page)
        text = "".join(report_pages.parse_page(page).itertext())
        assert ("<script>alert(1)</script>" in text) == (name not in ("extract", "reviews"))
        assert "\u202e" not in page
    charts = [
        box
        for box in report_pages.parse_page(pages["reviews"]).iter("div")
        if box.find("svg[@class='columns']") is not None
    ]
    assert len(charts) == 2
    assert all(box.find("details//table") is not None for box in charts)
    assert "May 2022" in (charts[0].findtext("svg/desc") or "")


@IN_A_BROWSER
def test_pages_fit_a_telephone_and_a_desk(pages: dict[str, str]) -> None:
    report_pages.check_fits_a_telephone_and_a_desk(*(pages[name] for name in ("extract", "reviews", "stopped")))
