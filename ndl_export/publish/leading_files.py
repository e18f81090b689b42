"""What leads readers to the releases that stand at a place: catalogue, feed, page, database, `latest.json`.

It is made as in a release directory, from the bundles that are published at that place and no others, so that nothing
leads to a file that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ndl_export.analyst_db import DATABASE_FILE, build_database
from ndl_export.bundle.release_directory import CATALOGUE_FILE, FEED_FILE, LATEST_FILE, refresh
from ndl_export.facts.release_facts import Version
from ndl_export.facts.withdrawals import WITHDRAWN_FILE, Withdrawal, record
from ndl_export.site import SITE_FOLDER

_FIRST_PAGE = f"{SITE_FOLDER}/index.html"
_ORDER = (WITHDRAWN_FILE, CATALOGUE_FILE, DATABASE_FILE, FEED_FILE, f"{SITE_FOLDER}/", _FIRST_PAGE, LATEST_FILE)
"""The catalogue goes before whatever else changes: it is the record of what is published, which the next run reads."""


def leading_files(
    bundles: Mapping[Version, Path], withdrawn: Mapping[str, Withdrawal], scratch: Path
) -> dict[str, Path]:
    """Path of every leading file by its name, in the order in which they are replaced; written below `scratch`.

    `bundles` are the folders of all releases that are published, at least one.
    """
    for version, folder in bundles.items():
        (scratch / str(version)).symlink_to(folder.resolve(), target_is_directory=True)
    if withdrawn:
        record(scratch, {}, *withdrawn.values())
    refresh(scratch)
    build_database(scratch)
    made = [path for path in scratch.iterdir() if not path.is_symlink()]
    files = [file for path in made for file in (path.iterdir() if path.is_dir() else (path,))]
    return dict(
        sorted(((file.relative_to(scratch).as_posix(), file) for file in files), key=lambda each: _rank(each[0]))
    )


def is_leading(name: str) -> bool:
    """Whether a file of a release directory is one of these, as opposed to one of a bundle or to a stranger's."""
    return name in _ORDER or name.startswith(f"{SITE_FOLDER}/")


def _rank(name: str) -> tuple[int, str]:
    folder = f"{SITE_FOLDER}/" if name.startswith(f"{SITE_FOLDER}/") else name
    return _ORDER.index(name if name in _ORDER else folder), name
