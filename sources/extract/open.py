"""Opens a landed file as a stream of text under contract column names."""

import json
import os
from collections import deque
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from sources.contracts.model import Rule, SourceContract
from sources.councils.dialect import Dialect
from sources.errors import build_error
from sources.extract.landing import Landed, get_size
from sources.extract.readers.content import Format, get_content, get_only_content, list_contents
from sources.extract.readers.csds import list_csds_parts, list_folder_contents, open_csds
from sources.extract.readers.delimited import open_delimited
from sources.extract.readers.eyfsp_xml import open_eyfsp_xml
from sources.extract.readers.parquet import open_parquet
from sources.extract.readers.workbooks import open_best_sheet, open_workbook
from sources.extract.table import (
    SOURCE_ROW,
    OpenExtract,
    SheetTaken,
    TextTable,
    collect_known_keys,
    iter_filled_rows,
    match_columns,
)
from sources.reference.cohorts import Cohort

if APART := hasattr(os, "fork"):
    from sources.extract.reader_process import Reader, Sent
"""Whether files are read in separate processes; not on Windows, where senders read only their own files."""
MAX_READERS_WAITING = 8
"""Maximum number of open readers from which no row has been read; opening one more closes the oldest."""


def open_extract(landed: Landed, contract: SourceContract, council_dialect: Dialect) -> OpenExtract:
    """Open `landed` and find its dialect and columns.

    Raises `ExtractStopped`, immediately or while batches are read.
    """
    table = open_table(landed, contract, council_dialect)
    # before headings are matched: a doubtful header may hold values, and messages about headings would quote them
    if table.doubt:
        raise build_error(landed.name, table.doubt)
    dialect = council_dialect.in_contract_form if table.in_contract_form else council_dialect
    dialect, headings, made_from = match_columns(landed.name, contract, dialect, table.header)
    inputs = {local: f"input_{index}" for index, local in enumerate(made_from)}
    wanted = dict.fromkeys((*headings.values(), *made_from.values()))
    names = [*headings, *inputs.values(), SOURCE_ROW]

    def iter_batches() -> Iterator[pa.RecordBatch]:
        for batch in iter_filled_rows(landed.name, table, list(wanted)):
            trimmed = map(pc.utf8_trim_whitespace, batch.columns[:-1])
            by_name = dict(zip((*wanted, SOURCE_ROW), (*trimmed, batch.columns[-1]), strict=True))
            columns = [by_name[column] for column in (*headings.values(), *made_from.values())]
            yield pa.record_batch([*columns, by_name[SOURCE_ROW]], names=names)

    return OpenExtract(landed, dialect, headings, inputs, iter_batches(), table.set_aside, table)


def open_table(
    landed: Landed, contract: SourceContract, council_dialect: Dialect, known: Container[str] | None = None
) -> TextTable:
    """Open `landed` with the reader for its actual format, whatever its name; raises `ExtractStopped`.

    `known` are the keys of the headings used to find the header line; by default the contract's and the council's.
    """
    known = known if known is not None else collect_known_keys(contract, council_dialect)
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
    return TextTable(header, read, set_aside, in_contract_form, doubt, sheet, delimiter)


_readers_waiting: deque[Reader] = deque()
_OPENED = TypeAdapter(tuple[list[str], bool, str, SheetTaken | None, str])
_SET_ASIDE = TypeAdapter(list[tuple[Rule, list[int]]])


def _serve(wait: Callable[[], bytes], *arguments: Any) -> Iterator[Sent]:
    """Yield, in a reader process, the layout of the table opened by `_open_here`, then the requested columns and the
    rows set aside."""
    table = _open_here(*arguments)
    yield _OPENED.dump_json((table.header, table.in_contract_form, table.doubt, table.sheet, table.delimiter))
    for batch in table.read(json.loads(wait())):
        yield batch
        if table.set_aside:
            yield _SET_ASIDE.dump_json(list(table.set_aside.items()))
            table.set_aside.clear()
    yield _SET_ASIDE.dump_json(list(table.set_aside.items()))


def _open_here(landed: Landed, contract: SourceContract, council_dialect: Dialect, known: Container[str]) -> TextTable:
    if landed.path.is_dir():
        contents = list_folder_contents(landed)
    else:
        contents = list_contents(get_content(landed.name, landed.path, within=landed.within))
    if contract.name == "hv_reviews" and (parts := list_csds_parts(contents)):
        return open_csds(landed.name, parts, Cohort(landed.cohort))
    if landed.path.is_dir():
        raise build_error(landed.name, "not-a-file")
    content = get_only_content(landed.name, contents)
    if book := open_workbook(content):
        return open_best_sheet(book, known, council_dialect.sheet)
    match content.format:
        case Format.PARQUET:
            return open_parquet(content)
        case Format.XML if contract.name == "eyfsp":
            return open_eyfsp_xml(content)
        case Format.XML:
            raise build_error(content.name, "xml")
        case _:
            return open_delimited(content, known, council_dialect)
