"""Excel workbooks of binary parts (.xlsb): records in a zip archive ([MS-XLSB]), streamed as the XML of a .xlsx is."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Iterator
from functools import cached_property
from typing import BinaryIO

from sources.extract.readers.content import Content
from sources.extract.readers.sheets import (
    MAX_HELD,
    MAX_TEXT,
    POINTER_BYTES,
    RowsRead,
    Sheet,
    SheetRow,
    Styles,
    error_text,
    is_date_format,
    numbered_sheets,
    rk_number,
    stopping_at_damage,
)
from sources.extract.readers.workbook import Package
from sources.extract.rules import DAMAGED, LONG_VALUE, UNPACKS_TOO_LARGE, stopped

_ROW, _RK, _ERROR, _TRUTH, _REAL, _TEXT, _SHARED, _RICH = 0, 2, 3, 4, 5, 6, 7, 62
_FORMULAS = {8: _TEXT, 9: _REAL, 10: _TRUTH, 11: _ERROR}
"""Records of a cell with a formula, whose result is written as in the cell without one."""
_CELLS = {*range(1, 12), _RICH}
_END_OF_SHEET = 146
_SHARED_ITEM, _FORMAT, _STYLE, _STYLES, _END_OF_STYLES = 19, 44, 47, 617, 618
_BOOK_PROPERTIES, _BOOK_SHEET = 153, 156
_HIDDEN = 3
_NO_TEXT = 0xFFFFFFFF
_LONGEST_RECORD = 2 * MAX_TEXT + 64
_STYLE_BYTES = 8
_BLOCK_BYTES = 256 << 10


class BinaryWorkbook(Package):
    """A workbook of binary parts; raises `ExtractStopped` where one is missing or damaged."""

    def __init__(self, content: Content) -> None:
        super().__init__(content, "xl/workbook.bin")

    @cached_property
    def sheets(self) -> list[Sheet]:
        with stopping_at_damage(self.name):
            return numbered_sheets(self.name, self._visible())

    def _visible(self) -> Iterator[tuple[str, str]]:
        for kind, data in self._records(self.main):
            if kind == _BOOK_SHEET:
                relation, at = _text(data, 8)
                of, part = self.related.get(relation, ("", ""))
                if of == "worksheet" and not data[0] & _HIDDEN:
                    yield _text(data, at)[0], part

    def rows(self, sheet: Sheet) -> Iterator[list[SheetRow]]:
        read, number = RowsRead(self.name), 0
        with stopping_at_damage(self.name):
            for kind, data in self._records(sheet.part):
                if kind == _ROW:
                    number = _integer(data, 0) + 1
                    if rows := read.full():
                        yield rows
                elif kind in _CELLS and number:
                    text = self._cell(_FORMULAS.get(kind, kind), data)
                    read.add(number, _integer(data, 0), text, kind in _FORMULAS)
                elif kind == _END_OF_SHEET:
                    yield read.rest()
                    return
            raise stopped(self.name, DAMAGED)

    def _cell(self, kind: int, data: bytes) -> str:
        """The text of a cell: 8 bytes say where it stands and how it is shown, what it holds comes after."""
        if kind == _SHARED:
            return self._strings[_integer(data, 8)]
        if kind == _TEXT:
            return _text(data, 8)[0]
        if kind == _RICH:
            return _text(data, 9)[0]
        if kind == _TRUTH:
            return "TRUE" if data[8] else "FALSE"
        if kind == _ERROR:
            return error_text(data[8])
        if kind not in (_RK, _REAL):
            return ""
        number = rk_number(_integer(data, 8)) if kind == _RK else struct.unpack_from("<d", data, 8)[0]
        return self._styles.text(number, int.from_bytes(data[4:7], "little"))

    @cached_property
    def _strings(self) -> list[str]:
        strings: list[str] = []
        size = 0
        for kind, data in self._records(self.part_of("sharedStrings")):
            if kind == _SHARED_ITEM:
                strings.append(_text(data, 1)[0])
                size += sys.getsizeof(strings[-1]) + POINTER_BYTES
                if size > MAX_HELD:
                    raise stopped(self.name, UNPACKS_TOO_LARGE)
        return strings

    @cached_property
    def _styles(self) -> Styles:
        codes: dict[int, str] = {}
        are_dates: list[bool] = []
        of_cells, size = False, 0
        for kind, data in self._records(self.part_of("styles")):
            if kind == _FORMAT:
                number = int.from_bytes(data[:2], "little")
                codes[number] = _text(data, 2)[0]
                size += sys.getsizeof(codes[number])
            elif kind in (_STYLES, _END_OF_STYLES):
                of_cells = kind == _STYLES
            elif kind == _STYLE and of_cells:
                number = int.from_bytes(data[2:4], "little")
                are_dates.append(is_date_format(number, codes.get(number)))
                size += _STYLE_BYTES
            if size > MAX_HELD:
                raise stopped(self.name, UNPACKS_TOO_LARGE)
        properties = (data for kind, data in self._records(self.main) if kind == _BOOK_PROPERTIES)
        return Styles(are_dates, bool(next(properties, b"\0")[0] & 1))

    def _records(self, part: str | None) -> Iterator[tuple[int, bytes]]:
        """Kind and bytes of each record of a part; none where there is no such part."""
        if part is None:
            return
        with self.stream(part) as raw:
            stream = io.BufferedReader(raw, _BLOCK_BYTES)  # type: ignore[type-var]
            while (kind := _number(stream, 2)) is not None:
                size = _number(stream, 4)
                if size is None:
                    raise EOFError
                if size > _LONGEST_RECORD:
                    raise stopped(self.name, LONG_VALUE)
                data = stream.read(size)
                if len(data) < size:
                    raise EOFError
                yield kind, data


def _number(stream: BinaryIO, most: int) -> int | None:
    """A number in seven bits a byte, the low ones first; None at the end ([MS-XLSB] 2.1.4)."""
    value = 0
    for index in range(most):
        byte = stream.read(1)
        if not byte:
            if index:
                raise EOFError
            return None
        value |= (byte[0] & 0x7F) << 7 * index
        if not byte[0] & 0x80:
            break
    return value


def _integer(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def _text(data: bytes, at: int) -> tuple[str, int]:
    """A text and where it ends ([MS-XLSB] 2.5.169, XLWideString)."""
    length = _integer(data, at)
    if length == _NO_TEXT:
        return "", at + 4
    end = at + 4 + 2 * length
    if end > len(data):
        raise EOFError
    return data[at + 4 : end].decode("utf-16-le"), end
