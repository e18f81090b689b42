"""What every reader gives: a file's rows as text, before its columns are matched to the contract's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from sources.contracts import Rule
from sources.extract.errors import ExtractStopped

MAX_COLUMNS = 500
SOURCE_ROW = "source_row"


@dataclass
class Table:
    """`read(names)` streams the named columns of `header`, in that order, as strings, and `source_row` last.

    `source_row` (int64) is the 1-based number of the data row in the file, blank and unusable rows counted. `set_aside`
    fills, as the batches are read, with the rows that a reader could not give, by the rule that they break. A reader of
    a format that is the source's own standard gives contract columns: `in_contract_form`.
    """

    header: list[str]
    read: Callable[[list[str]], Iterator[pa.RecordBatch]]
    set_aside: dict[Rule, list[int]] = field(default_factory=dict)
    in_contract_form: bool = False


def checked_header(name: str, header: list[str]) -> list[str]:
    """Column names, trimmed, unnamed ones numbered; raises `ExtractStopped` for a header that cannot be used.

    `name` is how messages call the file.
    """
    header = [column.strip() for column in header]
    if not any(header):
        raise ExtractStopped(f"{name}: the file is empty; it needs at least its header line")
    if len(header) > MAX_COLUMNS:
        raise ExtractStopped(f"{name}: {len(header)} columns; an extract has at most {MAX_COLUMNS}")
    repeated = sorted({column for column in header if column and header.count(column) > 1})
    if repeated:
        raise ExtractStopped(f"{name}: column {', '.join(repeated)} stands twice in the header")
    return [column or f"(unnamed column {index})" for index, column in enumerate(header, 1)]
