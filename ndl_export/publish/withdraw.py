"""Withdraws a release: its files stay as they were signed, but nothing presents it as current any more."""

import datetime as dt
from pathlib import Path

from ndl_export.analyst_db import build_database
from ndl_export.bundle.release_directory import find_current_version, refresh
from ndl_export.facts.directory_files import Withdrawal, load_withdrawals, record_withdrawals
from ndl_export.facts.release_facts import Version
from ndl_export.facts.released import list_versions
from ndl_export.files.whole_files import lock_folder
from privacy.doors.typed import is_line


class WithdrawalRefused(Exception):
    """Nothing was withdrawn; the message says why."""


def check_withdrawal(release_dir: Path, version: str, reason: str) -> Version | None:
    """Return the version that would be current after the withdrawal; None if none would be left.

    Raises `WithdrawalRefused`, and `UnreadableWithdrawals` if the list of earlier withdrawals cannot be read.
    """
    check_reason(release_dir, version, reason)
    known = load_withdrawals(release_dir)
    if version in known:
        raise _build_repeat_error(known[version])
    return max((each for each in list_versions(release_dir) if str(each) not in {*known, version}), default=None)


def withdraw(release_dir: Path, version: str, reason: str, day: dt.date) -> Version | None:
    """Withdraw the release as of `day`, and return the version that is then current, or None if none is left.

    Raises `WithdrawalRefused`, and `UnreadableWithdrawals` if the list of earlier withdrawals cannot be read.
    """
    shown = check_reason(release_dir, version, reason)
    with lock_folder(release_dir):
        known = load_withdrawals(release_dir)
        if version not in known:
            record_withdrawals(release_dir, known, Withdrawal(version, day.isoformat(), shown))
        refresh(release_dir)  # also after an interrupted withdrawal, when the command is repeated
    # After the block, because building takes the same lock.
    build_database(release_dir)
    if version in known:
        raise _build_repeat_error(known[version])
    return find_current_version(release_dir)


def check_reason(release_dir: Path, version: str, reason: str) -> str:
    """Return the reason as readers see it. Raises `WithdrawalRefused` if there is no such release."""
    found = [str(each) for each in list_versions(release_dir)]
    if version not in found:
        raise WithdrawalRefused(f"there is no release {version} in {release_dir}: {', '.join(found) or 'it has none'}")
    shown = " ".join(reason.split())
    if not is_line(shown):
        raise WithdrawalRefused("readers see the reason for a withdrawal: write it as one line of printable text")
    return shown


def _build_repeat_error(earlier: Withdrawal) -> WithdrawalRefused:
    return WithdrawalRefused(f"release {earlier.version} is withdrawn already, since {earlier.date}")
