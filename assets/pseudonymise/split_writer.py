"""Writes the payload and the tokens of an extract to separate files, both by row key.

Neither file reveals a row's position in the extract: keys are a keyed permutation of row numbers (`privacy.row_keys`),
and rows are sorted by key. Dates in the payload are cut to the month, because the day of a visit to a newborn would
reveal the date of birth. Readers of the payload cannot read the tokens, which are encrypted for the linkage.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from privacy import pseudonyms
from privacy.doors import sealed
from privacy.row_keys import ROW_KEY, RowKeys, split_number
from sources.contracts import Column, DerivedColumn, Kind, Role, SourceContract
from sources.extract.table import SOURCE_ROW

CHUNK_ROWS = 3 << 15
"""Rows processed at once, and rows in a row group of the output (98,304)."""
LINKED_PAYLOAD = ("council", "sex")
"""Payload columns that the linkage also compares."""
_TOKENS, _MARKS = frozenset(pseudonyms.TOKEN_COLUMNS), frozenset(pseudonyms.MARK_COLUMNS)
_PIECES = 32
"""Number of ranges of keys that a long extract is split into, to be sorted one at a time."""
_STARTS = np.arange(1, _PIECES, dtype=np.uint64) * np.uint64(2**64 // _PIECES)
"""First key of each piece after the first. Keys are spread evenly over 64 bits."""
_KEY_BYTES = 32
_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.CODE: pa.string(),
    Kind.DATE: pa.date32(),
    Kind.INTEGER: pa.int32(),
    Kind.DECIMAL: pa.float64(),
}


def build_payload_schema(contract: SourceContract) -> pa.Schema:
    """Return the row key of a source's rows, and the columns that are kept without tokens, in order."""
    kept: tuple[Column | DerivedColumn, ...] = (*contract.select_role(Role.PAYLOAD), *contract.derived)
    return pa.schema([(ROW_KEY, pa.uint64()), *((column.name, _TYPES[column.kind]) for column in kept)])


class TableWriter(AbstractContextManager["TableWriter"]):
    """Writes a Parquet file one table at a time. The file is created by the first table, even an empty one."""

    def __init__(self, path: Path, metadata: Mapping[str, str] | None = None, encryption: Any = None) -> None:
        self.path, self._encryption = path, encryption
        self.metadata = dict(metadata or {})
        """Metadata of the file, written when it is closed."""
        self._writer: pyarrow.parquet.ParquetWriter | None = None

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        if self._writer:
            self._writer.add_key_value_metadata(self.metadata)
            self._writer.close()
            self._writer = None

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            plain = self._encryption is not None  # uncompressed, so that its reader need not trust a decompressor
            text = [field.name for field in table.schema if pa.types.is_string(field.type) and not plain]
            # row keys are spread evenly over 64 bits, so they do not compress
            packed = {name: "none" if plain or name == ROW_KEY else "zstd" for name in table.column_names}
            self._writer = pyarrow.parquet.ParquetWriter(
                self.path,
                table.schema,
                compression=packed,
                use_dictionary=text,
                store_schema=False,
                write_statistics=[ROW_KEY],
                write_page_checksum=not plain,  # encrypted pages are authenticated
                encryption_properties=self._encryption,
            )
        self._writer.write_table(table)


class KeyedWriter(TableWriter):
    """Writes a Parquet file of rows sorted by key. Rows can arrive in any order.

    Up to about `CHUNK_ROWS` rows are sorted in memory. A longer extract is kept in a temporary file next to the output,
    encrypted under a key that is never stored. Memory then holds one chunk, or one of `_PIECES` pieces of all rows.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str] | None = None, encryption: Any = None) -> None:
        super().__init__(path, metadata, encryption)
        write_key, self._read_key = sealed.build_process_encryption(secrets.token_bytes(_KEY_BYTES))
        self._aside = path.with_name(f"{path.name}.unordered")
        self._unordered = TableWriter(self._aside, encryption=write_key)
        self._of_piece: list[int] = []
        self._in_memory: list[pa.Table] = []
        self.rows = 0

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        if kind is None and self.begun:
            for table in self._iter_ordered():
                super().write(table)
        super().__exit__()
        self._aside.unlink(missing_ok=True)

    @property
    def begun(self) -> bool:
        """True once a table, even an empty one, was written."""
        return bool(self._in_memory)

    def write(self, table: pa.Table) -> None:
        if sum(table.num_rows for table in self._in_memory) >= CHUNK_ROWS:
            self._put_aside()
        self._in_memory.append(table)
        self.rows += table.num_rows

    def _put_aside(self) -> None:
        table = pa.concat_tables(self._in_memory).sort_by(ROW_KEY)
        # each chunk is cut at the same keys, so that a piece is complete once all its slices are read
        cuts = [0, *np.searchsorted(table[ROW_KEY].to_numpy(), _STARTS).tolist(), table.num_rows]
        for piece, (start, end) in enumerate(pairwise(cuts)):
            if end > start:
                self._unordered.write(table.slice(start, end - start))
                self._of_piece.append(piece)
        self._in_memory = []

    def _iter_ordered(self) -> Iterator[pa.Table]:
        if not self._of_piece:
            yield pa.concat_tables(self._in_memory).sort_by(ROW_KEY)
            return
        with self._unordered:
            self._put_aside()
        file = pyarrow.parquet.ParquetFile(self._aside, decryption_properties=self._read_key)
        for piece in sorted(set(self._of_piece)):
            groups = [group for group, of in enumerate(self._of_piece) if of == piece]
            yield file.read_row_groups(groups).sort_by(ROW_KEY)


def set_row_keys(table: pa.Table, keys: RowKeys) -> pa.Table:
    """Replace `source_row` with `row_key` as the first column."""
    values = pa.array(keys.derive_keys(table[SOURCE_ROW].to_numpy()), pa.uint64())
    return table.drop_columns([SOURCE_ROW]).add_column(0, ROW_KEY, values)


def cut_dates_to_month(table: pa.Table) -> pa.Table:
    """Set every date to the first of its month."""
    for position, field in enumerate(table.schema):
        if pa.types.is_date(field.type):
            first = pc.floor_temporal(table[field.name], unit="month").cast(field.type)
            table = table.set_column(position, field, first)
    return table


@dataclass(frozen=True)
class Scope:
    """Scope of rows to tokenise: a `whole` extract or a piece.

    A piece cannot show that only one child in the extract has both names. `marked` rows get marks for resolving parts.
    """

    whole: bool = True
    marked: bool = False


WHOLE = Scope()


class RowState(StrEnum):
    """Outcome of a row of a part."""

    KEPT = "kept"
    REJECTED = "rejected"
    DELETED = "deleted"
    """The row says that its record is deleted."""


class RowWriter(ExitStack):
    """Destination for the rows and findings of a pass, open during the pass."""

    scope = WHOLE

    def __init__(self, keys: RowKeys, rows: KeyedWriter, quarantine: TableWriter, *others: TableWriter) -> None:
        super().__init__()
        self._keys, self._rows, self._quarantine = keys, rows, quarantine
        self.kept, self.quarantine = rows.path, quarantine.path
        for writer in (rows, quarantine, *others):
            self.enter_context(writer)  # creates no file

    @property
    def tokens(self) -> Path | None:
        """File of the tokens; None if none were written separately from `kept`."""
        return None

    @property
    def rows(self) -> int:
        """Number of rows kept."""
        return self._rows.rows

    def write(self, table: pa.Table) -> None:
        """Write rows to keep, with `source_row`, payload and tokens."""
        raise NotImplementedError

    def mark(self, table: pa.Table, state: RowState) -> None:
        """Write the marks of rows that are not kept, if this writer stores marks."""

    def note(self, lines: pa.Table) -> None:
        """Add lines to the quarantine."""
        raise NotImplementedError


class SplitWriter(RowWriter):
    """Writes an extract's payload, tokens and quarantine in the pipeline, by row key, to one file each.

    Tokens are encrypted for `holder`. `held_back` returns a mask of the rows of a table to leave out. Payload and
    tokens get the metadata. Parts that are read together also get a file of marks, encrypted for `intake`.
    """

    def __init__(
        self,
        folder: Path,
        keys: RowKeys,
        holder: X25519PublicKey,
        metadata: Mapping[str, str],
        held_back: Callable[[pa.Table], np.ndarray],
        intake: X25519PublicKey | None = None,
    ) -> None:
        self._held_back = held_back
        self._tokens = KeyedWriter(folder / "tokens.parquet", metadata, sealed.build_encryption(holder))
        self.marks = folder / "marks.parquet"
        self._marks = KeyedWriter(self.marks, metadata, sealed.build_encryption(intake)) if intake else None
        self.counts: Counter[tuple[int, str]] = Counter()
        """Number of rows of parts by part and state, and by part and broken rule."""
        rows, quarantine = KeyedWriter(folder / "payload.parquet", metadata), KeyedWriter(folder / "quarantine.parquet")
        super().__init__(keys, rows, quarantine, self._tokens, *([self._marks] if self._marks else ()))
        self.scope = Scope(whole=False, marked=True) if intake else WHOLE

    @property
    def tokens(self) -> Path | None:
        return self._tokens.path if self._tokens.begun else None

    def write(self, table: pa.Table) -> None:
        if self._marks:
            # a part cannot show that only one child in the extract has both names
            table = pseudonyms.clear_sole_bearers(table)
        table = self._write_marks(table, RowState.KEPT)
        table = table.drop_columns([name for name in table.column_names if name in _MARKS])
        tokens = [name for name in table.column_names if name in _TOKENS]
        self._rows.write(cut_dates_to_month(table.drop_columns(tokens)))
        if tokens:
            compared = [name for name in LINKED_PAYLOAD if name in table.column_names]
            self._tokens.write(table.select([ROW_KEY, *compared, *tokens]))

    def mark(self, table: pa.Table, state: RowState) -> None:
        """Hold back rows among rejected and deleted rows too, because the quarantine must not name them."""
        self._write_marks(table, state)

    def note(self, lines: pa.Table) -> None:
        self._count(lines[SOURCE_ROW].to_numpy(), lines["rule"])
        self._quarantine.write(set_row_keys(lines, self._keys))

    def _write_marks(self, table: pa.Table, state: RowState) -> pa.Table:
        """Return the rows that are not held back, with row keys. Also write their marks if they belong to parts."""
        mask = self._held_back(table)
        table = table.filter(pa.array(~mask)) if mask.any() else table
        numbers, table = table[SOURCE_ROW].to_numpy(), set_row_keys(table, self._keys)
        if self._marks is None:
            return table
        states = pa.repeat(str(state), table.num_rows)
        self._count(numbers, states)
        marks = [name for name in pseudonyms.MARK_COLUMNS if name in table.column_names]
        self._marks.write(table.select([ROW_KEY, *marks]).append_column("state", states))
        return table

    def _count(self, numbers: np.ndarray, what: pa.Array) -> None:
        parts, _ = split_number(numbers)
        counted = pa.table({"part": parts, "what": what}).group_by(["part", "what"]).aggregate([([], "count_all")])
        self.counts.update({(row["part"], row["what"]): row["count_all"] for row in counted.to_pylist()})


class SenderWriter(RowWriter):
    """Writes the one file that a sender delivers, by row key and encrypted for the pipeline's intake.

    The quarantine, by row number, stays with the sender. `schema` gives the columns of the file, in order.
    """

    scope = Scope(marked=True)

    def __init__(self, folder: Path, keys: RowKeys, intake: X25519PublicKey, schema: pa.Schema) -> None:
        self._schema = schema
        rows = KeyedWriter(folder / "rows.parquet", encryption=sealed.build_encryption(intake))
        super().__init__(keys, rows, TableWriter(folder / "quarantine.parquet"))

    def write(self, table: pa.Table) -> None:
        self._rows.write(
            cut_dates_to_month(set_row_keys(table, self._keys).select(self._schema.names).cast(self._schema))
        )

    def note(self, lines: pa.Table) -> None:
        self._quarantine.write(lines)

    def describe(self, metadata: Mapping[str, str]) -> None:
        """Add metadata to the encrypted file."""
        self._rows.metadata.update(metadata)
