"""Opens files written by others, if they are regular files.

A pipe, device or socket could block for ever or never end.
"""

import errno
import os
import stat
from io import BufferedReader, FileIO
from pathlib import Path

# Does not wait on a pipe that has replaced the file.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class NotRegular(OSError):
    """The path is not a regular file."""


class LeadsOut(OSError):
    """The path is a link that leads out of its folder."""


def open_regular(path: Path, within: Path | None = None) -> BufferedReader:
    """Open the file at `path` for reading, following links only within `within`.

    Raises `NotRegular`, `LeadsOut` or another `OSError`.
    """
    # Before it is opened, because opening a device can have effects; again afterwards, because the path may have been
    # replaced in between.
    _check(path.stat())
    handle = os.open(path, os.O_RDONLY | _AT_ONCE)
    try:
        _check(os.fstat(handle))
        # The open file is checked, because a link may be put into the path after any check of the path.
        if within:
            opened = f"/proc/self/fd/{handle}"  # Linux reports its path; other systems resolve the path again
            place = Path(os.readlink(opened)) if os.path.lexists(opened) else path.resolve()  # noqa: PTH115
            if not place.is_relative_to(within.resolve(strict=True)):
                raise LeadsOut(errno.EXDEV, "a link that leaves its folder")
        return BufferedReader(FileIO(handle))
    except BaseException:
        os.close(handle)
        raise


def is_link_out(path: Path, folder: Path) -> bool:
    """Return whether `path` is a link out of `folder` or a broken link, such as a link to itself."""
    try:
        return not path.resolve(strict=True).is_relative_to(folder.resolve(strict=True))
    # Before Python 3.13 a link to itself raises RuntimeError.
    except (OSError, RuntimeError):
        return True


def _check(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotRegular(errno.EINVAL, "not a regular file")
