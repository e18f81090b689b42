"""The documents of a bundle as pages: all that they say, nothing that a browser would run or fetch."""

import re

from ndl_export.site.documents import render_documents
from tests.support.site.dom import get_words, parse
from tests.support.site.pages import DOCUMENTS, Made

HOSTILE = """**Made up.**

# A title with <b>markup</b> & `code`

<script>alert(1)</script> [one](javascript:alert(1)) ![two](https://example.org/x.png) <img src=x onerror=alert(1)>

## The same
## The same
## Main

| | share | of |
| --- | --- | --- |
| Leeds | 12.5% | `notes.md`, `other.md` |
| Wirral | [withheld] | [there](notes.md#the-same) |
"""


def page(text: str, notice: str = "Made up.") -> str:
    [document] = render_documents({"hostile.md": text.encode()}, {"hostile.md", "notes.md", "a.csv"}, notice)
    return document.body


def test_markup_in_a_document_stays_words() -> None:
    [document] = render_documents({"hostile.md": HOSTILE.encode()}, {"hostile.md", "notes.md"}, "Made up.")
    assert document.title == "A title with <b>markup</b> & `code`"
    root = parse(f"<!DOCTYPE html>\n<html>{document.body}</html>")
    assert not {each.tag for each in root.iter()} & {"script", "img", "b"}
    assert "<script>alert(1)</script>" in get_words(root)
    assert "Made up." not in get_words(root)
    assert {link.get("href") for link in root.iter("a")} == {
        "https://example.org/x.png",
        "notes.html",
        "notes.html#the-same",
    }
    assert [each.get("id") for each in root.iter("h2")] == ["the-same", "the-same-2", "main-2"]


def test_every_document_says_on_its_page_what_it_says(whole: Made) -> None:
    for name in DOCUMENTS - {"reconciliation.csv"}:
        text = (whole.site.parent / name).read_text(encoding="utf-8")
        shown = get_words(next(parse(whole.read_page(name.partition(".")[0].lower().replace("_", "-"))).iter("main")))
        prose = re.sub(r"```\w*|^#+ |^- |^\d+\. |[|`*\\]|\(https?:[^)]*\)|[\[\]<>]|---", " ", text, flags=re.MULTILINE)
        missing = [word for word in prose.split() if word not in shown]
        assert not missing, (name, missing[:5])
