"""The decision sheet in a real browser: people who sign may read it on a telephone."""

from dataclasses import replace
from pathlib import Path

import pytest

from assets.intake import deliveries
from assets.release import fix_release
from assets.release.decision_sheet import write_sheet
from assets.release.fix_release import ReleaseOptions
from assets.release.release import CohortRelease, Release
from assets.release.requests_to_sign import build_measurement_request
from sources.contracts.extract_rules import FAR_FROM_EXPECTED
from tests.browser.test_site import LARGE_PHONE, NARROWEST, check_apart
from tests.support.browser import IN_A_BROWSER, start_browser
from tests.support.release.homes import COHORT, VERSION, build_quality, make_home, note_taken
from tests.support.release.people import ANNA, write_policy, write_publisher

pytestmark = IN_A_BROWSER
COUNCILS = ["halton", "hammersmith-and-fulham", "knowsley", "leeds"]


@pytest.fixture
def sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sheet of a release with holds, rows set aside, and councils with long names."""
    monkeypatch.setenv("READINESS_POLICY", str(write_policy(tmp_path / "policy.yaml", [ANNA])))
    monkeypatch.setenv("READINESS_PUBLISHER", str(write_publisher(tmp_path / "publisher.yaml")))
    monkeypatch.setattr(fix_release, "_check_current_extracts", lambda *_: None)
    monkeypatch.setattr(deliveries, "read_delivered", lambda store, _: deliveries.read(store.quality))  # without rows
    home = make_home(tmp_path / "home", 50, COUNCILS)
    for council in COUNCILS:
        quality = build_quality(council, "eyfsp", 1954, "a", FAR_FROM_EXPECTED.id, expected=3209)
        note_taken(home, replace(quality, rows_read=quality.rows_read + 40))
    fix_release.fix_release(CohortRelease(home.get_cohort(COHORT), VERSION), COUNCILS, ReleaseOptions())
    write_sheet(home, build_measurement_request(Release(home, VERSION)))
    return home.get_decision_sheet_path(VERSION, "measurement")


def test_a_decision_sheet_fits_a_telephone(sheet: Path) -> None:
    """Nothing scrolls sideways, the page or a table, and no figure is cut off, broken or on another."""
    with start_browser() as browser:
        for width in (NARROWEST, LARGE_PHONE):
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.goto(sheet.as_uri())
            assert page.locator(".decision table").count() == 3
            assert page.locator("#held ~ ul li").count() >= len(COUNCILS)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(SCROLLS) == []
            check_apart(page.evaluate(WORDS), width)


SCROLLS = """
[...document.querySelectorAll('.decision *')].filter(each => each.scrollWidth > each.clientWidth + 1 && each.clientWidth
  && getComputedStyle(each).display !== 'inline' && !each.closest('svg')).map(each => each.outerHTML.slice(0, 80))
"""
WORDS = """
[...document.querySelectorAll('.decision tr')].map(row => [...row.children].map(cell => {
  const words = document.createRange(); words.selectNodeContents(cell); const box = words.getBoundingClientRect();
  return [cell.textContent, box.left, box.right, box.top, box.bottom]; }))
"""
