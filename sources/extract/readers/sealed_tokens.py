"""What a tokens file holds, read in a reader process: its manifest, and its rows as they are.

Who wrote it could write anything: what its rows say is checked by whoever takes them in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from privacy.doors import sealed
from sources.errors import ExtractStopped
from sources.extract.landed import Landed
from sources.extract.readers.content import content_of
from sources.extract.table import MAX_ROWS

MAKE_AGAIN = "the sender must pseudonymise the extract again"
_UNREADABLE = (pa.ArrowException, OSError, UnicodeError)
"""What pyarrow raises over a file that is not what it says."""


def serve_manifest(_: Callable[[], bytes], landed: Landed, key: bytes, name: str, most_bytes: int) -> Iterator[bytes]:
    """The file's metadata of that name, cut where it is longer than `most_bytes`; nothing where it has none. Raises
    `ExtractStopped`."""
    text = (_open(landed, key).metadata.metadata or {}).get(name.encode())
    yield from [] if text is None else [text[: most_bytes + 1]]


def serve_rows(_: Callable[[], bytes], landed: Landed, key: bytes, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """The file's rows after a batch of none, which shows its columns; raises `ExtractStopped`."""
    file = _open(landed, key)
    yield pa.RecordBatch.from_pylist([], file.schema_arrow)
    _stop_unless_plain(landed, file.metadata)
    texts = [field.name for field in file.schema_arrow if pa.types.is_string(field.type)]
    try:
        for batch in _open(landed, key, read_dictionary=texts).iter_batches(batch_size=batch_rows):
            batch = pa.record_batch(
                [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns],
                names=batch.schema.names,
            )
            batch.validate(full=True)
            yield batch
    except MemoryError:
        raise
    except _UNREADABLE:
        raise ExtractStopped(f"{landed.name}: a part of the file cannot be read; send it again") from None


def _stop_unless_plain(landed: Landed, metadata: pyarrow.parquet.FileMetaData) -> None:
    """Raises `ExtractStopped` for what no tool of this version writes: pages that unpack to more than they are."""
    chunks = (
        metadata.row_group(group).column(column)
        for group in range(metadata.num_row_groups)
        for column in range(metadata.num_columns)
    )
    if metadata.num_rows > MAX_ROWS or any(chunk.compression != "UNCOMPRESSED" for chunk in chunks):
        raise ExtractStopped(f"{landed.name}: is not as `readiness pseudonymise` writes it; {MAKE_AGAIN}")


def _open(landed: Landed, key: bytes, **options: Any) -> pyarrow.parquet.ParquetFile:
    stream = content_of(landed.name, landed.path, within=landed.within).open()
    try:
        if sealed.is_open(stream):
            raise ExtractStopped(
                f"{landed.name}: is not sealed to this pipeline: tokens come sealed, so that nobody reads them on their"
                f" way; {MAKE_AGAIN} with a tool of this version"
            )
        file = sealed.opened(stream, X25519PrivateKey.from_private_bytes(key), **options)
        _ = file.schema_arrow
        return file
    except sealed.NotForThisKey:
        raise ExtractStopped(
            f"{landed.name}: is sealed to another pipeline's key; {MAKE_AGAIN} with the intake.pub.pem of this one"
        ) from None
    except MemoryError:
        raise
    except _UNREADABLE:
        raise ExtractStopped(f"{landed.name}: not a readable Parquet file; send it again") from None
