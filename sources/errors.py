"""The one error of an extract that cannot be taken."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HeadingsMissing:
    """Headings that a file lacks, each with the one of its own that it may be renamed to or nothing, and those of its
    own that are used for nothing. For the sender alone."""

    missing: tuple[tuple[str, str], ...]
    unused: tuple[str, ...]


class ExtractStopped(Exception):
    """The extract is not taken. The message names the place of the file, the rule and what to change.

    It repeats nothing that a sender wrote: columns, sheets and members go by number. `for_sender` is the same for the
    sender, who finds its own headings in it; it stays in the restricted zone, as do the `headings` that are missing.
    None of them holds a value.
    """

    def __init__(self, message: str, for_sender: str = "", headings: HeadingsMissing | None = None) -> None:
        super().__init__(message)
        self.for_sender = for_sender or message
        self.headings = headings


def unexpected(name: str, error: Exception) -> ExtractStopped:
    """Return an error as the reason to stop an extract, which messages call `name`.

    Of any error but `ExtractStopped` it says kind and place, not the message, which may quote a value.
    """
    if isinstance(error, ExtractStopped):
        return error
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return ExtractStopped(f"{name}: the file could not be read ({type(error).__name__} at {place}); please report this")
