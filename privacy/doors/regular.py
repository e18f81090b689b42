"""The one way to open what others have put somewhere: a regular file, or nothing.

A pipe, a device or a socket would be waited for, or would never end.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader, FileIO
from pathlib import Path

_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class NotRegular(OSError):
    """Something else than a regular file stands there."""


class LeadsOut(OSError):
    """A link stands there that leaves its folder."""


def open_regular(path: Path, within: Path | None = None) -> BufferedReader:
    """The file at `path`, open for reading; a link is followed, but not out of `within`. Raises `NotRegular`,
    `LeadsOut`, or another `OSError`.

    It is looked at before it is opened, since to open a device can do something, and again afterwards, since another
    may stand there by then.
    """
    _check(path.stat())
    handle = os.open(path, os.O_RDONLY | _AT_ONCE)
    try:
        _check(os.fstat(handle))
        if within and not _place(handle, path).is_relative_to(within.resolve(strict=True)):
            raise LeadsOut(errno.EXDEV, "a link that leaves its folder")
        return BufferedReader(FileIO(handle))
    except BaseException:
        os.close(handle)
        raise


def leads_out(path: Path, folder: Path) -> bool:
    """Whether `path` leads out of `folder` by a link, or to nowhere, as one that leads to itself does."""
    try:
        return not path.resolve(strict=True).is_relative_to(folder.resolve(strict=True))
    except (OSError, RuntimeError):
        return True


def _place(handle: int, path: Path) -> Path:
    """Where an open file lies, as Linux tells it; elsewhere, where its path leads by now."""
    told = f"/proc/self/fd/{handle}"
    return Path(os.readlink(told)) if os.path.lexists(told) else path.resolve()  # noqa: PTH115


def _check(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotRegular(errno.EINVAL, "not a regular file")
