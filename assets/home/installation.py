"""Folders of one installation, shared by commands and Dagster's steps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from assets.home.paths import Home
from privacy.doors.environment import get_settings
from privacy.keys import PIPELINE, Holder, KeyRing


@dataclass(frozen=True)
class Installation:
    """Absolute paths of one installation. `agreements` is None, the default, if there are no returns to services.

    Paths are fixed at process start, from options or the environment. In Dagster this is a plain object and not run
    configuration, so that someone with permission to launch runs cannot choose other keys, extracts or output folders.
    """

    landing: Path
    home: Home
    keys: Path
    agreements: Path | None = None

    @classmethod
    def build(
        cls,
        landing: Path | None = None,
        home: Path | None = None,
        keys: Path | None = None,
        agreements: Path | None = None,
    ) -> Self:
        """Build the installation from options, or the environment for those not given. Raises `InvalidSettings`."""
        found = get_settings()
        return cls(
            (landing or found.landing).resolve(),
            Home((home or found.home).resolve()),
            (keys or found.keys).resolve(),
            agreements or found.agreements,
        )

    @property
    def home_folder(self) -> Home:
        """Home folder, created if it is missing."""
        self.home.prepare()
        return self.home

    def load_keys(self, holder: Holder = PIPELINE) -> KeyRing:
        """Load and check the keys that `holder` needs. Raises `KeyProblem` if one is missing or wrong."""
        return KeyRing.load(self.keys, holder)
