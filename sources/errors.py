"""The error raised for an extract that cannot be accepted."""

import traceback
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HeadingsMissing:
    """Missing headings, each with the heading that may be its new name (or ""), and the file's unused headings. Only
    the sender may see these."""

    missing: tuple[tuple[str, str], ...]
    unused: tuple[str, ...]


class ExtractStopped(Exception):
    """The extract is not accepted. The message names the file's location, the rule and what to change.

    The message repeats nothing that the sender wrote: columns, sheets and archive members are numbered. `for_sender`
    is the same message with the sender's own headings; it and `headings` stay in the restricted zone. None of them
    contains a value.
    """

    def __init__(self, message: str, for_sender: str = "", headings: HeadingsMissing | None = None) -> None:
        super().__init__(message)
        self.for_sender = for_sender or message
        self.headings = headings


def wrap_error(name: str, error: Exception) -> ExtractStopped:
    """Return `error` as an `ExtractStopped`; messages call the extract `name`.

    For any other error, only its type and location are given: its message may quote a value.
    """
    if isinstance(error, ExtractStopped):
        return error
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return ExtractStopped(f"{name}: the file could not be read ({type(error).__name__} at {place}); please report this")
