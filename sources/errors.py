"""The one error of an extract that cannot be taken."""

from __future__ import annotations

import traceback
from pathlib import Path


class ExtractStopped(Exception):
    """The extract is not taken. The message names the file, the rule and what to change, never a value."""


def unexpected(name: str, error: Exception) -> ExtractStopped:
    """Says kind and place of an error, not its message, which may quote a value. Messages call the file `name`."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return ExtractStopped(f"{name}: the file could not be read ({type(error).__name__} at {place}); please report this")
