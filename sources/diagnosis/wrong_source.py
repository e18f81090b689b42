"""Recognises the extract of another source or council from its headings."""

from collections import deque
from collections.abc import Collection, Iterable
from contextlib import suppress

from sources.contracts import CONTRACTS, SourceContract
from sources.councils.council_file import InvalidCouncilFile, load_council_file
from sources.councils.dialect import CONTRACT_DIALECT, Dialect
from sources.errors import ExtractStopped
from sources.extract.landing import Landed
from sources.extract.open import open_extract, open_table
from sources.extract.table import OpenExtract, choose_dialect, collect_known_keys, find_missing_columns
from sources.reference.places import get_place, load_places


def open_recognised(landed: Landed, contract: SourceContract, dialect: Dialect) -> OpenExtract:
    """Open an extract; raises `ExtractStopped`, whose message says if it is another source's or council's extract.

    A file counts as another's if it lacks required columns of its own source and has all that the other requires.
    """
    try:
        return open_extract(landed, contract, dialect)
    except ExtractStopped:
        # it is the right file, so its own error says more
        if _has_all(_read_header(landed, contract, [dialect]), contract, dialect):
            raise
        other = _find_match(landed)
        if other is None:
            raise
        raise _build_mismatch_error(landed, contract, *other) from None


def _find_match(landed: Landed) -> tuple[str, SourceContract] | None:
    """Return the council and source that the file matches: another source of the council, or else the same source of
    another council."""
    own = CONTRACTS[landed.source]
    candidates = [(each, _load_dialects([landed.council], each)) for each in CONTRACTS.values() if each is not own]
    others = _load_dialects((council for council in load_places() if council != landed.council), own)
    # a council without mapped headings uses the contract's, which do not tell councils apart
    candidates.append((own, {council: dialect for council, dialect in others.items() if dialect.columns}))
    for contract, dialects in candidates:
        header = _read_header(landed, contract, dialects.values())
        for council, dialect in dialects.items():
            if _has_all(header, contract, dialect):
                return council, contract
    return None


def _load_dialects(councils: Iterable[str], contract: SourceContract) -> dict[str, Dialect]:
    """Return each council's dialect of a source; invalid council files are skipped."""
    found: dict[str, Dialect] = {}
    for council in councils:
        with suppress(InvalidCouncilFile):
            found[council] = load_council_file(council).get_dialect(contract.name)
    return found


def _read_header(landed: Landed, contract: SourceContract, dialects: Collection[Dialect]) -> list[str]:
    """Return the file's headings, found by the headings of a source in any of `dialects`; empty if none are found.

    The file is opened once for all dialects, so that diagnosis takes no longer than reading. A format whose reader
    returns contract columns always has all headings, so all rows are read to see whether they are valid.
    """
    known = set[str]().union(*(collect_known_keys(contract, dialect) for dialect in dialects))
    as_written = next(iter(dialects)) if len(dialects) == 1 else CONTRACT_DIALECT
    try:
        table = open_table(landed, contract, as_written, known)
        if table.in_contract_form:
            deque(table.read([]), maxlen=0)
        return table.header
    except ExtractStopped:
        return []


def _has_all(header: list[str], contract: SourceContract, dialect: Dialect) -> bool:
    """Return whether `header` has every required column of the contract under the council's headings."""
    return bool(header) and not find_missing_columns(contract, choose_dialect(contract, header, dialect), header)


def _build_mismatch_error(
    landed: Landed, wanted: SourceContract, council: str, contract: SourceContract
) -> ExtractStopped:
    own, la_name = council == landed.council, get_place(council).la_name
    looks_like = f"your {contract.title}" if own else f"{contract.title} of {la_name}"
    remedy = "Put each file into the folder of its own kind" if own else "Put each council’s files into its own folder"
    return ExtractStopped(
        f"{landed.name}: this looks like {contract.name} of {council}, not {wanted.name} of {landed.council}. {remedy}",
        f"{landed.name}: this looks like {looks_like}: it has all columns of that, not those of {wanted.title}"
        f"{'' if own else ' of ' + get_place(landed.council).la_name}. {remedy}",
    )
