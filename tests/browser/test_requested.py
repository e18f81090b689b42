"""Pages of tables on request and of their register in a real browser, as the other pages are tried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

from tests.browser.test_site import (
    BOXES,
    DESK,
    HALTON,
    LEEDS,
    NARROWEST,
    PARTED,
    SHEET,
    WHOLE,
    axe_faults,
    check_apart,
    open_tables,
    opened,
)
from tests.support.browser import IN_A_BROWSER, follow, started
from tests.support.daily import first
from tests.support.site.pages import Made

pytestmark = IN_A_BROWSER
OF_SEN, OF_REVIEWS, REGISTER = "request-sen-by-meals", "request-reviewed-by-sex", "requests"
PAGES = (OF_SEN, REGISTER, OF_REVIEWS, "index")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


def place(made: Made, name: str) -> Path:
    """The folder of the page: the register is in that of the release directory alone."""
    return made.site.parent.parent / "site" if name == REGISTER else made.site


@pytest.mark.parametrize("scheme", first(1, ["light", "dark"]))
@pytest.mark.parametrize(("width", "query"), first(1, [(DESK, ""), (NARROWEST, f"?area={HALTON}")]))
@pytest.mark.parametrize("name", first(2, PAGES))
def test_axe_finds_nothing(
    browser: Browser, on_request: Made, name: str, width: int, query: str, scheme: Literal["light", "dark"]
) -> None:
    with opened(browser, place(on_request, name), name, query, width, color_scheme=scheme) as page:
        open_tables(page)
        assert axe_faults(page) == []


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_the_narrowest_window(browser: Browser, on_request: Made, name: str) -> None:
    with opened(browser, place(on_request, name), name, width=NARROWEST) as page:
        open_tables(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROWEST
        for frame in page.locator(".frame:visible").all():
            if frame.evaluate("each => each.scrollWidth > each.clientWidth"):
                assert frame.get_attribute("tabindex") == "0"


@pytest.mark.parametrize("width", first(1, [NARROWEST, 641, DESK]))
@pytest.mark.parametrize("name", [OF_REVIEWS, OF_SEN])
def test_no_words_of_a_chart_are_cut_off_or_overlap(browser: Browser, on_request: Made, name: str, width: int) -> None:
    """Where there is no room for them the table is open instead."""
    with opened(browser, on_request.site, name, width=width) as page:
        charts = page.evaluate(BOXES)
        assert charts or page.locator(".panel:visible table").first.is_visible()
    assert bool(charts) == (name == OF_REVIEWS or width > NARROWEST)
    check_apart(charts, width)


def test_the_area_goes_along_to_the_page_of_a_table_and_back(browser: Browser, on_request: Made) -> None:
    with opened(browser, on_request.site, "index", f"?area={LEEDS}") as page:
        follow(page.locator("a.page").first)
        assert page.url.endswith(f"{OF_SEN}.html?area={LEEDS}")
        assert page.locator(".panel:visible h3").all_inner_texts() == ["Leeds"]
        page.get_by_label("Show", exact=True).select_option(HALTON)
        assert page.locator(".panel:visible h3").all_inner_texts() == ["Halton"]
        follow(page.get_by_role("link", name="Goals", exact=True))
        assert page.url.endswith(f"goals.html?area={HALTON}")


@pytest.mark.parametrize("name", first(1, PAGES))
def test_print_has_the_tables_and_no_controls(browser: Browser, on_request: Made, name: str) -> None:
    width, height = SHEET
    with opened(browser, place(on_request, name), name, width=width) as page:
        page.emulate_media(media="print")
        assert not page.locator(".filter, nav, .download, .skip").filter(visible=True).count()
        tables = page.locator(".panel:visible table, .frame table")
        assert tables.count()
        assert all(each <= height for each in page.evaluate(WHOLE))
        assert page.evaluate(PARTED) == []
