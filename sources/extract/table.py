"""Tables of text, as returned by every reader, before columns are matched to the contract."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sources import errors
from sources.contracts.model import Rule
from sources.errors import ExtractStopped

MAX_COLUMNS = 500
MAX_HEADING = 1000
"""In characters. Survey tools export whole questions as headings, with their explanations."""
MAX_ROWS = 20_000_000
"""Rows of one extract: England has three million reviews of a cohort."""
MAX_UNUSABLE_ROWS = 1_000_000
"""Rows that may be set aside under one rule."""
SOURCE_ROW = "source_row"
_REFERRAL_ROWS = 609_000_000
"""Reviews found only in the CSDS table CYP609 have row numbers above this."""
_COLUMNS_NAMED = 3
VALUE = re.compile(
    r"\d{1,4}[/.-]\d{1,2}[/.-]\d{2,4}|[A-Z]\d{11}[0-9A-Z]|\d{3} ?\d{3} ?\d{4}|\d{6,}|[A-Z]{1,2}\d[0-9A-Z]? ?\d[A-Z]{2}"
)
"""Matches dates, person and school numbers, and postcodes."""


FORMULAS_NOT_CHECKED = (
    "In a .xls, .xlsb or .ods workbook, no cell can be checked for a formula or an error: a formula is read as its last"
    " result, an error such as #N/A as blank. To have the cells checked, save the workbook as .xlsx."
)


@dataclass(frozen=True)
class SheetTaken:
    """The workbook sheet that a table is read from: its number among the visible sheets, its header row, and the number
    of other visible sheets. Its name may be a child's and is not kept.

    The number is 0 for CSDS tables, which are in several sheets. `formulas_checked` is false for formats in which
    formulas and errors look like values and blanks.
    """

    number: int
    header_row: int
    left_aside: int
    formulas_checked: bool = True

    def get_row(self, source_row: int) -> int:
        """Return the row number in the sheet of a data row."""
        return self.header_row + source_row


@dataclass
class TextTable:
    """A file as text: `read(names)` streams the named columns of `header`, in that order, and `source_row` last.

    `source_row` (int64) is the 1-based number of the data row in the file, counted from the row after the header: blank
    and unusable rows are counted, a line break inside a quoted field is not. While batches are read, `set_aside`
    collects unusable rows by the rule that they break. `in_contract_form` is true for formats that are the source's
    standard: their readers return contract columns. `doubt` is set if the header line may have run into a row: its
    names may then be values, and no message may repeat them. `sheet` is set for workbooks, `delimiter`
    for delimited text.
    """

    header: list[str]
    read: Callable[[list[str]], Iterator[pa.RecordBatch]]
    set_aside: dict[Rule, list[int]] = field(default_factory=dict)
    in_contract_form: bool = False
    doubt: Rule | None = None
    sheet: SheetTaken | None = None
    delimiter: str = ""


def clean_header(name: str, header: list[str], doubt: Rule | None = None) -> list[str]:
    """Trim column names and number unnamed ones; raises `ExtractStopped` for a header that cannot be used.

    `name` is the file's name in messages; `doubt` as in `TextTable`.
    """
    header = [column.strip() for column in header]
    if not any(header):
        raise errors.build_error(name, errors.EMPTY)
    if len(header) > MAX_COLUMNS:
        raise errors.build_error(name, errors.TOO_MANY_COLUMNS, f"{len(header)}; an extract has at most {MAX_COLUMNS}")
    if long := [number for number, column in enumerate(header, 1) if len(column) > MAX_HEADING]:
        raise errors.build_error(name, errors.LONG_HEADING, format_column_numbers(long))
    repeated = sorted({column for column in header if column and header.count(column) > 1})
    # a header line that has run into a row holds values, which no message may name
    if repeated and doubt:
        raise errors.build_error(name, doubt)
    if repeated:
        stop_at_values(name, header)
        same = format_column_numbers([index for index, column in enumerate(header, 1) if column in repeated])
        raise ExtractStopped(
            f"{name}: {same} have the same name as another column",
            f"{name}: column {', '.join(repeated)} occurs twice in the header",
        )
    return [column or f"(unnamed column {index})" for index, column in enumerate(header, 1)]


def format_column_numbers(numbers: Sequence[int]) -> str:
    """Return text such as `columns 3, 5 and 9` for messages; columns are numbered from 1."""
    listed = list(map(str, numbers[:_COLUMNS_NAMED])) + (["others"] if len(numbers) > _COLUMNS_NAMED else [])
    return f"column {listed[0]}" if len(listed) == 1 else f"columns {', '.join(listed[:-1])} and {listed[-1]}"


def stop_at_values(name: str, header: Iterable[str]) -> None:
    """Raise `ExtractStopped` if a heading is a date, number or postcode, so that no message repeats it."""
    if any(VALUE.fullmatch(heading.strip().upper()) for heading in header):
        raise errors.build_error(name, errors.VALUES_IN_HEADER)


def iter_filled_rows(name: str, table: TextTable, names: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield `table.read(names)` without rows that are blank in all these columns or repeat the header.

    Blank rows, as below the last row of a sheet, are ignored; repeated headers are set aside. Raises `ExtractStopped`
    if there are more rows, or more unusable rows, than an extract can have; `name` is the file's name in messages.
    """
    for batch in table.read(names):
        # the remainder, because reviews found only in CYP609 are numbered from 609,000,000
        if batch.num_rows and pc.max(batch.column(SOURCE_ROW)).as_py() % _REFERRAL_ROWS > MAX_ROWS:
            raise errors.build_error(name, errors.TOO_MANY_ROWS)
        if max(map(len, table.set_aside.values()), default=0) > MAX_UNUSABLE_ROWS:
            raise errors.build_error(name, errors.TOO_MANY_UNUSABLE)
        blank = _mask_rows(batch, lambda column, _: pc.equal(pc.binary_length(column), 0))
        repeated = _mask_rows(batch, lambda column, name: pc.equal(pc.utf8_trim_whitespace(column), name)) & ~blank
        if repeated.any():
            rows = batch.column(SOURCE_ROW).filter(pa.array(repeated)).to_pylist()
            table.set_aside.setdefault(errors.REPEATED_HEADER, []).extend(rows)
        unwanted = repeated | blank
        yield batch.filter(pa.array(~unwanted)) if unwanted.any() else batch


def take_first_rows(batches: Iterable[pa.RecordBatch], most: int) -> list[pa.RecordBatch]:
    """Return the batches of the first `most` rows; the last batch is truncated."""
    taken, left = [], most
    for batch in batches:
        taken.append(batch.slice(0, left))
        left -= taken[-1].num_rows
        if left <= 0:
            break
    return taken


def build_trimmed_sql(cell: str) -> str:
    """Return SQL that trims the expression `cell`; NULL if nothing is left."""
    return f"nullif(trim({cell}, ' ' || chr(9) || chr(10) || chr(13) || chr(160)), '')"


def build_whole_sql(cell: str) -> str:
    """Return SQL that turns `2.0`, a code that a spreadsheet made a number, back into `2`."""
    return f"regexp_replace({cell}, '^([0-9]+)\\.0+$', '\\1')"


def _mask_rows(batch: pa.RecordBatch, holds: Callable[[pa.Array, str], pa.Array]) -> np.ndarray:
    """Return a mask of rows for which `holds` is true or null in every column except the row number."""
    found = np.ones(batch.num_rows, dtype=bool)
    for name, column in zip(batch.schema.names[:-1], batch.columns[:-1], strict=True):
        found &= holds(column, name).fill_null(True).to_numpy(zero_copy_only=False)
        if not found.any():
            break
    return found
