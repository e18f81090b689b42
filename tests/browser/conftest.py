"""A browser, and pages of made-up figures."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import start_browser
from tests.support.site.pages import made, make, many, on_request, two_cohorts, whole, without


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with start_browser() as browser:
        yield browser
