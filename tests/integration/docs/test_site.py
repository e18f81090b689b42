"""The documentation as a site: it is made without a warning, which a link that leads nowhere would be, and searched."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import PROJECT
from tests.support.browser import CHROMIUM, start_browser

DOCS = PROJECT / "docs"


@pytest.mark.slow
def test_the_site_has_every_page_and_the_reference_of_the_code(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "sphinx", "-q", "-W", "--keep-going", "-d", tmp_path / "doctrees"]
    done = subprocess.run([*command, DOCS, tmp_path / "html"], capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    site = {path.relative_to(tmp_path / "html"): path for path in (tmp_path / "html").rglob("*.html")}
    assert {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")} <= set(site)
    for page, shown in (
        ("reference/commands.html", "readiness approve"),
        ("reference/commands.html", "--publish"),
        ("reference/code/privacy/privacy.release.html", "The only code that draws noise"),
        ("contributing.html", 'href="architecture.html"'),
        ("recipes.html", 'href="contributing.html"'),
    ):
        assert shown in site[Path(page)].read_text(encoding="utf-8"), page
    assert "option::" not in site[Path("reference/commands.html")].read_text(encoding="utf-8")
    if CHROMIUM:
        _search(tmp_path / "html")


def _search(site: Path) -> None:
    """Look up words that readers look for: pages for readers come before the reference of the code."""
    with start_browser() as browser:
        page = browser.new_page()
        for words, first in (("budget", None), ("withheld", None), ("add a council", "recipes.html#add-a-council")):
            page.goto(f"{(site / 'search.html').as_uri()}?q={words}")
            page.wait_for_selector("#search-results .search-summary:not(:empty)")
            found = page.locator("#search-results li > a").evaluate_all(
                "each => each.map(it => it.getAttribute('href'))"
            )
            in_code = [address.startswith("reference/code/") for address in found]
            assert found, words
            assert in_code == sorted(in_code), words
            assert first in (None, found[0]), words
