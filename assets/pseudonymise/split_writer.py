"""Writes the rows of an extract: payload to one file, tokens to another, both by row key.

Neither file says where a row was in the extract: the keys are a keyed permutation of row numbers (`privacy.row_keys`),
and rows are in the order of their keys. Dates of the payload are those of their month: the day of
a visit to a newborn would tell the date of birth. Whoever reads the payload cannot read the tokens, which are sealed to
the linkage.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from privacy import pseudonyms
from privacy.doors import sealed
from privacy.row_keys import ROW_KEY, RowKeys, part_and_row
from sources.extract.table import SOURCE_ROW

CHUNK_ROWS = 3 << 15
"""Rows in work at once, and in a row group of what is written."""
LINKED_PAYLOAD = ("council", "sex")
"""Columns of the payload that the linkage compares as well."""
_TOKENS, _MARKS = frozenset(pseudonyms.TOKEN_COLUMNS), frozenset(pseudonyms.MARK_COLUMNS)
_PIECES = 32
"""Of a long extract, which is put in order a piece at a time."""
_STARTS = np.arange(1, _PIECES, dtype=np.uint64) * np.uint64(2**64 // _PIECES)
"""The first key of each piece but the first: keys are spread evenly over 64 bits."""
_KEY_BYTES = 32


class TableWriter:
    """A Parquet file that is written a table at a time; it exists once a table, even an empty one, was written."""

    def __init__(self, path: Path, metadata: Mapping[str, str] | None = None, encryption: Any = None) -> None:
        self._path, self._encryption = path, encryption
        self.metadata = dict(metadata or {})
        """What the file says of itself; to be complete when it is closed."""
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self.rows = 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._writer:
            self._writer.add_key_value_metadata(self.metadata)
            self._writer.close()
            self._writer = None

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            plain = self._encryption is not None  # who reads it need not trust what unpacks
            text = [field.name for field in table.schema if pa.types.is_string(field.type) and not plain]
            packed = {name: "none" if plain or name == ROW_KEY else "zstd" for name in table.column_names}
            self._writer = pyarrow.parquet.ParquetWriter(
                self._path,
                table.schema,
                compression=packed,
                use_dictionary=text,
                store_schema=False,
                write_statistics=[ROW_KEY],
                write_page_checksum=not plain,  # what is encrypted is authenticated
                encryption_properties=self._encryption,
            )
        self._writer.write_table(table)
        self.rows += table.num_rows


class KeyedWriter:
    """A Parquet file of rows in the order of their keys, in whatever order they come.

    So many as `CHUNK_ROWS` are put in order in memory. Those of a longer extract are kept beside the file until the
    end, encrypted under a key that is written nowhere; memory then holds a chunk, or one of `_PIECES` parts of all.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str] | None = None, encryption: Any = None) -> None:
        self._out = TableWriter(path, metadata, encryption)
        self.metadata = self._out.metadata
        write_key, self._read_key = sealed.for_one_process(secrets.token_bytes(_KEY_BYTES))
        self._aside = path.with_name(f"{path.name}.unordered")
        self._unordered = TableWriter(self._aside, encryption=write_key)
        self._of_piece: list[int] = []
        self._held: list[pa.Table] = []
        self.rows = 0

    def __enter__(self) -> KeyedWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._out:
            if kind is None and self.begun:
                for table in self._ordered():
                    self._out.write(table)
        self._aside.unlink(missing_ok=True)

    @property
    def begun(self) -> bool:
        """Return whether anything, if an empty table, was written."""
        return bool(self._held)

    def write(self, table: pa.Table) -> None:
        if sum(held.num_rows for held in self._held) >= CHUNK_ROWS:
            self._put_aside()
        self._held.append(table)
        self.rows += table.num_rows

    def _put_aside(self) -> None:
        table = in_order(pa.concat_tables(self._held))
        cuts = [0, *np.searchsorted(table[ROW_KEY].to_numpy(), _STARTS).tolist(), table.num_rows]
        for piece, (start, end) in enumerate(pairwise(cuts)):
            if end > start:
                self._unordered.write(table.slice(start, end - start))
                self._of_piece.append(piece)
        self._held = []

    def _ordered(self) -> Iterator[pa.Table]:
        if not self._of_piece:
            yield in_order(pa.concat_tables(self._held))
            return
        self._put_aside()
        self._unordered.close()
        file = pyarrow.parquet.ParquetFile(self._aside, decryption_properties=self._read_key)
        for piece in sorted(set(self._of_piece)):
            groups = [group for group, of in enumerate(self._of_piece) if of == piece]
            yield in_order(file.read_row_groups(groups))


def in_order(table: pa.Table) -> pa.Table:
    """Sort rows by their keys."""
    return table.take(pa.array(np.argsort(table[ROW_KEY].to_numpy())))


def keyed(table: pa.Table, keys: RowKeys) -> pa.Table:
    """Replace `source_row` with `row_key` as the first column."""
    values = pa.array(keys.of(table[SOURCE_ROW].to_numpy()), pa.uint64())
    return table.drop_columns([SOURCE_ROW]).add_column(0, ROW_KEY, values)


def by_month(table: pa.Table) -> pa.Table:
    """Set every date to the first of its month."""
    for position, field in enumerate(table.schema):
        if pa.types.is_date(field.type):
            first = pc.floor_temporal(table[field.name], unit="month").cast(field.type)
            table = table.set_column(position, field, first)
    return table


@dataclass(frozen=True)
class Scope:
    """Scope of rows to tokenise: a `whole` extract, or a piece, which cannot show which child alone has its names.

    `marked` rows also get the marks by which parts are resolved.
    """

    whole: bool = True
    marked: bool = False


WHOLE = Scope()


class RowState(StrEnum):
    """What became of a row of a part."""

    KEPT = "kept"
    REJECTED = "rejected"
    DELETED = "deleted"
    """It says that the record it names is no longer held."""


def _without_marks(table: pa.Table) -> pa.Table:
    return table.drop_columns([name for name in table.column_names if name in _MARKS])


class RowWriter(ABC):
    """Destination of the rows that a pass keeps, and of its findings; open during the pass."""

    kept: Path
    quarantine: Path
    scope = WHOLE
    tokens: Path | None = None
    """None if no tokens were written apart from what is `kept`."""

    def __init__(self, keys: RowKeys, rows: KeyedWriter, *writers: KeyedWriter | TableWriter) -> None:
        self._keys, self._rows, self._writers = keys, rows, (rows, *writers)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        for writer in self._writers:
            self._open.enter_context(writer)
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    @property
    def rows(self) -> int:
        """The number of rows kept."""
        return self._rows.rows

    @abstractmethod
    def write(self, table: pa.Table) -> None:
        """Keep rows with `source_row`, payload and tokens."""

    def mark(self, table: pa.Table, state: RowState) -> None:
        """Remember the marks of rows that are not kept, if the writer keeps marks."""
        return

    @abstractmethod
    def note(self, lines: pa.Table) -> None:
        """Add lines to the quarantine."""


class SplitWriter(RowWriter):
    """Writes payload, tokens and quarantine of an extract by row key, each to a file of a folder, in the pipeline.

    The tokens are sealed to `holder`; `held_back` gives a mask of the rows of a table that are not kept. The metadata
    go into payload and tokens.
    """

    def __init__(
        self,
        folder: Path,
        keys: RowKeys,
        holder: X25519PublicKey,
        metadata: Mapping[str, str],
        held_back: Callable[[pa.Table], np.ndarray],
        *writers: KeyedWriter,
    ) -> None:
        self._held_back = held_back
        self.kept, self._tokens_path, self.quarantine = (
            folder / f"{name}.parquet" for name in ("payload", "tokens", "quarantine")
        )
        self._tokens = KeyedWriter(self._tokens_path, metadata, sealed.sealed_to(holder))
        self._quarantine = KeyedWriter(self.quarantine)
        super().__init__(keys, KeyedWriter(self.kept, metadata), self._tokens, self._quarantine, *writers)

    @property
    def tokens(self) -> Path | None:  # type: ignore[override]
        return self._tokens_path if self._tokens.begun else None

    def write(self, table: pa.Table) -> None:
        self._write_keyed(keyed(self._without_held_back(_without_marks(table)), self._keys))

    def mark(self, table: pa.Table, state: RowState) -> None:
        """Look for rows that are held back among those not kept as well: the quarantine must not name them."""
        self._held_back(table)

    def note(self, lines: pa.Table) -> None:
        self._quarantine.write(keyed(lines, self._keys))

    def _without_held_back(self, table: pa.Table) -> pa.Table:
        held = self._held_back(table)
        return table.filter(pa.array(~held)) if held.any() else table

    def _write_keyed(self, table: pa.Table) -> None:
        tokens = [name for name in table.column_names if name in _TOKENS]
        self._rows.write(by_month(table.drop_columns(tokens)))
        if tokens:
            compared = [name for name in LINKED_PAYLOAD if name in table.column_names]
            self._tokens.write(table.select([ROW_KEY, *compared, *tokens]))


class PartsSplitWriter(SplitWriter):
    """Writes parts of an extract that are read together, by the numbers of their rows in the extract.

    The marks of the rows go to another file, sealed to the `intake`.
    """

    scope = Scope(whole=False, marked=True)

    def __init__(
        self,
        folder: Path,
        keys: RowKeys,
        holder: X25519PublicKey,
        intake: X25519PublicKey,
        metadata: Mapping[str, str],
        held_back: Callable[[pa.Table], np.ndarray],
    ) -> None:
        self.marks = folder / "marks.parquet"
        self._marks = KeyedWriter(self.marks, metadata, sealed.sealed_to(intake))
        self.counts: Counter[tuple[int, str]] = Counter()
        """Rows of each part that are in each state, or break each rule."""
        super().__init__(folder, keys, holder, metadata, held_back, self._marks)

    def write(self, table: pa.Table) -> None:
        table = self._marked(pseudonyms.without_sole_bearers(table), RowState.KEPT)
        self._write_keyed(_without_marks(table))

    def mark(self, table: pa.Table, state: RowState) -> None:
        self._marked(table, state)

    def note(self, lines: pa.Table) -> None:
        self._count(lines[SOURCE_ROW].to_numpy(), lines["rule"])
        super().note(lines)

    def _marked(self, table: pa.Table, state: RowState) -> pa.Table:
        table = self._without_held_back(table)
        states = pa.repeat(str(state), table.num_rows)
        self._count(table[SOURCE_ROW].to_numpy(), states)
        table = keyed(table, self._keys)
        marks = [name for name in pseudonyms.MARK_COLUMNS if name in table.column_names]
        self._marks.write(table.select([ROW_KEY, *marks]).append_column("state", states))
        return table

    def _count(self, numbers: np.ndarray, what: pa.Array) -> None:
        parts, _ = part_and_row(numbers)
        counted = pa.table({"part": parts, "what": what}).group_by(["part", "what"]).aggregate([([], "count_all")])
        self.counts.update({(row["part"], row["what"]): row["count_all"] for row in counted.to_pylist()})


class SenderWriter(RowWriter):
    """Writes all that a sender hands over of an extract to one file, by row key and sealed to the pipeline's intake.

    The quarantine, by row number, stays with the sender. `schema` gives the columns of the file, in order.
    """

    scope = Scope(marked=True)

    def __init__(self, folder: Path, keys: RowKeys, intake: X25519PublicKey, schema: pa.Schema) -> None:
        self._schema = schema
        self.kept, self.quarantine = folder / "rows.parquet", folder / "quarantine.parquet"
        self._quarantine = TableWriter(self.quarantine)
        super().__init__(keys, KeyedWriter(self.kept, encryption=sealed.sealed_to(intake)), self._quarantine)

    def write(self, table: pa.Table) -> None:
        self._rows.write(by_month(keyed(table, self._keys).select(self._schema.names).cast(self._schema)))

    def note(self, lines: pa.Table) -> None:
        self._quarantine.write(lines)

    def describe(self, metadata: Mapping[str, str]) -> None:
        """Add metadata to the file, under the same seal."""
        self._rows.metadata.update(metadata)
