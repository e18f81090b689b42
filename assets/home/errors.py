"""Turns unexpected errors into one sentence that says what to do and never shows a value.

The project's own errors pass through unchanged. Errors from the system and from libraries may quote a row, so only
their type and location are kept, with advice for a full disk, missing permissions or a damaged file.
"""

import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.parquet

from privacy.doors.typed import is_line
from sources.contracts import CONTRACTS
from sources.extract.landing import is_extract_name

PACKAGES = ("assets", "ndl_export", "pipelines", "privacy", "sources")
_ADVICE_ON_MACHINES = {
    # errno 27, 28 and 122: file too large, no space left on device, disk quota exceeded
    r"no space left|disk is full|disk quota|file too large|disk i/o error|errno (?:27|28|122)": (
        "the disk is full or fails{where}: free some space and run again; nothing that was finished is lost"
    ),
    r"permission denied|read-only file system|operation not permitted|readonly database|unable to open database file": (
        "this may not be written or read{where}: give the account that runs the pipeline the right to, and run again;"
        " nothing that was finished is lost"
    ),
    r"memoryerror|out of memory|unable to allocate|cannot allocate memory|malloc of size": (
        "memory ran out: give the machine or container more, or let less run beside this, and run again (docs/scale.md"
        " says what takes how much); nothing that was finished is lost"
    ),
}
"""What to do about a machine that lacks disk, rights or memory."""
_ADVICE = _ADVICE_ON_MACHINES | {
    r"filenotfounderror": "a file that a step needs is gone{where}: put it back, or run again from the intake",
}
"""What to do about errors, by what their classes or messages say; the first that is found counts."""
_QUOTED_PATH = re.compile(r"""(['"])(/.+?)\1""")


class StepFailed(Exception):
    """Raised if a step failed unexpectedly. The message is one sentence without any value of a row."""


class Refused(Exception):
    """Raised if a request cannot be carried out. The message says why, and what to do."""


class Damaged(Exception):
    """Raised if a file of the restricted zone cannot be read. The message names it and says how to restore it."""


def describe_unexpected_error(error: Exception) -> str:
    """Describe an error from the system or a library in one sentence."""
    if advice := _find_advice(error, _ADVICE):
        return advice.format(where=_format_place(error))
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"stopped by {type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}; please report this"


def is_of_machine(error: Exception) -> bool:
    """Return whether an error from the system or a library is about disk, rights or memory."""
    return not is_own(error) and _find_advice(error, _ADVICE_ON_MACHINES) is not None


def _find_advice(error: Exception, advice: Mapping[str, str]) -> str | None:
    message = f"{type(error).__name__}: {_join_messages(error)}"
    return next((text for pattern, text in advice.items() if re.search(pattern, message, re.IGNORECASE)), None)


def describe_error(error: Exception) -> str:
    """Return the message of the project's own errors, and a plain sentence for any other."""
    return str(error) if is_own(error) else describe_unexpected_error(error)


def is_own(error: Exception) -> bool:
    """Return whether the error belongs to one of the project's own classes."""
    return type(error).__module__.partition(".")[0] in PACKAGES


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise `StepFailed`, whose traceback has no values, for errors that are neither the project's nor Dagster's."""
    try:
        yield
    except Exception as error:
        if is_own(error) or type(error).__module__.partition(".")[0] == "dagster":
            raise
        # without its cause, whose message may quote a row
        raise StepFailed(describe_unexpected_error(error)).with_traceback(error.__traceback__) from None


def check_readable(root: Path, path: Path) -> None:
    """Raise `Damaged` if a Parquet file is incomplete. Only the footer is read, which a truncated file lacks."""
    try:
        pyarrow.parquet.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # a system error, not a damaged file
            raise
        raise build_damage_error(root, path) from None


def build_damage_error(root: Path, path: Path) -> Damaged:
    """Build the error for an incomplete file of the home folder `root`."""
    return Damaged(f"{path.relative_to(root)} is damaged: {_REMEDY.get(path.name, _TAKE_IN_AGAIN)}")


_LINK_AGAIN = "run the linkage of the cohort again, which makes it anew; nothing was charged"
_TAKE_IN_AGAIN = "put the extract into landing and run its intake again, or restore the file from a backup"
_REMEDY = {
    "links.parquet": "restore it from a backup, or remove it and link again, and every child gets a new child_id",
    "pairs.parquet": "remove it and run the linkage of the cohort again, which weighs every pair anew",
    "children.parquet": _LINK_AGAIN,
    "reviewed_children.parquet": _LINK_AGAIN,
    "responses.parquet": _LINK_AGAIN,
}


def _join_messages(error: BaseException) -> str:
    """Return the messages of an error and its causes, because a library's error often wraps the system's."""
    found, seen = "", error
    while seen is not None:
        found += f" {seen}"
        seen = seen.__cause__ or seen.__context__  # type: ignore[assignment]
    return found


def _format_place(error: Exception) -> str:
    """Return ` (path)` if the error names one, else an empty string.

    The sender chooses names below a source's folder, so they are left out unless they follow the naming rules.
    """
    name = getattr(error, "filename", None) or next((path for _, path in _QUOTED_PATH.findall(str(error))), None)
    if not name:
        return ""
    path = PurePath(str(name))
    below = next((at for at, part in enumerate(path.parts, 1) if part in CONTRACTS), len(path.parts))
    sent = path.parts[below:]
    shown = path if not sent or (len(sent) == 1 and is_extract_name(sent[0])) else PurePath(*path.parts[:below])
    return f" ({shown})" if is_line(str(shown)) else ""
