"""The day that a release carries, and which releases are announced after it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from assets.home.paths import Home
from assets.release.publication import Day, announce, day_of
from ndl_export.facts.directory_files import Upcoming, upcoming
from privacy.keys import KeyRing
from tests.support.release.people import ANNA, BRAM, write_policy

VERSION = "2026.11.0"
FIRST, NEXT = dt.date(2026, 11, 10), dt.date(2026, 11, 12)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path / "home")
    found.prepare()
    return found


def calendar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, date: str | None) -> None:
    """The calendar announces that day for the release; None where it announces nothing."""
    path = tmp_path / "calendar.yaml"
    path.write_text(f"releases: [{f'{{version: {VERSION}, date: {date}}}' if date else ''}]\n")
    monkeypatch.setenv("READINESS_CALENDAR", str(path))


def published(home: Home, created: str) -> None:
    (home.release / VERSION).mkdir(parents=True)
    (home.release / VERSION / "datapackage.json").write_text(f'{{"created": "{created}T00:00:00Z"}}')


def test_without_a_calendar_it_is_the_day_on_which_the_bundle_was_first_made(home: Home) -> None:
    assert day_of(home, VERSION, FIRST) == Day("2026-11-10")
    assert day_of(home, VERSION, NEXT) == Day("2026-11-10")
    published(home, "2026-11-10")
    assert day_of(home, VERSION, NEXT) == Day("2026-11-10")


def test_with_one_it_is_the_day_that_is_announced(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calendar(tmp_path, monkeypatch, "2026-11-26")
    for today in (FIRST, NEXT, dt.date(2026, 11, 27)):
        assert day_of(home, VERSION, today) == Day("2026-11-26", announced=True)
    assert day_of(home, "2026.11.1", FIRST) == Day("2026-11-10")


def test_made_too_late_it_is_the_day_on_which_it_was_made(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calendar(tmp_path, monkeypatch, "2026-11-09")
    assert day_of(home, VERSION, FIRST) == Day("2026-11-10")
    assert day_of(home, VERSION, NEXT) == Day("2026-11-10")


def test_a_held_bundle_follows_the_calendar_and_a_published_one_does_not(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calendar(tmp_path, monkeypatch, "2026-11-26")
    assert day_of(home, VERSION, FIRST).day == "2026-11-26"
    calendar(tmp_path, monkeypatch, "2026-11-27")
    assert day_of(home, VERSION, FIRST).day == "2026-11-27"
    published(home, "2026-11-27")
    calendar(tmp_path, monkeypatch, "2026-11-30")
    assert day_of(home, VERSION, FIRST) == Day("2026-11-27", announced=True)


def test_a_day_that_is_announced_no_more_never_lies_ahead(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calendar(tmp_path, monkeypatch, "2026-11-26")
    assert day_of(home, VERSION, FIRST).day == "2026-11-26"
    calendar(tmp_path, monkeypatch, None)
    assert day_of(home, VERSION, NEXT) == Day("2026-11-12")


def test_what_was_published_before_days_were_kept_keeps_its_own(home: Home) -> None:
    published(home, "2026-11-01")
    assert day_of(home, VERSION, NEXT) == Day("2026-11-01")


def test_a_demonstration_announces_a_release_a_year_later(home: Home, tmp_path: Path) -> None:
    announce(home, KeyRing.create(tmp_path / "keys", demonstration=True), VERSION, FIRST)
    assert upcoming(home.release, [VERSION]) == [Upcoming("2027.11.0", "", "2026-11-10")]


def test_nobody_else_announces_what_no_calendar_names(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READINESS_POLICY", str(write_policy(tmp_path / "policy.yaml", [ANNA, BRAM])))
    keys = KeyRing.create(tmp_path / "keys")
    announce(home, keys, VERSION, FIRST)
    assert upcoming(home.release, [VERSION]) is None
    calendar(tmp_path, monkeypatch, "2026-11-26")
    announce(home, keys, VERSION, FIRST)
    assert upcoming(home.release, []) == [Upcoming(VERSION, "2026-11-26", "2026-11-10")]
    assert upcoming(home.release, [VERSION]) == []
