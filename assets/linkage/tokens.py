"""Reads sealed tokens, and the scored pairs that one linkage leaves for the next. No other module opens tokens.

Both are sealed to a key that only the linkage holds. If an extract came in parts, its token file lists the valid
rows, and each part has a token file. Scored pairs reveal as much as tokens do, so they are stored and removed with
them. Pairs made by other code, with another model or with another published number of children are ignored.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from assets.home.errors import build_damage_error
from assets.home.paths import CohortStore, ExtractStore
from assets.intake.deliveries import MAC_KEY, PARTS_KEY, TOKENS_KEY
from privacy.doors import sealed
from privacy.keys import KeyRing
from privacy.linkage.candidates import PairCache
from privacy.row_keys import ROW_KEY


class TokensUnusable(Exception):
    """Raised if tokens are unreadable, belong to another payload or were made differently; says what to do."""


_AGAIN = "take the extract in again; where its file is no longer in landing, ask for it again"


def open_readers(
    store: CohortStore, keys: KeyRing, extracts: Mapping[str, Sequence[Path]]
) -> dict[str, pa.RecordBatchReader]:
    """Return streams of the tokens of payload files, by source. Raises `TokensUnusable`, `Damaged` and `KeyProblem`."""
    found = {}
    for source, paths in extracts.items():
        files = [open_tokens(store.get_extract(source, path.stem), keys) for path in paths]
        if files:
            schema = sealed.read_schema(files[0])
            found[source] = pa.RecordBatchReader.from_batches(schema, _iter_batches(files, schema.names))
    return found


def _iter_batches(files: Sequence["Tokens"], columns: list[str]) -> Iterator[pa.RecordBatch]:
    # A file at a time: half a million rows take a third of a second, and two files at once take as long.
    for file in files:
        yield from file.read(columns=columns).select(columns).to_batches()


def read_last_keys(store: CohortStore, keys: KeyRing, extracts: Mapping[str, Sequence[Path]]) -> pa.Table:
    """Return source, council, row_key and `last_key` of rows that a later part repeats. Raises as `open_readers`.

    Such a row keeps the key of the first part that has it; `last_key` is that of the equal row in the last one.
    """
    found = [_LAST_KEYS.empty_table()]
    for source, paths in extracts.items():
        for path in paths:
            tokens = open_tokens(store.get_extract(source, path.stem), keys)
            if isinstance(tokens, TokensOfParts):
                rows = tokens.index.select([ROW_KEY, "last_key"]).filter(pc.field("last_key").is_valid())
                for name, value in (("council", path.stem), ("source", source)):
                    rows = rows.add_column(0, name, pa.repeat(value, len(rows)))
                found.append(rows.cast(_LAST_KEYS))
    return pa.concat_tables(found)


_LAST_KEYS = pa.schema(
    [("source", pa.string()), ("council", pa.string()), (ROW_KEY, pa.uint64()), ("last_key", pa.uint64())]
)


class TokensOfParts:
    """The tokens of an extract in `parts`, read like one file; `index` has the valid rows and the part of each."""

    def __init__(self, index: pyarrow.parquet.ParquetFile, parts: Sequence[pyarrow.parquet.ParquetFile]) -> None:
        self.index, self.metadata, self._parts = index.read(), index.metadata, parts
        self.schema_arrow: pa.Schema = parts[0].schema_arrow

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows sorted by key."""
        wanted = list(columns or self.schema_arrow.names)
        with_keys = list(dict.fromkeys((ROW_KEY, *wanted)))
        parts = (part.read(columns=with_keys).select(with_keys) for part in self._parts)
        rows = pa.concat_tables(self._select_valid(part, place) for place, part in enumerate(parts))
        # The payload is in the order of keys too.
        return rows.sort_by(ROW_KEY).select(wanted)

    def _select_valid(self, rows: pa.Table, place: int) -> pa.Table:
        """Return the valid rows of a file, with `t_names` filled in where only one child has these common names."""
        valid = self.index.filter(pc.field("lies_in") == place)
        at = pc.index_in(rows[ROW_KEY], value_set=valid[ROW_KEY])
        rows, at = rows.replace_schema_metadata(None).filter(at.is_valid()), at.drop_null()
        if "t_names" not in rows.column_names:
            return rows
        names = pc.coalesce(rows["t_names"], valid["t_names"].take(at))
        return rows.set_column(rows.column_names.index("t_names"), "t_names", names)


Tokens: TypeAlias = "pyarrow.parquet.ParquetFile | TokensOfParts"


def open_tokens(store: ExtractStore, keys: KeyRing) -> Tokens:
    """Open the tokens of an extract. Raises what `open_readers` raises."""
    path, name = store.tokens, store.name
    if not path.exists():
        raise TokensUnusable(f"{name} has no token file: {_AGAIN}")
    try:
        opens = keys.get_private_key("tokens")
        tokens, rows = sealed.open_sealed(path, opens), pyarrow.parquet.ParquetFile(store.pseudonymised)
        stems = json.loads(sealed.read_metadata(tokens).get(PARTS_KEY, "[]"))
        parts = [sealed.open_sealed(store.get_part_tokens(stem), opens) for stem in stems]
    except sealed.NotForThisKey:
        raise TokensUnusable(
            f"{name}: its tokens are sealed to another key than tokens.pem: give the key set of that time, or {_AGAIN}"
        ) from None
    except FileNotFoundError:
        raise TokensUnusable(f"{name}: the tokens of one of its parts are gone: {_AGAIN}") from None
    except (pa.ArrowException, OSError) as error:
        # For damaged content, pyarrow raises an OSError without an errno. With one, the disk or permissions are at
        # fault.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise build_damage_error(store.root, path) from None
    # Tokens and payload have the same row order. Files of two deliveries would give rows the tokens of other children.
    deliveries = [
        {key: sealed.read_metadata(file).get(key) for key in (MAC_KEY, TOKENS_KEY)} for file in (tokens, rows)
    ]
    if deliveries[0] != deliveries[1] or tokens.metadata.num_rows != rows.metadata.num_rows:
        raise TokensUnusable(f"{name}: its tokens are not of the rows that are in: {_AGAIN}")
    return TokensOfParts(tokens, parts) if parts else tokens


_PARTS = "row_groups"
"""Metadata key for the row groups of each part (JSON)."""


class StoredPairs(PairCache, AbstractContextManager["StoredPairs"]):
    """The stored pairs of a cohort, read if their fingerprint is `made_with`, and new ones written to `now` if given.

    `read` raises `Damaged` if the file's bytes have changed.
    """

    def __init__(self, store: CohortStore, now: Path | None, keys: KeyRing, made_with: Mapping[str, str]) -> None:
        self._home, self._place, self._now, self._made_with = store.home, store.pair_cache, now, dict(made_with)
        self._key = keys.get_private_key("tokens")
        self._before = self._open()
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._parts: dict[int, list[int]] = {}

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.add_key_value_metadata(self._made_with | {_PARTS: json.dumps(self._parts)})
            self._writer.close()

    def read(self, part: int) -> pa.RecordBatchReader | None:
        if self._before is None:
            return None
        groups = json.loads(sealed.read_metadata(self._before)[_PARTS])[str(part)]
        try:
            return self._before.read_row_groups(groups).to_reader()
        except (pa.ArrowException, OSError):
            raise build_damage_error(self._home.root, self._place) from None

    def keep(self, part: int, rows: pa.RecordBatchReader) -> None:
        if self._now is None:
            return
        if self._writer is None:
            # Without dictionaries the file is a tenth larger, and takes less than two thirds of the time to write.
            self._writer = pyarrow.parquet.ParquetWriter(
                self._now,
                rows.schema,
                compression="zstd",
                use_dictionary=False,
                write_statistics=False,
                encryption_properties=sealed.build_encryption(self._key.public_key()),
            )
        first = sum(map(len, self._parts.values()))
        self._parts[part] = []
        for batch in rows:
            # Batch by batch, so that no part is held in memory as a whole.
            self._writer.write_table(pa.Table.from_batches([batch]), row_group_size=max(batch.num_rows, 1))
            self._parts[part].append(first + len(self._parts[part]))

    def _open(self) -> pyarrow.parquet.ParquetFile | None:
        """Return the file if it can be read and used, otherwise None."""
        try:
            file = sealed.open_sealed(self._place, self._key)
        # Pairs only save time: if they cannot be read, they are scored again.
        except (sealed.NotForThisKey, pa.ArrowException, OSError):
            return None
        metadata = sealed.read_metadata(file)
        return file if _PARTS in metadata and self._made_with.items() <= metadata.items() else None
