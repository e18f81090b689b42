"""A file of scored pairs that one linkage leaves for the next.

It reveals as much as tokens do, so it is stored with them, encrypted to the linkage, and removed with them. A file made
by other code, with another model or with another published number of children is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet

from assets.home.errors import damaged
from assets.home.paths import Home
from privacy.doors import sealed
from privacy.keys import KeyRing
from privacy.linkage.candidates import PairCache

_RANDOM = ("mark_l", "mark_r")
"""Columns of hashes, which do not compress."""
_PARTS = "row_groups"
"""Metadata key for the row groups of each part (JSON)."""


class StoredPairs(PairCache):
    """Reads the cohort's file if its fingerprint is `made_with`, and writes a new one to `now` if given.

    `read` raises `Damaged` if the file's bytes have changed.
    """

    def __init__(self, home: Home, cohort: str, now: Path | None, keys: KeyRing, made_with: Mapping[str, str]) -> None:
        self._home, self._place, self._now, self._made_with = home, home.pair_cache(cohort), now, dict(made_with)
        self._key = keys.opens("tokens")
        self._before = self._opened()
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._parts: dict[int, list[int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._writer:
            self._writer.add_key_value_metadata(self._made_with | {_PARTS: json.dumps(self._parts)})
            self._writer.close()

    def read(self, part: int) -> pa.RecordBatchReader | None:
        if self._before is None:
            return None
        groups = json.loads(sealed.metadata(self._before)[_PARTS])[str(part)]
        try:
            return self._before.read_row_groups(groups).to_reader()
        except (pa.ArrowException, OSError):
            raise damaged(self._home, self._place) from None

    def keep(self, part: int, rows: pa.RecordBatchReader) -> None:
        if self._now is None:
            return
        if self._writer is None:
            how = sealed.sealed_to(self._key.public_key())
            self._writer = pyarrow.parquet.ParquetWriter(
                self._now,
                rows.schema,
                compression={name: "none" if name in _RANDOM else "zstd" for name in _leaves(rows.schema)},
                use_dictionary=[name for name in _leaves(rows.schema) if name not in _RANDOM],
                write_statistics=False,
                encryption_properties=how,
            )
        first = sum(map(len, self._parts.values()))
        self._parts[part] = []
        for batch in rows:
            self._writer.write_table(pa.Table.from_batches([batch]), row_group_size=max(batch.num_rows, 1))
            self._parts[part].append(first + len(self._parts[part]))

    def _opened(self) -> pyarrow.parquet.ParquetFile | None:
        """Return the file if it can be read and used, otherwise None."""
        try:
            file = sealed.opened(self._place, self._key)
        except (sealed.NotForThisKey, pa.ArrowException, OSError):
            return None
        said = sealed.metadata(file)
        usable = _PARTS in said and all(said.get(name) == value for name, value in self._made_with.items())
        return file if usable else None


def _leaves(schema: pa.Schema) -> list[str]:
    """Return the column names as Parquet sees them: a list is named after its elements."""
    return [f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in schema]
