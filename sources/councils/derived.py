"""Columns that a council file derives from others of the extract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Derived:
    """A column made from `inputs`, the council's own names of other columns."""

    inputs: tuple[str, ...]

    def sql(self, columns: Mapping[str, str]) -> str:
        """SQL expression (VARCHAR) over `columns`, which maps each input to an SQL expression of its trimmed text."""
        raise NotImplementedError
