"""Settings of an installation: the environment's `READINESS_` variables, checked together, and options before them.

Light to import: the command line checks the environment at its start.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assets.catalogue.installation import Installation

PROJECT = Path(__file__).resolve().parent.parent
LANDING, HOME, KEYS = "READINESS_LANDING", "READINESS_HOME", "READINESS_KEYS"
LINKAGE_BACKEND, LEDGER = "READINESS_LINKAGE_BACKEND", "READINESS_LEDGER"
CALENDAR, PUBLISH_TO, ALERT = "READINESS_CALENDAR", "READINESS_PUBLISH_TO", "READINESS_ALERT"
PUBLISHER, RETENTION, COUNCILS = "READINESS_PUBLISHER", "READINESS_RETENTION", "READINESS_COUNCILS"
AGREEMENTS = "READINESS_AGREEMENTS"
_PREFIX = "READINESS_"
_OF_TESTS = ("READINESS_AUDIT", "READINESS_FUZZ_")
_DEFAULTS = {LANDING: PROJECT / "demo" / "landing", HOME: PROJECT / "demo" / "home", KEYS: PROJECT / "keys"}
_BACKENDS = ("duckdb", "spark")


class InvalidSettings(ValueError):
    """A variable of the environment that cannot be used; the message names it, never its value where that is secret."""


@dataclass(frozen=True)
class Settings:
    """What the environment says, checked. A folder need not be there yet; a file must. `ledger` may hold a password."""

    landing: Path = _DEFAULTS[LANDING]
    home: Path = _DEFAULTS[HOME]
    keys: Path = _DEFAULTS[KEYS]
    linkage_backend: str = _BACKENDS[0]
    ledger: str | None = field(default=None, repr=False)
    publisher: Path | None = None
    retention: Path | None = None
    councils: Path | None = None
    agreements: Path | None = None
    calendar: Path | None = None
    publish_to: str | None = field(default=None, repr=False)
    alert: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings of an environment; raises `InvalidSettings` for the first value that cannot be used."""
        given = {
            name: check(variable, environment[variable])
            for variable, (name, check) in VARIABLES.items()
            if environment.get(variable)
        }
        return cls(**given)  # type: ignore[arg-type]


def unknown(environment: Mapping[str, str] = os.environ) -> list[str]:
    """A sentence for each `READINESS_` variable that nothing reads, with the one that was perhaps meant."""
    said = []
    for name in sorted(environment):
        if name.startswith(_PREFIX) and name not in VARIABLES and not name.startswith(_OF_TESTS):
            near = difflib.get_close_matches(name, VARIABLES, n=1)
            said.append(f"{name} is not a variable that anything reads" + (f"; perhaps {near[0]}" if near else ""))
    return said


def folder(variable: str, given: Path | None = None) -> Path:
    """The folder given, or the environment's, or the project's own."""
    return Path(given or os.environ.get(variable) or _DEFAULTS[variable]).resolve()


def installation(
    landing: Path | None = None, home: Path | None = None, keys: Path | None = None, agreements: Path | None = None
) -> Installation:
    """The installation that options and environment describe; raises `InvalidSettings`."""
    from assets.catalogue.installation import Installation  # which brings Dagster

    settings = Settings.read()
    return Installation(
        landing_dir=str(folder(LANDING, landing)),
        home_dir=str(folder(HOME, home)),
        keys_dir=str(folder(KEYS, keys)),
        linkage_backend=settings.linkage_backend,
        agreements_dir=str(agreements or settings.agreements or ""),
    )


def _folder(variable: str, value: str) -> Path:
    path = Path(value)
    if path.exists() and not path.is_dir():
        raise InvalidSettings(f"{variable} must name a folder; {path} is a file")
    return path.resolve()


def _file(variable: str, value: str) -> Path:
    path = Path(value)
    if not path.is_file():
        raise InvalidSettings(f"{variable} must name a file; there is none at {path}")
    return path.resolve()


def _there(variable: str, value: str) -> Path:
    if not Path(value).is_dir():
        raise InvalidSettings(f"{variable} must name a folder; there is none at {value}")
    return Path(value).resolve()


def _backend(variable: str, value: str) -> str:
    if value not in _BACKENDS:
        raise InvalidSettings(f"{variable} must be {' or '.join(_BACKENDS)}, not {value!r}")
    return value


def _ledger(variable: str, value: str) -> str:
    """The value is not repeated: it may hold a password."""
    if "://" in value and not value.startswith("postgresql://"):
        raise InvalidSettings(f"{variable} must be a URL that begins with postgresql://, or the path of an SQLite file")
    return value


def _alert(variable: str, value: str) -> str:
    """The value is not repeated: the address of a webhook is a secret."""
    if not value.startswith(("https://", "http://")) and not os.access(value, os.X_OK):
        raise InvalidSettings(f"{variable} must be a URL that begins with https://, or the path of a program")
    return value


def _as_it_is(_: str, value: str) -> str:
    return value


VARIABLES: dict[str, tuple[str, Callable[[str, str], Path | str]]] = {
    LANDING: ("landing", _folder),
    HOME: ("home", _folder),
    KEYS: ("keys", _folder),
    LINKAGE_BACKEND: ("linkage_backend", _backend),
    LEDGER: ("ledger", _ledger),
    PUBLISHER: ("publisher", _file),
    RETENTION: ("retention", _file),
    COUNCILS: ("councils", _there),
    AGREEMENTS: ("agreements", _there),
    CALENDAR: ("calendar", _file),
    PUBLISH_TO: ("publish_to", _as_it_is),
    ALERT: ("alert", _alert),
}
"""Every variable, the field of `Settings` that it fills, and how it is checked."""
