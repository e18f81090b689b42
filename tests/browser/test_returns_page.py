"""The page of an opened return in a real browser: on a desk, on a telephone, on paper, whatever the extract says."""

import csv
from pathlib import Path

import openpyxl
import pytest
from playwright.sync_api import Browser

from tests.browser.test_site import DESK, NARROWEST, PHONE, axe_faults, opened
from tests.support.browser import IN_A_BROWSER
from tests.support.daily import mark_slow_after
from tests.support.independent import write_extracts
from tests.support.returns.agreements import write
from tests.support.returns.pipeline import COHORT, Pipeline, make_pipeline

pytestmark = [pytest.mark.slow, IN_A_BROWSER]
HOSTILE = (
    "<script>document.title='run'</script>",
    "<img src=x onerror=document.title='run'>",
    "=cmd|' /C calc'!A0",
    "+1+cmd()",
    "@SUM(1+1)",
    "-2+3",
    "&lt;b&gt;</td></table><h1>gone",
    "\u202egnp.exe",
    "Wolfeschlegelsteinhausenbergerdorffwelchevoralternwarengewissenhaft",
)
"""What a system, or somebody at its keyboard, can write for a surname."""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Two councils; the first children of Leeds have hostile names in the extract of their school."""
    made = make_pipeline(tmp_path_factory.mktemp("page"))
    write_extracts(made.landing, children=240, councils=("leeds", "wirral"))
    for source in ("eyfsp", "hv_reviews"):
        rows = made.read_rows("leeds", source)
        for row, surname in zip(rows, HOSTILE, strict=False):
            row["surname"] = surname
        made.put("leeds", source, rows)
    made.ingest(("leeds", "wirral"))
    made.link(("leeds", "wirral"))
    write(made.agreements, "leeds", made.recipients)
    made.make()
    for source in ("eyfsp", "hv_reviews"):
        done = made.open("leeds", source)
        assert done.exit_code == 0, done.output
    return made


def page_of(source: str) -> str:
    return f"leeds-{source}-{COHORT}"


@pytest.mark.parametrize("source", ["eyfsp", "hv_reviews"])
@pytest.mark.parametrize("width", mark_slow_after(1, [NARROWEST, PHONE, DESK]))
def test_everything_is_for_everyone_and_readable_without_scrolling_sideways(
    browser: Browser, pipeline: Pipeline, source: str, width: int
) -> None:
    with opened(browser, pipeline.root / "opened", page_of(source), width=width) as page:
        assert page.locator(".people").count() >= 2
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        wide = "[...document.querySelectorAll('.frame')].filter(each => each.scrollWidth > each.clientWidth).length"
        assert page.evaluate(wide) == 0
        narrowest = page.evaluate(
            "Math.min(...[...document.querySelectorAll('.people td:nth-child(3)')].map(each => each.clientWidth))"
        )
        assert narrowest >= 200
        assert axe_faults(page, least=10) == []


def test_hostile_names_are_text_and_no_formulas(browser: Browser, pipeline: Pipeline) -> None:
    with opened(browser, pipeline.root / "opened", page_of("eyfsp"), width=DESK) as page:
        assert page.title().startswith("Joined-up return: Children to contact first")
        assert page.locator("script, img, iframe, link, object").count() == 0
        assert page.locator("h1").count() == 1
        shown = page.inner_text("main")
    listed = [name for name in HOSTILE if name in shown]
    assert len(listed) >= 2, listed
    html, rows, workbook = (pipeline.root / "opened" / f"{page_of('eyfsp')}.{kind}" for kind in ("html", "csv", "xlsx"))
    assert "\u202e" not in html.read_text()
    with rows.open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    assert f"'{HOSTILE[2]}" in cells
    sheet = openpyxl.load_workbook(workbook).active
    found = {cell.value: cell.data_type for row in sheet.iter_rows() for cell in row if cell.value is not None}
    assert set(found.values()) <= {"s", "n"}
    assert set(HOSTILE) <= set(found)


def test_on_paper_each_page_has_the_headings_and_no_child_is_cut_in_two(
    browser: Browser, pipeline: Pipeline, tmp_path: Path
) -> None:
    with opened(browser, pipeline.root / "opened", page_of("eyfsp"), width=DESK) as page:
        page.emulate_media(media="print")
        styles = page.evaluate(
            """() => { const of = (what, name) => getComputedStyle(document.querySelector(what))[name]; return [
              of('.people thead', 'display'), of('.people tbody tr', 'breakInside'), of('nav', 'display'),
              of('.people td:nth-child(4)', 'display'), of('body', 'page')]; }"""
        )
        page.pdf(path=tmp_path / "printed.pdf", format="A4")
    assert styles == ["table-header-group", "avoid", "none", "table-cell", "people"]
    assert (tmp_path / "printed.pdf").read_bytes().count(b"/Type /Page\n") >= 3
