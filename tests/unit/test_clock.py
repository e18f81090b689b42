"""The one clock: UTC, a date that is simulated for a demonstration alone, and one day for a run."""

import datetime as dt
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assets.home.paths import Home
from assets.home.processing_log import Processing, read_entries, record
from privacy.doors import clock
from privacy.doors.environment import SIMULATED_DATE, InvalidEnvironment, get_settings
from privacy.release.signature_log import DateIsSimulated, SignatureLog

NEW_YEAR = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_simulated_time_goes_on_also_in_the_processes_that_this_one_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SIMULATED_DATE, "2026-12-31T23:59:50")
    assert dt.timedelta(0) <= clock.now() - dt.datetime(2026, 12, 31, 23, 59, 50, tzinfo=dt.UTC) < 5 * SECOND
    began = clock.read_machine_time() - 20 * SECOND
    monkeypatch.setenv(SIMULATED_DATE, f"2026-12-31T23:59:50={began.isoformat()}")
    assert NEW_YEAR + 10 * SECOND <= clock.now() < NEW_YEAR + 15 * SECOND
    assert (clock.today(), clock.format_now()[:19] >= "2027-01-01T00:00:10") == (NEW_YEAR.date(), True)
    assert clock.describe_simulation()


def test_the_first_reading_notes_when_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SIMULATED_DATE, "2028-02-29")
    first = clock.now()
    noted = os.environ[SIMULATED_DATE]
    assert noted.startswith("2028-02-29=")
    assert clock.now() >= first
    assert os.environ[SIMULATED_DATE] == noted


@pytest.mark.parametrize("value", ["tomorrow", "2027-02-29", "2027-01-01=", "2027-01-01=now"])
def test_a_date_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(SIMULATED_DATE, value)
    for read in (clock.now, get_settings):
        with pytest.raises(InvalidEnvironment, match="must be a date such as 2027-09-01"):
            read()


def test_a_run_over_midnight_has_one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([NEW_YEAR - SECOND, NEW_YEAR + SECOND, NEW_YEAR + SECOND, NEW_YEAR - SECOND])
    monkeypatch.setattr(clock, "now", lambda: next(times))
    with clock.hold_day():
        with clock.hold_day():
            assert clock.today() == dt.date(2026, 12, 31)
        assert clock.today() == dt.date(2026, 12, 31)
    assert clock.today() == NEW_YEAR.date()
    for _step in range(2):
        with clock.hold_day("a run"):
            assert clock.today() == NEW_YEAR.date()


def test_outside_a_demonstration_nothing_is_recorded_under_a_simulated_date(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(home, Processing.INTAKE)
    monkeypatch.setenv(SIMULATED_DATE, "2036-09-01")
    record(home, Processing.INTAKE)
    assert read_entries(home)[-1].time.startswith("2036-09-01T")
    with pytest.raises(DateIsSimulated, match=f"unset {SIMULATED_DATE}"):
        SignatureLog(home.open_ledger()).record_real_extract("leeds/eyfsp/202425.csv")
    monkeypatch.delenv(SIMULATED_DATE)
    ledger = home.open_ledger()
    SignatureLog(ledger).record_real_extract("leeds/eyfsp/202425.csv")
    monkeypatch.setenv(SIMULATED_DATE, "2036-09-01")
    lines = len(ledger.sign_offs())
    request = {"stage": "measurement", "release": "2026.11.0"}
    with pytest.raises(DateIsSimulated):
        record(home, Processing.EXPIRY)
    with pytest.raises(DateIsSimulated):
        SignatureLog(ledger).allow(request, "", None)
    with pytest.raises(DateIsSimulated):
        SignatureLog(ledger).record_keys(Ed25519PrivateKey.generate())
    assert (len(ledger.sign_offs()), len(read_entries(home))) == (lines, 2)
