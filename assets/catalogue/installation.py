"""The one resource that assets need: where landing, home and keys are, and what links.

`agreements_dir` is empty where nothing is returned, which is the default.
"""

from pathlib import Path
from typing import Self

import dagster as dg

from assets.home.paths import Home
from privacy.doors.environment import settings
from privacy.keys import PIPELINE, Holder, KeyRing
from privacy.linkage.backends import DUCKDB


class Installation(dg.ConfigurableResource):
    """Folders of one installation, as absolute paths, and where its candidate pairs are weighed
    (`privacy.linkage.backends`)."""

    landing_dir: str
    home_dir: str
    keys_dir: str
    linkage_backend: str = DUCKDB
    agreements_dir: str = ""

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
            landing_dir=str((landing or found.landing).resolve()),
            home_dir=str((home or found.home).resolve()),
            keys_dir=str((keys or found.keys).resolve()),
            linkage_backend=found.linkage_backend,
            agreements_dir=str(agreements or found.agreements or ""),
        )

    @property
    def landing_folder(self) -> Path:
        return Path(self.landing_dir)

    @property
    def home_folder(self) -> Home:
        home = Home(Path(self.home_dir))
        home.prepare()
        return home

    def open_home(self) -> Home:
        """The home folder for a step that reads rows. Where steps run, no removal is left unfinished in it: the
        definitions see to that (`pipelines.definitions`)."""
        return self.home_folder

    @property
    def agreements_folder(self) -> Path | None:
        """Folder of sharing agreements; None where nothing is returned."""
        return Path(self.agreements_dir) if self.agreements_dir else None

    def key_ring(self, holder: Holder = PIPELINE) -> KeyRing:
        """The keys that `holder` needs, read and checked each time; raises `KeyProblem`."""
        return KeyRing.load(Path(self.keys_dir), holder)
