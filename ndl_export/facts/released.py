"""The releases in a release directory, and the names of the two files with which a bundle describes itself."""

from __future__ import annotations

from pathlib import Path

from ndl_export.facts.release_facts import InvalidVersion, Version

DATAPACKAGE_FILE = "datapackage.json"
PRIVACY_RECORD_FILE = "privacy_statement.json"


def list_versions(release_dir: Path) -> list[Version]:
    """Return the versions that have a bundle in `release_dir`, oldest first."""
    found = []
    for path in release_dir.iterdir() if release_dir.is_dir() else ():
        if not path.is_dir():
            continue
        try:
            found.append(Version.parse(path.name))
        # Temporary folders, `site` and `synthetic_children` are in the same folder as the bundles.
        except InvalidVersion:
            continue
    return sorted(found)
