"""The reader of each format of workbook."""

from __future__ import annotations

from collections.abc import Callable

from sources.extract.readers.binary_workbook import BinaryWorkbook
from sources.extract.readers.content import Content, Format
from sources.extract.readers.old_workbook import OldWorkbook
from sources.extract.readers.open_document import OpenDocument
from sources.extract.readers.sheets import Book
from sources.extract.readers.workbook import Workbook

BOOKS: dict[Format, Callable[[Content], Book]] = {
    Format.WORKBOOK: Workbook,
    Format.BINARY_WORKBOOK: BinaryWorkbook,
    Format.OLD_WORKBOOK: OldWorkbook,
    Format.OPEN_DOCUMENT: OpenDocument,
}


def book_of(content: Content) -> Book | None:
    """The workbook that a file holds, if it holds one; raises `ExtractStopped` where that cannot be read."""
    reader = BOOKS.get(content.format)
    return reader(content) if reader else None
