"""Parquet, whatever its column types."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from sources.extract.errors import ExtractStopped
from sources.extract.landed import Landed
from sources.extract.table import SOURCE_ROW, Table, checked_header

_ROWS = 64 << 10


def open_parquet(landed: Landed) -> Table:
    """Open a Parquet file; raises `ExtractStopped`, at once or while its batches are read."""
    try:
        file = pyarrow.parquet.ParquetFile(landed.path)
    except (pa.ArrowInvalid, OSError):
        raise ExtractStopped(f"{landed.name}: not a readable Parquet file; send it again") from None
    header = file.schema_arrow.names
    checked_header(landed.name, header)
    return Table(header, lambda names: _batches(landed, file, names))


def _batches(landed: Landed, file: pyarrow.parquet.ParquetFile, names: list[str]) -> Iterator[pa.RecordBatch]:
    row = 1
    try:
        for batch in file.iter_batches(batch_size=_ROWS, columns=names):
            numbers = pa.array(np.arange(row, row + batch.num_rows))
            row += batch.num_rows
            columns = [_as_text(batch.column(name)) for name in names]
            yield pa.record_batch([*columns, numbers], names=[*names, SOURCE_ROW])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError):
        raise ExtractStopped(
            f"{landed.name}: a part of the file cannot be read as text columns; send it again"
        ) from None


def _as_text(values: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.date32(), safe=False)
    return values.cast(pa.string())
