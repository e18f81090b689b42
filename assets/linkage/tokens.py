"""The tokens that a linkage reads: the one place that opens them, with the key that the linkage alone holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from assets.home.errors import damaged
from assets.home.paths import Home
from assets.intake.deliveries import MAC_KEY, TOKENS_KEY
from privacy.doors import sealed
from privacy.keys import KeyRing


class TokensUnusable(Exception):
    """Tokens that cannot be read, or are not of the rows beside which they stand; the message says what to do."""


_AGAIN = "take the extract in again; where its file is no longer in landing, ask for it again"


def readers(
    home: Home,
    keys: KeyRing,
    cohort: str,
    extracts: Mapping[str, Sequence[Path]],
    columns: Sequence[str] | None = None,
) -> dict[str, pa.RecordBatchReader]:
    """The tokens of extracts (payload files by source) as streams, each to be read once; of `columns` where they are
    given.

    Raises `TokensUnusable`, `Damaged` and `KeyProblem`.
    """
    found = {}
    for source, paths in extracts.items():
        files = [opened(home, keys, source, cohort, path.stem) for path in paths]
        if files:
            names = sealed.schema(files[0]).names if columns is None else columns
            schema = pa.schema([sealed.schema(files[0]).field(name) for name in names])
            found[source] = pa.RecordBatchReader.from_batches(schema, _batches(files, schema.names))
    return found


def opened(home: Home, keys: KeyRing, source: str, cohort: str, council: str) -> pyarrow.parquet.ParquetFile:
    """The tokens of an extract that is in, for reading. Raises what `readers` does."""
    path, payload = home.tokens(source, cohort, council), home.pseudonymised(source, cohort, council)
    name = f"{council}/{source}/{cohort}"
    if not path.exists():
        raise TokensUnusable(f"{name} has no tokens apart from its payload, as this version keeps them: {_AGAIN}")
    try:
        tokens, rows = sealed.opened(path, keys.opens("tokens")), pyarrow.parquet.ParquetFile(payload)
    except sealed.NotForThisKey:
        raise TokensUnusable(
            f"{name}: its tokens are sealed to another key than tokens.pem: give the key set of that time, or {_AGAIN}"
        ) from None
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise damaged(home, path) from None
    said = [{key: sealed.metadata(file).get(key) for key in (MAC_KEY, TOKENS_KEY)} for file in (tokens, rows)]
    if said[0] != said[1] or tokens.metadata.num_rows != rows.metadata.num_rows:
        raise TokensUnusable(f"{name}: its tokens are not of the rows that are in: {_AGAIN}")
    return tokens


def _batches(files: Sequence[pyarrow.parquet.ParquetFile], columns: list[str]) -> Iterator[pa.RecordBatch]:
    for file in files:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
            yield batch.select(columns)


_BATCH_ROWS = 1 << 16
