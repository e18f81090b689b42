"""The pages in a real browser, opened from their folder: for everyone, at every width, by keyboard, without script."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import IN_A_BROWSER, follow
from tests.support.daily import mark_slow_after
from tests.support.site.pages import CHART_PAGES, DOCUMENT_PAGES, LATER, Made

pytestmark = IN_A_BROWSER
DOCUMENT = "five-safes"
"""One of the documents, with tables and lists: all are made alike."""
PAGES = (*CHART_PAGES, "my-child", "council-leeds", "downloads", "about", DOCUMENT)
OTHER_DOCUMENTS = tuple(name for name in DOCUMENT_PAGES if name != DOCUMENT)
OF_SEN, OF_REVIEWS, REGISTER = "request-sen-by-meals", "request-reviewed-by-sex", "requests"
ON_REQUEST = [("on_request", name) for name in (OF_SEN, REGISTER, OF_REVIEWS, "index")]
"""Pages of a release with tables on request, as the fixture that makes it and the page's name."""
LEEDS, HALTON = "E08000035", "E06000006"
DESK, LARGE_PHONE, PHONE, NARROWEST = 1280, 390, 375, 320
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
"""What axe looks at, and what it tells in full: of what it passes, one place for each rule."""


def pages_of(made: str, most: int, *more: str) -> list[Any]:
    """The pages of a release and of the one with tables on request; the first `most` and two of these daily."""
    return [*mark_slow_after(most, [(made, name) for name in (*PAGES, *more)]), *mark_slow_after(2, ON_REQUEST)]


def folder_of(made: str, name: str, request: pytest.FixtureRequest) -> Path:
    """The folder of a page: the register is in that of the release directory alone."""
    site: Path = request.getfixturevalue(made).site
    return site.parent.parent / "site" if name == REGISTER else site


@contextmanager
def opened(
    browser: Browser, site: Path, name: str, query: str = "", width: int = DESK, **options: Any
) -> Iterator[Page]:
    """A page in a window of that width; it must ask for its own files alone and have nothing to complain of."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    page, complaints, requested = context.new_page(), [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    context.on("request", lambda request: requested.append(request.url))
    page.goto((site / f"{name}.html").as_uri() + query)
    yield page
    context.close()
    assert complaints == []
    assert requested
    assert all(url.startswith((site.as_uri(), "data:,")) for url in requested), requested


def open_tables(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")


def list_headed(within: Page | Locator) -> list[str]:
    """Return the area, and cohort if there are several, in the heading of each panel that is shown."""
    return [each.partition(": ")[0] for each in within.locator(".panel:visible h3").all_inner_texts()]


def axe_faults(page: Page, *within: str, least: int = 20) -> list[tuple[str, str]]:
    """Return what axe finds in a page, or in these parts of it: the rule, and the first place that breaks it.

    At least so many rules must have been checked in a whole page.
    """
    context = {"include": [[part] for part in within]} if within else None
    found = Axe().run(page, context=context, options=RULES).response
    assert len(found["passes"]) > (0 if within else least)
    return [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]]


@pytest.mark.parametrize(
    ("scheme", "width", "query"), mark_slow_after(1, [("light", DESK, ""), ("dark", PHONE, f"?area={HALTON}")])
)
@pytest.mark.parametrize(("made", "name"), pages_of("without", 2, *OTHER_DOCUMENTS))
def test_axe_finds_nothing(
    browser: Browser,
    request: pytest.FixtureRequest,
    made: str,
    name: str,
    scheme: Literal["light", "dark"],
    width: int,
    query: str,
) -> None:
    """No colour depends on the width of the window."""
    with opened(browser, folder_of(made, name, request), name, query, width, color_scheme=scheme) as page:
        open_tables(page)
        assert axe_faults(page) == []


@pytest.mark.parametrize("scheme", mark_slow_after(1, ["light", "dark"]))
def test_the_map_is_made_for_everyone(browser: Browser, many: Made, scheme: Literal["light", "dark"]) -> None:
    for width in (DESK, NARROWEST):
        with opened(browser, many.site, "index", "?area=E09000002", width, color_scheme=scheme) as page:
            figure = page.locator("figure.map")
            for part in (figure.locator("> svg"), page.get_by_label("Show", exact=True)):
                box = part.bounding_box() or {}
                assert box["x"] + box["width"] <= width
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert figure.locator("g.ringed").get_attribute("data-row") == "E09000002"
            assert (figure.locator("g.tile text:visible").count() > 0) == (width == DESK)
            assert axe_faults(page, "figure.map") == []
            contrasts = page.evaluate(TILES)
            assert len({fill for fill, _, _ in contrasts}) > 3
            assert all(contrast(words, fill) >= 4.5 for fill, words, _ in contrasts)
            assert all(contrast(edge, page.evaluate(PAPER)) >= 3 for _, _, edge in contrasts)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_and_bars_stand_out_from_the_paper(
    browser: Browser, whole: Made, scheme: Literal["light", "dark"]
) -> None:
    """Axe looks at words alone; graphics need a contrast of 3 (WCAG 1.4.11)."""
    with opened(browser, whole.site, "index", color_scheme=scheme) as page:
        paper = page.evaluate(PAPER)
        for name in ("m.s0", "m.s1", "i0", "i1", "beside"):
            colour = "fill" if name.startswith("m.") else "stroke"
            found = page.evaluate(f"getComputedStyle(document.querySelector('.{name}')).{colour}")
            assert contrast(found, paper) >= 3, (name, found)
        assert (contrast(paper, "rgb(255, 255, 255)") < 1.1) == (scheme == "light")


PAPER = "getComputedStyle(document.body).backgroundColor"
TILES = """
[...document.querySelectorAll('g.tile:not(.empty)')].map(tile => [getComputedStyle(tile).fill,
  getComputedStyle(tile.querySelector('text')).fill, getComputedStyle(tile).stroke])
"""


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as a browser writes them, by WCAG 2.2."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("script", mark_slow_after(1, [True, False]))
@pytest.mark.parametrize(("made", "name"), pages_of("whole", 3, *OTHER_DOCUMENTS))
def test_nothing_is_wider_than_the_narrowest_window(
    browser: Browser, request: pytest.FixtureRequest, made: str, name: str, script: bool
) -> None:
    """A wide table on request scrolls in a frame that a keyboard reaches."""
    with opened(browser, folder_of(made, name, request), name, width=NARROWEST, java_script_enabled=script) as page:
        if script:
            open_tables(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROWEST
        frames = page.locator("div.frame:visible" if made == "whole" else ".frame:visible").all()
        wide = [frame for frame in frames if frame.evaluate("each => each.scrollWidth > each.clientWidth")]
        assert all(made == "on_request" and frame.get_attribute("tabindex") == "0" for frame in wide)


BOXES = """
[...document.querySelectorAll('svg.chart')].filter(each => each.checkVisibility()).map(chart =>
  [...chart.querySelectorAll('text')].filter(each => each.checkVisibility()).map(each => {
    const box = each.getBoundingClientRect();
    return [each.textContent, box.left, box.right, box.top, box.bottom];
  }))
"""


@pytest.mark.parametrize("width", mark_slow_after(1, [NARROWEST, 641, DESK]))
@pytest.mark.parametrize("name", [OF_REVIEWS, OF_SEN])
def test_a_chart_on_request_has_room_for_its_words(browser: Browser, on_request: Made, name: str, width: int) -> None:
    """Where there is none, the table is open instead."""
    with opened(browser, on_request.site, name, width=width) as page:
        charts = page.evaluate(BOXES)
        assert charts or page.locator(".panel:visible table").first.is_visible()
    assert bool(charts) == (name == OF_REVIEWS or width > NARROWEST)
    check_apart(charts, width)


def check_apart(charts: list[list[list[Any]]], width: int) -> None:
    """Words of a chart, or of a row of a table, are inside the window and not on others."""
    for chart in charts:
        assert [words for words, left, right, *_ in chart if left < 0 or right > width] == []
        for place, (text, left, right, top, bottom) in enumerate(chart):
            for other, *(start, end, above, below) in chart[:place]:
                apart = right <= start or end <= left or bottom <= above + 2 or below <= top + 2
                assert apart, (text, other)


@pytest.mark.parametrize("width", mark_slow_after(1, [NARROWEST, DESK, PHONE, LARGE_PHONE]))
def test_words_of_a_chart_are_whole_and_have_nothing_on_them(
    browser: Browser, whole: Made, without: Made, two_cohorts: Made, width: int
) -> None:
    """England's line as well as bars, marks and other words; pale lines of the scale alone run behind words."""
    places = [
        (made, name, query) for made in (whole, without) for name in CHART_PAGES for query in ("", f"?area={HALTON}")
    ]
    for made, name, query in (*places, (two_cohorts, "index", "")):
        with opened(browser, made.site, name, query, width) as page:
            charts = page.evaluate(BOXES)
            assert charts or query
            check_apart(charts, width)
            assert page.evaluate(ON_WORDS) == [], (name, query)
            labelled = [len(words) for words in page.evaluate(LABELLED)]
            assert made is without or labelled == ([1, 2] if made is whole and name == "index" else [])


ON_WORDS = """
[...document.querySelectorAll('svg.chart')].filter(each => each.checkVisibility()).flatMap(chart =>
  [...chart.querySelectorAll('text')].filter(each => each.checkVisibility()).flatMap(text => {
    const own = text.getBoundingClientRect();
    return [...chart.querySelectorAll('line:not(.grid, .track), use')].filter(each => {
      const box = each.getBoundingClientRect();
      const across = box.right > own.left && box.left < own.right;
      return each.checkVisibility() && across && box.bottom > own.top + 2 && box.top < own.bottom - 2;
    }).map(each => [text.textContent, each.getAttribute('class') || each.getAttribute('href')]); }))
"""

LABELLED = """
[...document.querySelectorAll('svg.chart:has(.row .e0)')].filter(each => each.checkVisibility()).map(chart =>
  [...chart.querySelectorAll('.reference')].map(each => each.textContent).filter(words => /^England .*%$/.test(words)))
"""
"""Words of the lines that run through all rows, by chart."""


@pytest.mark.parametrize("width", mark_slow_after(1, [NARROWEST, LARGE_PHONE, DESK]))
def test_no_symbol_of_a_figure_breaks(browser: Browser, without: Made, width: int) -> None:
    """Nor a number from its unit: `[withheld]`, `[u]`, `63.8%`."""
    for name in (*CHART_PAGES, "about"):
        with opened(browser, without.site, name, f"?area={HALTON}", width) as page:
            open_tables(page)
            assert page.evaluate(BROKEN) == [], name


BROKEN = r"""
() => { const found = [], words = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  while (words.nextNode()) { const node = words.currentNode, range = document.createRange();
    if (node.parentElement.checkVisibility())
      for (const match of node.data.matchAll(/\[[a-z]+\]|\d[\d.,]*%/g)) {
        range.setStart(node, match.index); range.setEnd(node, match.index + match[0].length);
        if (new Set([...range.getClientRects()].map(each => Math.round(each.top))).size > 1) found.push(node.data);
      } }
  return found; }
"""


@pytest.mark.parametrize("width", mark_slow_after(1, [NARROWEST, PHONE, DESK]))
@pytest.mark.parametrize("query", mark_slow_after(1, [f"?area={HALTON}", ""]))
def test_charts_over_time_are_made_for_everyone(browser: Browser, two_cohorts: Made, query: str, width: int) -> None:
    with opened(browser, two_cohorts.site, "index", query, width) as page:
        check_apart(page.evaluate(BOXES), width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for name in ("gld-over-time", "gap-over-time"):
            section = page.locator(f"section[aria-labelledby={name}]")
            assert list_headed(section) == ["Halton" if query else "All councils together"]
            drawing, caption = (
                section.locator(f"{each}:visible").first.bounding_box() or {} for each in ("svg.chart", "figcaption")
            )
            assert drawing["y"] + drawing["height"] <= caption["y"]
            page.get_by_label("Finished Reception in").select_option("202425")
            assert section.locator(".panel:visible").count() == 1
        open_tables(page)
        assert axe_faults(page, *(f"section[aria-labelledby={each}-over-time]" for each in ("gld", "gap"))) == []


def test_a_council_chosen_is_what_every_page_shows(browser: Browser, whole: Made) -> None:
    with opened(browser, whole.site, "index") as page:
        section = page.locator("section[aria-labelledby=gld-by-area]")
        rows = section.locator("tbody tr:not(.off)")
        assert (rows.count(), section.locator("g.row:not(.off)").count()) == (10, 10)
        height = page.locator("svg.chart").first.bounding_box()
        page.get_by_label("Show", exact=True).select_option(label="Leeds")
        names = rows.evaluate_all("rows => rows.map(row => row.cells[0].textContent)")
        assert names == ["All councils together", "Liverpool City Region", "Leeds"]
        assert page.locator(".findings:visible .whose").inner_text().startswith("Leeds, ")
        own, for_children_like_these = section.locator(".chosen:visible").all_inner_texts()
        assert own.startswith("Leeds: ")
        assert "all councils together" in for_children_like_these
        assert page.locator("[role=status]").inner_text() == "Showing Leeds"
        gap = page.locator("h2#gap-by-area .finding:visible")
        assert gap.count() <= 1
        assert gap.evaluate_all("found => found.map(each => each.dataset.area)") in ([], [LEEDS])
        smaller = page.locator("svg.chart").first.bounding_box()
        # seven rows with their labels beside them
        assert height and smaller and height["height"] - smaller["height"] == 7 * 28  # noqa: PT018 - both or neither
        follow(page.get_by_role("link", name="Goals"))
        assert page.url.endswith(f"goals.html?area={LEEDS}")
        assert page.get_by_label("Show", exact=True).input_value() == LEEDS
        assert list_headed(page) == ["Leeds", "All councils together"]
        page.get_by_label("Show", exact=True).select_option(label="All councils")
        assert list_headed(page) == ["All councils together"] * 2
        page.reload()
        assert page.locator(".panel:visible").count() == 2


def test_a_cohort_chosen_is_what_is_shown(browser: Browser, two_cohorts: Made) -> None:
    with opened(browser, two_cohorts.site, "pathway", f"?area={LEEDS}") as page:
        assert list_headed(page) == ["Leeds, 2025/26"] * 4
        page.get_by_label("Finished Reception in").select_option("202425")
        assert list_headed(page) == ["Leeds, 2024/25"] * 4
        follow(page.get_by_role("link", name="Overview"))
        assert "cohort=202425" in page.url
        assert page.locator(".findings:visible").count() == 1
        assert LATER not in page.locator(".panel:visible").first.get_attribute("data-cohort")


def test_the_area_goes_along_to_the_page_of_a_table_on_request_and_back(browser: Browser, on_request: Made) -> None:
    with opened(browser, on_request.site, "index", f"?area={LEEDS}") as page:
        follow(page.locator("a.page").first)
        assert page.url.endswith(f"{OF_SEN}.html?area={LEEDS}")
        assert list_headed(page) == ["Leeds"]
        page.get_by_label("Show", exact=True).select_option(HALTON)
        assert list_headed(page) == ["Halton"]
        follow(page.get_by_role("link", name="Goals", exact=True))
        assert page.url.endswith(f"goals.html?area={HALTON}")


def test_without_script_everything_can_be_read(browser: Browser, whole: Made) -> None:
    for name in CHART_PAGES:
        with opened(browser, whole.site, name, java_script_enabled=False) as page:
            assert not page.locator(".filter").is_visible()
            assert page.locator(".panel").count() == page.locator(".panel:visible").count() > 1
            page.locator("summary").last.click()
            assert page.locator("table").last.is_visible()


@pytest.mark.parametrize("width", mark_slow_after(1, [NARROWEST, DESK]))
@pytest.mark.parametrize("name", mark_slow_after(4, PAGES))
def test_the_keyboard_reaches_everything_and_shows_where_it_is(
    browser: Browser, whole: Made, name: str, width: int
) -> None:
    seen = """
    () => { const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
      const line = at.getClientRects()[0], middle = document.elementFromPoint(line.left + 8, line.top + 10);
      return { which: [...document.querySelectorAll('a, button, select, summary, .frame[tabindex]')].indexOf(at),
        outlined: style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 3,
        inView: box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth,
        uncovered: at === middle || at.contains(middle) }; }
    """
    with opened(browser, whole.site, name, width=width) as page:
        stops = "a, button, select, summary, .frame[tabindex]"
        shown = page.evaluate(f"[...document.querySelectorAll('{stops}')].map(each => each.checkVisibility())")
        wanted = [place for place, visible in enumerate(shown) if visible]
        reached = []
        for _ in wanted:
            page.keyboard.press("Tab")
            found = page.evaluate(seen)
            assert found["outlined"], found
            assert found["inView"], found
            assert found["uncovered"], found
            reached.append(found["which"])
        assert reached == wanted
        page.locator(".skip").focus()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        if name == "pathway":
            page.locator("summary:visible").first.focus()
            page.keyboard.press("Enter")
            assert page.locator("table:visible").count() == 1
            page.get_by_label("Show", exact=True).focus()
            page.keyboard.type("Lee")
            assert list_headed(page) == ["Leeds"] * 4


SHEET = 680, 1009
"""Width and height of what a sheet of A4 holds within its margins, in pixels of CSS."""


@pytest.mark.parametrize(("made", "name"), pages_of("whole", 2))
def test_print_shows_charts_and_tables_and_no_controls(
    browser: Browser, request: pytest.FixtureRequest, made: str, name: str, tmp_path: Path
) -> None:
    width, height = SHEET
    with opened(browser, folder_of(made, name, request), name, width=width, color_scheme="dark") as page:
        page.emulate_media(media="print")
        assert page.evaluate(PAPER) in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)")
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(11, 12, 12)"
        assert not page.locator(".filter, nav, .download, .skip").filter(visible=True).count()
        tables = page.locator(".panel:visible table, section.frame table")
        assert tables.count() == tables.filter(visible=True).count()
        assert tables.count() or name in ("downloads", "about", "my-child")
        assert all(each <= height for each in page.evaluate(WHOLE))
        assert page.evaluate(PARTED) == []
        assert all(each <= height for each in page.evaluate(WITH_HEADING))
        page.pdf(path=tmp_path / "page.pdf", format="A4")
        assert (tmp_path / "page.pdf").stat().st_size > 10_000


WHOLE = """
[...document.querySelectorAll('figure, svg.chart')].filter(each => each.checkVisibility()).map(each => {
  const style = getComputedStyle(each);
  return style.breakInside === 'avoid' ? each.getBoundingClientRect().height : Infinity; })
"""
WITH_HEADING = """
[...document.querySelectorAll('main section:has(figure)')].flatMap(section => {
  const figure = [...section.querySelectorAll('figure')].find(each => each.checkVisibility());
  return figure
    ? [figure.getBoundingClientRect().bottom - section.querySelector('h2').getBoundingClientRect().top] : []; })
"""
PARTED = """
[...document.querySelectorAll('h1, h2, h3, h4, caption, .intro, p.words, p.alike')]
  .filter(each => each.checkVisibility() && getComputedStyle(each).breakAfter !== 'avoid').map(each => each.textContent)
"""


def test_print_of_many_councils_has_the_map_and_no_chart_over_pages(browser: Browser, many: Made) -> None:
    width, height = SHEET
    with opened(browser, many.site, "index", width=width) as page:
        page.emulate_media(media="print")
        assert page.locator("figure.map").is_visible()
        assert not page.locator("svg.chart.long").filter(visible=True).count()
        assert page.locator(".left-out:visible").count() == 2
        assert all(each <= height for each in page.evaluate(WHOLE))
        page.get_by_label("Show", exact=True).evaluate(
            "each => { each.value = 'E09000002'; each.dispatchEvent(new Event('change', {bubbles: true})) }"
        )
        assert page.locator("svg.chart").filter(visible=True).count() == 2
        assert page.locator(".left-out:visible").count() == 0


def test_a_sentence_is_copied_with_its_source(browser: Browser, whole: Made) -> None:
    """Without a network, from a page opened from a folder; without scripts the words are there, and no button is."""
    with opened(browser, whole.site, "council-leeds", permissions=["clipboard-read", "clipboard-write"]) as page:
        sentence = page.locator("#quote-1 q").inner_text()
        page.locator("#quote-1").get_by_role("button").click()
        expect(page.locator(".copied")).to_have_text(f"Copied with its source: {sentence}")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith(f"{sentence} Source: ")
        assert "Proof: " in copied
        assert axe_faults(page, "section[aria-labelledby=quote]") == []
    with opened(browser, whole.site, "council-leeds", java_script_enabled=False) as page:
        assert page.locator("#quote-1 q").inner_text() == sentence
        assert not page.locator("#quote-1 button").is_visible()
