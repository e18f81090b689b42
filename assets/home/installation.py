"""Folders of one installation, shared by commands and Dagster's steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from assets.home.paths import Home
from privacy.doors.environment import settings
from privacy.keys import PIPELINE, Holder, KeyRing


@dataclass(frozen=True)
class Installation:
    """Absolute paths of one installation. `agreements` is None if nothing is returned, which is the default.

    Fixed when the process starts, from its options or environment. In Dagster this is a plain object and not run
    configuration, so that someone who may launch a run cannot choose other keys, extracts or output folders.
    """

    landing: Path
    home: Home
    keys: Path
    agreements: Path | None = None

    @classmethod
    def at(
        cls,
        landing: Path | None = None,
        home: Path | None = None,
        keys: Path | None = None,
        agreements: Path | None = None,
    ) -> Self:
        """Build the installation from options, or from the environment where they are not given; raises
        `InvalidSettings`."""
        found = settings()
        return cls(
            (landing or found.landing).resolve(),
            Home((home or found.home).resolve()),
            (keys or found.keys).resolve(),
            agreements or found.agreements,
        )

    @property
    def home_folder(self) -> Home:
        """Return the home folder, created if it is missing."""
        self.home.prepare()
        return self.home

    def open_home(self) -> Home:
        """Return the home folder for a step that reads rows. Unfinished removals were completed when the definitions
        were loaded (`pipelines.definitions`)."""
        return self.home_folder

    def key_ring(self, holder: Holder = PIPELINE) -> KeyRing:
        """Load the keys that `holder` needs, checked each time; raises `KeyProblem`."""
        return KeyRing.load(self.keys, holder)
