"""Files written by others: opened only if they are regular, and destroyed without following a link.

A pipe, device or socket could block for ever or never end. A file to be destroyed is checked once it is open, so a file
with another hard link keeps its content, even if someone swaps it in at the last moment.
"""

import errno
import os
import stat
from io import BufferedReader, FileIO
from pathlib import Path

from privacy.doors.files import overwrite

# Does not wait on a pipe that has replaced the file.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
# Opens the path itself rather than a link's target, and does not wait on a pipe.
_ITSELF = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLDER = getattr(os, "O_DIRECTORY", 0)


class NotRegular(OSError):
    """Raised if a path is not a regular file."""


class LeadsOut(OSError):
    """Raised if a path is a link that leads out of its folder."""


def open_regular(path: Path, within: Path | None = None) -> BufferedReader:
    """Open a file, following links only within `within`. Raises `NotRegular`, `LeadsOut` or another `OSError`."""
    # Checked before it is opened, because opening a device can have effects, and again afterwards, because the path may
    # have been replaced in between.
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


def destroy(path: Path) -> None:
    """Overwrite and unlink a file, or a folder of files; a link is only unlinked.

    Raises `IsADirectoryError` for a folder that contains folders, and other `OSError`.
    """
    # Names are looked up in the open folder, so a folder that is replaced by a link meanwhile leads nowhere else.
    parent = os.open(path.parent, os.O_RDONLY | _FOLDER)
    try:
        _destroy(parent, path.name)
    finally:
        os.close(parent)


def _destroy(parent: int, name: str) -> None:
    try:
        folder = os.open(name, os.O_RDONLY | _FOLDER | _ITSELF, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        return _destroy_file(parent, name)
    try:
        for each in sorted(os.listdir(folder)):  # noqa: PTH208 - by its handle
            _destroy_file(folder, each)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=parent)


def _destroy_file(folder: int, name: str) -> None:
    try:
        file = os.open(name, os.O_RDWR | _ITSELF, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):  # a link or a socket: only unlinked
            raise
    else:
        try:
            found = os.fstat(file)
            # With a second hard link the content also belongs to a file elsewhere, which must not be lost.
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                overwrite(file)
        finally:
            os.close(file)
    os.unlink(name, dir_fd=folder)
