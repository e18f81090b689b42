"""Destruction of files written by others: overwrites and unlinks regular files.

Links are never followed, and a file with another hard link keeps its content, even if someone swaps one in at the last
moment: nothing is opened through a link, and files are checked after they are opened.
"""

import errno
import os
import stat
from pathlib import Path

from privacy.doors.files import overwrite

# Opens the path itself rather than a link's target, and does not wait on a pipe.
_ITSELF = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLDER = getattr(os, "O_DIRECTORY", 0)


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
