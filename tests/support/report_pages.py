"""Checks of a report page: self-contained, readable by everyone, and as wide as a telephone."""

import re
from itertools import pairwise
from xml.etree import ElementTree

from sources.contracts import CONTRACTS
from tests.support.browser import start_browser


def parse_page(page: str) -> ElementTree.Element:
    assert page.startswith("<!DOCTYPE html>\n")
    return ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))


def check_asks_nothing_of_the_network(page: str) -> None:
    root = parse_page(page)
    tags = {element.tag for element in root.iter()}
    assert not tags & {"script", "img", "link", "iframe", "object", "embed", "image", "use", "form", "base"}
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for element in root.iter():
        assert not [each for each in element.attrib if each == "src" or each.startswith("on")]
        if "href" in element.attrib:
            other = re.fullmatch(r"(\w+)\.html", element.attrib["href"])
            assert other[1] in CONTRACTS if other else element.attrib["href"].removeprefix("#") in ids
    assert not re.search(r"url\(|@import|https?:", page)


def check_can_be_read_by_everyone(page: str) -> None:
    root = parse_page(page)
    assert root.get("lang") == "en-GB"
    levels = [int(element.tag[1]) for element in root.iter() if re.fullmatch("h[1-6]", element.tag)]
    assert (levels[0], levels.count(1)) == (1, 1)
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    for table in root.iter("table"):
        assert (table.findtext("caption") or "").strip()
        assert all(cell.get("scope") in ("col", "row") for cell in table.iter("th"))
        assert len({len(row) for row in table.iter("tr")}) == 1
    for drawing in root.iter("svg"):
        named = drawing.get("role") == "img" and drawing.get("aria-label") and drawing.findtext("desc")
        assert named or drawing.get("aria-hidden") == "true"


def check_fits_a_telephone_and_a_desk(*pages: str) -> None:
    with start_browser() as browser:
        for width in (390, 1200):
            view = browser.new_page(viewport={"width": width, "height": 900})
            for page in pages:
                view.set_content(page)
                assert view.evaluate("document.documentElement.scrollWidth") <= width
                headings = [element for element in parse_page(page).iter() if element.tag in ("h1", "h2", "h3")]
                assert view.locator("h1, h2, h3").count() == len(headings)
