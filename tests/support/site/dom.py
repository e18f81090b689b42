"""Strict parser of a page into a tree of elements: every element must be closed, in order."""

from html.parser import HTMLParser
from xml.etree.ElementTree import Element, TreeBuilder

VOID = {"meta", "link", "br", "input", "img", "hr"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.builder, self.open = TreeBuilder(), [""]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self.builder.end(tag)
        else:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> closes itself outside a drawing"
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        self.builder.end(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else, at {self.getpos()}"
        self.builder.end(tag)

    def handle_data(self, data: str) -> None:
        if len(self.open) > 1:
            self.builder.data(data)


def parse(page: str) -> Element:
    assert page.startswith("<!DOCTYPE html>\n")
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == [""], f"{reader.open} are never closed"
    return reader.builder.close()


def has_class(element: Element, name: str) -> bool:
    return name in element.get("class", "").split()


def get_words(element: Element | None) -> str:
    return "" if element is None else " ".join("".join(element.itertext()).split())
