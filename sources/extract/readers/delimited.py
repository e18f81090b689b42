"""Delimited text: the file shows its encoding, delimiter and header line, the council file's word comes second.

Rows are parsed block by block, two blocks at a time, each block by one thread, so that rows keep their order and
numbers. Blocks are cut where a row ends (`text.py`), so a broken row stays within its block.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Container, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.csv

from sources.contracts import Rule
from sources.councils.council_file import Dialect
from sources.extract import rules
from sources.extract.match import MAX_SKIPPED, MIN_KNOWN, known_names
from sources.extract.readers.content import Content
from sources.extract.readers.text import UNBALANCED, Block, row_blocks, settle, whole_lines
from sources.extract.table import SOURCE_ROW, TextTable, checked_header

DELIMITERS = (",", ";", "|", "\t", "^", "~")
_BLOCKS_PARSED_AT_ONCE = 2
_HEADER_LINES = 50
"""Lines that a header with line breaks in its names may take."""
_LOOK_LINES = 20
"""Lines after the header that show whether every row ends with a delimiter."""
_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_PROTECTED = re.compile(r'^="(.*)"$')
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True)
class TextLayout:
    """The header's names, the delimiter, and the byte of the text (as UTF-8) at which the first data row begins.

    `doubt` as in `TextTable`.
    """

    header: list[str]
    delimiter: str
    data_at: int
    doubt: Rule | None


def open_delimited(content: Content, known: Container[str], dialect: Dialect) -> TextTable:
    """Open text as a table; raises `ExtractStopped`, at once or while its batches are read.

    `known` are the keys of the column names by which the header line is found (`sources.extract.match.known_keys`).
    """
    layout = _layout(content, known, dialect)
    table = TextTable(
        layout.header,
        lambda names: _batches(content, layout, dialect.encoding, names, table.set_aside),
        doubt=layout.doubt,
    )
    return table


def _batches(
    content: Content, layout: TextLayout, encoding: str, names: list[str], set_aside: dict[Rule, list[int]]
) -> Iterator[pa.RecordBatch]:
    before = 0
    for parsed in _parsed(content, layout, encoding, names):
        if parsed.cut:
            raise rules.stopped(content.name, rules.CUT_ROW)
        for rule, rows in parsed.set_aside.items():
            set_aside.setdefault(rule, []).extend(before + row for row in rows)
        numbers = pa.array(before + parsed.numbers, pa.int64())
        before += parsed.rows
        yield parsed.batch.append_column(SOURCE_ROW, numbers)


def _parsed(content: Content, layout: TextLayout, encoding: str, names: list[str]) -> Iterator[_Parsed]:
    """The file's blocks in their order, of which two are parsed at a time and no more than three are in memory."""
    waiting: deque[Future[_Parsed]] = deque()
    with content.open() as stream, ThreadPoolExecutor(_BLOCKS_PARSED_AT_ONCE) as threads:
        try:
            for block in row_blocks(content.name, stream, encoding, layout.delimiter, layout.data_at):
                waiting.append(threads.submit(_parse, block, layout, names))
                if len(waiting) > _BLOCKS_PARSED_AT_ONCE:
                    yield waiting.popleft().result()
            yield from (parsed.result() for parsed in waiting)
        except pa.ArrowInvalid:
            raise rules.stopped(content.name, rules.DAMAGED) from None


@dataclass(frozen=True)
class _Parsed:
    """A block's usable rows, with their numbers and its number of rows, and the numbers of those that are not usable.

    Numbers count from 1 within the block. `cut` says that the file ends within the last row.
    """

    batch: pa.RecordBatch
    numbers: np.ndarray
    rows: int
    set_aside: dict[Rule, list[int]]
    cut: bool


def _parse(block: Block, layout: TextLayout, names: list[str]) -> _Parsed:
    """Parse one block. One row a line shows that no field swallowed a line; else the quotation marks are looked at."""
    parsed = _read(block, layout, names)
    if not block.settled and parsed.rows != block.data.count(b"\n"):
        settled, _ = settle(block.data, layout.delimiter, final=True)
        parsed = _read(Block(settled, True, block.unfinished), layout, names)
    return parsed


def _read(block: Block, layout: TextLayout, names: list[str]) -> _Parsed:
    unusable: list[pyarrow.csv.InvalidRow] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        unusable.append(row)
        return "skip"

    table = pyarrow.csv.read_csv(
        pa.BufferReader(block.data),
        read_options=pyarrow.csv.ReadOptions(
            use_threads=False, block_size=len(block.data) + 1, column_names=layout.header
        ),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=layout.delimiter, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={column: pa.string() for column in layout.header},
            include_columns=names,
            strings_can_be_null=False,
            check_utf8=False,
        ),
    ).combine_chunks()
    rows = table.num_rows + len(unusable)
    numbers = np.setdiff1d(np.arange(1, rows + 1), [row.number for row in unusable], assume_unique=True)
    last = unusable[-1] if unusable else None
    cut = block.unfinished and last is not None and last.number == rows and last.actual_columns < last.expected_columns
    return _Parsed(_one_batch(table), numbers, rows, _by_rule(unusable), cut)


def _by_rule(unusable: list[pyarrow.csv.InvalidRow]) -> dict[Rule, list[int]]:
    """Numbers of the rows to set aside; a line of white space is a blank row, and breaks none."""
    found: dict[Rule, list[int]] = {}
    for row in unusable:
        if row.text.strip():
            rule = rules.UNBALANCED_QUOTE if row.text == UNBALANCED.decode().strip() else rules.MALFORMED
            found.setdefault(rule, []).append(row.number)
    return found


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema)


def _layout(content: Content, known: Container[str], dialect: Dialect) -> TextLayout:
    lines = _first_lines(content, dialect.encoding)
    if not any(line.strip(" \t\r\n,;\ufeff") for line in lines):
        raise rules.stopped(content.name, rules.EMPTY)
    declared = _SEPARATOR.fullmatch(lines[0].strip())
    candidates = [dialect.delimiter, *([declared[1]] if declared else []), *DELIMITERS]
    look = "".join(lines[: MAX_SKIPPED + _HEADER_LINES])
    delimiters = [one for one in dict.fromkeys(candidates) if _may_delimit(one) and one in look] or [DELIMITERS[0]]
    found = [
        (-known_names(_record(lines[start : start + _HEADER_LINES], delimiter)[0], known), start, order, delimiter)
        for start in range(min(len(lines), MAX_SKIPPED + 1))
        for order, delimiter in enumerate(delimiters)
    ]
    count, start, _, delimiter = min(found)
    if -count < MIN_KNOWN:
        raise rules.stopped(content.name, rules.NO_HEADER)
    header, taken = _record(lines[start:], delimiter)
    header = _to_row_width(header, lines[start + taken :], delimiter)
    doubt = _doubt(header, lines[start + taken :], delimiter, lines[start + taken - 1].endswith("\n"))
    data_at = sum(len(line.encode()) for line in lines[: start + taken])
    return TextLayout(checked_header(content.name, header, doubt), delimiter, data_at, doubt)


def _may_delimit(one: str) -> bool:
    return len(one) == 1 and one.isascii() and one not in '"\r\n'


def _doubt(header: list[str], lines: list[str], delimiter: str, finished: bool) -> Rule | None:
    """The rule by which a header line may run into a row: it breaks off, or no row of the first is as wide as it is.

    Rows are those that begin with one of `lines`, by line or by quoted field; `finished` is the header line's end.
    """
    rows = [line for line in lines[:_LOOK_LINES] if line.strip(f" \t\r\n{delimiter}")]
    if not rows:
        return None if finished else rules.CUT_HEADER
    whole = [line for line in rows if line.endswith("\n")]
    widths = {len(_record([line], delimiter)[0]) for line in whole}
    widths |= {len(_record(whole[at:], delimiter)[0]) for at in range(len(whole))}
    return rules.HEADER_WIDTH if widths and len(header) not in widths else None


def _first_lines(content: Content, encoding: str) -> list[str]:
    """The lines of the file's first block."""
    with content.open() as stream:
        text = next(whole_lines(content.name, stream, encoding), b"").decode()
    return _LINE.findall(text)


def _record(lines: list[str], delimiter: str) -> tuple[list[str], int]:
    """The fields of the record that begins the lines, and the number of its lines."""
    reader = csv.reader(iter(lines), delimiter=delimiter)
    try:
        fields = next(reader, [])
    except csv.Error:
        return [], 1
    return [_PROTECTED.sub(r"\1", field) if field.startswith('="') else field for field in fields], reader.line_num


def _to_row_width(header: list[str], lines: list[str], delimiter: str) -> list[str]:
    """The header with one more unnamed column, or one fewer, where every row has or lacks the delimiter at its end."""
    rows = [row for row in (_record([line], delimiter)[0] for line in lines[:_LOOK_LINES]) if any(row)]
    if rows and all(len(row) == len(header) + 1 and not row[-1].strip() for row in rows):
        return [*header, ""]
    if rows and not header[-1].strip() and all(len(row) == len(header) - 1 for row in rows):
        return header[:-1]
    return header
