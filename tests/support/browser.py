"""Browser for tests: how to find and start it, and the marker of tests that need it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Locator, sync_playwright

from tests.support.areas import describe_missing
from tests.support.waiting import PATIENCE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_PATIENCE_ON_A_PAGE = 600.0
"""Seconds to wait for an element before it counts as missing."""
IN_A_BROWSER = pytest.mark.skipif(CHROMIUM is None, reason=describe_missing("browser"))
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextmanager
def start_browser() -> Iterator[Browser]:
    """Start the browser without a window and without background requests, and yield it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS), timeout=PATIENCE * 1000)
        browser.on("context", lambda context: context.set_default_timeout(_PATIENCE_ON_A_PAGE * 1000))
        yield browser
        browser.close()


def follow(link: Locator) -> None:
    """Click a link to another page and wait until that page has run its scripts, which `click` does not."""
    with link.page.expect_event("load"):
        link.click()
