"""Checks that apply to every page of every release."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.areas import describe_missing
from tests.support.site.dom import get_words, parse
from tests.support.site.pages import Made

VALIDATOR = shutil.which("html-validate")
WITH_A_VALIDATOR = pytest.mark.skipif(VALIDATOR is None, reason=describe_missing("html"))
HOSTILE = "<script>alert(1)</script>", '"><b>x</b>'
PLACES = ("site", "bundle/site", "unpacked")
"""Places where a reader opens the pages: next to the bundles, in a bundle, and in an unpacked archive on its own."""


def find_linked_files(made: Made, place: str, scratch: Path) -> set[str]:
    """Follow every link of the pages at one of `PLACES`, and return the names of the linked files."""
    release_dir, version = made.site.parent.parent, made.facts.version
    if place == "unpacked":
        shutil.unpack_archive(release_dir / f"{version}.zip", scratch / "unpacked")
        release_dir = scratch / "unpacked"
    folder = release_dir / ("site" if place == "site" else f"{version}/site")
    roots = {path.resolve(): parse(path.read_text(encoding="utf-8")) for path in release_dir.rglob("site/*.html")}
    anchors = {path: {each.get("id") for each in root.iter()} for path, root in roots.items()}
    found = set()
    for path, root in roots.items():
        for link in root.iter("a") if path.parent == folder.resolve() else ():
            address, _, anchor = unquote(link.get("href", "")).partition("#")
            file = address.partition("?")[0]
            if not re.match("mailto:|https:", file):
                target = (folder / file).resolve() if file else path
                assert target.is_file(), (path.name, file)
                assert not anchor or anchor in anchors[target], (path.name, file, anchor)
                found.add(target.name)
    return found


def check_words_stay_words(pages: Iterable[bytes]) -> None:
    """Check that no page interprets `HOSTILE`, which all of them show, as markup."""
    for content in pages:
        root = parse(content.decode())
        assert len(list(root.iter("script"))) == 1
        assert not list(root.iter("b"))
        assert HOSTILE[0] in get_words(root)


def check_valid(pages: Iterable[Path]) -> None:
    command = [str(VALIDATOR), "--preset", "recommended", *map(str, pages)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
