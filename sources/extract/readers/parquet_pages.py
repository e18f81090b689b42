"""What the pages of a Parquet file unpack to, by their own headers, before any of them is unpacked.

A reader reserves what a header claims, and a few bytes can stand for as much as a claim allows: a page of zeros, a
value that a dictionary repeats, a prefix that every value shares. So the headers are walked first (Thrift's compact
protocol, parquet.thrift of Apache Parquet 2.10): the pages that are seen here are those that a reader unpacks.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow.parquet

MAX_FOOTER_BYTES = 4 << 20
"""Some hundred columns in some hundred row groups; a reader makes a hundred times as much of it."""
MAX_SCHEMA_ELEMENTS = 2000
MAX_PAGES = 200_000
BATCH_ROWS = 32 << 10
_LEAST_BATCH_ROWS = 16
MAX_BATCH_BYTES = 192 << 20
"""Of pages unpacked, and of values out of them, for a batch of rows in all columns that are read."""
_HEADER_BYTES, _MAX_HEADER_BYTES = 1 << 10, 1 << 20
_DEPTH = 16
_BOOLEANS, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _MAP, _STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, (9, 10), 11, 12
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 2, 3
_TYPE, _SIZE, _PACKED_SIZE = 1, 2, 3
_HEADER, _VALUES, _ENCODING = {_DATA_PAGE: 5, _DATA_PAGE_V2: 8}, 1, {_DATA_PAGE: 2, _DATA_PAGE_V2: 4}
_DELTAS = (6, 7)
"""Encodings by which a column cannot be read as a dictionary; by the second, a value repeats the start of another."""
_OF_A_DICTIONARY = -1
_SCHEMA = 2
_MAGIC_BYTES = 8


class Malformed(ValueError):
    """The file is not what it claims to be."""


class TooLarge(ValueError):
    """The file claims to hold far more than it can."""


@dataclass(frozen=True)
class _Pages:
    """Of one column: the values, the unpacked bytes and the encoding of each page; a dictionary has no value, and
    -1 for its encoding."""

    path: str
    values: np.ndarray
    sizes: np.ndarray
    encodings: np.ndarray
    width: int

    @property
    def as_dictionary(self) -> bool:
        """Whether the column can be read as a dictionary and indices, and has one."""
        return bool((self.encodings == _OF_A_DICTIONARY).any() and not np.isin(self.encodings, _DELTAS).any())

    def most(self, rows: int) -> int:
        """Bytes that a batch of `rows` rows needs at most, wherever it begins."""
        repeated = self.encodings == _DELTAS[-1]
        if not self.as_dictionary:
            repeated |= self.encodings == _OF_A_DICTIONARY
        ends = np.cumsum(self.values)
        until = np.searchsorted(ends, ends + rows, side="left") + 1
        total = np.concatenate([[0], np.cumsum(self.sizes)])
        pages = int((total[np.minimum(until, len(self.sizes))] - total[:-1]).max(initial=0))
        values = np.where(self.encodings == _OF_A_DICTIONARY, rows, np.minimum(self.values, rows))
        return pages + int((values * self.sizes)[repeated].max(initial=0)) + self.width * rows


def check_footer(stream: BinaryIO) -> None:
    """Raises `TooLarge` where the schema or all that is said of the file is longer than an extract's; `Malformed`."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(size - _MAGIC_BYTES, 0))
    length = int.from_bytes(stream.read(4), "little")
    if length > size - _MAGIC_BYTES:
        raise Malformed
    if length > MAX_FOOTER_BYTES:
        raise TooLarge
    stream.seek(size - _MAGIC_BYTES - length)
    reader = _Thrift(stream.read(length))
    if reader.list_length(_SCHEMA) > MAX_SCHEMA_ELEMENTS:
        raise TooLarge


def batch_rows(
    stream: BinaryIO, metadata: pyarrow.parquet.FileMetaData, columns: Collection[str], most_bytes: int
) -> tuple[int, list[str]]:
    """Rows that can be read at a time from the `columns` (paths) of a file, so that a batch keeps `MAX_BATCH_BYTES` if
    those columns that are returned with it are read as dictionaries.

    Raises `TooLarge` where that cannot be, or where the pages together unpack to more than `most_bytes`; `Malformed`.
    """
    pages = [found for found in _columns(stream, metadata, columns) if len(found.sizes)]
    if sum(int(found.sizes.sum()) for found in pages) > most_bytes:
        raise TooLarge
    rows = BATCH_ROWS
    while sum(found.most(rows) for found in pages) > MAX_BATCH_BYTES:
        rows //= 2
        if rows < _LEAST_BATCH_ROWS:
            raise TooLarge
    return rows, [found.path for found in pages if found.as_dictionary]


def _columns(stream: BinaryIO, metadata: pyarrow.parquet.FileMetaData, columns: Collection[str]) -> Iterator[_Pages]:
    size, left = stream.seek(0, os.SEEK_END), MAX_PAGES
    for index in range(metadata.num_columns):
        described = metadata.schema.column(index)
        if described.path not in columns:
            continue
        found: list[tuple[int, int, int]] = []
        for group in range(metadata.num_row_groups):
            for page in _chunk(stream, metadata.row_group(group).column(index), size):
                found.append(page)
                left -= 1
                if left < 0:
                    raise TooLarge
        table = np.array(found, np.int64).reshape(-1, 3)
        values, sizes, encodings = table.T
        yield _Pages(described.path, values, sizes, encodings, max(described.length, 0))


def _chunk(stream: BinaryIO, chunk: pyarrow.parquet.ColumnChunkMetaData, size: int) -> Iterator[tuple[int, int, int]]:
    """Values, unpacked bytes and encoding of each page of a column chunk."""
    if not chunk.num_values:
        return
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < at:
        at = chunk.dictionary_page_offset
    end = at + chunk.total_compressed_size
    if at < 0 or not at <= end <= size:
        raise Malformed
    while at < end:
        header, length = _header(stream, at)
        kind, packed, unpacked = (header.number(field) for field in (_TYPE, _PACKED_SIZE, _SIZE))
        if kind == _DICTIONARY_PAGE:
            yield 0, unpacked, _OF_A_DICTIONARY
        elif kind in _HEADER:
            data = header.part(_HEADER[kind])
            yield data.number(_VALUES), unpacked, data.number(_ENCODING[kind])
        at += length + packed


class _Struct(dict[int, Any]):
    """Fields of a structure, by id: whole numbers and structures. Raises `Malformed` for one that is not as it must."""

    def number(self, field: int) -> int:
        """A whole number of 32 bits that is not negative."""
        value = self.get(field)
        if not isinstance(value, int) or not 0 <= value < 1 << 31:
            raise Malformed
        return value

    def part(self, field: int) -> _Struct:
        value = self.get(field)
        if not isinstance(value, _Struct):
            raise Malformed
        return value


def _header(stream: BinaryIO, at: int) -> tuple[_Struct, int]:
    """The header of the page at `at`, and its length."""
    length = _HEADER_BYTES
    while True:
        stream.seek(at)
        reader = _Thrift(stream.read(length))
        try:
            return reader.struct(), reader.at
        except IndexError:
            if length >= _MAX_HEADER_BYTES:
                raise Malformed from None
            length *= 32


class _Thrift:
    """Reads Thrift's compact protocol. Raises `IndexError` where the bytes end, `Malformed`."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def struct(self, depth: int = 0) -> _Struct:
        """Whole numbers and structures among the fields, by id; the others are passed over."""
        found = _Struct()
        for field, kind in self._fields():
            value = self._value(kind, depth)
            if value is not None:
                found[field] = value
        return found

    def list_length(self, wanted: int) -> int:
        """The number of elements of the list that is the field `wanted` of a structure."""
        try:
            for field, kind in self._fields():
                if field == wanted and kind in _LISTS:
                    return self._list()[0]
                self._value(kind, 0)
        except IndexError:
            pass
        raise Malformed

    def _fields(self) -> Iterator[tuple[int, int]]:
        field = 0
        while byte := self._byte():
            field = field + (byte >> 4) if byte >> 4 else self._signed()
            yield field, byte & 15

    def _value(self, kind: int, depth: int, in_list: bool = False) -> Any:
        if depth > _DEPTH:
            raise Malformed
        if kind in _BOOLEANS:
            self._skip(1 if in_list else 0)
        elif kind == _BYTE:
            self._skip(1)
        elif kind in _INTEGERS:
            return self._signed()
        elif kind == _DOUBLE:
            self._skip(8)
        elif kind == _BINARY:
            self._skip(self._unsigned())
        elif kind in _LISTS:
            length, of = self._list()
            for _ in range(length):
                self._value(of, depth + 1, in_list=True)
        elif kind == _MAP:
            length = self._unsigned()
            kinds = self._byte() if length else 0
            for _ in range(length):
                self._value(kinds >> 4, depth + 1, in_list=True)
                self._value(kinds & 15, depth + 1, in_list=True)
        elif kind == _STRUCT:
            return self.struct(depth + 1)
        else:
            raise Malformed
        return None

    def _list(self) -> tuple[int, int]:
        byte = self._byte()
        return (byte >> 4 if byte >> 4 < 15 else self._unsigned()), byte & 15

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _skip(self, length: int) -> None:
        self.at += length
        if self.at > len(self._data):
            raise IndexError

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise Malformed

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
