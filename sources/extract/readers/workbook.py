"""Excel workbooks of XML parts (.xlsx).

Cells are streamed: memory holds the workbook's table of texts and some rows. (Libraries at hand read a cell five times
as slowly, or hold the whole sheet and do not show formulas.) Parts are XML, read by expat: no tree, no entity, nothing
fetched; what a part says of formulas, macros and links is never followed.
"""

from __future__ import annotations

import io
import posixpath
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import BinaryIO
from xml.parsers import expat

from sources.extract.readers.content import DAMAGE, Content, may_unpack_to, open_member, zip_entries
from sources.extract.readers.sheets import (
    MAX_CELLS,
    MAX_HELD,
    MAX_ROW_TEXT,
    MAX_ROWS,
    MAX_TEXT,
    POINTER_BYTES,
    Book,
    Sheet,
    SheetRow,
    is_date_format,
    number_text,
    numbered_sheets,
    serial_date,
)
from sources.extract.rules import DAMAGED, DOCUMENT_TYPE, LONG_ROW, LONG_VALUE, UNPACKS_TOO_LARGE, stopped

Attributes = dict[str, str]

_BLOCK_BYTES = 256 << 10
_ELEMENT_BYTES = 400
_MAX_NUMBER = 40
"""Characters of a number; longer ones are texts."""
_COLUMN = re.compile("[A-Z]{1,3}")
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
_TRUE_VALUES = ("1", "true")


class Package(Book):
    """A workbook's parts in a zip archive; raises `ExtractStopped` where one is missing or damaged. `main` is the part
    that lists its sheets."""

    def __init__(self, content: Content, main: str) -> None:
        self.name = content.name
        self._open = content.open
        with content.open() as stream:
            self._entries = {entry.filename.lower(): entry for entry in zip_entries(content.name, stream)}
            self._size = stream.seek(0, io.SEEK_END)
        self.may_hold = may_unpack_to(self._size)
        named = [part for kind, part in self.relations("").values() if kind == "officeDocument"]
        self.main = named[0] if named else main
        self.related = self.relations(self.main)

    def part_of(self, kind: str) -> str | None:
        """The part that the main one relates to as `kind`, if it does."""
        return next((part for of, part in self.related.values() if of == kind), None)

    def stream(self, part: str) -> BinaryIO:
        entry = self._entries.get(part.lower())
        if entry is None:
            raise stopped(self.name, DAMAGED)
        return open_member(self.name, self._open(), entry, self._size)

    def relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Kind and part of each part that `part` relates to, by the id it goes by there."""
        folder, file = posixpath.split(part)
        relations = posixpath.join(folder, "_rels", f"{file}.rels")
        if relations.lower() not in self._entries:
            return {}
        return {
            each.get("Id", ""): (
                posixpath.basename(each.get("Type", "")),
                posixpath.normpath(posixpath.join("/", folder, each.get("Target", ""))).lstrip("/"),
            )
            for tag, each in elements(self.name, self.stream(relations))
            if tag == "Relationship" and each.get("TargetMode") != "External"
        }


class Workbook(Package):
    """A workbook of XML parts."""

    def __init__(self, content: Content) -> None:
        super().__init__(content, "xl/workbook.xml")
        self._elements = elements(self.name, self.stream(self.main))

    @cached_property
    def sheets(self) -> list[Sheet]:
        return numbered_sheets(self.name, self._visible())

    def _visible(self) -> Iterator[tuple[str, str]]:
        for tag, attributes in self._elements:
            kind, part = self.related.get(attributes.get("id", ""), ("", ""))
            if tag == "sheet" and kind == "worksheet" and attributes.get("state", "visible") == "visible":
                yield attributes.get("name", ""), part

    def rows(self, sheet: Sheet) -> Iterator[list[SheetRow]]:
        with self.stream(sheet.part) as stream:
            yield from sheet_rows(self.name, stream, self._strings, self._date_styles, self._epoch_1904)

    @cached_property
    def _strings(self) -> list[str]:
        part = self.part_of("sharedStrings")
        return shared_strings(self.name, self.stream(part)) if part else []

    @cached_property
    def _epoch_1904(self) -> bool:
        return any(
            tag == "workbookPr" and attributes.get("date1904") in _TRUE_VALUES for tag, attributes in self._elements
        )

    @cached_property
    def _date_styles(self) -> list[bool]:
        """By cell style, whether its numbers are dates."""
        part = self.part_of("styles")
        found = elements(self.name, self.stream(part)) if part else []
        codes = {each.get("numFmtId"): each.get("formatCode", "") for tag, each in found if tag == "numFmt"}
        tags = [tag for tag, _ in found]
        cell_styles = found[tags.index("cellXfs") :] if "cellXfs" in tags else []
        formats = [attributes.get("numFmtId", "0") for tag, attributes in cell_styles if tag == "xf"]
        return [is_date_format(int(each) if each.isdecimal() else 0, codes.get(each)) for each in formats]


def parse(
    name: str,
    stream: BinaryIO,
    start: Callable[[str, Attributes], None],
    end: Callable[[str], None],
    text: Callable[[str], None],
) -> Iterator[None]:
    """Feed a part to the call-backs, which get local names; yields after each block. Raises `ExtractStopped`."""

    def refuse(*_: object) -> None:
        raise stopped(name, DOCUMENT_TYPE)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    fed = 0
    try:
        while block := stream.read(_BLOCK_BYTES):
            fed += len(block)
            parser.Parse(block, False)
            if fed - parser.CurrentByteIndex > MAX_TEXT + _BLOCK_BYTES:
                raise stopped(name, LONG_ROW)
            yield
        parser.Parse(b"", True)
        yield
    except (expat.ExpatError, *DAMAGE):
        raise stopped(name, DAMAGED) from None


def elements(name: str, stream: BinaryIO) -> list[tuple[str, Attributes]]:
    """Local name and attributes (by local name) of every element of a small part, in the order they begin."""
    found: list[tuple[str, Attributes]] = []
    size = 0

    def start(tag: str, attributes: Attributes) -> None:
        nonlocal size
        size += _ELEMENT_BYTES + len(tag) + sum(len(key) + len(value) for key, value in attributes.items())
        if size > MAX_HELD:
            raise stopped(name, UNPACKS_TOO_LARGE)
        found.append((local(tag), {local(key): value for key, value in attributes.items()}))

    for _ in parse(name, stream, start, lambda _: None, lambda _: None):
        pass
    return found


def shared_strings(name: str, stream: BinaryIO) -> list[str]:
    """The workbook's table of texts; runs of a formatted text joined, phonetic hints left out."""
    strings: list[str] = []
    pieces: list[str] = []
    inside = hint = False
    size = length = 0

    def start(tag: str, _: Attributes) -> None:
        nonlocal inside, hint
        tag = local(tag)
        hint = hint or tag == "rPh"
        inside = tag == "t" and not hint

    def end(tag: str) -> None:
        nonlocal inside, hint, size, length
        tag = local(tag)
        inside = False
        if tag == "rPh":
            hint = False
        elif tag == "si":
            strings.append(unescaped("".join(pieces)))
            size += sys.getsizeof(strings[-1]) + POINTER_BYTES
            if size > MAX_HELD:
                raise stopped(name, UNPACKS_TOO_LARGE)
            pieces.clear()
            length = 0

    def text(data: str) -> None:
        nonlocal length
        if inside:
            pieces.append(data)
            length += len(data)
            if length > MAX_TEXT:
                raise stopped(name, LONG_VALUE)

    for _ in parse(name, stream, start, end, text):
        pass
    return strings


def sheet_rows(
    name: str, stream: BinaryIO, strings: Sequence[str], date_styles: Sequence[bool], epoch_1904: bool
) -> Iterator[list[SheetRow]]:
    """The rows of a sheet that are written in it, block by block. Raises `ExtractStopped`."""
    reader = _SheetReader(name, strings, date_styles, epoch_1904)
    for _ in parse(name, stream, reader.start, reader.end, reader.text):
        yield reader.rows
        reader.rows = []


class _SheetReader:
    """Call-backs that build rows; types as text as a text file would have them."""

    def __init__(self, name: str, strings: Sequence[str], date_styles: Sequence[bool], epoch_1904: bool) -> None:
        self.rows: list[SheetRow] = []
        self._name, self._strings, self._date_styles, self._epoch_1904 = name, strings, date_styles, epoch_1904
        self._row, self._length = SheetRow(0), 0
        self._column, self._type, self._style = -1, "n", ""
        self._pieces: list[str] = []
        self._inside = self._hint = False

    def start(self, tag: str, attributes: Attributes) -> None:
        if ":" in tag:
            tag = local(tag)
        if tag == "c":
            reference = attributes.get("r")
            self._column = column_index(reference.rstrip("0123456789")) if reference else self._column + 1
            self._type = attributes.get("t", "n")
            self._style = attributes.get("s", "")
        elif tag == "v" or tag == "t":
            self._inside = not self._hint
        elif tag == "f":
            self._row.formulas.add(self._column)
        elif tag == "row":
            number = int(attributes.get("r") or self._row.number + 1)
            if not self._row.number < number <= MAX_ROWS:
                raise ValueError
            self._row, self._column, self._length = SheetRow(number), -1, 0
        elif tag == "rPh":
            self._hint = True

    def text(self, data: str) -> None:
        if self._inside:
            self._pieces.append(data)
            if len(self._pieces) > 1 and sum(map(len, self._pieces)) > MAX_TEXT:
                raise stopped(self._name, LONG_ROW)

    def end(self, tag: str) -> None:
        if ":" in tag:
            tag = local(tag)
        if tag == "v" or tag == "t":
            self._inside = False
        elif tag == "c":
            if self._pieces:
                text = self._as_text("".join(self._pieces))
                self._row.cells[self._column] = text
                self._length += len(text)
                if self._length > MAX_ROW_TEXT:
                    raise stopped(self._name, LONG_ROW)
                self._pieces.clear()
        elif tag == "row":
            if len(self._row.cells) > MAX_CELLS:
                raise stopped(self._name, LONG_ROW)
            self.rows.append(self._row)
        elif tag == "rPh":
            self._hint = False

    def _as_text(self, value: str) -> str:
        match self._type:
            case "s":
                return self._strings[int(value)]
            case "n":
                if len(value) > _MAX_NUMBER:
                    return value
                if self._style and self._date_styles[int(self._style)]:
                    return serial_date(value, self._epoch_1904)
                return value if value.isdigit() else number_text(value)
            case "b":
                return "TRUE" if value.strip() == "1" else "FALSE"
            case "d":
                return value.removesuffix("Z").replace("T00:00:00", "").replace("T", " ")
            case _:
                return unescaped(value)


def local(tag: str) -> str:
    """A name without its prefix."""
    return tag.rpartition(":")[2]


@lru_cache(maxsize=1 << 14)
def column_index(letters: str) -> int:
    """0 for A, 26 for AA; raises `ValueError` for what is no column."""
    if not _COLUMN.fullmatch(letters):
        raise ValueError
    index = 0
    for letter in letters:
        index = index * 26 + ord(letter) - ord("A") + 1
    return index - 1


def unescaped(text: str) -> str:
    """`_x000D_` is how a sheet writes a carriage return."""
    return _ESCAPED.sub(_character, text) if "_x" in text else text


def _character(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return found[0] if 0xD800 <= code <= 0xDFFF else chr(code)
