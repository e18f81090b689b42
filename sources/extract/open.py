"""Stream a landed file as text under contract column names, one batch at a time."""

from __future__ import annotations

import codecs
import csv
import difflib
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from sources.contracts import SourceContract
from sources.councils.council_file import CONTRACT_DIALECT, Dialect
from sources.extract.errors import ExtractStopped
from sources.extract.landed import Landed

DELIMITERS = (",", ";", "|", "\t")
MAX_COLUMNS = 500
SOURCE_ROW = "source_row"
_LOOK_BYTES = 1 << 10
_BLOCK_BYTES = 8 << 20
_PARQUET_ROWS = 64 << 10
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass
class OpenExtract:
    """A file opened for one reading.

    `batches` yields contract columns as strings and `source_row` (int64, 1-based data row in the file). `malformed`
    fills, as the batches are read, with the data rows that do not have the header's number of fields.
    """

    landed: Landed
    sha256: str
    dialect: Dialect
    columns: tuple[str, ...]
    batches: pa.RecordBatchReader
    malformed: list[int] = field(default_factory=list)


def open_extract(landed: Landed, contract: SourceContract, council_dialect: Dialect) -> OpenExtract:
    """Open `landed`, find its dialect and columns; raises `ExtractStopped`."""
    if landed.path.suffix == ".parquet":
        return _open_parquet(landed, contract, council_dialect)
    return _open_delimited(landed, contract, council_dialect)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_delimited(landed: Landed, contract: SourceContract, council_dialect: Dialect) -> OpenExtract:
    encoding = _encoding(landed, council_dialect)
    header, delimiter = _header(landed, contract, council_dialect, encoding)
    names, dialect = _match(landed, contract, council_dialect, header)
    malformed: list[int] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        malformed.append(row.number - 1)
        return "skip"

    def batches() -> Iterator[pa.RecordBatch]:
        stream = _bytes(landed.path)
        try:
            reader = pyarrow.csv.open_csv(
                stream,
                read_options=pyarrow.csv.ReadOptions(
                    use_threads=False,
                    block_size=_BLOCK_BYTES,
                    encoding=encoding,
                    column_names=header,
                    skip_rows=1,
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types={column: pa.string() for column in header},
                    include_columns=list(names.values()),
                    strings_can_be_null=False,
                ),
            )
            yield from _numbered(reader, malformed)
        except (pa.ArrowInvalid, UnicodeError, EOFError, OSError, zlib.error):
            raise ExtractStopped(
                f"{landed.name}: the file breaks off or is not {encoding} text throughout; send it again"
            ) from None
        finally:
            stream.close()

    return _opened(landed, dialect, names, batches(), malformed)


def _open_parquet(landed: Landed, contract: SourceContract, council_dialect: Dialect) -> OpenExtract:
    try:
        file = pyarrow.parquet.ParquetFile(landed.path)
    except (pa.ArrowInvalid, OSError):
        raise ExtractStopped(f"{landed.name}: not a readable Parquet file; send it again") from None
    names, dialect = _match(landed, contract, council_dialect, file.schema_arrow.names)

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=list(names.values())):
                yield pa.record_batch(
                    [_as_text(batch.column(name)) for name in names.values()],
                    names=list(names.values()),
                )
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError):
            raise ExtractStopped(
                f"{landed.name}: a part of the file cannot be read as text columns; send it again"
            ) from None

    return _opened(landed, dialect, names, _numbered(batches(), []), [])


def _as_text(values: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.date32(), safe=False)
    return values.cast(pa.string())


def _opened(
    landed: Landed,
    dialect: Dialect,
    names: dict[str, str],
    batches: Iterator[pa.RecordBatch],
    malformed: list[int],
) -> OpenExtract:
    schema = pa.schema([*((column, pa.string()) for column in names), (SOURCE_ROW, pa.int64())])
    renamed = (pa.record_batch(batch.columns, schema=schema) for batch in batches)
    reader = pa.RecordBatchReader.from_batches(schema, renamed)
    return OpenExtract(landed, file_sha256(landed.path), dialect, tuple(names), reader, malformed)


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
    if not line.strip():
        raise ExtractStopped(f"{landed.name}: the file is empty; it needs at least its header line")
    known = {name for column in contract.columns for name in (_key(column.name), _key(dialect.local_name(column.name)))}
    candidates = dict.fromkeys((dialect.delimiter, *DELIMITERS))
    headers = {delimiter: next(csv.reader([line], delimiter=delimiter)) for delimiter in candidates}
    best = max(headers, key=lambda delimiter: sum(_key(name) in known for name in headers[delimiter]))
    header = [name.strip() for name in headers[best]]
    if len(header) > MAX_COLUMNS:
        raise ExtractStopped(f"{landed.name}: {len(header)} columns; an extract has at most {MAX_COLUMNS}")
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise ExtractStopped(f"{landed.name}: column {', '.join(repeated)} stands twice in the header")
    return [name or f"(unnamed column {index})" for index, name in enumerate(header, 1)], best


def _key(name: str) -> str:
    return " ".join(name.lower().split())


def _match(
    landed: Landed, contract: SourceContract, council_dialect: Dialect, header: list[str]
) -> tuple[dict[str, str], Dialect]:
    """Contract column -> column of the file, and the dialect its values are in.

    A file that has every required column under the contract's own name is in contract form, whatever its council.
    """
    by_key = {_key(name): name for name in header}
    for name, sentence in contract.refused_columns.items():
        if name in by_key:
            raise ExtractStopped(f"{landed.name}: {sentence}")
    in_contract_form = all(_key(name) in by_key for name in contract.required)
    dialect = CONTRACT_DIALECT if in_contract_form else council_dialect
    names = {
        column.name: by_key[key]
        for column in contract.columns
        if (key := _key(dialect.local_name(column.name))) in by_key or (key := _key(column.name)) in by_key
    }
    missing = [name for name in contract.required if name not in names and name not in dialect.constants]
    if missing:
        raise ExtractStopped(_missing_columns(landed, dialect, missing, header, set(names.values())))
    return names, dialect


def _missing_columns(landed: Landed, dialect: Dialect, missing: list[str], header: list[str], used: set[str]) -> str:
    spare = {_key(name): name for name in header if name not in used}
    parts = []
    for column in missing:
        local = dialect.local_name(column)
        near = difflib.get_close_matches(_key(local), spare, n=1) or difflib.get_close_matches(column, spare, n=1)
        called = f"{local!r} ({column})" if local != column else repr(column)
        parts.append(called + (f", perhaps renamed to {spare[near[0]]!r}" if near else ""))
    return f"{landed.name}: missing column {'; '.join(parts)}. Add it or map it in the council file"
