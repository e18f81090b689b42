"""Links of the pages that are read where they lie lead to files and headings that are there.

`make site-docs` checks those of `docs/` as a site; here are those between files, as who reads the sources follows them.
"""

import re
from pathlib import Path

from tests.support import PROJECT

PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
SHOWN = re.compile(r"^```[\s\S]*?^```|^    .*$|`[^`\n]*`", re.MULTILINE)
"""What is shown as it stands, and is no link."""
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")


def _anchors(page: Path) -> set[str]:
    """Of the headings, as they are made of their words by those who show Markdown."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    links = [(page, link) for page in PAGES for link in LINK.findall(SHOWN.sub("", page.read_text(encoding="utf-8")))]
    assert len(links) > 200
    for page, link in links:
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), (page, link)
        assert target.is_relative_to(PROJECT), (page, link)
        if anchor and target.suffix == ".md":
            assert anchor in _anchors(target), (page, link)
