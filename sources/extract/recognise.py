"""What a file is whose columns are not those of its source: the extract of another source, or of another council."""

from __future__ import annotations

from collections.abc import Iterator

from sources.contracts import CONTRACTS, SourceContract
from sources.councils.council_file import InvalidCouncilFile, council_file
from sources.councils.dialect import Dialect
from sources.errors import ExtractStopped
from sources.extract.landed import Landed
from sources.extract.match import dialect_of, known_keys, missing_columns
from sources.extract.open import OpenExtract, open_extract, open_table
from sources.reference.places import place, places


def open_recognised(landed: Landed, contract: SourceContract, dialect: Dialect) -> OpenExtract:
    """`open_extract`; where a file lacks columns of its source and has all that another source needs, or another
    council sends, the `ExtractStopped` says so and not which are missing."""
    try:
        return open_extract(landed, contract, dialect)
    except ExtractStopped:
        if _has_all(landed, landed.council, contract, dialect):
            raise
        other = next((other for other in _others(landed) if _has_all(landed, *other)), None)
        if other is None:
            raise
        raise _instead_of(landed, contract, *other[:2]) from None


def _others(landed: Landed) -> Iterator[tuple[str, SourceContract, Dialect]]:
    """The other sources of the council, then the source as other councils write it: council, contract, dialect."""
    for contract in CONTRACTS.values():
        if contract.name != landed.source:
            yield from _written_by(landed.council, contract)
    for council in places():
        if council != landed.council:
            found = list(_written_by(council, CONTRACTS[landed.source]))
            yield from (other for other in found if other[2].columns)


def _written_by(council: str, contract: SourceContract) -> Iterator[tuple[str, SourceContract, Dialect]]:
    try:
        yield council, contract, council_file(council).dialect(contract.name)
    except InvalidCouncilFile:
        return


def _has_all(landed: Landed, council: str, contract: SourceContract, dialect: Dialect) -> bool:
    """Whether the file has every column that the contract requires, as the council calls it."""
    try:
        header = open_table(landed, contract, dialect, known_keys(contract, dialect)).header
    except ExtractStopped:
        return False
    return not missing_columns(contract, dialect_of(contract, header, dialect), header)


def _instead_of(landed: Landed, wanted: SourceContract, council: str, contract: SourceContract) -> ExtractStopped:
    own, la_name = council == landed.council, place(council).la_name
    looks_like = f"your {contract.title}" if own else f"{contract.title} of {la_name}"
    remedy = "Put each file into the folder of its own kind" if own else "Put each council’s files into its own folder"
    return ExtractStopped(
        f"{landed.name}: this looks like {contract.name} of {council}, not {wanted.name} of {landed.council}. {remedy}",
        f"{landed.name}: this looks like {looks_like}: it has all columns of that, not those of {wanted.title}"
        f"{'' if own else ' of ' + place(landed.council).la_name}. {remedy}",
    )
