"""The quality page of synthetic children: its Markdown as one page for a browser, in the look of reports."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ndl_export.pages import kit
from ndl_export.site.documents import document

_TEMPLATES = Path(__file__).parent / "templates"


def synthetic_page(name: str, text: str, names: Collection[str], notice: str) -> bytes:
    """The page of the document `name` with that Markdown; `names` are the files beside it, which it links to, and
    `notice` stands above it."""
    found = document(name, text.replace(f"**{notice}**\n\n", "", 1), {each: each for each in names})
    return kit.render(_TEMPLATES, "synthetic.html.j2", document=found, notice=notice).encode()
