"""The documents of a bundle as pages: its Markdown, in the look of the release page.

Markup in a document stays words, images are not shown, and a file of the bundle that is named becomes a link to it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import PurePath
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from ndl_export.documents.markdown import grid, noticed, page
from ndl_export.tables import ALL
from sources.reference.cohorts import Cohort

_MARKDOWN = ".md"
_RECONCILIATION = "reconciliation.csv"
_NUMBER = re.compile(r"[-−+]?\d[^ ]{0,11}( \w+| to [-−\d.,%]+)?$|$")
"""A cell that is read as a number, with its unit or as an interval, or that has none."""
_HELD = ("main", "sections")
"""Anchors that the page has of its own."""


@dataclass(frozen=True)
class Document:
    """A document as a page: `source` is the file of the bundle that it is made of, `body` its HTML without the title,
    `sections` the anchor and words of each heading of the second level."""

    source: str
    title: str
    body: str
    sections: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return page_of(self.source)

    @property
    def file(self) -> str:
        return f"{self.name}.html"


def is_document(name: str) -> bool:
    """Whether the file of a bundle has a page: its Markdown, and the reconciliation with official figures."""
    return name.endswith(_MARKDOWN) or name == _RECONCILIATION


def page_of(name: str) -> str:
    """`privacy_statement.md` as `privacy-statement`: the name of its page."""
    return PurePath(name).stem.lower().replace("_", "-")


def address(name: str) -> str:
    """Where a page leads to for a file of the bundle: the page of a document, `../` for any other."""
    return f"{page_of(name)}.html" if is_document(name) else f"../{name}"


def document(name: str, text: str, addresses: Mapping[str, str]) -> Document:
    """The Markdown `text` of the file `name`, in which the names of `addresses` become links to these."""
    tokens = _MARKUP.parse(text)
    titles = [at for at, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h1"]
    title = tokens[titles[0] + 1].content if titles else page_of(name)
    if titles:
        del tokens[titles[0] : titles[0] + 3]
    _link(tokens, addresses)
    _head(tokens)
    sections = tuple(_anchor(tokens))
    return Document(name, title, _MARKUP.renderer.render(tokens, _MARKUP.options, {}), sections)


def documents(files: Mapping[str, bytes], names: Collection[str], notice: str) -> tuple[Document, ...]:
    """The documents among `files` (content by name), in order of name; `names` are all files of the bundle.

    `notice`, which stands above every page, is left out of them.
    """
    found = []
    for name in sorted(filter(is_document, files), key=page_of):
        text = files[name].decode()
        text = _reconciliation(text) if name == _RECONCILIATION else text.removeprefix(noticed("", notice))
        found.append(document(name, text, {each: address(each) for each in names if each != name}))
    return tuple(found)


def _anchor(tokens: Sequence[Token]) -> Iterator[tuple[str, str]]:
    """Give every heading an anchor of its own; yields those of the second level."""
    taken = set(_HELD)
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        words = "".join(child.content for child in inline.children or ())
        first = anchor = re.sub("[^a-z0-9]+", "-", words.lower()).strip("-") or "section"
        number = 1
        while anchor in taken:
            number += 1
            anchor = f"{first}-{number}"
        taken.add(anchor)
        opening.attrSet("id", anchor)
        if opening.tag == "h2":
            yield anchor, words


def _link(tokens: Iterable[Token], addresses: Mapping[str, str]) -> None:
    """Make links of the names of files in code, and let links between documents lead to their pages."""
    for token in tokens:
        within, linked = 0, []
        for child in token.children or ():
            within += child.nesting if child.type.startswith("link_") else 0
            target = child.attrs.get("href") if child.type == "link_open" else None
            if isinstance(target, str):
                file, mark, anchor = target.partition("#")
                child.attrSet("href", addresses.get(file, file) + mark + anchor)
            if child.type == "code_inline" and not within and child.content in addresses:
                opening = Token("link_open", "a", 1, {"href": addresses[child.content]})
                linked += [opening, child, Token("link_close", "a", -1)]
            else:
                linked.append(child)
        token.children = linked or None


def _head(tokens: Sequence[Token]) -> None:
    """The first cell of a table's row heads it, a cell without words heads nothing, and numbers stand to the right."""
    rows: list[list[tuple[Token, str, Token]]] = []
    for at, token in enumerate(tokens):
        if token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append((token, tokens[at + 1].content, tokens[at + 2]))
        elif token.type == "table_close":
            _head_table(rows)


def _head_table(rows: Sequence[Sequence[tuple[Token, str, Token]]]) -> None:
    """`rows` of a table, the one above them first: each cell as what opens it, its words and what closes it."""
    for number, column in enumerate(zip(*rows, strict=True)):
        is_number = number > 0 and all(_NUMBER.match(words) for _, words, _ in column[1:])
        for place, (opening, words, closing) in enumerate(column):
            scope = "col" if place == 0 else "row" if number == 0 else ""
            opening.tag = closing.tag = "th" if scope and words else "td"
            opening.attrs = {"scope": scope} if opening.tag == "th" else {}
            if is_number:
                opening.attrSet("class", "number")


class _Renderer(RendererHTML):
    """HTML whose tables scroll in a frame of their own, which a keyboard can reach and which is named."""

    def table_open(self, tokens: Sequence[Token], at: int, *_: Any) -> str:
        number = sum(token.type == "table_open" for token in tokens[: at + 1])
        heading = next((tokens[i + 1].content for i in range(at, -1, -1) if tokens[i].type == "heading_open"), "")
        name = f"Table {number}: {heading}" if heading else f"Table {number}"
        escaped = name.replace("`", "").replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
        return f'<section class="frame" tabindex="0" aria-label="{escaped}">\n<table>\n'

    def table_close(self, *_: Any) -> str:
        return "</table>\n</section>\n"


_MARKUP = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table").disable("image")


def _reconciliation(text: str) -> str:
    """The lines of `reconciliation.csv` as Markdown: a table for each area of a cohort."""
    lines = list(csv.DictReader(io.StringIO(text)))
    head = (
        "Official figures are exact and of every child assessed; ours count the children in the extracts, with noise."
        " Of 100 rows that are complete, about 95 should have the official figure within our interval. This page shows"
        f" what `{_RECONCILIATION}` holds."
    )
    parts = ["# Our figures beside official ones", head]
    sources = "; ".join(dict.fromkeys(line["source"] for line in lines))
    parts.append(f"Sources: {sources}." if sources else "No official figure of these cohorts is held.")
    several = len({line["time_period"] for line in lines}) > 1
    for (cohort, area), own in groupby(lines, key=lambda line: (line["time_period"], line["area_name"])):
        parts += [f"## {area}, {Cohort(cohort).label}" if several else f"## {area}", _compared(list(own))]
    return page(*parts)


def _compared(lines: Sequence[Mapping[str, str]]) -> str:
    return grid(
        ("children", "official, %", "ours, %", "95% interval", "difference, points", "official is within", "note"),
        (
            (
                _group(line),
                line["official_percent"],
                line["percent"],
                f"{line['lower_ci']} to {line['upper_ci']}" if line["lower_ci"] else "",
                line["difference"],
                line["within_interval"],
                line["note"],
            )
            for line in lines
        ),
    )


def _group(line: Mapping[str, str]) -> str:
    parts = [line[column] for column in ("breakdown", "sex") if line[column] != ALL.label]
    return ", ".join(parts) or "All children"
