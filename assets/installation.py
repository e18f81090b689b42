"""The one resource that assets need: where landing, home and keys are, and what links."""

from pathlib import Path

import dagster as dg

from assets.home import Home
from privacy.keys import KeyRing
from privacy.linkage.backends import DUCKDB


class Installation(dg.ConfigurableResource):
    """Folders of one installation, as absolute paths, and where its candidate pairs are weighed
    (`privacy.linkage.backends`)."""

    landing_dir: str
    home_dir: str
    keys_dir: str
    linkage_backend: str = DUCKDB

    @property
    def landing_folder(self) -> Path:
        return Path(self.landing_dir)

    @property
    def home_folder(self) -> Home:
        home = Home(Path(self.home_dir))
        home.prepare()
        return home

    def key_ring(self) -> KeyRing:
        """The key set, read and checked each time it is needed; raises `KeyProblem`."""
        return KeyRing.load(Path(self.keys_dir))
