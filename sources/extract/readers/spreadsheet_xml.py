"""The XML parts of an Excel workbook, by expat, streamed: no tree, no entity, nothing fetched.

A part is read in blocks and calls back; what it says of formulas, macros and links is never followed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import BinaryIO
from xml.parsers import expat

from sources.extract.readers.content import DAMAGE
from sources.extract.rules import DAMAGED, DOCUMENT_TYPE, LONG_ROW, stopped

Attributes = dict[str, str]

MAX_ROWS = 1 << 20
"""Rows of a sheet (ECMA-376, as Excel has them)."""
_BLOCK_BYTES = 256 << 10
_MAX_TEXT = 1 << 20
_MAX_CELLS = 1 << 14
_COLUMN = re.compile("[A-Z]{1,3}")
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")


@dataclass(slots=True)
class SheetRow:
    """A row of a sheet: its number there, the text of each filled cell by column from 0, the columns with a formula."""

    number: int
    cells: dict[int, str] = field(default_factory=dict)
    formulas: list[int] = field(default_factory=list)


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
            if fed - parser.CurrentByteIndex > _MAX_TEXT + _BLOCK_BYTES:
                raise stopped(name, LONG_ROW)
            yield
        parser.Parse(b"", True)
        yield
    except (expat.ExpatError, *DAMAGE):
        raise stopped(name, DAMAGED) from None


def elements(name: str, stream: BinaryIO) -> list[tuple[str, Attributes]]:
    """Local name and attributes (by local name) of every element of a small part, in the order they begin."""
    found: list[tuple[str, Attributes]] = []

    def start(tag: str, attributes: Attributes) -> None:
        found.append((local(tag), {local(key): value for key, value in attributes.items()}))

    for _ in parse(name, stream, start, lambda _: None, lambda _: None):
        pass
    return found


def shared_strings(name: str, stream: BinaryIO) -> list[str]:
    """The workbook's table of texts; runs of a formatted text joined, phonetic hints left out."""
    strings: list[str] = []
    pieces: list[str] = []
    inside = hint = False

    def start(tag: str, _: Attributes) -> None:
        nonlocal inside, hint
        tag = local(tag)
        hint = hint or tag == "rPh"
        inside = tag == "t" and not hint

    def end(tag: str) -> None:
        nonlocal inside, hint
        tag = local(tag)
        inside = False
        if tag == "rPh":
            hint = False
        elif tag == "si":
            strings.append(unescaped("".join(pieces)))
            pieces.clear()

    def text(data: str) -> None:
        if inside:
            pieces.append(data)

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
        self._row = SheetRow(0)
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
            self._row.formulas.append(self._column)
        elif tag == "row":
            number = int(attributes.get("r") or self._row.number + 1)
            if not self._row.number < number <= MAX_ROWS:
                raise ValueError
            self._row, self._column = SheetRow(number), -1
        elif tag == "rPh":
            self._hint = True

    def text(self, data: str) -> None:
        if self._inside:
            self._pieces.append(data)
            if len(self._pieces) > 1 and sum(map(len, self._pieces)) > _MAX_TEXT:
                raise stopped(self._name, LONG_ROW)

    def end(self, tag: str) -> None:
        if ":" in tag:
            tag = local(tag)
        if tag == "v" or tag == "t":
            self._inside = False
        elif tag == "c":
            if self._pieces:
                self._row.cells[self._column] = self._as_text("".join(self._pieces))
                self._pieces.clear()
        elif tag == "row":
            if len(self._row.cells) > _MAX_CELLS:
                raise stopped(self._name, LONG_ROW)
            self.rows.append(self._row)
        elif tag == "rPh":
            self._hint = False

    def _as_text(self, value: str) -> str:
        match self._type:
            case "s":
                return self._strings[int(value)]
            case "n":
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


@lru_cache(maxsize=1 << 14)
def number_text(value: str) -> str:
    """A number to the 15 digits that Excel has, whole ones without a decimal point; other text as it is."""
    try:
        number = float(value)
    except ValueError:
        return value
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    return format(number, ".15g")


@lru_cache(maxsize=1 << 14)
def serial_date(value: str, epoch_1904: bool) -> str:
    """A date serial as an ISO date, with the time where it has one; another number as it is.

    Serials of the 1900 system count 29 February 1900, a day that was not, as 60 (ECMA-376 part 1, 18.17.4.1).
    """
    try:
        days, seconds = divmod(round(float(value) * 86400), 86400)
        if days < (0 if epoch_1904 else 1):
            return number_text(value)
        if epoch_1904:
            moment = datetime(1904, 1, 1) + timedelta(days=days, seconds=seconds)
        elif days == 60:
            return "1900-02-29"
        else:
            moment = datetime(1899, 12, 31 if days < 60 else 30) + timedelta(days=days, seconds=seconds)
    except (ArithmeticError, ValueError):
        return number_text(value)
    return moment.isoformat(" ") if seconds else moment.date().isoformat()


def unescaped(text: str) -> str:
    """`_x000D_` is how a sheet writes a carriage return."""
    return _ESCAPED.sub(_character, text) if "_x" in text else text


def _character(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return found[0] if 0xD800 <= code <= 0xDFFF else chr(code)
