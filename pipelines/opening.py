"""Open a home folder to work in it: a removal that broke off is finished before anything is read."""

from __future__ import annotations

from assets.home.paths import Home
from assets.keeping.forgetting import finish


def opened(home: Home) -> Home:
    """The home folder, with no removal left unfinished. Raises `InUse` if one is still at work and does not end."""
    if home.unfinished_removal.exists():
        finish(home)
    return home
