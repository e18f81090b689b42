"""Doctor names what a run would miss, each by a fault that is planted; settings are checked together."""

import datetime as dt
import json
import shutil
from collections.abc import Callable

import pytest

from assets.home.processing_log import Processing, record
from pipelines.reports import doctor
from pipelines.reports.doctor import CheckStatus, examine
from privacy.doors.environment import list_unknown_variables, read_usable_settings
from tests.support.installation.commands import run_readiness
from tests.support.installation.released import COHORT, Place
from tests.support.release.people import ANNA, BRAM, write_policy, write_publisher

pytestmark = pytest.mark.slow

Fault = Callable[[Place, pytest.MonkeyPatch], object]


def _cut_ledger(place: Place, _: object) -> None:
    path = place.home.root / "ledger.sqlite"
    path.write_bytes(path.read_bytes()[:2000])


def _lose_ledger(place: Place, _: object = None) -> None:
    for path in place.home.root.glob("ledger.sqlite*"):
        path.unlink()


def _lose_keys(place: Place, _: object) -> None:
    for name in ("linker.key", "signing.pem"):
        (place.root / "keys" / name).unlink()


def _cut_log(place: Place, _: object) -> None:
    lines = place.home.processing_log.read_text().splitlines(keepends=True)
    place.home.processing_log.write_text("".join(lines[:-1]))


def _turn_back_clock(_: Place, patch: pytest.MonkeyPatch) -> None:
    class Earlier(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
            return dt.datetime(2020, 1, 1, tzinfo=tz)

    patch.setattr(doctor.dt, "datetime", Earlier)


def _move_release(place: Place, patch: pytest.MonkeyPatch) -> None:
    """Announce the release for another day than its own."""
    (place.root / "calendar.yaml").write_text("releases:\n  - {version: 2026.11.0, date: 2026-12-01}\n")
    patch.setenv("READINESS_CALENDAR", str(place.root / "calendar.yaml"))


def _publish_for_nobody(place: Place, patch: pytest.MonkeyPatch) -> None:
    contact = "statistics@authority.example"
    patch.setenv("READINESS_POLICY", str(write_policy(place.root / "policy.yaml", [ANNA, BRAM])))
    patch.setenv("READINESS_PUBLISHER", str(write_publisher(place.root / "publisher.yaml", contact=contact)))


FAULTS: dict[str, tuple[str, Fault]] = {
    "keys are lost": ("keys", _lose_keys),
    "others may read a key": ("keys", lambda place, _: (place.root / "keys" / "input-mac.key").chmod(0o644)),
    "the ledger is cut short": ("ledger", _cut_ledger),
    "the ledger is lost": ("ledger", _lose_ledger),
    "the log is cut short": ("processing log", _cut_log),
    "the clock was turned back": ("clock", _turn_back_clock),
    "the calendar contradicts a release": ("settings", _move_release),
    "the publisher stands for nobody": ("sign-off", _publish_for_nobody),
    "others may look into a folder": ("home", lambda place, _: place.home.restricted.chmod(0o755)),
    "little memory": ("memory", lambda _, patch: patch.setattr(doctor, "get_memory_gib", lambda: 0.5)),
}


def states(place: Place) -> dict[str, list[CheckStatus]]:
    found: dict[str, list[CheckStatus]] = {}
    for entry in examine(place.home.root, place.landing, place.root / "keys"):
        found.setdefault(entry.what, []).append(entry.state)
    return found


@pytest.fixture(scope="module")
def sound(released: Place) -> dict[str, list[CheckStatus]]:
    """What doctor finds where nothing is missing."""
    found = states(released)
    assert CheckStatus.MISSING not in [state for of_one in found.values() for state in of_one]
    assert found.keys() >= {"Python", "libraries", "keys", "home", "disk", "ledger", "clock"}
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(
    place: Place, sound: dict[str, list[CheckStatus]], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    what, plant = FAULTS[fault]
    worst = CheckStatus.LOOK if what in ("home", "memory") else CheckStatus.MISSING
    record(place.home, Processing.LINKAGE, cohort=COHORT)
    plant(place, monkeypatch)
    assert states(place)[what].count(worst) > sound[what].count(worst)


def test_a_part_of_an_installation_is_not_asked_for_what_is_the_others(place: Place) -> None:
    """The one that takes in has no ledger: that releases are there is no sign that it was lost."""

    def keys() -> doctor.Diagnosis:
        (entry,) = [e for e in examine(place.home.root, place.landing, place.root / "keys") if e.what == "keys"]
        return entry

    (place.root / "keys" / "signing.pem").unlink()
    assert (keys().state, "for intake and linkage alone" in keys().sentence) == (CheckStatus.OK, True)
    _lose_ledger(place)
    found = states(place)
    assert found["ledger"] == found["sign-off"] == [CheckStatus.OPTIONAL]
    assert CheckStatus.MISSING not in [state for of_one in found.values() for state in of_one]
    for key in ("linkage", "upn", "nhs"):
        (place.root / "keys" / f"{key}.key").unlink()
    assert CheckStatus.MISSING in states(place)["keys"]
    shutil.rmtree(place.root / "keys")
    assert (keys().state, "restore their backup first" in keys().sentence) == (CheckStatus.MISSING, True)
    assert "keys create" not in keys().sentence
    command = run_readiness(place.root, "doctor", "--json", "--keys", place.root / "keys")
    assert command.returncode == 1
    assert {entry["state"] for entry in json.loads(command.stdout)} >= {"ok", "missing"}


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("READINESS_LEDGER", "postgres://me:secret@host/db", "begins with postgresql://"),
        ("READINESS_PUBLISHER", "/nowhere.yaml", "there is none at /nowhere.yaml"),
        ("READINESS_RETENTION", "/nowhere.yaml", "there is none at /nowhere.yaml"),
        ("READINESS_COUNCILS", "/nowhere", "there is none at /nowhere"),
        ("READINESS_HOME", "/etc/passwd", "is a file"),
    ],
)
def test_a_wrong_value_is_one_sentence_and_no_password(variable: str, value: str, sentence: str) -> None:
    _, (problem,) = read_usable_settings({variable: value})
    assert sentence in str(problem)
    assert "secret" not in str(problem)
    assert variable in str(problem)


def test_a_wrong_or_unknown_setting_is_named_and_keeps_no_other_from_being_used(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = dict.fromkeys(("READINESS_HOME", "HOME", "READINESS_AUDIT_KILLS", "READINESS_TEST_REQUIRE"), "x")
    (said,) = list_unknown_variables(known | {"READINESS_HOEM": "x"})
    assert said.startswith("READINESS_HOEM")
    assert said.endswith("perhaps READINESS_HOME")
    assert "postgresql" not in repr(read_usable_settings({"READINESS_LEDGER": "postgresql://me:secret@host/db"})[0])
    monkeypatch.setenv("READINESS_RETENTION", "/nowhere.yaml")
    monkeypatch.setenv("READINESS_HOME", str(place.home.root))
    found, problems = read_usable_settings()
    assert found.home == place.home.root
    assert [str(problem) for problem in problems] == [
        "READINESS_RETENTION must name a file; there is none at /nowhere.yaml"
    ]
    assert CheckStatus.MISSING in states(place)["settings"]
