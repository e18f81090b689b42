"""The documents of a bundle as pages in the style of the release page, and its files as the README lists them.

HTML in a document is shown as text, images are not shown, and names of the bundle's files become links.
"""

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, groupby, pairwise
from pathlib import Path, PurePath
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from ndl_export.pages import kit
from ndl_export.tables import ALL
from sources.reference.cohorts import Cohort

_MARKDOWN = ".md"
_TEMPLATES = Path(__file__).parent / "templates"
_RECONCILIATION = "reconciliation.csv"
_NUMBER = re.compile(r"[-−+]?\d[^ ]{0,11}( \w+| to [-−\d.,%]+)?$|$")
"""Matches a cell that is aligned as a number: a number with a unit or as an interval, or an empty cell."""
_OWN_ANCHORS = ("main", "sections")
"""Anchors that the page itself uses."""


@dataclass(frozen=True)
class DocumentPage:
    """A document as a page: file, title, HTML without the title, and anchor and text of each section."""

    source: str
    title: str
    body: str
    sections: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return name_document_page(self.source)


def is_document(name: str) -> bool:
    """Check whether a file of the bundle has a page: Markdown files and the reconciliation with official figures do."""
    return name.endswith(_MARKDOWN) or name == _RECONCILIATION


def name_document_page(name: str) -> str:
    """Return the name of a document's page: `privacy-statement` for `privacy_statement.md`."""
    return PurePath(name).stem.lower().replace("_", "-")


def get_address(name: str) -> str:
    """Return the link to a file of the bundle: the page of a document, `../` and the name for any other file."""
    return f"{name_document_page(name)}.html" if is_document(name) else f"../{name}"


def render_document(name: str, text: str, addresses: Mapping[str, str]) -> DocumentPage:
    """Render the Markdown `text` of the file `name`; names in `addresses` become links to those addresses."""
    tokens = _MARKUP.parse(text)
    titles = [at for at, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h1"]
    title = tokens[titles[0] + 1].content if titles else name_document_page(name)
    if titles:
        # A heading is three tokens: opening, text and closing. The page shows the title itself.
        del tokens[titles[0] : titles[0] + 3]
    _link(tokens, addresses)
    _mark_headings(tokens)
    sections = tuple(_anchor(tokens))
    return DocumentPage(name, title, _MARKUP.renderer.render(tokens, _MARKUP.options, {}), sections)


def render_documents(files: Mapping[str, bytes], names: Collection[str], notice: str) -> tuple[DocumentPage, ...]:
    """Render the documents among `files` (content by name), in order of page name; `names` are all files of the bundle.

    `notice` is removed from the documents, because every page shows it at the top.
    """
    found = []
    for name in sorted(filter(is_document, files), key=name_document_page):
        text = files[name].decode().removeprefix(kit.add_notice("", notice))
        text = _render_reconciliation(text) if name == _RECONCILIATION else text
        found.append(render_document(name, text, {each: get_address(each) for each in names if each != name}))
    return tuple(found)


def render_synthetic_page(name: str, text: str, names: Collection[str], notice: str) -> bytes:
    """Render the quality page of synthetic children, which links to the files `names`, in the style of reports."""
    found = render_document(name, text.replace(f"**{notice}**\n\n", "", 1), {each: each for each in names})
    return kit.render(_TEMPLATES, "synthetic.html.j2", document=found, notice=notice).encode()


def _anchor(tokens: Sequence[Token]) -> Iterator[tuple[str, str]]:
    """Set a unique anchor on every heading; yield anchor and text of those of the second level."""
    taken = set(_OWN_ANCHORS)
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        words = "".join(child.content for child in inline.children or ())
        first = re.sub("[^a-z0-9]+", "-", words.lower()).strip("-") or "section"
        numbered = (f"{first}-{number}" for number in count(2))
        anchor = next(each for each in chain([first], numbered) if each not in taken)
        taken.add(anchor)
        opening.attrSet("id", anchor)
        if opening.tag == "h2":
            yield anchor, words


def _link(tokens: Iterable[Token], addresses: Mapping[str, str]) -> None:
    """Turn file names in code into links, and point links between documents at their pages."""
    for token in tokens:
        within, linked = 0, []
        for child in token.children or ():
            within += child.nesting if child.type.startswith("link_") else 0
            target = child.attrs.get("href") if child.type == "link_open" else None
            if isinstance(target, str):
                file, mark, anchor = target.partition("#")
                child.attrSet("href", addresses.get(file, file) + mark + anchor)
            # Not within a link: links cannot be nested.
            if child.type == "code_inline" and not within and child.content in addresses:
                opening = Token("link_open", "a", 1, {"href": addresses[child.content]})
                linked += [opening, child, Token("link_close", "a", -1)]
            else:
                linked.append(child)
        token.children = linked or None


def _mark_headings(tokens: Sequence[Token]) -> None:
    """Turn the first row and column of tables into headings, except empty cells, and align numbers to the right."""
    # Each cell is its opening token, its text and its closing token.
    rows: list[list[tuple[Token, str, Token]]] = []
    for at, token in enumerate(tokens):
        if token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append((token, tokens[at + 1].content, tokens[at + 2]))
        elif token.type == "table_close":
            for number, column in enumerate(zip(*rows, strict=True)):
                is_number = number > 0 and all(_NUMBER.match(words) for _, words, _ in column[1:])
                for place, (opening, words, closing) in enumerate(column):
                    scope = "col" if place == 0 else "row" if number == 0 else ""
                    opening.tag = closing.tag = "th" if scope and words else "td"
                    opening.attrs = {"scope": scope} if opening.tag == "th" else {}
                    if is_number:
                        opening.attrSet("class", "number")


class _Renderer(RendererHTML):
    """HTML renderer whose tables scroll in a labelled section that can be reached with the keyboard."""

    def table_open(self, tokens: Sequence[Token], at: int, *_: Any) -> str:
        # Numbered, because two tables may follow one heading and each section needs a different name.
        number = sum(token.type == "table_open" for token in tokens[: at + 1])
        heading = next((tokens[i + 1].content for i in range(at, -1, -1) if tokens[i].type == "heading_open"), "")
        name = f"Table {number}: {heading}" if heading else f"Table {number}"
        escaped = name.replace("`", "").replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
        return f'<section class="frame" tabindex="0" aria-label="{escaped}">\n<table>\n'

    def table_close(self, *_: Any) -> str:
        return "</table>\n</section>\n"


# A document may quote what people typed, so nothing in it may become markup that a browser runs or fetches.
_MARKUP = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table").disable("image")


def _render_reconciliation(text: str) -> str:
    """Return the lines of `reconciliation.csv` as Markdown, with a table for each area of a cohort."""
    lines = list(csv.DictReader(io.StringIO(text)))
    for line in lines:
        groups = [line[column] for column in ("breakdown", "sex") if line[column] != ALL.label]
        line["group"] = ", ".join(groups) or "All children"
        line["interval"] = f"{line['lower_ci']} to {line['upper_ci']}" if line["lower_ci"] else ""
        line["cohort"] = Cohort(line["time_period"]).label
    return kit.render(
        _TEMPLATES,
        "reconciliation.md",
        file=_RECONCILIATION,
        sources=dict.fromkeys(line["source"] for line in lines),
        several=len({line["cohort"] for line in lines}) > 1,
        parts=groupby(lines, key=lambda line: (line["cohort"], line["area_name"])),
    )
