"""The day that a release carries, and which releases are announced after it."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import pytest

from assets.home.paths import Home
from assets.release.bundle import Day, announce, find_release_day, get_publisher
from assets.release.fix_release import choose_release
from assets.release.release import Release
from ndl_export.facts.directory_files import Upcoming, list_upcoming
from ndl_export.facts.release_facts import Version
from privacy.doors import clock
from privacy.doors.environment import SIMULATED_DATE
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


ANNOUNCED = Day("2026-11-26", announced=True)
MADE, MOVED = Day("2026-11-10"), Day("2026-11-27", announced=True)
LATER = ("2026-11-30", FIRST, "2026-11-27", MOVED)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(
            [(None, FIRST, "", MADE), (None, NEXT, "", MADE), (None, NEXT, "2026-11-10", MADE)],
            id="without a calendar, the day on which it was first made",
        ),
        pytest.param(
            [("2026-11-26", today, "", ANNOUNCED) for today in (FIRST, NEXT, dt.date(2026, 11, 27))],
            id="the day that is announced",
        ),
        pytest.param(
            [("2026-11-09", FIRST, "", MADE), ("2026-11-09", NEXT, "", MADE)],
            id="made too late, the day on which it was made",
        ),
        pytest.param(
            [*((day, FIRST, "", found) for day, found in (("2026-11-26", ANNOUNCED), ("2026-11-27", MOVED))), LATER],
            id="an unpublished bundle follows the calendar, a published one does not",
        ),
        pytest.param(
            [("2026-11-26", FIRST, "", ANNOUNCED), ("", NEXT, "", Day("2026-11-12"))],
            id="announced no more, no day ahead",
        ),
    ],
)
def test_the_day_of_a_release(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: Sequence[tuple[str | None, dt.date, str, Day]]
) -> None:
    """Each step has the day in the calendar (None without one), today, the day of publication, and the day it has."""
    for announced, today, created, expected in steps:
        if announced is not None:
            calendar(tmp_path, monkeypatch, announced)
        if created:
            published(home, created)
        assert find_release_day(Release(home, VERSION), today) == expected


def test_no_release_has_a_day_before_an_older_one_if_the_clock_was_put_back(home: Home) -> None:
    find_release_day(Release(home, VERSION), NEXT)
    published(home, NEXT.isoformat())
    assert [find_release_day(Release(home, each), FIRST).day for each in ("2026.10.0", "2026.11.1")] == [
        FIRST.isoformat(),
        NEXT.isoformat(),
    ]


@pytest.mark.parametrize(
    ("second", "version"),
    [
        ("2026-12-31T23:59:59", "2026.12.0"),
        ("2027-08-31T23:59:59", "2027.08.0"),
        ("2027-09-01T00:00:00", "2027.09.0"),
        ("2028-02-29T23:59:59", "2028.02.0"),
        ("2036-12-31T23:59:59", "2036.12.0"),
    ],
)
def test_a_run_over_midnight_takes_version_and_day_from_one_reading(
    home: Home, monkeypatch: pytest.MonkeyPatch, second: str, version: str
) -> None:
    time = dt.datetime.fromisoformat(second).replace(tzinfo=dt.UTC)
    monkeypatch.setattr(clock, "now", lambda: time)
    with clock.hold_day():
        chosen = choose_release(home.get_cohort("202425"))
        Version.parse(chosen).check_is_new(clock.today())
        monkeypatch.setattr(clock, "now", lambda: time + dt.timedelta(hours=2))
        assert (chosen, find_release_day(Release(home, chosen), clock.today()).day) == (version, second[:10])


@pytest.mark.parametrize("simulated", [True, False])
def test_a_release_says_that_its_date_was_simulated_also_later(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulated: bool
) -> None:
    keys = KeyRing.create(tmp_path / "keys", demonstration=True)
    if simulated:
        monkeypatch.setenv(SIMULATED_DATE, "2026-11-10")
    find_release_day(Release(home, VERSION), FIRST)
    monkeypatch.delenv(SIMULATED_DATE, raising=False)
    find_release_day(Release(home, VERSION), NEXT)
    assert (clock.SIMULATION in get_publisher(Release(home, VERSION), keys).notice) == simulated


def test_a_demonstration_announces_a_release_a_year_later(home: Home, tmp_path: Path) -> None:
    announce(Release(home, VERSION), KeyRing.create(tmp_path / "keys", demonstration=True), FIRST)
    assert list_upcoming(home.release, [VERSION]) == [Upcoming("2027.11.0", "", "2026-11-10")]


def test_nobody_else_announces_what_no_calendar_names(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READINESS_POLICY", str(write_policy(tmp_path / "policy.yaml", [ANNA, BRAM])))
    keys = KeyRing.create(tmp_path / "keys")
    announce(Release(home, VERSION), keys, FIRST)
    assert list_upcoming(home.release, [VERSION]) is None
    calendar(tmp_path, monkeypatch, "2026-11-26")
    announce(Release(home, VERSION), keys, FIRST)
    assert list_upcoming(home.release, []) == [Upcoming(VERSION, "2026-11-26", "2026-11-10")]
    assert list_upcoming(home.release, [VERSION]) == []
