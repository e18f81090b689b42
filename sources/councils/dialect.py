"""How one source is written by one council, with the columns that its file makes from others of the extract.

Five operations make a column, each a declaration: nothing that stands in a council file is run. A council file's texts
reach SQL as string literals alone, and its headings not at all: the caller hands in the expression of each input.
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
    """A column made from `inputs`, the council's own headings of other columns."""

    inputs: tuple[str, ...]

    def sql(self, columns: Mapping[str, str]) -> str:
        """SQL expression (VARCHAR) over `columns`, which maps each input to an SQL expression of its trimmed text.

        An input without text is NULL there, and so is a result without text or with nothing to make it from.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Pattern(Derived):
    """The part of one column that the one capture group of an RE2 `pattern` takes; NULL where it does not match."""

    pattern: str

    def sql(self, columns: Mapping[str, str]) -> str:
        return f"nullif(regexp_extract({columns[self.inputs[0]]}, {quoted(self.pattern)}, 1), '')"


@dataclass(frozen=True)
class Characters(Derived):
    """The characters `first` to `last` of one column, counted from 1, both included."""

    first: int
    last: int

    def sql(self, columns: Mapping[str, str]) -> str:
        return f"nullif(substring({columns[self.inputs[0]]}, {self.first}, {self.last - self.first + 1}), '')"


@dataclass(frozen=True)
class Join(Derived):
    """Several columns, one after the other, with `separator` between them; NULL where one of them is blank."""

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
    """One value where a column is filled, another (or none) where it is blank."""

    filled: str
    blank: str

    def sql(self, columns: Mapping[str, str]) -> str:
        without = quoted(self.blank) if self.blank else "NULL"
        return f"CASE WHEN {columns[self.inputs[0]]} IS NULL THEN {without} ELSE {quoted(self.filled)} END"


@lru_cache(maxsize=1024)
def pattern_fault(pattern: str) -> str | None:
    """Why `pattern` cannot be used, or None: it must be RE2 with exactly one capture group."""
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
    """How the parts of an extract belong together."""

    CUMULATIVE = "cumulative"
    """Each holds everything up to its day: the latest counts alone."""
    INCREMENTAL = "incremental"
    """Each holds what is new or corrected."""
    CHANGES = "changes"
    """The same, and rows that delete a record; of several rows of one record in a part the last counts."""


@dataclass(frozen=True)
class Deletion:
    """The column of the council's own (`heading`) that marks a row as the deletion of its record, by these `values`."""

    heading: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Dialect:
    """How one source is written by one council; the defaults are the contract's own form.

    `columns` maps contract column to the council's heading. `codes` maps, for a contract column, the council's value
    to the contract's code, or to "" where it means that nothing is known. `column_date_formats` are those of a column
    that differs from the rest of its file. `derived` are contract columns made from others of the file. `parts` says
    how several files of one extract belong together, None where that is to be seen from them; `deleted` marks rows of
    `changes`. `sheet` is the one of a workbook to read, None where its columns tell.
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
        """The format that the council writes dates in, the first of those it may use."""
        return self.date_formats[0]

    def formats_of(self, column: str) -> tuple[str, ...]:
        """The formats that dates of a contract column may be written in."""
        return self.column_date_formats.get(column, self.date_formats)

    @property
    def in_contract_form(self) -> Dialect:
        """That of a file of the same council under the contract's own names."""
        return Dialect(parts=self.parts, deleted=self.deleted, sheet=self.sheet)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The council's own names of the columns that are read beside those of the contract."""
        names = [name for derived in self.derived.values() for name in derived.inputs]
        return tuple(dict.fromkeys([*names, *([self.deleted.heading] if self.deleted else [])]))

    def local_name(self, column: str) -> str:
        """The council's own name of a contract column."""
        return self.columns.get(column, column)

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that the council file says of the source: an extract read under another is read anew."""
        content = asdict(self) | {"derived": {name: repr(derived) for name, derived in self.derived.items()}}
        content.pop("parts")  # does not change how a file is read
        if self.sheet is None:
            content.pop("sheet")  # nor does what is not said
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


CONTRACT_DIALECT = Dialect()
