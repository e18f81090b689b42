"""Checks every link within the site of the documentation: it has text and leads to a page, and to a place on it."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


def list_broken_links(site: Path) -> Iterator[str]:
    """Yield a sentence for each link without text, and for each that leads to no file or place of the site."""
    pages = {path.resolve(): _read_page(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        about = path.relative_to(site.resolve())
        for address, has_text in page.links:
            if not has_text:
                yield f"{about}: the link to {address} has no text"
            url = urlsplit(address)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not target.is_file():
                yield f"{about}: {address} leads to no file"
            elif url.fragment and target in pages and unquote(url.fragment) not in pages[target].places:
                yield f"{about}: {address} leads to no place on the page"


class _Page(HTMLParser):
    """The links of a page, each with its address and whether a reader sees or hears what it is, and its places."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, bool]] = []
        self.places: set[str] = set()
        self._address: str | None = None
        self._has_text = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.places.update(filter(None, (found.get("id"), found.get("name"))))
        if tag == "a" and found.get("href") is not None:
            self._address, self._has_text = found["href"], bool(found.get("aria-label"))
        elif found.get("alt") or found.get("aria-label"):
            self._has_text = True

    def handle_data(self, data: str) -> None:
        self._has_text = self._has_text or bool(data.strip())

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._address is not None:
            self.links.append((self._address, self._has_text))
            self._address = None


def _read_page(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page
