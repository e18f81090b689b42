"""Files beside the bundles of a release directory: `latest`, `latest.json`, `site`, `api`, the catalogue and the feed.

They depend only on the bundles, their synthetic children, `withdrawn.json`, `upcoming.json` and `requests.json`. Each
is replaced in one step, after the bundle is in its place. The first three lead to the current release, the newest
version that is not withdrawn; if every release is withdrawn, none of them exists. `api`, the catalogue and the feed
have every release, and mark withdrawn ones. The files of a withdrawn release stay as they were signed.
"""

import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ndl_export.analyst_db.build import update_database
from ndl_export.api.static import publish_api
from ndl_export.facts import directory_files
from ndl_export.facts.directory_files import CATALOGUE_FILE, FEED_FILE, LATEST_FILE
from ndl_export.facts.release_facts import (
    DATAPACKAGE_FILE,
    SITE_FOLDER,
    Version,
    Withdrawal,
    list_versions,
    load_withdrawals,
    record_withdrawals,
)
from ndl_export.facts.synthetic import SYNTHETIC_FOLDER
from ndl_export.files.signing import SUMS_FILE
from ndl_export.files.whole_files import format_json, lock_folder, point, write_whole
from ndl_export.metadata.catalogue import Published, build_catalogue, build_feed
from ndl_export.site import publish_site
from privacy.doors.typed import is_line

LATEST = "latest"
_RECORD = "dcat.jsonld"


def find_current_version(release_dir: Path) -> Version | None:
    """Return the newest version that is not withdrawn, or None. Raises `UnreadableWithdrawals`."""
    withdrawn = load_withdrawals(release_dir)
    return max((version for version in list_versions(release_dir) if str(version) not in withdrawn), default=None)


def announce_upcoming(release_dir: Path, entries: Sequence[directory_files.Announced], today: dt.date) -> None:
    """Replace the announcements that readers see. Raises `UnreadableWithdrawals`."""
    _refresh_after(release_dir, lambda: directory_files.announce(release_dir, entries, today))


def replace_register(
    release_dir: Path, entries: Sequence[directory_files.AskedTable], budgets: Sequence[directory_files.Budget]
) -> None:
    """Replace the published register of requests. Raises `UnreadableWithdrawals`."""
    _refresh_after(release_dir, lambda: directory_files.write_register(release_dir, entries, budgets))


def _refresh_after(release_dir: Path, write: Callable[[], bool]) -> None:
    """Write a file of the release directory, and update the others if it changed."""
    release_dir.mkdir(parents=True, exist_ok=True)
    with lock_folder(release_dir):
        # Before the first release there is no catalogue, feed or page to update.
        if write() and list_versions(release_dir):
            refresh(release_dir)


def refresh(release_dir: Path) -> None:
    """Update everything beside the bundles. Raises `UnreadableWithdrawals` and `UnreadableRegister`."""
    newest, there = find_current_version(release_dir), [str(version) for version in list_versions(release_dir)]
    announced, register = directory_files.list_upcoming(release_dir, there), directory_files.read_register(release_dir)
    if newest is None:
        for name in (LATEST, LATEST_FILE):
            (release_dir / name).unlink(missing_ok=True)
        shutil.rmtree(release_dir / SITE_FOLDER, ignore_errors=True)
    else:
        point(release_dir / LATEST, str(newest))
        publish_site(release_dir, str(newest), announced, register, load_withdrawals(release_dir))
    if there:
        update_database(release_dir)
    publish_api(release_dir)
    releases = read_published(release_dir)
    write_whole(release_dir / CATALOGUE_FILE, format_json(build_catalogue(releases, announced or (), register)))
    write_whole(release_dir / FEED_FILE, build_feed(releases, announced or (), register))
    if newest is not None:
        issued = {each.version: each.issued for each in releases}[str(newest)]
        sums = (release_dir / str(newest) / SUMS_FILE).read_bytes()
        # Paths are relative to the release directory.
        latest = {
            "version": str(newest),
            "published": issued,
            "folder": f"{newest}/",
            "zip": f"{newest}.zip",
            "tar": f"{newest}.tar",
            "page": f"{newest}/{SITE_FOLDER}/index.html",
            "sha256sums": hashlib.sha256(sums).hexdigest(),
        }
        write_whole(release_dir / LATEST_FILE, format_json(latest))


def read_published(release_dir: Path) -> list[Published]:
    """Return every release with its catalogue record, oldest first. Raises `UnreadableWithdrawals`."""
    withdrawn, found = load_withdrawals(release_dir), []
    for version in map(str, list_versions(release_dir)):
        bundle, beside = release_dir / version, release_dir / SYNTHETIC_FOLDER / version / DATAPACKAGE_FILE
        record, package = (json.loads((bundle / name).read_bytes()) for name in (_RECORD, DATAPACKAGE_FILE))
        synthetic = json.loads(beside.read_bytes()) if beside.is_file() else None
        found.append(Published(version, record, withdrawn.get(version), package.get("notice", ""), synthetic))
    return found


class BundleRefused(Exception):
    """A bundle or synthetic children were not written; the message says why and what to do."""


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
