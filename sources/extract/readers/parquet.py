"""Parquet, whatever its column types."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from pyarrow import types

from sources.extract.readers.content import Content, may_unpack_to
from sources.extract.readers.parquet_pages import MAX_FOOTER_BYTES, TooLarge, batch_rows, check_footer
from sources.extract.rules import (
    ENCRYPTED_PARQUET,
    LONG_VALUE,
    NOT_PARQUET,
    NOT_TEXT,
    TOO_MANY_ROWS,
    UNPACKS_TOO_LARGE,
    stopped,
)
from sources.extract.table import MAX_ROWS, SOURCE_ROW, TextTable, checked_header

_BUFFER_BYTES = 1 << 20
_MOST_IN_A_LIST = 10_000
"""Columns, row groups or whatever else is listed in a footer or page header."""
_MAX_VALUE_BYTES = 1 << 20
_MAX_BATCH_TEXT = 64 << 20
"""Bytes of one column in one batch of rows."""
_EXACT_BELOW = float(1 << 53)
"""Whole numbers below this are exact as floating point."""
_BYTE_TYPES = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
_TEXT_TYPES = (types.is_string, types.is_large_string, types.is_string_view, *_BYTE_TYPES[:3])
_UNREADABLE = (pa.ArrowException, OSError, ValueError)


def open_parquet(content: Content) -> TextTable:
    """Open a Parquet file; raises `ExtractStopped`, at once or while its batches are read."""
    file = opened(content)
    names = file.schema_arrow.names
    header = checked_header(content.name, names)
    in_file = dict(zip(header, names, strict=True))
    return TextTable(header, lambda wanted: _batches(content, file, {name: in_file[name] for name in wanted}))


def opened(content: Content) -> pyarrow.parquet.ParquetFile:
    """The file, its footer no longer than an extract's; raises `ExtractStopped`."""
    stream = content.open()
    if stream.read(4) == b"PARE":
        raise stopped(content.name, ENCRYPTED_PARQUET)
    with _in_words(content.name):
        check_footer(stream)
        stream.seek(0)
        limits = {"thrift_string_size_limit": MAX_FOOTER_BYTES, "thrift_container_size_limit": _MOST_IN_A_LIST}
        file = pyarrow.parquet.ParquetFile(stream, **limits)
        _ = file.schema_arrow
        return file


def bounded_batches(
    content: Content, file: pyarrow.parquet.ParquetFile, names: Sequence[str], **options: Any
) -> Iterator[pa.RecordBatch]:
    """The columns `names`, as many rows at a time as fit into memory. Raises `ExtractStopped`, for columns too that do
    not hold single values."""
    schema = file.schema_arrow
    for name in names:
        _check_type(content.name, schema, name)
    if file.metadata.num_rows > MAX_ROWS:
        raise stopped(content.name, TOO_MANY_ROWS)
    with _in_words(content.name), content.open() as stream, content.open() as headers:
        left = may_unpack_to(headers.seek(0, os.SEEK_END))
        rows, dictionaries = batch_rows(headers, file.metadata, set(names), left)
        texts = [name for name in dictionaries if _is_text(schema.field(name).type)]
        reader = pyarrow.parquet.ParquetFile(
            stream, metadata=file.metadata, read_dictionary=texts, buffer_size=_BUFFER_BYTES, **options
        )
        for batch in reader.iter_batches(batch_size=rows, columns=list(names)):
            columns = [decoded(content.name, schema, name, batch.column(name)) for name in names]
            left -= sum(column.nbytes for column in columns)
            if left < 0:
                raise TooLarge
            yield pa.record_batch(columns, names=list(names))


@contextmanager
def _in_words(name: str) -> Iterator[None]:
    """Stop the extract that messages call `name` where a Parquet file cannot be read or is too large."""
    try:
        yield
    except TooLarge:
        raise stopped(name, UNPACKS_TOO_LARGE) from None
    except _UNREADABLE as error:
        raise stopped(name, ENCRYPTED_PARQUET if "crypt" in str(error) else NOT_PARQUET) from None


def _batches(
    content: Content, file: pyarrow.parquet.ParquetFile, wanted: Mapping[str, str]
) -> Iterator[pa.RecordBatch]:
    """`wanted` maps the header's names to those in the file, which may have blanks around them, or be blank."""
    row = 1
    for batch in bounded_batches(content, file, list(wanted.values())):
        columns = [
            _as_text(content.name, _column(file.schema_arrow, in_file), name, values)
            for (name, in_file), values in zip(wanted.items(), batch.columns, strict=True)
        ]
        numbers = pa.array(np.arange(row, row + batch.num_rows), pa.int64())
        row += batch.num_rows
        yield pa.record_batch([*columns, numbers], names=[*wanted, SOURCE_ROW])


def _column(schema: pa.Schema, name: str) -> str:
    return f"column {schema.names.index(name) + 1}"


def _is_text(type: pa.DataType) -> bool:
    """Whether a dictionary may repeat long values of the type."""
    type = type.storage_type if isinstance(type, pa.BaseExtensionType) else type
    return any(is_kind(type) for is_kind in _TEXT_TYPES)


def _check_type(file: str, schema: pa.Schema, name: str) -> None:
    """Raises `ExtractStopped` for a column whose values are not single ones, or are longer than any."""
    type = schema.field(name).type
    type = type.value_type if types.is_dictionary(type) else type
    if types.is_nested(type):
        raise stopped(file, NOT_TEXT, _column(schema, name), name)
    if types.is_fixed_size_binary(type) and type.byte_width > _MAX_VALUE_BYTES:
        raise stopped(file, LONG_VALUE, _column(schema, name), name)


def decoded(file: str, schema: pa.Schema, name: str, values: pa.Array) -> pa.Array:
    """Values in the place of a dictionary and indices; raises `ExtractStopped` where they are too long together."""
    if not types.is_dictionary(values.type):
        return values
    if types.is_string(values.type.value_type) or types.is_binary(values.type.value_type):
        lengths = pc.binary_length(values.dictionary)
        longest = pc.max(lengths).as_py() or 0
        if longest > _MAX_VALUE_BYTES:
            raise stopped(file, LONG_VALUE, _column(schema, name), name)
        if longest * len(values) > _MAX_BATCH_TEXT:
            total = pc.sum(lengths.cast(pa.int64()).take(values.indices)).as_py() or 0
            if total > _MAX_BATCH_TEXT:
                raise stopped(file, UNPACKS_TOO_LARGE, _column(schema, name), name)
    return values.dictionary_decode()


def _as_text(file: str, column: str, name: str, values: pa.Array) -> pa.Array:
    """Values as a text file would have them: ISO dates, whole numbers without a decimal point, TRUE and FALSE."""
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
        raise stopped(file, NOT_TEXT, column, name) from None
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
