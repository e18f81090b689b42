"""Links of the pages that are read where they lie lead to files and headings that are there.

`make site-docs` checks those of `docs/` as a site; here are those between files, as who reads the sources follows them.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import PROJECT

PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
SHOWN = re.compile(r"^```[\s\S]*?^```|^    .*$|`[^`\n]*`", re.MULTILINE)
"""What is shown as it stands, and is no link."""
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")


def _anchors(page: Path) -> set[str]:
    """Of the headings, as they are made of their words by those who show Markdown."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(SHOWN.sub("", page.read_text(encoding="utf-8"))):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert target.is_relative_to(PROJECT), link
        if anchor and target.suffix == ".md":
            assert anchor in _anchors(target), link


def test_links_are_found() -> None:
    assert sum(len(LINK.findall(page.read_text(encoding="utf-8"))) for page in PAGES) > 200
