"""Row keys: what a row is called outside the pass that read it, so that neither its name nor its place tells where it
stood in its file.

A row key is the row's number under a keyed permutation of 64-bit numbers, another one for every delivery; of an extract
in parts, one for all of them, in which a part's number is the upper bits of its rows' numbers. It is a
Feistel network of ten rounds, as in FF1 (NIST SP 800-38G), whose round function is AES-256 over whole columns: no two
rows of a file share a key, and who holds the key has the number again without a table of them.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from privacy.keys import KeyRing

ROW_KEY = "row_key"
_ROUNDS = 10
_LITTLE_ENDIAN = np.dtype("<u8")
_HALF = np.uint64(32)
_LOW = np.uint64(2**32 - 1)


class RowKeys:
    """The permutation of the rows of one delivery."""

    def __init__(self, subkey: bytes) -> None:
        self._aes = Cipher(algorithms.AES(subkey), modes.ECB())

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The keys (uint64) of row numbers (int64)."""
        numbers = np.asarray(rows, np.int64).astype(np.uint64)
        left, right = numbers >> _HALF, numbers & _LOW
        for number in range(_ROUNDS):
            left, right = right, left ^ self._mixed(number, right)
        return (left << _HALF) | right

    def rows(self, keys: np.ndarray) -> np.ndarray:
        """The row numbers (int64) of keys (uint64)."""
        numbers = np.asarray(keys, np.uint64)
        left, right = numbers >> _HALF, numbers & _LOW
        for number in reversed(range(_ROUNDS)):
            left, right = right ^ self._mixed(number, left), left
        return ((left << _HALF) | right).astype(np.int64)

    def _mixed(self, number: int, half: np.ndarray) -> np.ndarray:
        """32 bits of AES of each half beside the number of the round."""
        blocks = np.empty((len(half), 2), _LITTLE_ENDIAN)
        blocks[:, 0], blocks[:, 1] = half, number
        encrypted = np.frombuffer(self._aes.encryptor().update(blocks.tobytes()), _LITTLE_ENDIAN)
        return encrypted[::2].astype(np.uint64) & _LOW

    def __reduce__(self) -> NoReturn:
        raise TypeError("row keys cannot be pickled: make them where they are used")


_PART_BITS, _MOST_DIGITS = 40, 12
_ROW_OF_PART, _MOST_PARTS = np.int64(2**_PART_BITS - 1), 2**23


def numbers_of(part: int, rows: np.ndarray) -> np.ndarray:
    """The numbers in the whole extract (int64) of rows of a part; those of a whole file (part 0) are its own."""
    return np.asarray(rows, np.int64) + (np.int64(part) << np.int64(_PART_BITS))


def part_and_row(number: Any) -> tuple[Any, Any]:
    """The part and the row in it of a number in the whole extract, or of many (int64); part 0 is a whole file."""
    return number >> _PART_BITS, number & int(_ROW_OF_PART)


def part_sql(number: str) -> str:
    """SQL of the part of a number in the whole extract."""
    return f"({number} >> {_PART_BITS})"


def written(number: int) -> str:
    """A row as people name it: `17`, or `3:17` for row 17 of part 3."""
    part, row = part_and_row(number)
    return f"{part}:{row}" if part else str(row)


def number_of(text: str) -> int | None:
    """The number in the whole extract of a row as people name it; None where the text names none."""
    part, colon, row = text.rpartition(":")
    digits = [row, *([part] if colon else [])]
    if not all(each.isascii() and each.isdigit() and len(each) < _MOST_DIGITS for each in digits):
        return None
    if int(part or 0) >= _MOST_PARTS or int(row) > int(_ROW_OF_PART):
        return None
    return int(numbers_of(int(part or 0), np.array(int(row))))


def of_parts(keys: KeyRing, source: str, cohort: str, council: str) -> RowKeys:
    """The row keys of an extract that comes in parts: a row keeps its key as parts are added. Raises `KeyProblem`."""
    return RowKeys(keys.subkey("row", f"row/{source}/{cohort}/{council}/parts"))


def of_delivery(keys: KeyRing, source: str, cohort: str, council: str, file_mac: str) -> RowKeys:
    """The row keys of an extract in the restricted zone, by the MAC of its delivery. Raises `KeyProblem`."""
    return RowKeys(keys.subkey("row", f"row/{source}/{cohort}/{council}/{file_mac}"))


def of_sent_file(keys: KeyRing, source: str, cohort: str, council: str, sha256: str) -> RowKeys:
    """The row keys of a file of tokens that a sender makes of the extract of this SHA-256. Raises `KeyProblem`."""
    return RowKeys(keys.subkey("linkage", f"sent-row/{source}/{cohort}/{council}/{sha256}"))
