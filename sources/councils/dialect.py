"""Dialect of a council for one source, including derived columns.

There are five operations for deriving a column. All are declarative: nothing in a council file is executed. Its texts
reach SQL only as string literals, and its headings not at all: the caller passes the expression of each input.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property, lru_cache

import duckdb

from privacy.doors.database import in_memory
from privacy.doors.sql import quoted


@dataclass(frozen=True)
class Derived:
    """A column derived from `inputs`, the council's headings of other columns."""

    inputs: tuple[str, ...]

    def sql(self, columns: Mapping[str, str]) -> str:
        """Return an SQL expression (VARCHAR); `columns` maps each input to an SQL expression of its trimmed text.

        Empty inputs are NULL, and so are empty results and results without usable input.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Pattern(Derived):
    """The part of a column that the capture group of an RE2 `pattern` matches; NULL if it does not match."""

    pattern: str

    def sql(self, columns: Mapping[str, str]) -> str:
        return f"nullif(regexp_extract({columns[self.inputs[0]]}, {quoted(self.pattern)}, 1), '')"


@dataclass(frozen=True)
class Characters(Derived):
    """Characters `first` to `last` of a column, inclusive, counted from 1."""

    first: int
    last: int

    def sql(self, columns: Mapping[str, str]) -> str:
        return f"nullif(substring({columns[self.inputs[0]]}, {self.first}, {self.last - self.first + 1}), '')"


@dataclass(frozen=True)
class Join(Derived):
    """Several columns joined by `separator`; NULL if one of them is blank."""

    separator: str

    def sql(self, columns: Mapping[str, str]) -> str:
        return "(" + f" || {quoted(self.separator)} || ".join(columns[name] for name in self.inputs) + ")"


@dataclass(frozen=True)
class FirstOf(Derived):
    """The first of several columns that is not blank."""

    def sql(self, columns: Mapping[str, str]) -> str:
        return f"coalesce({', '.join(columns[name] for name in self.inputs)})"


@dataclass(frozen=True)
class Filled(Derived):
    """One value if a column is filled, another (or NULL) if it is blank."""

    filled: str
    blank: str

    def sql(self, columns: Mapping[str, str]) -> str:
        without = quoted(self.blank) if self.blank else "NULL"
        return f"CASE WHEN {columns[self.inputs[0]]} IS NULL THEN {without} ELSE {quoted(self.filled)} END"


@lru_cache(maxsize=1024)
def pattern_fault(pattern: str) -> str | None:
    """Return why `pattern` cannot be used, or None: it must be RE2 with exactly one capture group."""
    literal = quoted(pattern)
    with in_memory() as con:
        try:
            con.execute(f"SELECT regexp_extract('', {literal})").fetchall()
        except duckdb.Error as error:
            return f"is not a pattern (RE2): {str(error).partition(': ')[2].splitlines()[0]}"
        groups = [_has_groups(con, literal, number) for number in (1, 2)]
    return None if groups == [True, False] else "must have exactly one capture group, ( ); write (?: ) for any other"


def _has_groups(con: duckdb.DuckDBPyConnection, literal: str, number: int) -> bool:
    names = [f"part_{index}" for index in range(number)]
    try:
        con.execute(f"SELECT regexp_extract('', {literal}, {names})").fetchall()
    except duckdb.BinderException:
        return False
    return True


class Parts(StrEnum):
    """How the parts of an extract are combined."""

    CUMULATIVE = "cumulative"
    """Each part has all records up to its date: only the latest counts."""
    INCREMENTAL = "incremental"
    """Each part has new and corrected records."""
    CHANGES = "changes"
    """As incremental, with rows that delete a record; the last row of a record in a part counts."""


@dataclass(frozen=True)
class Deletion:
    """The council's column (`heading`) whose `values` mark a row as the deletion of its record."""

    heading: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Dialect:
    """Form of one council's extracts of one source; the defaults are contract form.

    `columns` maps contract columns to the council's headings. `codes` maps, for a contract column, the council's values
    to contract codes, or to "" for unknown. `column_date_formats` override the file's date formats for a column.
    `derived` are contract columns made from other columns of the file. `parts` says how several files of one extract
    are combined (None: detected from the files); `deleted` marks deleting rows in `changes`. `sheet` is the workbook
    sheet to read (None: found by its columns).
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    date_formats: tuple[str, ...] = ("%Y-%m-%d",)
    column_date_formats: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    derived: Mapping[str, Derived] = field(default_factory=dict)
    parts: Parts | None = None
    deleted: Deletion | None = None
    sheet: str | None = None

    @property
    def date_format(self) -> str:
        """The council's first date format."""
        return self.date_formats[0]

    def formats_of(self, column: str) -> tuple[str, ...]:
        """Return the date formats of a contract column."""
        return self.column_date_formats.get(column, self.date_formats)

    @property
    def in_contract_form(self) -> Dialect:
        """Dialect of the same council's files under contract column names."""
        return Dialect(parts=self.parts, deleted=self.deleted, sheet=self.sheet)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The council's headings that are read for derived columns and deletions."""
        names = [name for derived in self.derived.values() for name in derived.inputs]
        return tuple(dict.fromkeys([*names, *([self.deleted.heading] if self.deleted else [])]))

    def local_name(self, column: str) -> str:
        """Return the council's heading of a contract column."""
        return self.columns.get(column, column)

    @cached_property
    def sha256(self) -> str:
        """Hash of the source's settings that affect reading; an extract read with another hash is read again."""
        content = asdict(self) | {"derived": {name: repr(derived) for name, derived in self.derived.items()}}
        content.pop("parts")  # does not change how a file is read
        if self.sheet is None:
            content.pop("sheet")  # nor does an unset sheet
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


CONTRACT_DIALECT = Dialect()
