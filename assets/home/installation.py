"""The folders and settings of one installation, as commands and Dagster's resource share them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from assets.home.paths import Home
from privacy.doors.environment import settings
from privacy.keys import PIPELINE, Holder, KeyRing


@dataclass(frozen=True)
class Folders:
    """Folders of one installation, as absolute paths. `agreements` is None where nothing is returned, which is the
    default."""

    landing: Path
    home: Home
    keys: Path
    agreements: Path | None

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

    def key_ring(self, holder: Holder = PIPELINE) -> KeyRing:
        """The keys that `holder` needs, read and checked each time; raises `KeyProblem`."""
        return KeyRing.load(self.keys, holder)
