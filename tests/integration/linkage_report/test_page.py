"""The page: made as the quality reports are, and without a token, a child or a row."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.linkage.report import coarsen_facts, render
from privacy.linkage import model
from privacy.pseudonyms import TOKEN_COLUMNS
from tests.integration.quality_report import test_pages
from tests.support.browser import started
from tests.support.linkage.linked_home import COHORT


@pytest.mark.parametrize(
    "check",
    [
        test_pages.test_is_well_formed_and_names_each_part_once,
        test_pages.test_asks_nothing_of_the_network,
        test_pages.test_headings_come_in_order,
        test_pages.test_tables_and_drawings_have_words,
    ],
)
def test_is_a_page_of_the_house(check: Callable[[str], None], page: str) -> None:
    check(page)


@test_pages.IN_A_BROWSER
def test_fits_a_telephone_and_a_desk(page: str, tmp_path: Path) -> None:
    test_pages.test_fits_a_telephone_and_a_desk(page, tmp_path)


def test_is_what_the_facts_give(page: str, facts: dict[str, Any]) -> None:
    assert render(coarsen_facts(facts)) == page
    for anchor in ("steps", "false", "thresholds", "groups", "weighted", "unlinkable", "review", "weights", "examples"):
        assert f'<summary><h2 id="{anchor}">' in page


def test_the_few_facts_that_are_signed_come_first(page: str, facts: dict[str, Any]) -> None:
    first = page.partition("<details>")[0]
    everyone = coarsen_facts(facts)["groups"][0]
    for name, words in (("review", "a two-year review"), ("setting", "a setting")):
        assert (
            f"{100 * everyone[name]['share']:.1f}% of the children with an EYFS Profile are linked to {words}" in first
        )
    assert "of the links are false (95% sure)" in first
    assert "<table" not in first


@test_pages.IN_A_BROWSER
def test_all_of_it_is_printed(page: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    with started() as browser:
        shown = browser.new_page()
        shown.goto(path.as_uri())
        assert not shown.locator("table").first.is_visible()
        shown.emulate_media(media="print")
        assert all(table.is_visible() for table in shown.locator("table").all())


def test_every_level_is_in_the_weight_table(page: str) -> None:
    said = "".join(test_pages.parsed(page).itertext())
    for levels in model.LEVELS.values():
        assert all(level in said for level in levels)


def test_no_token_no_child_and_no_row_is_in_it(home: Home, page: str) -> None:
    """Nothing as long as a token or a child_id, and no token that the extracts hold."""
    facts = home.cohort(COHORT).linkage_report.read_text(encoding="utf-8")
    for said in (page, facts):
        assert not re.search(r"\b[0-9a-f]{32}\b", said)
        numbers = set(re.findall(r"(?<![\d.])\d{8,}(?![\d.])", said))
        for path in home.restricted.glob("pseudonymised/**/*.parquet"):
            held = pq.read_table(path).to_pandas()
            tokens = held[[name for name in TOKEN_COLUMNS if name in held]].stack().astype(str)
            assert not numbers & set(tokens)
        assert "source_row" not in said


def test_a_cohort_without_any_link_has_a_page(facts: dict[str, Any]) -> None:
    empty = facts | {"thresholds": [], "review_patterns": [], "weighted": [], "unlinkable": []}
    empty["negative_control"] = facts["negative_control"] | {"steps": []}
    page = render(coarsen_facts(empty))
    test_pages.test_tables_and_drawings_have_words(page)
    assert "No step has a link" in page
