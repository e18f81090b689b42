"""Opens a landed file as a stream of text under contract column names, or says whose file it is by its headings."""

import json
import os
from collections import deque
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from sources.contracts import CONTRACTS, Rule, SourceContract
from sources.councils.council_file import InvalidCouncilFile, load_council_file
from sources.councils.dialect import CONTRACT_DIALECT, Dialect
from sources.errors import ExtractStopped, build_error
from sources.extract import table
from sources.extract.landing import Landed, get_size
from sources.extract.readers import content, csds, delimited, eyfsp_xml, parquet, workbooks
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place, load_places
from sources.reference.source_titles import SOURCE_TITLES

if APART := hasattr(os, "fork"):
    from sources.extract.reader_process import Reader, Sent
"""Whether files are read in separate processes; not on Windows, where senders read only their own files."""
MAX_READERS_WAITING = 8
"""Maximum number of open readers from which no row has been read; opening one more closes the oldest."""


def open_extract(landed: Landed, contract: SourceContract, council_dialect: Dialect) -> table.OpenExtract:
    """Open `landed` and find its dialect and columns; raises `ExtractStopped`, also while batches are read."""
    opened = open_table(landed, contract, council_dialect)
    # before headings are matched: a doubtful header may hold values, and messages about headings would quote them
    if opened.doubt:
        raise build_error(landed.name, opened.doubt)
    dialect = council_dialect.in_contract_form if opened.in_contract_form else council_dialect
    dialect, headings, made_from = table.match_columns(landed.name, contract, dialect, opened.header)
    inputs = {local: f"input_{index}" for index, local in enumerate(made_from)}
    wanted = dict.fromkeys((*headings.values(), *made_from.values()))
    names = [*headings, *inputs.values(), table.SOURCE_ROW]

    def iter_batches() -> Iterator[pa.RecordBatch]:
        for batch in table.iter_filled_rows(landed.name, opened, list(wanted)):
            trimmed = map(pc.utf8_trim_whitespace, batch.columns[:-1])
            by_name = dict(zip((*wanted, table.SOURCE_ROW), (*trimmed, batch.columns[-1]), strict=True))
            columns = [by_name[column] for column in (*headings.values(), *made_from.values())]
            yield pa.record_batch([*columns, by_name[table.SOURCE_ROW]], names=names)

    return table.OpenExtract(landed, dialect, headings, inputs, iter_batches(), opened.set_aside, opened)


def open_table(
    landed: Landed, contract: SourceContract, council_dialect: Dialect, known: Container[str] | None = None
) -> table.TextTable:
    """Open `landed` with the reader for its actual format, whatever its name; raises `ExtractStopped`.

    `known` are the keys of the headings used to find the header line; by default the contract's and the council's.
    """
    known = known if known is not None else table.collect_known_keys(contract, council_dialect)
    if not APART:
        return _open_here(landed, contract, council_dialect, known)
    # absolute, because the template keeps the working directory that it was started in
    landed = replace(landed, path=landed.path.absolute(), within=landed.within and landed.within.absolute())

    def start() -> tuple[bytes, Reader]:
        reader = Reader(landed.name, get_size(landed.path), _serve, landed, contract, council_dialect, known)
        return reader.receive_bytes(), reader

    opened, waiting = start()
    # all files are opened before any is read, and each open reader is a process that holds memory
    _readers_waiting.append(waiting)
    if len(_readers_waiting) > MAX_READERS_WAITING:
        _readers_waiting.popleft().close()
    set_aside: dict[Rule, list[int]] = {}

    def read(names: list[str]) -> Iterator[pa.RecordBatch]:
        try:
            _readers_waiting.remove(waiting)
            reader = waiting
        except ValueError:  # already read from, or closed
            reader = start()[1]
        try:
            reader.send(json.dumps(names).encode())
            for sent in reader:
                if isinstance(sent, pa.RecordBatch):
                    yield sent
                else:
                    for rule, rows in _SET_ASIDE.validate_json(sent):
                        set_aside.setdefault(rule, []).extend(rows)
        finally:
            reader.close()

    header, in_contract_form, doubt, sheet, delimiter = _OPENED.validate_json(opened)
    return table.TextTable(header, read, set_aside, in_contract_form, doubt, sheet, delimiter)


_readers_waiting: deque[Reader] = deque()
_OPENED = TypeAdapter(tuple[list[str], bool, str, table.SheetTaken | None, str])
_SET_ASIDE = TypeAdapter(list[tuple[Rule, list[int]]])


def _serve(wait: Callable[[], bytes], *arguments: Any) -> Iterator[Sent]:
    """Yield, in a reader process, the layout of the table opened by `_open_here`, then the requested columns and the
    rows set aside."""
    opened = _open_here(*arguments)
    yield _OPENED.dump_json((opened.header, opened.in_contract_form, opened.doubt, opened.sheet, opened.delimiter))
    for batch in opened.read(json.loads(wait())):
        yield batch
        if opened.set_aside:
            yield _SET_ASIDE.dump_json(list(opened.set_aside.items()))
            opened.set_aside.clear()
    yield _SET_ASIDE.dump_json(list(opened.set_aside.items()))


def _open_here(
    landed: Landed, contract: SourceContract, council_dialect: Dialect, known: Container[str]
) -> table.TextTable:
    if landed.path.is_dir():
        contents = csds.list_folder_contents(landed)
    else:
        contents = content.list_contents(content.get_content(landed.name, landed.path, within=landed.within))
    if contract.name == "hv_reviews" and (parts := csds.list_csds_parts(contents)):
        return csds.open_csds(landed.name, parts, Cohort(landed.cohort))
    if landed.path.is_dir():
        raise build_error(landed.name, "not-a-file")
    file = content.get_only_content(landed.name, contents)
    if book := workbooks.open_workbook(file):
        return workbooks.open_best_sheet(book, known, council_dialect.sheet)
    match file.format:
        case content.Format.PARQUET:
            return parquet.open_parquet(file)
        case content.Format.XML if contract.name == "eyfsp":
            return eyfsp_xml.open_eyfsp_xml(file)
        case content.Format.XML:
            raise build_error(file.name, "xml")
        case _:
            return delimited.open_delimited(file, known, council_dialect)


def open_recognised(landed: Landed, contract: SourceContract, dialect: Dialect) -> table.OpenExtract:
    """Open an extract; raises `ExtractStopped`, whose message says if it is another source's or council's extract.

    A file is taken for another's if it lacks a required column of its own source and has all of the other's.
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
        raise _build_mismatch_error(landed, *other) from None


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
    known = set[str]().union(*(table.collect_known_keys(contract, dialect) for dialect in dialects))
    as_written = next(iter(dialects)) if len(dialects) == 1 else CONTRACT_DIALECT
    try:
        opened = open_table(landed, contract, as_written, known)
        if opened.in_contract_form:
            deque(opened.read([]), maxlen=0)
        return opened.header
    except ExtractStopped:
        return []


def _has_all(header: list[str], contract: SourceContract, dialect: Dialect) -> bool:
    """Return whether `header` has every required column of the contract under the council's headings."""
    chosen = table.choose_dialect(contract, header, dialect)
    return bool(header) and not table.find_missing_columns(contract, chosen, header)


def _build_mismatch_error(landed: Landed, council: str, contract: SourceContract) -> ExtractStopped:
    own, title, wanted = council == landed.council, SOURCE_TITLES[contract.name], SOURCE_TITLES[landed.source]
    looks_like = f"your {title}" if own else f"the {title} of {get_place(council).la_name}"
    remedy = "Put each file into the folder of its own kind" if own else "Put each council’s files into its own folder"
    return ExtractStopped(
        f"{landed.name}: this looks like {contract.name} of {council}, not {landed.source} of {landed.council}."
        f" {remedy}",
        f"{landed.name}: this looks like {looks_like}: it has all columns of that, not those of the {wanted}"
        f"{'' if own else ' of ' + get_place(landed.council).la_name}. {remedy}",
    )
