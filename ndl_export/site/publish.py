"""`release/site/`: the page of the newest release, where it can be opened without knowing a version."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ndl_export.site.pages import SITE_FOLDER

_TO_BUNDLE = 'href="../'
_TO_PAGE = re.compile(r'href="(?![#.]|[a-z]+:)')


def publish_site(release_dir: Path, version: str) -> None:
    """Put a copy of the page of `version` into `release_dir`, all its links leading to the files of that bundle.

    So every page belongs to one release, whatever moment it is read at, though they are replaced one after the other.
    A copy and not a symbolic link: browsers resolve links from the address that they opened, and not every web server
    follows symbolic ones. Each file is replaced in one step.
    """
    place, scratch = release_dir / SITE_FOLDER, release_dir / f".{SITE_FOLDER}"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(release_dir / version / SITE_FOLDER, scratch)
    for page in scratch.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        leading = _TO_PAGE.sub(f'href="../{SITE_FOLDER}/', text).replace(_TO_BUNDLE, f"{_TO_BUNDLE}{version}/")
        page.write_text(leading, encoding="utf-8", newline="\n")
    place.mkdir(exist_ok=True)
    shutil.copymode(scratch, place)
    for file in sorted(scratch.iterdir()):
        file.replace(place / file.name)
    scratch.rmdir()
