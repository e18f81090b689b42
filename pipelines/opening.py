"""Open a home folder to work in it: a removal that broke off is finished before anything is read."""

from __future__ import annotations

from pathlib import Path

from assets.home.paths import Home
from privacy.doors.environment import settings
from privacy.keys import RESTRICTED, KeyRing


def opened(home: Home, keys: Path | None = None) -> Home:
    """The home folder, with no removal left unfinished; `keys` is the folder of a key set, by default the settings'.

    Raises `InUse` if a removal is still at work and does not end, and `KeyProblem` where one broke off whose rest needs
    keys that are not there.
    """
    if home.is_removal_unfinished:
        from assets.keeping.withdrawing import finish

        finish(home, KeyRing.load(keys or settings().keys, RESTRICTED))
    return home
