"""Row keys: identifiers of rows outside the pass that read them, which do not reveal a row's position in its file.

A row key is the row number under a keyed permutation of 64-bit numbers, which is different for every delivery. An
extract in parts has one permutation, and the upper bits of its row numbers are the part's number. The permutation is a
Feistel network of ten rounds, as in FF1 (NIST SP 800-38G), whose round function is AES-256 over whole columns: row keys
of a file are unique, and a holder of the secret key can invert them without a table.
"""

from typing import Any, NoReturn

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from privacy.keys import KeyRing

ROW_KEY = "row_key"
_ROUNDS = 10  # as in FF1
_LITTLE_ENDIAN = np.dtype("<u8")
_HALF = np.uint64(32)
_LOW = np.uint64(2**32 - 1)


class RowKeys:
    """The permutation of the rows of one delivery."""

    def __init__(self, subkey: bytes) -> None:
        # ECB, because every block is one separate value of the round function.
        self._aes = Cipher(algorithms.AES(subkey), modes.ECB())

    def derive_keys(self, rows: np.ndarray) -> np.ndarray:
        """Return the row keys (uint64) of row numbers (int64)."""
        numbers = np.asarray(rows, np.int64).astype(np.uint64)
        left, right = numbers >> _HALF, numbers & _LOW
        for number in range(_ROUNDS):
            left, right = right, left ^ self._mix_half(number, right)
        return (left << _HALF) | right

    def find_rows(self, keys: np.ndarray) -> np.ndarray:
        """Return the row numbers (int64) of row keys (uint64)."""
        numbers = np.asarray(keys, np.uint64)
        left, right = numbers >> _HALF, numbers & _LOW
        for number in reversed(range(_ROUNDS)):
            left, right = right ^ self._mix_half(number, left), left
        return ((left << _HALF) | right).astype(np.int64)

    def _mix_half(self, number: int, half: np.ndarray) -> np.ndarray:
        """Return 32 bits of the AES encryption of each half with the round's number."""
        blocks = np.empty((len(half), 2), _LITTLE_ENDIAN)
        blocks[:, 0], blocks[:, 1] = half, number
        encrypted = np.frombuffer(self._aes.encryptor().update(blocks.tobytes()), _LITTLE_ENDIAN)
        return encrypted[::2].astype(np.uint64) & _LOW

    def __reduce__(self) -> NoReturn:
        raise TypeError("row keys cannot be pickled: make them where they are used")


# Rows take the lower 40 bits and parts the next 23, so that a number is a positive int64.
_PART_BITS, _MOST_DIGITS = 40, 12
_ROW_OF_PART, _MOST_PARTS = np.int64(2**_PART_BITS - 1), 2**23


def number_rows(part: int, rows: np.ndarray) -> np.ndarray:
    """Return the numbers in the whole extract (int64) of rows of a part; part 0, a whole file, keeps its numbers."""
    return np.asarray(rows, np.int64) + (np.int64(part) << np.int64(_PART_BITS))


def split_number(number: Any) -> tuple[Any, Any]:
    """Return the part (0: a whole file) and the row in it of a number in the whole extract, or an array of them."""
    return number >> _PART_BITS, number & int(_ROW_OF_PART)


def build_part_sql(number: str) -> str:
    """Return SQL of the part of a number in the whole extract."""
    return f"({number} >> {_PART_BITS})"


def format_row_number(number: int) -> str:
    """Return a row number as people write it: `17`, or `3:17` for row 17 of part 3."""
    part, row = split_number(number)
    return f"{part}:{row}" if part else str(row)


def parse_row_number(text: str) -> int | None:
    """Parse a row number as people write it into a number in the whole extract; None if the text is not one."""
    part, colon, row = text.rpartition(":")
    digits = [row, *([part] if colon else [])]
    # `isdigit` alone also accepts digits of other scripts.
    if not all(each.isascii() and each.isdigit() and len(each) < _MOST_DIGITS for each in digits):
        return None
    if int(part or 0) >= _MOST_PARTS or int(row) > int(_ROW_OF_PART):
        return None
    return int(number_rows(int(part or 0), np.array(int(row))))


def derive_part_keys(keys: KeyRing, source: str, cohort: str, council: str) -> RowKeys:
    """Return the row keys of an extract in parts: a row keeps its key as parts are added. Raises `KeyProblem`."""
    return RowKeys(keys.derive_subkey("row", f"row/{source}/{cohort}/{council}/parts"))


def derive_delivery_keys(keys: KeyRing, source: str, cohort: str, council: str, file_mac: str) -> RowKeys:
    """Return the row keys of an extract in the restricted zone, by the MAC of its delivery. Raises `KeyProblem`."""
    return RowKeys(keys.derive_subkey("row", f"row/{source}/{cohort}/{council}/{file_mac}"))


def derive_sent_file_keys(keys: KeyRing, source: str, cohort: str, council: str, sha256: str) -> RowKeys:
    """Return the row keys of a sender's file of tokens, by the SHA-256 of its extract. Raises `KeyProblem`."""
    return RowKeys(keys.derive_subkey("linkage", f"sent-row/{source}/{cohort}/{council}/{sha256}"))
