"""Excel workbooks of 1997 to 2003 (.xls): records (BIFF8, [MS-XLS]) of one stream in a compound file.

The stream is held in memory, up to `MAX_BYTES`; its rows are read one after the other, as those of a .xlsx are.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property

from sources.extract.readers.compound_file import CompoundFile
from sources.extract.readers.content import Content, may_unpack_to
from sources.extract.readers.sheets import (
    MAX_HELD,
    POINTER_BYTES,
    Book,
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
from sources.extract.rules import (
    MACRO_WORKBOOK,
    OLD_WORKBOOK,
    OTHER_FORMAT,
    PASSWORD,
    UNPACKS_TOO_LARGE,
    WORKBOOK_TOO_LARGE,
    stopped,
)

MAX_BYTES = 128 << 20
"""Of a file: 65,536 rows of 100 columns are 100 MiB."""
_BEGIN, _END, _CONTINUE, _PASSWORD = 0x0809, 0x000A, 0x003C, 0x002F
_EPOCH, _SHEET, _STRINGS, _FORMAT, _STYLE = 0x0022, 0x0085, 0x00FC, 0x041E, 0x00E0
_SHARED, _NUMBER, _RK, _SEVERAL_RK, _TRUTH_OR_ERROR = 0x00FD, 0x0203, 0x027E, 0x00BD, 0x0205
_TEXTS = (0x0204, 0x00D6)
_FORMULA, _FORMULA_TEXT = 0x0006, 0x0207
_CELLS = {_SHARED, _NUMBER, _RK, _SEVERAL_RK, _TRUTH_OR_ERROR, _FORMULA, *_TEXTS}
_BIFF8, _WIDE, _RICH, _PHONETIC = 0x0600, 1, 8, 4
_MAX_PIECES, _MAX_STYLES = 1 << 20, 1 << 16
Record = tuple[int, memoryview]


class OldWorkbook(Book):
    """A workbook of Excel 97 to 2003; raises `ExtractStopped` where it is damaged, older, encrypted or has macros."""

    def __init__(self, content: Content) -> None:
        self.name = content.name
        with stopping_at_damage(self.name):
            self._stream = memoryview(_workbook_stream(content))
            self.may_hold = may_unpack_to(len(self._stream))
            if struct.unpack_from("<H", self._stream, 4)[0] != _BIFF8:
                raise stopped(self.name, OLD_WORKBOOK)
            if any(kind == _PASSWORD for kind, _ in self._records(0)):
                raise stopped(self.name, PASSWORD)

    @cached_property
    def sheets(self) -> list[Sheet]:
        with stopping_at_damage(self.name):
            return numbered_sheets(self.name, self._visible())

    def _visible(self) -> Iterator[tuple[str, str]]:
        for kind, data in self._records(0):
            if kind == _SHEET:
                at, state, of = struct.unpack_from("<IBB", data)
                if of == 0 and state & 3 == 0:
                    yield _text(data[7:], data[6]), str(at)

    def rows(self, sheet: Sheet) -> Iterator[list[SheetRow]]:
        read = RowsRead(self.name)
        with stopping_at_damage(self.name):
            for number, column, text, formula in self._cells(int(sheet.part)):
                if rows := read.full():
                    yield rows
                read.add(number, column, text, formula)
            yield read.rest()

    def _cells(self, at: int) -> Iterator[tuple[int, int, str, bool]]:
        """Row from 1, column from 0, text, and whether there is a formula, of each cell that is written."""
        of_formula = (0, 0)
        for kind, data in self._records(at):
            if kind in _CELLS:
                row, column, style = struct.unpack_from("<HHH", data)
                of_formula = (row + 1, column)
                for further, text in enumerate(self._of_cell(kind, data, style)):
                    yield row + 1, column + further, text, kind == _FORMULA
            elif kind == _FORMULA_TEXT:
                yield *of_formula, _long_text(data), True

    def _of_cell(self, kind: int, data: memoryview, style: int) -> Iterator[str]:
        """The texts of a record's cells, side by side; of a formula what it gave last, where that is no text."""
        if kind == _SHARED:
            yield self._strings[struct.unpack_from("<I", data, 6)[0]]
        elif kind == _NUMBER:
            yield self._styles.text(struct.unpack_from("<d", data, 6)[0], style)
        elif kind == _RK:
            yield self._styles.text(rk_number(struct.unpack_from("<I", data, 6)[0]), style)
        elif kind == _SEVERAL_RK:
            for style, value in struct.iter_unpack("<HI", data[4:-2]):
                yield self._styles.text(rk_number(value), style)
        elif kind == _TRUTH_OR_ERROR:
            yield _truth_or_error(data[6], data[7])
        elif kind in _TEXTS:
            yield _long_text(data[6:])
        elif data[12:14] != b"\xff\xff":
            yield self._styles.text(struct.unpack_from("<d", data, 6)[0], style)
        else:
            yield _truth_or_error(data[8], data[6] - 1) if data[6] in (1, 2) else ""

    @cached_property
    def _strings(self) -> list[str]:
        pieces: list[memoryview] = []
        for kind, data in self._records(0):
            if kind == _STRINGS or (pieces and kind == _CONTINUE):
                pieces.append(data)
            elif pieces:
                break
            if len(pieces) > _MAX_PIECES:
                raise stopped(self.name, UNPACKS_TOO_LARGE)
        strings: list[str] = []
        size = 0
        for text in _shared_strings(pieces) if pieces else ():
            strings.append(text)
            size += sys.getsizeof(text) + POINTER_BYTES
            if size > MAX_HELD:
                raise stopped(self.name, UNPACKS_TOO_LARGE)
        return strings

    @cached_property
    def _styles(self) -> Styles:
        codes: dict[int, str] = {}
        formats: list[int] = []
        epoch_1904 = False
        for kind, data in self._records(0):
            if kind == _FORMAT:
                codes[struct.unpack_from("<H", data)[0]] = _long_text(data[2:])
            elif kind == _STYLE and len(formats) < _MAX_STYLES:
                formats.append(struct.unpack_from("<H", data, 2)[0])
            elif kind == _EPOCH:
                epoch_1904 = data[0] == 1
        return Styles([is_date_format(number, codes.get(number)) for number in formats], epoch_1904)

    def _records(self, at: int) -> Iterator[Record]:
        """Kind and content of each record from the one that begins a part to the one that ends it, without those of
        parts within (charts)."""
        depth = 0
        while True:
            kind, size = struct.unpack_from("<HH", self._stream, at)
            data = self._stream[at + 4 : at + 4 + size]
            if len(data) < size or (depth == 0 and kind != _BEGIN):
                raise EOFError
            at += 4 + size
            depth += (kind == _BEGIN) - (kind == _END)
            if depth == 0:
                return
            if depth == 1:
                yield kind, data


def _workbook_stream(content: Content) -> bytes:
    try:
        with content.open() as stream:
            file = CompoundFile(stream, MAX_BYTES)
    except OverflowError:
        raise stopped(content.name, WORKBOOK_TOO_LARGE) from None
    if "encryptedpackage" in file.names:
        raise stopped(content.name, PASSWORD)
    if "_vba_project_cur" in file.names:
        raise stopped(content.name, MACRO_WORKBOOK)
    if "workbook" in file.names:
        return file.read("workbook")
    if "book" in file.names:
        raise stopped(content.name, OLD_WORKBOOK)
    raise stopped(content.name, OTHER_FORMAT, "it is an office document")


def _truth_or_error(value: int, is_error: int) -> str:
    if is_error:
        return error_text(value)
    return "TRUE" if value else "FALSE"


def _text(data: memoryview, length: int) -> str:
    """A text of so many characters behind a byte that says how wide they are ([MS-XLS] 2.5.293)."""
    wide = data[0] & _WIDE
    end = 1 + length * (2 if wide else 1)
    if end > len(data):
        raise EOFError
    return bytes(data[1:end]).decode("utf-16-le" if wide else "latin-1")


def _long_text(data: memoryview) -> str:
    return _text(data[2:], struct.unpack_from("<H", data)[0])


def _shared_strings(pieces: Sequence[memoryview]) -> Iterator[str]:
    """The workbook's table of texts, which runs over a record and those that continue it ([MS-XLS] 2.4.265)."""
    reader = _Pieces(pieces)
    count = struct.unpack("<II", reader.take(8))[1]
    for _ in range(count):
        if reader.at_end:
            return
        length, flags = struct.unpack("<HB", reader.take(3))
        runs = struct.unpack("<H", reader.take(2))[0] if flags & _RICH else 0
        hint = struct.unpack("<I", reader.take(4))[0] if flags & _PHONETIC else 0
        yield reader.text(length, flags & _WIDE)
        reader.skip(4 * runs + hint)


class _Pieces:
    """Reads on from one record into the next. Where a text runs on, the next one begins with how wide it is there."""

    def __init__(self, pieces: Sequence[memoryview]) -> None:
        self._pieces, self._index, self._at = pieces, 0, 0

    @property
    def at_end(self) -> bool:
        self._turn()
        return self._at == len(self._pieces[self._index])

    def _turn(self) -> None:
        while self._at == len(self._pieces[self._index]) and self._index + 1 < len(self._pieces):
            self._index, self._at = self._index + 1, 0

    def take(self, size: int) -> bytes:
        taken = b""
        while len(taken) < size:
            if self.at_end:
                raise EOFError
            piece = self._pieces[self._index][self._at : self._at + size - len(taken)]
            self._at += len(piece)
            taken += piece
        return taken

    def skip(self, size: int) -> None:
        while size:
            if self.at_end:
                raise EOFError
            step = min(size, len(self._pieces[self._index]) - self._at)
            self._at += step
            size -= step

    def text(self, length: int, wide: int) -> str:
        written = b""
        while True:
            piece, width = self._pieces[self._index], 2 if wide else 1
            size = min(length * width, (len(piece) - self._at) // width * width)
            data = bytes(piece[self._at : self._at + size])
            written += data if wide else data.decode("latin-1").encode("utf-16-le")
            self._at += size
            length -= size // width
            if not length:
                return written.decode("utf-16-le", "replace")
            if self._at < len(piece) or self.at_end:
                raise EOFError
            wide = self.take(1)[0] & _WIDE
