"""Reader of Parquet: extracts with any column types, and sealed files of tokens made by a sender.

A footer may claim any size and a page may unpack to any size: the reader process limits the cost
(`sources.extract.reader_process`).
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pyarrow import types

from privacy.doors import sealed
from sources.errors import ExtractStopped, build_error
from sources.extract.landing import Landed
from sources.extract.readers.content import Content, compute_unpack_limit, get_content
from sources.extract.table import MAX_ROWS, SOURCE_ROW, TextTable, clean_header

_LIMITS = {"thrift_string_size_limit": 4 << 20, "thrift_container_size_limit": 10_000}
"""Limits of a footer: enough for some hundred columns in some hundred row groups."""
_BUFFER_BYTES = 1 << 20
_BATCH_ROWS = 8 << 10
_MAX_VALUE_BYTES = 1 << 20
_EXACT_BELOW = float(1 << 53)
"""Integers below this are exact in floating point."""
_BYTE_TYPES = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
_UNREADABLE = (pa.ArrowException, OSError, ValueError)
"""Errors that pyarrow raises for a damaged or forged file."""
MAKE_AGAIN = "the sender must pseudonymise the extract again"


def open_parquet(content: Content) -> TextTable:
    """Open a Parquet file as a table; raises `ExtractStopped`, immediately or while its batches are read."""
    file = _open(content)
    names = file.schema_arrow.names
    header = clean_header(content.name, names)
    in_file = dict(zip(header, names, strict=True))
    return TextTable(header, lambda wanted: _iter_batches(content, file, {name: in_file[name] for name in wanted}))


def _open(content: Content) -> pyarrow.parquet.ParquetFile:
    """Open a file whose footer is within `_LIMITS`; raises `ExtractStopped`."""
    stream = content.open()
    if stream.read(4) == b"PARE":
        raise build_error(content.name, "encrypted-parquet")
    with _stop_if_unreadable(content.name):
        stream.seek(0)
        file = pyarrow.parquet.ParquetFile(stream, buffer_size=_BUFFER_BYTES, **_LIMITS)
        # a damaged schema shows only when it is used
        _ = file.schema_arrow
        return file


@contextmanager
def _stop_if_unreadable(name: str, tokens: str = "") -> Iterator[None]:
    """Raise `ExtractStopped` for an unreadable file, without pyarrow's message; `tokens` is that of a tokens file."""
    try:
        yield
    except MemoryError:
        raise
    except _UNREADABLE as error:
        if tokens:
            raise ExtractStopped(f"{name}: {tokens}; send it again") from None
        raise build_error(name, "encrypted-parquet" if "crypt" in str(error) else "not-parquet") from None


def _iter_batches(
    content: Content, file: pyarrow.parquet.ParquetFile, wanted: Mapping[str, str]
) -> Iterator[pa.RecordBatch]:
    """Yield columns as text; `wanted` maps the header's names to those in the file, which may be padded or blank.

    Raises `ExtractStopped`, including for columns of lists or structures.
    """
    schema, in_file, row = file.schema_arrow, list(wanted.values()), 1
    for name in in_file:
        type = schema.field(name).type
        if types.is_nested(type.value_type if types.is_dictionary(type) else type):
            raise build_error(content.name, "column-not-text", _format_column_number(schema, name), name)
    if file.metadata.num_rows > MAX_ROWS:
        raise build_error(content.name, "too-many-rows")
    with content.open() as stream:
        left = compute_unpack_limit(stream.seek(0, os.SEEK_END))
    with _stop_if_unreadable(content.name):
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=in_file):
            # a file of some kilobytes can repeat one long value to 8 GiB
            left -= batch.nbytes
            if left < 0:
                raise build_error(content.name, "unpacks-too-large")
            columns = [
                _convert_to_text(content.name, _format_column_number(schema, name), heading, batch.column(name))
                for heading, name in wanted.items()
            ]
            numbers = pa.array(np.arange(row, row + batch.num_rows), pa.int64())
            row += batch.num_rows
            yield pa.record_batch([*columns, numbers], names=[*wanted, SOURCE_ROW])


def _format_column_number(schema: pa.Schema, name: str) -> str:
    return f"column {schema.names.index(name) + 1}"


def _convert_to_text(file: str, column: str, name: str, values: pa.Array) -> pa.Array:
    """Return values as in a text file: ISO dates, integers without a decimal point, TRUE and FALSE."""
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if types.is_timestamp(values.type):
        values = (pc.local_timestamp(values) if values.type.tz else values).cast(pa.date32(), safe=False)
    elif types.is_floating(values.type):
        return _convert_numbers(values)
    elif any(is_bytes(values.type) for is_bytes in _BYTE_TYPES):
        values = values.cast(pa.large_binary())
    try:
        text = values.cast(pa.string())
        # Arrow passes on bytes that are not UTF-8 as text
        text.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise build_error(file, "column-not-text", column, name) from None
    if (pc.max(pc.binary_length(text)).as_py() or 0) > _MAX_VALUE_BYTES:
        raise build_error(file, "value-too-long", column, name)
    if types.is_boolean(values.type):
        return pc.ascii_upper(text)
    return pc.replace_substring_regex(text, r"\.0+$", "") if types.is_decimal(values.type) else text


def _convert_numbers(values: pa.Array) -> pa.Array:
    """Return floating-point numbers as text; NaN is a missing value."""
    values = values.cast(pa.float32()) if types.is_float16(values.type) else values
    values = pc.if_else(pc.is_nan(values), None, values)
    # larger floats cannot tell neighbouring integers apart, so they keep their own form
    whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), _EXACT_BELOW))
    as_integer = pc.if_else(whole, values, None).cast(pa.int64()).cast(pa.string())
    return pc.coalesce(as_integer, values.cast(pa.string()))


def serve_manifest(_: Callable[[], bytes], landed: Landed, key: bytes, name: str, most_bytes: int) -> Iterator[bytes]:
    """Yield a tokens file's metadata under `name`, cut to `most_bytes` + 1 bytes; yield nothing if it has none."""
    text = (_open_sealed(landed, key).metadata.metadata or {}).get(name.encode())
    yield from [] if text is None else [text[: most_bytes + 1]]


def serve_rows(_: Callable[[], bytes], landed: Landed, key: bytes, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield a tokens file's rows, unchecked, after an empty batch with its columns."""
    file = _open_sealed(landed, key)
    yield pa.RecordBatch.from_pylist([], file.schema_arrow)
    # after the empty batch, so that unexpected columns are reported first
    _stop_unless_plain(landed, file.metadata)
    texts = [field.name for field in file.schema_arrow if types.is_string(field.type)]
    with _stop_if_unreadable(landed.name, "a part of the file cannot be read"):
        for batch in _open_sealed(landed, key, read_dictionary=texts).iter_batches(batch_size=batch_rows):
            columns = [c.dictionary_decode() if types.is_dictionary(c.type) else c for c in batch.columns]
            batch = pa.record_batch(columns, names=batch.schema.names)
            batch.validate(full=True)
            yield batch


def _stop_unless_plain(landed: Landed, metadata: pyarrow.parquet.FileMetaData) -> None:
    """Raise `ExtractStopped` for too many rows, or compressed pages: they unpack to any size, and we write none."""
    chunks = (
        metadata.row_group(group).column(column)
        for group in range(metadata.num_row_groups)
        for column in range(metadata.num_columns)
    )
    if metadata.num_rows > MAX_ROWS or any(chunk.compression != "UNCOMPRESSED" for chunk in chunks):
        raise ExtractStopped(f"{landed.name}: is not as `readiness pseudonymise` writes it; {MAKE_AGAIN}")


def _open_sealed(landed: Landed, key: bytes, **options: Any) -> pyarrow.parquet.ParquetFile:
    stream = get_content(landed.name, landed.path, within=landed.within).open()
    with _stop_if_unreadable(landed.name, "not a readable Parquet file"):
        if sealed.is_open(stream):
            raise ExtractStopped(
                f"{landed.name}: is not sealed to this pipeline: tokens come sealed, so that nobody reads them on their"
                f" way; {MAKE_AGAIN} with a tool of this version"
            )
        try:
            file = sealed.open_sealed(stream, X25519PrivateKey.from_private_bytes(key), **options)
        except sealed.NotForThisKey:
            raise ExtractStopped(
                f"{landed.name}: is sealed to another pipeline's key; {MAKE_AGAIN} with the intake.pub.pem of this one"
            ) from None
        _ = file.schema_arrow
        return file
