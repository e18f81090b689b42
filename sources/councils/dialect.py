"""How one source is written by one council."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

from sources.councils.derived import Derived


@dataclass(frozen=True)
class Dialect:
    """How one source is written by one council; the defaults are the contract's own form.

    `columns` maps contract column to the council's heading. `codes` maps, for a contract column, the council's value
    to the contract's code, or to "" where it means that nothing is known. `column_date_formats` are those of a column
    that differs from the rest of its file. `derived` are contract columns made from others of the file.
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    date_formats: tuple[str, ...] = ("%Y-%m-%d",)
    column_date_formats: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    derived: Mapping[str, Derived] = field(default_factory=dict)

    @property
    def date_format(self) -> str:
        """The format that the council writes dates in, the first of those it may use."""
        return self.date_formats[0]

    def formats_of(self, column: str) -> tuple[str, ...]:
        """The formats that dates of a contract column may be written in."""
        return self.column_date_formats.get(column, self.date_formats)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The council's own names of the columns that derived ones are made from."""
        return tuple(dict.fromkeys(name for derived in self.derived.values() for name in derived.inputs))

    def local_name(self, column: str) -> str:
        """The council's own name of a contract column."""
        return self.columns.get(column, column)

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that the council file says of the source: an extract read under another is read anew."""
        content = asdict(self) | {"derived": {name: repr(derived) for name, derived in self.derived.items()}}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


CONTRACT_DIALECT = Dialect()
