"""Compound files ([MS-CFB]), a file system in a file, in which older Office programs keep their documents."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_HEADER_BYTES, _ENTRY_BYTES = 512, 128
_LAST_SECTOR = 0xFFFFFFFA
"""Numbers from here on are marks, not sectors."""
_MAX_ENTRIES = 100_000


@dataclass(frozen=True)
class _Entry:
    """What the directory says of a stream or a folder; the entries beside it and in it, by number."""

    name: str
    left: int
    right: int
    child: int
    first: int
    size: int


class CompoundFile:
    """The streams of a compound file of at most `most` bytes, held in memory.

    `ValueError` and its like, for a file that is damaged; `OverflowError` for one that is larger.
    """

    def __init__(self, stream: BinaryIO, most: int) -> None:
        data = bytearray()
        while block := stream.read(1 << 20):
            data += block
            if len(data) > most:
                raise OverflowError
        self._data = memoryview(bytes(data))
        shift, mini_shift = struct.unpack_from("<HH", self._data, 30)
        if shift not in (9, 12) or mini_shift != 6:
            raise ValueError
        self._sector, self._mini = 1 << shift, 1 << mini_shift
        directory, self._cut_off, first_mini = (struct.unpack_from("<I", self._data, at)[0] for at in (48, 56, 60))
        self._table = self._sector_table()
        root, self._entries = self._in_root(directory)
        self._mini_data = self._chain(root.first) if root.size else b""
        self._mini_table = _numbers(self._chain(first_mini)) if first_mini < _LAST_SECTOR else ()

    @property
    def names(self) -> set[str]:
        """Of what stands in the root, in lower case."""
        return set(self._entries)

    def read(self, name: str) -> bytes:
        """The stream of a name in lower case."""
        entry = self._entries[name]
        if entry.size >= self._cut_off:
            content = self._chain(entry.first)
        else:
            content = b"".join(
                self._mini_data[number * self._mini : (number + 1) * self._mini]
                for number in _linked(self._mini_table, entry.first)
            )
        if len(content) < entry.size:
            raise EOFError
        return content[: entry.size]

    def _sector_table(self) -> tuple[int, ...]:
        """For each sector the one that follows it."""
        sectors = [number for number in _numbers(self._data[76:_HEADER_BYTES]) if number < _LAST_SECTOR]
        further, seen = struct.unpack_from("<I", self._data, 68)[0], 0
        while further < _LAST_SECTOR:
            *listed, further = _numbers(self._at(further))
            sectors += [number for number in listed if number < _LAST_SECTOR]
            seen += 1
            if seen * self._sector > len(self._data):
                raise ValueError
        if len(sectors) * self._sector > len(self._data):
            raise ValueError
        return tuple(number for sector in sectors for number in _numbers(self._at(sector)))

    def _in_root(self, first: int) -> tuple[_Entry, dict[str, _Entry]]:
        """The root, and what stands in it by name in lower case; not what is embedded further down."""
        data = self._chain(first)
        root = _entry(data, 0)
        found: dict[str, _Entry] = {}
        waiting, seen = [root.child], set[int]()
        while waiting:
            number = waiting.pop()
            if number >= _LAST_SECTOR or number in seen:
                continue
            if len(seen) > _MAX_ENTRIES:
                raise ValueError
            seen.add(number)
            entry = _entry(data, number)
            found.setdefault(entry.name, entry)
            waiting += [entry.left, entry.right]
        return root, found

    def _chain(self, first: int) -> bytes:
        return b"".join(self._at(number) for number in _linked(self._table, first))

    def _at(self, sector: int) -> bytes:
        start = (sector + 1) * self._sector
        if start >= len(self._data):
            raise EOFError
        return bytes(self._data[start : start + self._sector])


def _entry(data: bytes, number: int) -> _Entry:
    at = number * _ENTRY_BYTES
    length, _, _, left, right, child = struct.unpack_from("<HBBIII", data, at + 64)
    first, size = struct.unpack_from("<II", data, at + 116)
    name = data[at : at + max(min(length, 64) - 2, 0)].decode("utf-16-le", "replace")
    return _Entry(name.lower(), left, right, child, first, size)


def _numbers(data: bytes | memoryview) -> tuple[int, ...]:
    return struct.unpack(f"<{len(data) // 4}I", data[: len(data) // 4 * 4])


def _linked(table: tuple[int, ...], first: int) -> Iterator[int]:
    """The sectors of a chain; raises `ValueError` for one that runs in a circle."""
    number, seen = first, 0
    while number < _LAST_SECTOR:
        yield number
        number, seen = table[number], seen + 1
        if seen > len(table):
            raise ValueError
