"""Settings of an installation: the `READINESS_` environment variables, read and validated together in one place.

Call `get_settings()` to get them. Secrets (a ledger URL with its password, the address of an alert) stay in this object
and out of every configuration, log and `repr`. The module imports quickly, because the command line validates the
environment when it starts.
"""

import datetime as dt
import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path

from privacy.doors.typed import is_line

PROJECT = Path(__file__).resolve().parents[2]
LANDING, HOME, KEYS = "READINESS_LANDING", "READINESS_HOME", "READINESS_KEYS"
CALENDAR, PUBLISH_TO, ALERT = "READINESS_CALENDAR", "READINESS_PUBLISH_TO", "READINESS_ALERT"
PUBLISHER, RETENTION, COUNCILS = "READINESS_PUBLISHER", "READINESS_RETENTION", "READINESS_COUNCILS"
POLICY = "READINESS_POLICY"
AGREEMENTS = "READINESS_AGREEMENTS"
SIMULATED_DATE = "READINESS_SIMULATED_DATE"
_PREFIX = "READINESS_"
_PREFIXES_OF_TESTS = ("READINESS_AUDIT", "READINESS_FUZZ_", "READINESS_TEST_")

# In the URL of a database, # begins a fragment and ? the options.
_UNUSABLE = re.compile(r"[#?\\]")
_CHECK = "check"
"""Key in a field's metadata of the function that checks a variable and returns the field's value."""


class InvalidEnvironment(ValueError):
    """Raised if an environment variable is invalid; the message names it but never shows a secret value."""


def check_home(folder: Path) -> Path:
    """Return a folder; raises `InvalidEnvironment` for `#`, `?`, unprintable characters or a backslash in a name."""
    path = folder.absolute().as_posix()
    wrong = _UNUSABLE.search(path)
    if wrong or not is_line(path):
        shown = wrong[0] if wrong else "a character that cannot be printed"
        raise InvalidEnvironment(f"a home folder may not have {shown} in its path, where databases lie; choose another")
    return folder


def _parse_folder(variable: str, value: str) -> Path:
    path = Path(value)
    if path.exists() and not path.is_dir():
        raise InvalidEnvironment(f"{variable} must name a folder; {path} is a file")
    return path.resolve()


def _build_path_parser(what: str, is_there: Callable[[Path], bool]) -> Callable[[str, str], Path]:
    def check(variable: str, value: str) -> Path:
        if not is_there(Path(value)):
            raise InvalidEnvironment(f"{variable} must name a {what}; there is none at {value}")
        return Path(value).resolve()

    return check


_file, _existing_folder = _build_path_parser("file", Path.is_file), _build_path_parser("folder", Path.is_dir)


def _parse_ledger(variable: str, value: str) -> str:
    """Parse the ledger's location. The value is not repeated, because it may hold a password."""
    if "://" in value and not value.startswith("postgresql://"):
        raise InvalidEnvironment(
            f"{variable} must be a URL that begins with postgresql://, or the path of an SQLite file"
        )
    return value


def _parse_alert(variable: str, value: str) -> str:
    """Parse the alert address. The value is not repeated, because a webhook's address is a secret."""
    if not value.startswith(("https://", "http://")) and not os.access(value, os.X_OK):
        raise InvalidEnvironment(f"{variable} must be a URL that begins with https://, or the path of a program")
    return value


@dataclass(frozen=True)
class SimulatedDate:
    """The simulated time `start`, and the time of the machine at which it `began`, from which it goes on; both UTC."""

    start: dt.datetime
    began: dt.datetime


def _parse_simulated_date(variable: str, value: str) -> SimulatedDate | None:
    """Parse a date or time and, after `=`, the time of the machine at which it began; None if that is missing."""
    try:
        times = [dt.datetime.fromisoformat(each) for each in value.split("=", 1)]
        utc = [each.astimezone(dt.UTC) if each.tzinfo else each.replace(tzinfo=dt.UTC) for each in times]
    except (ValueError, OverflowError):
        raise InvalidEnvironment(
            f"{variable} must be a date such as 2027-09-01, or a time such as 2027-12-31T23:59:50 in UTC"
        ) from None
    return SimulatedDate(utc[0], utc[1]) if len(utc) > 1 else None


@dataclass(frozen=True)
class ProcessSettings:
    """Validated settings; each field is set by the environment variable of its name. Paths are absolute."""

    landing: Path = field(default=PROJECT / "demo" / "landing", metadata={_CHECK: _parse_folder})
    home: Path = field(
        default=PROJECT / "demo" / "home",
        metadata={_CHECK: lambda name, path: _parse_folder(name, str(check_home(Path(path))))},
    )
    keys: Path = field(default=PROJECT / "keys", metadata={_CHECK: _parse_folder})
    ledger: str | None = field(default=None, repr=False, metadata={_CHECK: _parse_ledger})
    publisher: Path | None = field(default=None, metadata={_CHECK: _file})
    retention: Path | None = field(default=None, metadata={_CHECK: _file})
    policy: Path | None = field(default=None, metadata={_CHECK: _file})
    councils: Path | None = field(default=None, metadata={_CHECK: _existing_folder})
    agreements: Path | None = field(default=None, metadata={_CHECK: _existing_folder})
    calendar: Path | None = field(default=None, metadata={_CHECK: _file})
    publish_to: str | None = field(default=None, repr=False, metadata={_CHECK: lambda _, value: value})
    alert: str | None = field(default=None, repr=False, metadata={_CHECK: _parse_alert})
    simulated_date: SimulatedDate | None = field(default=None, metadata={_CHECK: _parse_simulated_date})


VARIABLES = {_PREFIX + setting.name.upper(): setting for setting in fields(ProcessSettings)}
"""Every variable, and the field of `ProcessSettings` that it sets."""


def get_settings() -> ProcessSettings:
    """Return the settings of this process, validated again if its environment changes. Raises `InvalidEnvironment`."""
    return _read_settings(tuple((name, os.environ[name]) for name in list_set_variables()))


def get_simulated_date(machine_time: dt.datetime) -> SimulatedDate | None:
    """Return the simulated date, if any. Raises `InvalidEnvironment`, for this variable alone.

    The first call notes in the environment that it began now, so that processes started by this one share its time.
    """
    if not (value := os.environ.get(SIMULATED_DATE)):
        return None
    if "=" not in value:
        value = f"{value}={machine_time.isoformat()}"
        tell_libraries(**{SIMULATED_DATE: value})
    return _parse_simulated_date(SIMULATED_DATE, value)


def list_set_variables() -> list[str]:
    """Return the variables that are set in this process's environment."""
    return [name for name in VARIABLES if os.environ.get(name)]


@lru_cache(maxsize=1)
def _read_settings(values: tuple[tuple[str, str], ...]) -> ProcessSettings:
    found, problems = read_usable_settings(dict(values))
    if problems:
        raise problems[0]
    return found


def read_usable_settings(
    environment: Mapping[str, str] = os.environ,
) -> tuple[ProcessSettings, list[InvalidEnvironment]]:
    """Return the valid settings, and the problems with the others."""
    settings, problems = {}, []
    for variable, setting in VARIABLES.items():
        if value := environment.get(variable):
            try:
                settings[setting.name] = setting.metadata[_CHECK](variable, value)
            except InvalidEnvironment as problem:
                problems.append(problem)
    return ProcessSettings(**settings), problems


def list_unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return a sentence for each unknown `READINESS_` variable, with the closest known name."""
    found = []
    for name in sorted(environment):
        if name.startswith(_PREFIX) and name not in VARIABLES and not name.startswith(_PREFIXES_OF_TESTS):
            near = difflib.get_close_matches(name, VARIABLES, n=1)
            found.append(f"{name} is not a variable that anything reads" + (f"; perhaps {near[0]}" if near else ""))
    return found


def get_dagster_home() -> Path | None:
    """Return the folder of Dagster's storage if `DAGSTER_HOME` names one."""
    named_folder = os.environ.get("DAGSTER_HOME")
    return Path(named_folder) if named_folder else None


def build_child_environment(**further: str) -> dict[str, str]:
    """Return the environment for a subprocess: this process's environment and `further` variables."""
    return os.environ | further


def tell_libraries(**variables: str) -> None:
    """Set variables that libraries read when they are imported."""
    os.environ.update(variables)
