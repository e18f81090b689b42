"""Delimited text, plain or gzip: the file shows its delimiter and encoding, the council file's word comes second."""

from __future__ import annotations

import codecs
import csv
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from sources.contracts import Rule, Severity, SourceContract
from sources.councils.council_file import Dialect
from sources.extract.errors import ExtractStopped
from sources.extract.landed import Landed
from sources.extract.match import key, known_keys
from sources.extract.table import SOURCE_ROW, Table, checked_header

DELIMITERS = (",", ";", "|", "\t")
MALFORMED = Rule("malformed-row", Severity.REJECT, "The row does not have as many fields as the header.", (), "false")

_LOOK_BYTES = 1 << 10
_BLOCK_BYTES = 8 << 20
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def open_delimited(landed: Landed, contract: SourceContract, dialect: Dialect) -> Table:
    """Open a text file; raises `ExtractStopped`, at once or while its batches are read."""
    encoding = _encoding(landed, dialect)
    header, delimiter = _header(landed, contract, dialect, encoding)
    table = Table(header, lambda names: _batches(landed, table, encoding, delimiter, names))
    return table


def _batches(landed: Landed, table: Table, encoding: str, delimiter: str, names: list[str]) -> Iterator[pa.RecordBatch]:
    malformed = table.set_aside.setdefault(MALFORMED, [])

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        malformed.append(row.number - 1)
        return "skip"

    with _bytes(landed.path) as stream:
        try:
            reader = pyarrow.csv.open_csv(
                stream,
                read_options=pyarrow.csv.ReadOptions(
                    use_threads=False,
                    block_size=_BLOCK_BYTES,
                    encoding=encoding,
                    column_names=table.header,
                    skip_rows=1,
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types={column: pa.string() for column in table.header},
                    include_columns=names,
                    strings_can_be_null=False,
                ),
            )
            yield from _numbered(reader, malformed)
        except (pa.ArrowInvalid, UnicodeError, EOFError, OSError, zlib.error):
            raise ExtractStopped(
                f"{landed.name}: the file breaks off or is not {encoding} text throughout; send it again"
            ) from None


def _numbered(batches: Iterator[pa.RecordBatch], malformed: list[int]) -> Iterator[pa.RecordBatch]:
    """Append `source_row`, leaving out the numbers of malformed rows, which arrive before their batch does."""
    row, skipped = 1, 0
    for batch in batches:
        numbers = np.arange(row, row + batch.num_rows + len(malformed) - skipped)
        numbers = np.setdiff1d(numbers, malformed[skipped:], assume_unique=True)[: batch.num_rows]
        row, skipped = int(numbers[-1]) + 1 if len(numbers) else row, _passed(malformed, numbers, skipped)
        yield batch.append_column(SOURCE_ROW, pa.array(numbers, pa.int64()))


def _passed(malformed: list[int], numbers: np.ndarray, skipped: int) -> int:
    if not len(numbers):
        return skipped
    return skipped + sum(1 for number in malformed[skipped:] if number < numbers[-1])


def _bytes(path: Path) -> BinaryIO:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _encoding(landed: Landed, dialect: Dialect) -> str:
    """What the file shows (byte-order mark, UTF-16's zero bytes, UTF-8 throughout); else the council file's."""
    try:
        with _bytes(landed.path) as file:
            start = file.read(_LOOK_BYTES)
            for mark, encoding in _BOMS:
                if start.startswith(mark):
                    return encoding
            if b"\0" in start:
                return "utf-16-le" if b"\0" in start[1::2] else "utf-16-be"
            if _is_utf8(start, file):
                return "utf-8"
    except (EOFError, OSError, zlib.error):
        raise ExtractStopped(f"{landed.name}: the file breaks off or cannot be read; send it again") from None
    declared = codecs.lookup(dialect.encoding).name
    return declared if not declared.startswith("utf") else "windows-1252"


def _is_utf8(start: bytes, rest: BinaryIO) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(start)
        while block := rest.read(1 << 20):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _header(landed: Landed, contract: SourceContract, dialect: Dialect, encoding: str) -> tuple[list[str], str]:
    """Column names as the file has them, and the delimiter under which most of them are known."""
    with _bytes(landed.path) as raw:
        text = codecs.getreader(encoding)(raw, "replace")
        line = text.readline().lstrip("\ufeff").rstrip("\r\n")
    known = known_keys(contract, dialect)
    candidates = dict.fromkeys((dialect.delimiter, *DELIMITERS))
    headers = {delimiter: next(csv.reader([line], delimiter=delimiter), []) for delimiter in candidates}
    best = max(headers, key=lambda delimiter: sum(key(name) in known for name in headers[delimiter]))
    return checked_header(landed.name, headers[best]), best
