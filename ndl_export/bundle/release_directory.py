"""What stands beside the bundles of a release directory: `latest`, `latest.json`, `site`, catalogue and feed.

All of it follows from the bundles and `withdrawn.json`, the same on every machine and at any time, and is replaced in
one step each, after the bundle is in its place. `latest` is a symbolic link to the current release: the newest version
(by version, not by time of writing) that is not withdrawn; `latest.json` says the same where there are no links. `site`
is its page. Where every release is withdrawn, there is none of the three.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from ndl_export.facts.release_facts import InvalidVersion, Version
from ndl_export.facts.withdrawals import withdrawals
from ndl_export.files.signing import SUMS_FILE
from ndl_export.files.whole_files import indented_json, point, write_whole
from ndl_export.metadata.catalogue import Published, catalogue, feed
from ndl_export.site import SITE_FOLDER, publish_site

LATEST = "latest"
LATEST_FILE = "latest.json"
CATALOGUE_FILE = "catalogue.jsonld"
FEED_FILE = "feed.xml"
_RECORD = "dcat.jsonld"


def versions(release_dir: Path) -> list[Version]:
    """Versions that have a bundle in `release_dir`, oldest first."""
    found = []
    for path in release_dir.iterdir() if release_dir.is_dir() else ():
        if not path.is_dir():
            continue
        try:
            found.append(Version.parse(path.name))
        except InvalidVersion:
            continue
    return sorted(found)


def current(release_dir: Path) -> Version | None:
    """The newest version that is not withdrawn, if any. Raises `UnreadableWithdrawals`."""
    withdrawn = withdrawals(release_dir)
    return max((version for version in versions(release_dir) if str(version) not in withdrawn), default=None)


def refresh(release_dir: Path) -> None:
    """Bring everything beside the bundles up to date; there must be one. Raises `UnreadableWithdrawals`."""
    newest = current(release_dir)
    if newest is None:
        for name in (LATEST, LATEST_FILE):
            (release_dir / name).unlink(missing_ok=True)
        shutil.rmtree(release_dir / SITE_FOLDER, ignore_errors=True)
    else:
        point(release_dir / LATEST, str(newest))
        publish_site(release_dir, str(newest))
    releases = published(release_dir)
    write_whole(release_dir / CATALOGUE_FILE, indented_json(catalogue(releases)))
    write_whole(release_dir / FEED_FILE, feed(releases))
    if newest is not None:
        write_whole(release_dir / LATEST_FILE, indented_json(_latest(release_dir, newest)))


def _latest(release_dir: Path, newest: Version) -> dict[str, str]:
    """The current release; places relative to the release directory, `sha256sums` the SHA-256 of its file of sums."""
    listed = (release_dir / str(newest) / SUMS_FILE).read_bytes()
    return {
        "version": str(newest),
        "published": newest.first_day,
        "folder": f"{newest}/",
        "zip": f"{newest}.zip",
        "tar": f"{newest}.tar",
        "page": f"{newest}/{SITE_FOLDER}/index.html",
        "sha256sums": hashlib.sha256(listed).hexdigest(),
    }


def published(release_dir: Path) -> list[Published]:
    """Every release with its own catalogue record, oldest first. Raises `UnreadableWithdrawals`."""
    withdrawn = withdrawals(release_dir)
    return [
        Published(str(version), _record(release_dir / str(version)), withdrawn.get(str(version)))
        for version in versions(release_dir)
    ]


def _record(bundle: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((bundle / _RECORD).read_text(encoding="utf-8"))
    return record
