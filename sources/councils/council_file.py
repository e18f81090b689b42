"""Read and check a council file.

    council: leeds
    sources:
      eyfsp:
        delimiter: "|"             # default ","
        encoding: windows-1252     # default utf-8
        date_format: "%d/%m/%Y"    # default %Y-%m-%d (strptime)
        columns: {upn: Pupil UPN}  # contract column: the council's own name
        codes: {sex: {Male: M}}    # contract column: {the council's value: contract code}
        constants: {la_code: 383}

Every value is read as text, so `No`, `0383` and `1` mean what they say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sources.contracts import CONTRACTS, SourceContract
from sources.councils.derived import Derived
from sources.reference.places import place

HERE = Path(__file__).parent


class InvalidCouncilFile(ValueError):
    """A council file that cannot be used; the message names the file, the place in it and what to change."""


@dataclass(frozen=True)
class Dialect:
    """How one source is written by one council; the defaults are the contract's own form."""

    delimiter: str = ","
    encoding: str = "utf-8"
    date_format: str = "%Y-%m-%d"
    columns: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    derived: Mapping[str, Derived] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The council's own names of the columns that derived ones are made from."""
        return tuple(dict.fromkeys(name for derived in self.derived.values() for name in derived.inputs))

    def local_name(self, column: str) -> str:
        """The council's own name of a contract column."""
        return self.columns.get(column, column)


CONTRACT_DIALECT = Dialect()


@dataclass(frozen=True)
class CouncilFile:
    """A council and its dialect of each source it sends."""

    council: str
    sources: Mapping[str, Dialect] = field(default_factory=dict)

    def dialect(self, source: str) -> Dialect:
        return self.sources.get(source, CONTRACT_DIALECT)


@cache
def council_file(council: str) -> CouncilFile:
    """The dialects of `council`; the contract's own form where it has no file. Raises `UnknownCouncil`."""
    place(council)
    path = HERE / f"{council}.yaml"
    return load(path) if path.exists() else CouncilFile(council)


def load(path: Path) -> CouncilFile:
    """Read and check one council file; raises `InvalidCouncilFile`."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise InvalidCouncilFile(f"{path.name}: not readable as YAML: {error}") from None
    _only_keys(path, "the file", content, {"council", "sources"})
    council = content.get("council")
    if council != path.stem:
        raise InvalidCouncilFile(f"{path.name}: 'council' must be {path.stem!r}, as the file is called")
    _only_keys(path, "sources", content.get("sources"), set(CONTRACTS))
    return CouncilFile(
        council,
        {source: _dialect(path, CONTRACTS[source], entry) for source, entry in content["sources"].items()},
    )


def _dialect(path: Path, contract: SourceContract, entry: Any) -> Dialect:
    where = f"sources.{contract.name}"
    _only_keys(path, where, entry, set(Dialect.__dataclass_fields__))
    columns, codes, constants = (entry.get(key) or {} for key in ("columns", "codes", "constants"))
    for key, mapping in (("columns", columns), ("codes", codes), ("constants", constants)):
        _only_keys(path, f"{where}.{key}", mapping, {column.name for column in contract.columns})
    for column, mapping in codes.items():
        accepted = contract[column].codes
        unknown = sorted({str(code) for code in mapping.values()} - set(accepted)) if accepted else []
        if unknown:
            raise InvalidCouncilFile(
                f"{path.name}: {where}.codes.{column} maps to {', '.join(unknown)};"
                f" the contract accepts {', '.join(accepted or ())}"
            )
    if len(set(columns.values())) < len(columns):
        raise InvalidCouncilFile(f"{path.name}: {where}.columns gives one local name to two contract columns")
    return Dialect(
        delimiter=str(entry.get("delimiter", CONTRACT_DIALECT.delimiter)),
        encoding=str(entry.get("encoding", CONTRACT_DIALECT.encoding)),
        date_format=str(entry.get("date_format", CONTRACT_DIALECT.date_format)),
        columns={column: str(name) for column, name in columns.items()},
        codes={column: {str(value): str(code) for value, code in mapping.items()} for column, mapping in codes.items()},
        constants={column: str(value) for column, value in constants.items()},
    )


def _only_keys(path: Path, where: str, entry: Any, known: set[str]) -> None:
    if not isinstance(entry, dict):
        raise InvalidCouncilFile(f"{path.name}: {where} must be a mapping of {', '.join(sorted(known))}")
    unknown = sorted(str(key) for key in entry if key not in known)
    if unknown:
        raise InvalidCouncilFile(
            f"{path.name}: {where} has {', '.join(unknown)}; it may have {', '.join(sorted(known))}"
        )
