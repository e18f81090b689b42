"""Opens a home folder, finishing an interrupted removal before anything is read."""

from pathlib import Path

from assets.home.paths import Home
from privacy.doors.environment import get_settings
from privacy.keys import RESTRICTED, KeyRing


def open_home(home: Home, keys: Path | None = None) -> Home:
    """Finish an interrupted removal and return the home folder; `keys` is the folder of a key set.

    Raises `InUse` if a removal does not end, and `KeyProblem` if finishing it needs keys that are missing.
    """
    if home.is_removal_unfinished:
        # loads intake and linkage, which an ordinary opening does not need
        from assets.keeping.withdrawing import finish

        finish(home, KeyRing.load(keys or get_settings().keys, RESTRICTED))
    return home
