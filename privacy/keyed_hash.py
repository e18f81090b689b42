"""HMAC-SHA256 over whole columns, cut to 64 bits, by a library in Rust (polars-hash).

HMAC is FIPS 198-1. The key of a column is the 64 hexadecimal digits of its 32-byte sub-key: one block of SHA-256, as a
library that takes keys as text can be given them. Keys go to it as arguments: no query text, plan or message holds one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import polars_hash
import pyarrow as pa

_HEX_DIGITS = 16
_BYTES = 8


def hmac_64(messages: Mapping[str, pa.Array], keys: Mapping[str, bytes]) -> dict[str, pa.Array]:
    """The first 64 bits (UInt64Array, big-endian) of the HMAC of each message, NULL for NULL.

    `messages` are string or binary arrays of equal length by name, `keys` the sub-key of each.
    """
    frame = pl.DataFrame({name: pl.Series(pl.from_arrow(column)) for name, column in messages.items()})
    hashed = frame.select(
        polars_hash.col(name)
        .chash.hmac_sha256(key=keys[name].hex())
        .str.head(_HEX_DIGITS)
        .str.decode("hex")
        .bin.reinterpret(dtype=pl.UInt64, endianness="big")
        .alias(name)
        for name in messages
    )
    return {column.name: column.to_arrow() for column in hashed}


def as_bytes(numbers: pa.Array) -> pa.Array:
    """Each 64-bit number as its eight bytes, most significant first; NULL for NULL."""
    values, missing = with_mask(numbers)
    offsets = np.arange(0, _BYTES * (len(values) + 1), _BYTES, dtype=np.int32)
    present = pa.array(~missing).buffers()[1] if missing.any() else None
    buffers = [present, pa.py_buffer(offsets), pa.py_buffer(values.astype(">u8").tobytes())]
    return pa.Array.from_buffers(pa.binary(), len(values), buffers)


def with_mask(numbers: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The values as uint64, 0 for NULL, and a mask of those that are NULL."""
    missing = numbers.is_null().to_numpy(zero_copy_only=False)
    return numbers.fill_null(0).to_numpy(zero_copy_only=False).astype(np.uint64), missing
