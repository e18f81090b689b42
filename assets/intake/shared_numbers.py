"""Rows of one extract in which two children stand under one number: found by hashes, in memory, wherever they stand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from privacy import row_keys
from sources.contracts import SourceContract
from sources.extract.table import SOURCE_ROW

_NUMBER = "upn"
_TELLING = ("date_of_birth", "surname", "forename")
"""What differs in all of these is not one child."""
HASHES = tuple(f"{name}_hash" for name in (_NUMBER, *_TELLING))


def hashes_sql(contract: SourceContract) -> str:
    """SQL of the columns that `SharedNumbers` looks at, beginning with a comma; empty for a source without UPN."""
    if _NUMBER not in contract:
        return ""
    names = zip(HASHES, (_NUMBER, *_TELLING), strict=True)
    part = row_keys.part_sql(SOURCE_ROW)
    return "".join(
        f", CASE WHEN {name} IS NULL THEN 0 ELSE hash(lower({name}::VARCHAR), {part}) END AS {hashed}"
        for hashed, name in names
    )


class SharedNumbers:
    """Sees the typed rows of an extract, a chunk at a time; `rows` are the numbers of those that share a UPN with a row
    that differs in date of birth, surname and forename. Holds 40 bytes for each different UPN."""

    def __init__(self) -> None:
        self._first = np.empty((0, len(HASHES) + 1), np.uint64)
        self._found: list[np.ndarray] = []

    @property
    def rows(self) -> np.ndarray:
        return np.unique(np.concatenate(self._found)) if self._found else np.empty(0, np.int64)

    def see(self, chunk: pa.Table) -> None:
        if HASHES[0] not in chunk.column_names:
            return
        columns = [chunk[name].to_numpy().astype(np.uint64) for name in (*HASHES, SOURCE_ROW)]
        seen = np.column_stack(columns)
        seen = np.concatenate([self._first, seen[seen[:, 0] != 0]])
        seen = seen[np.lexsort((seen[:, -1], seen[:, 0]))]
        starts = np.flatnonzero(np.diff(seen[:, 0], prepend=np.uint64(0)) != 0)
        first = seen[np.repeat(starts, np.diff(np.append(starts, len(seen))))]
        told, told_first = seen[:, 1:-1], first[:, 1:-1]
        other = ((told != told_first) & (told != 0) & (told_first != 0)).all(axis=1)
        if other.any():
            self._found.append(np.concatenate([seen[other, -1], first[other, -1]]).astype(np.int64))
        self._first = seen[starts]
