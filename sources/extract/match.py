"""Match the columns of a file to the contract's, under a council's dialect or in contract form."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from sources.contracts import SourceContract
from sources.councils.dialect import CONTRACT_DIALECT, Dialect
from sources.extract.errors import ExtractStopped
from sources.extract.table import stop_at_values


@dataclass(frozen=True)
class Match:
    """Where the contract's columns stand in a file.

    `columns` maps contract column to column of the file, `inputs` maps each local name that a derived column is made
    from to the column of the file.
    """

    dialect: Dialect
    columns: Mapping[str, str]
    inputs: Mapping[str, str]


def key(name: str) -> str:
    """What two headings have in common that differ in letter case or spaces alone."""
    return " ".join(name.lower().split())


def known_keys(contract: SourceContract, dialect: Dialect) -> set[str]:
    """Keys of every heading that the contract or the council file speaks of."""
    names = {name for column in contract.columns for name in (column.name, dialect.local_name(column.name))}
    return {key(name) for name in names | set(dialect.inputs)}


def match(name: str, contract: SourceContract, council_dialect: Dialect, header: list[str]) -> Match:
    """Find the contract's columns in `header`; raises `ExtractStopped` where a required one is missing.

    `name` is how messages call the file.
    """
    by_key = {key(column): column for column in header}
    for column, sentence in contract.refused_columns.items():
        if column in by_key:
            raise ExtractStopped(f"{name}: {sentence}")
    dialect = dialect_of(contract, header, council_dialect)
    columns = {
        column.name: by_key[found]
        for column in contract.columns
        if column.name not in dialect.derived
        and ((found := key(dialect.local_name(column.name))) in by_key or (found := key(column.name)) in by_key)
    }
    inputs = {local: by_key[key(local)] for local in dialect.inputs if key(local) in by_key}
    missing = missing_columns(contract, dialect, header)
    if missing:
        stop_at_values(name, header)
        used = {*columns.values(), *inputs.values()}
        spare = {key(column): column for column in header if column not in used}
        parts = [_missing(column, local, spare) for local, column in missing.items()]
        raise ExtractStopped(f"{name}: missing column {'; '.join(parts)}. Add it or map it in the council file")
    return Match(dialect, columns, inputs)


def dialect_of(contract: SourceContract, header: list[str], council_dialect: Dialect) -> Dialect:
    """The contract's own for a file in contract form where the council file maps headings; else the council's."""
    own_headings = council_dialect.columns or council_dialect.derived
    return CONTRACT_DIALECT if own_headings and in_contract_form(contract, header) else council_dialect


def in_contract_form(contract: SourceContract, header: list[str]) -> bool:
    """Whether every required column stands in `header` under the contract's own name, whatever its council."""
    present = set(map(key, header))
    return all(key(column) in present for column in contract.required)


def missing_columns(contract: SourceContract, dialect: Dialect, header: list[str]) -> dict[str, str]:
    """Headings that `header` lacks, each with the required contract column that cannot be had without it."""
    present = set(map(key, header))
    missing: dict[str, str] = {}
    for column in contract.required:
        if column in dialect.derived:
            missing |= {local: column for local in dialect.derived[column].inputs if key(local) not in present}
        elif column not in dialect.constants and not {key(dialect.local_name(column)), key(column)} & present:
            missing[dialect.local_name(column)] = column
    return missing


def _missing(column: str, local: str, spare: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(key(local), spare, n=1) or difflib.get_close_matches(column, spare, n=1)
    called = f"{local!r} ({column})" if local != column else repr(column)
    return called + (f", perhaps renamed to {spare[near[0]]!r}" if near else "")
