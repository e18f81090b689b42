"""What an extract is judged by, and what was found. Counts, shares and the place of a file: no value of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sources.contracts import Column


@dataclass(frozen=True)
class Finding:
    """One expectation and its outcome; `rule` is its name in the contract's suite."""

    rule: str
    expectation: str
    column: str | None
    severity: str
    passed: bool
    unexpected_rows: int | None
    sentence: str


@dataclass(frozen=True)
class Judged:
    """What an extract is judged by: its kept rows (Parquet) and the facts of `ExtractRule`, where there are any."""

    source: str
    kept: Path
    rows_kept: int
    rejected_share: float | None
    rows_of_last: float | None
    rows_of_published: float | None
    filled: Mapping[str, int]
    """Kept rows with a usable value, by column."""

    def complete(self, column: Column) -> float | None:
        """Share of the kept rows with a usable value of a column."""
        return self.filled[column.name] / self.rows_kept if self.rows_kept else None
