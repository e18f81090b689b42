"""The page: made as the quality reports are, and without a token, a child or a row."""

import re
from pathlib import Path
from typing import Any

from assets.home.paths import Home
from assets.linkage.report import coarsen_facts, render
from assets.linkage.tokens import open_tokens
from privacy.keys import KeyRing
from privacy.linkage import model
from privacy.pseudonyms import TOKEN_COLUMNS
from tests.support import report_pages
from tests.support.browser import IN_A_BROWSER, start_browser
from tests.support.linkage.linked_home import CHILDREN, COHORT
from tests.support.linkage.populations import Frames


def test_is_what_the_facts_give_self_contained_and_readable_by_everyone(page: str, facts: dict[str, Any]) -> None:
    assert render(coarsen_facts(facts)) == page
    report_pages.check_asks_nothing_of_the_network(page)
    report_pages.check_can_be_read_by_everyone(page)
    for anchor in ("steps", "false", "thresholds", "groups", "weighted", "unlinkable", "review", "weights", "examples"):
        assert f'<summary><h2 id="{anchor}">' in page
    text = "".join(report_pages.parse_page(page).itertext())
    assert all(level in text for levels in model.LEVELS.values() for level in levels)


@IN_A_BROWSER
def test_fits_a_telephone_and_a_desk_and_all_of_it_is_printed(page: str, tmp_path: Path) -> None:
    report_pages.check_fits_a_telephone_and_a_desk(page)
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    with start_browser() as browser:
        shown = browser.new_page()
        shown.goto(path.as_uri())
        assert not shown.locator("table").first.is_visible()
        shown.emulate_media(media="print")
        assert all(table.is_visible() for table in shown.locator("table").all())


def test_no_token_no_child_and_no_row_is_in_it(home: Home, frames: Frames, keys: KeyRing, page: str) -> None:
    """Nothing as long as a token or a child_id, and no token that the extracts hold."""
    tokens: set[str] = set()
    for source, frame in frames.items():
        for council in frame.council.unique():
            rows = open_tokens(home.get_extract(source, COHORT, council), keys).read()
            tokens.update(str(value) for name in rows.column_names if name in TOKEN_COLUMNS for value in rows[name])
    assert len(tokens) > CHILDREN
    for text in (page, home.get_cohort(COHORT).linkage_report.read_text(encoding="utf-8")):
        assert not re.search(r"\b[0-9a-f]{32}\b", text)
        assert not tokens & set(re.findall(r"(?<![\d.])\d{8,}(?![\d.])", text))
        assert "source_row" not in text
