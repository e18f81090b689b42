"""The folders of one installation, as commands and the steps of Dagster share them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from assets.home.paths import Home
from privacy.doors.environment import settings
from privacy.keys import PIPELINE, Holder, KeyRing


@dataclass(frozen=True)
class Installation:
    """Folders of one installation, as absolute paths. `agreements` is None where nothing is returned, which is the
    default.

    The process that starts fixes them, from its options or environment. In Dagster they are a plain object and no
    configuration, so that whoever may launch a run cannot choose other keys, extracts or places to write to.
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
        """The installation that options describe, else the environment; raises `InvalidSettings`."""
        found = settings()
        return cls(
            (landing or found.landing).resolve(),
            Home((home or found.home).resolve()),
            (keys or found.keys).resolve(),
            agreements or found.agreements,
        )

    @property
    def home_folder(self) -> Home:
        """The home folder, made where there is none."""
        self.home.prepare()
        return self.home

    def open_home(self) -> Home:
        """The home folder for a step that reads rows. Where steps run, no removal is left unfinished in it: the
        definitions see to that (`pipelines.definitions`)."""
        return self.home_folder

    def key_ring(self, holder: Holder = PIPELINE) -> KeyRing:
        """The keys that `holder` needs, read and checked each time; raises `KeyProblem`."""
        return KeyRing.load(self.keys, holder)
