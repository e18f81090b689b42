"""The browser that tests look for, how they start it, and the mark of tests that need one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Locator, sync_playwright

from tests.support.areas import lacking
from tests.support.waiting import PATIENCE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_PATIENCE_ON_A_PAGE = 600.0
"""Seconds; what is not there after them is missing, and each of many tests would wait for it."""
IN_A_BROWSER = pytest.mark.skipif(CHROMIUM is None, reason=lacking("browser"))
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextmanager
def started() -> Iterator[Browser]:
    """The browser, without a window, asking for nothing of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS), timeout=PATIENCE * 1000)
        browser.on("context", lambda context: context.set_default_timeout(_PATIENCE_ON_A_PAGE * 1000))
        yield browser
        browser.close()


def follow(link: Locator) -> None:
    """Click a link to another page, and wait, as a click alone does not, until that page has run its scripts."""
    with link.page.expect_event("load"):
        link.click()
