"""Parquet, whatever its column types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from pyarrow import types

from sources.extract.readers.content import Content
from sources.extract.rules import ENCRYPTED_PARQUET, NOT_PARQUET, NOT_TEXT, stopped
from sources.extract.table import SOURCE_ROW, TextTable, checked_header

_BATCH_ROWS = 32 << 10
_EXACT_BELOW = float(1 << 53)
"""Whole numbers below this are exact as floating point."""
_BYTE_TYPES = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
_UNREADABLE = (pa.ArrowException, OSError, ValueError)


def open_parquet(content: Content) -> TextTable:
    """Open a Parquet file; raises `ExtractStopped`, at once or while its batches are read."""
    stream = content.open()
    if stream.read(4) == b"PARE":
        raise stopped(content.name, ENCRYPTED_PARQUET)
    try:
        file = pyarrow.parquet.ParquetFile(stream)
        names = file.schema_arrow.names
    except _UNREADABLE as error:
        raise stopped(content.name, ENCRYPTED_PARQUET if "crypt" in str(error) else NOT_PARQUET) from None
    header = checked_header(content.name, names)
    in_file = dict(zip(header, names, strict=True))
    return TextTable(header, lambda wanted: _batches(content, file, {name: in_file[name] for name in wanted}))


def _batches(
    content: Content, file: pyarrow.parquet.ParquetFile, wanted: Mapping[str, str]
) -> Iterator[pa.RecordBatch]:
    """`wanted` maps the header's names to those in the file, which may have blanks around them, or be blank."""
    row = 1
    try:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(wanted.values())):
            columns = [_as_text(content.name, name, batch.column(in_file)) for name, in_file in wanted.items()]
            numbers = pa.array(np.arange(row, row + batch.num_rows), pa.int64())
            row += batch.num_rows
            yield pa.record_batch([*columns, numbers], names=[*wanted, SOURCE_ROW])
    except _UNREADABLE:
        raise stopped(content.name, NOT_PARQUET) from None


def _as_text(file: str, name: str, values: pa.Array) -> pa.Array:
    """Values as a text file would have them: ISO dates, whole numbers without a decimal point, TRUE and FALSE."""
    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if types.is_timestamp(values.type):
        values = (pc.local_timestamp(values) if values.type.tz else values).cast(pa.date32(), safe=False)
    elif types.is_floating(values.type):
        return _numbers(values)
    elif any(is_bytes(values.type) for is_bytes in _BYTE_TYPES):
        values = values.cast(pa.large_binary())
    try:
        text = values.cast(pa.string())
        text.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise stopped(file, NOT_TEXT, f"{name} ({values.type})") from None
    if types.is_boolean(values.type):
        return pc.ascii_upper(text)
    return pc.replace_substring_regex(text, r"\.0+$", "") if types.is_decimal(values.type) else text


def _numbers(values: pa.Array) -> pa.Array:
    """Floating point as text; not-a-number is a missing value."""
    values = values.cast(pa.float32()) if types.is_float16(values.type) else values
    values = pc.if_else(pc.is_nan(values), None, values)
    whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), _EXACT_BELOW))
    as_integer = pc.if_else(whole, values, None).cast(pa.int64()).cast(pa.string())
    return pc.coalesce(as_integer, values.cast(pa.string()))
