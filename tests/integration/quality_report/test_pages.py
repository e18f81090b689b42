"""The pages: well-formed, self-contained, escaped, and made for everyone to read."""

from __future__ import annotations

import html
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from assets.intake.deliveries import ExtractQuality, StoppedExtract
from assets.intake.quality_report.facts import extract_report, stopped_report
from assets.intake.quality_report.publish import council_report, render, render_council
from assets.pseudonymise.findings import RuleCount
from ndl_export.pages import kit
from sources.contracts import CONTRACTS
from tests.support.browser import CHROMIUM, IN_A_BROWSER
from tests.support.waiting import PATIENCE

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


@pytest.fixture(params=["extract", "reviews", "stopped", "council"])
def page(request: pytest.FixtureRequest, deliver: Deliver, profiles: Text) -> str:
    taken = deliver(profiles(*[{}] * 30, {"com_e01": "3"}, {"sex": ""}))
    stopped = StoppedExtract("leeds", "hv_reviews", "202425", "202425.csv", "", "2025-11-20T09:30", HOSTILE, HOSTILE)
    match request.param:
        case "extract":
            return render(extract_report(taken, taken))
        case "reviews":
            return render(extract_report(deliver(REVIEWS, "hv_reviews"), None))
        case "stopped":
            return render(stopped_report(stopped, None))
        case _:
            return render_council(council_report([extract_report(taken, None), stopped_report(stopped, None)]))


def parsed(page: str) -> ElementTree.Element:
    """The page read by a strict parser of XML."""
    assert page.startswith("<!DOCTYPE html>\n")
    return ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))


def test_is_well_formed_and_names_each_part_once(page: str) -> None:
    root = parsed(page)
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert root.get("lang") == "en-GB"


def test_asks_nothing_of_the_network(page: str) -> None:
    root = parsed(page)
    tags = {element.tag for element in root.iter()}
    assert not tags & {"script", "img", "link", "iframe", "object", "embed", "image", "use", "form", "base"}
    ids = {element.get("id") for element in root.iter()}
    for element in root.iter():
        assert "src" not in element.attrib
        assert not [name for name in element.attrib if name.startswith("on")]
        if "href" in element.attrib:
            beside = re.fullmatch(r"(\w+)\.html", element.attrib["href"])
            assert beside[1] in CONTRACTS if beside else element.attrib["href"].removeprefix("#") in ids
    assert not re.search(r"url\(|@import|https?:", page)


def test_headings_come_in_order(page: str) -> None:
    levels = [int(element.tag[1]) for element in parsed(page).iter() if re.fullmatch("h[1-6]", element.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_tables_and_drawings_have_words(page: str) -> None:
    root = parsed(page)
    for table in root.iter("table"):
        assert (table.findtext("caption") or "").strip()
        assert all(cell.get("scope") in ("col", "row") for cell in table.iter("th"))
        widths = {len(row) for row in table.iter("tr")}
        assert len(widths) == 1
    for drawing in root.iter("svg"):
        named = drawing.get("role") == "img" and drawing.get("aria-label") and drawing.findtext("desc")
        assert named or drawing.get("aria-hidden") == "true"


def test_every_column_chart_has_its_table(deliver: Deliver) -> None:
    root = parsed(render(extract_report(deliver(REVIEWS, "hv_reviews"), None)))
    charts = [box for box in root.iter("div") if box.find("svg[@class='columns']") is not None]
    assert len(charts) == 3
    assert all(box.find("details//table") is not None for box in charts)
    assert "May 2022" in (charts[0].findtext("svg/desc") or "")


def test_a_hostile_heading_stays_text(deliver: Deliver, profiles: Text) -> None:
    taken = deliver(profiles(*[{}] * 30, {"sex": ""}))
    rules = tuple(RuleCount(r.rule, r.severity, HOSTILE, r.columns, r.rows, r.first_rows) for r in taken.rules)
    headings = {column.name: HOSTILE for column in CONTRACTS["eyfsp"].columns}
    hostile = replace(taken, rules=rules, file=HOSTILE, headings=headings)
    report = extract_report(hostile, hostile)
    for page in (render(report), render_council(council_report([report]))):
        root = parsed(page)
        assert "script" not in {element.tag for element in root.iter()}
        assert "<script>alert(1)</script>" in "".join(root.itertext())
        assert "\u202e" not in page


def test_colours_of_text_are_easy_to_read() -> None:
    """WCAG 2 AA: a contrast of 4.5 to 1 on white and on the pale ground."""
    style = (Path(kit.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", style))
    for name in ("ink", "soft", "now", "care", "bad"):
        for ground in ("#ffffff", colours["pale"]):
            assert contrast(colours[name], ground) >= 4.5, name
    for name in ("now", "last", "published", "good"):
        assert contrast(colours[name], "#ffffff") >= 3, name


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@IN_A_BROWSER
def test_fits_a_telephone_and_a_desk(page: str, tmp_path: Path) -> None:
    """Laid out by a browser, no page is wider than its window, and every heading is there."""
    frames = "".join(
        f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{html.escape(page)}"></iframe>'
        for width in (390, 1200)
    )
    measure = (
        "addEventListener('load', () => { const out = document.createElement('p'); out.id = 'measured';"
        " out.textContent = [...document.querySelectorAll('iframe')].map(f => { const d = f.contentDocument;"
        " return d.documentElement.scrollWidth + ' ' + d.querySelectorAll('h1, h2, h3').length; }).join(';');"
        " document.body.append(out); })"
    )
    (tmp_path / "frames.html").write_text(f"<!DOCTYPE html><body>{frames}<script>{measure}</script></body>", "utf-8")
    found = subprocess.run(
        [
            str(CHROMIUM),
            *("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1300,1000"),
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            (tmp_path / "frames.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    measured = re.search(r'<p id="measured">([^<]*)</p>', found.stdout)
    assert measured
    (phone, on_phone), (desk, on_desk) = (part.split(" ") for part in measured[1].split(";"))
    headings = len([element for element in parsed(page).iter() if element.tag in ("h1", "h2", "h3")])
    assert int(phone) <= 390
    assert int(desk) <= 1200
    assert int(on_phone) == int(on_desk) == headings
