"""Tables of text, as returned by every reader, and their columns matched to the contract.

A reader finds the header line by the names in the contract and the council file. `match_columns` then finds the
contract columns, in the council's dialect or in contract form. `OpenExtract` is a file with matched columns, opened to
be read once.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sources.contracts.model import Column, Rule, SourceContract
from sources.councils.dialect import CONTRACT_DIALECT, Dialect
from sources.councils.known_headings import compute_likeness, score_heading
from sources.errors import FILE_RULES, ExtractStopped, HeadingsMissing, build_error
from sources.extract.landing import Landed

MAX_SKIPPED = 20
"""Maximum number of title and blank lines before the header."""
MIN_KNOWN = 2
"""A line with fewer known column names is not a header: its cells may be about a child, so no message repeats them."""
_MOST_SPARE = 100
"""Maximum number of unused headings considered as possible renames."""
_RENAMED_LIKENESS = 0.6
"""Share of letters that two headings must have in common, in order, for one to count as the other's new name."""
_BETWEEN_WORDS = re.compile(r"[\s_.-]+")
Origin = Literal["column", "derived", "constant", "missing"]
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
        """Return the sheet's row number of a data row."""
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
    doubt: str = ""
    sheet: SheetTaken | None = None
    delimiter: str = ""


def clean_header(name: str, header: list[str], doubt: str = "") -> list[str]:
    """Trim names and number unnamed ones; raises `ExtractStopped` for an unusable header. `doubt` as in `TextTable`."""
    header = [column.strip() for column in header]
    if not any(header):
        raise build_error(name, "empty-file")
    if len(header) > MAX_COLUMNS:
        raise build_error(name, "too-many-columns", f"{len(header)}; an extract has at most {MAX_COLUMNS}")
    if long := [number for number, column in enumerate(header, 1) if len(column) > MAX_HEADING]:
        raise build_error(name, "heading-too-long", format_column_numbers(long))
    repeated = sorted({column for column in header if column and header.count(column) > 1})
    # a header line that has run into a row holds values, which no message may name
    if repeated and doubt:
        raise build_error(name, doubt)
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
        raise build_error(name, "values-in-header")


def iter_filled_rows(name: str, table: TextTable, names: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield `table.read(names)` without rows that are blank in all these columns or repeat the header.

    Blank rows, such as those below the last row of a sheet, are ignored; repeated headers are set
    aside. Raises `ExtractStopped` if there are more rows, or more unusable rows, than an extract can have; `name` is
    the file's name in messages.
    """
    for batch in table.read(names):
        # the remainder, because reviews found only in CYP609 are numbered from 609,000,000
        if batch.num_rows and pc.max(batch.column(SOURCE_ROW)).as_py() % _REFERRAL_ROWS > MAX_ROWS:
            raise build_error(name, "too-many-rows")
        if max(map(len, table.set_aside.values()), default=0) > MAX_UNUSABLE_ROWS:
            raise build_error(name, "too-many-unusable-rows")
        blank = _mask_rows(batch, lambda column, _: pc.equal(pc.binary_length(column), 0))
        repeated = _mask_rows(batch, lambda column, name: pc.equal(pc.utf8_trim_whitespace(column), name)) & ~blank
        if repeated.any():
            rows = batch.column(SOURCE_ROW).filter(pa.array(repeated)).to_pylist()
            table.set_aside.setdefault(FILE_RULES["repeated-header"], []).extend(rows)
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


@dataclass
class OpenExtract:
    """A file opened to be read once.

    `batches` yields trimmed text under contract names, then the inputs of derived columns under the names in `inputs`,
    and `source_row` (int64, 1-based data row in the file). `headings` maps contract columns to the file's headings.
    `set_aside` collects, while batches are read, data rows that the reader could not parse. `table` is the file as
    returned by its reader, and can be read again.
    """

    landed: Landed
    dialect: Dialect
    headings: Mapping[str, str]
    inputs: Mapping[str, str]
    batches: Iterator[pa.RecordBatch]
    set_aside: dict[Rule, list[int]]
    table: TextTable

    def get_origin(self, column: str) -> Origin:
        """Return the origin of a contract column: a column of the file, other columns, or the council file."""
        derived = self.dialect.derived.get(column)
        if column in self.headings:
            return "column"
        if derived and all(name in self.inputs for name in derived.inputs):
            return "derived"
        return "constant" if column in self.dialect.constants else "missing"

    @property
    def form(self) -> tuple[Any, ...]:
        """Properties that parts must share to be read together."""
        return self.dialect.sha256, tuple(self.headings), tuple(self.inputs.items()), self.table.in_contract_form

    @property
    def schema(self) -> pa.Schema:
        """Schema of `batches`."""
        names = [*self.headings, *self.inputs.values()]
        return pa.schema([*((name, pa.string()) for name in names), (SOURCE_ROW, pa.int64())])


def join_parts(parts: Mapping[int, OpenExtract], numbered: Callable[[int, np.ndarray], np.ndarray]) -> OpenExtract:
    """Join parts of an extract with the same `form` into one stream.

    `parts` is keyed by part number. `numbered` converts row numbers of a part to row numbers of the whole extract.
    """
    first, set_aside = next(iter(parts.values())), dict[Rule, list[int]]()

    def iter_batches() -> Iterator[pa.RecordBatch]:
        for part, extract in parts.items():
            for batch in extract.batches:
                at = batch.schema.get_field_index(SOURCE_ROW)
                yield batch.set_column(at, SOURCE_ROW, pa.array(numbered(part, batch.column(at).to_numpy())))
            for rule, rows in extract.set_aside.items():
                set_aside.setdefault(rule, []).extend(numbered(part, np.array(rows, np.int64)).tolist())

    # parts may come from different sheets
    table = replace(first.table, sheet=None)
    return replace(first, batches=iter_batches(), set_aside=set_aside, table=table)


def normalise_heading(name: str) -> str:
    """Normalise the letter case and word separators of a heading."""
    return _BETWEEN_WORDS.sub(" ", name.lower()).strip()


def collect_known_keys(contract: SourceContract, dialect: Dialect) -> set[str]:
    """Return the keys of all headings in the contract and the council file."""
    names = {name for column in contract.columns for name in (column.name, dialect.get_local_name(column.name))}
    return {normalise_heading(name) for name in names | set(dialect.inputs)}


def match_columns(
    name: str, contract: SourceContract, council_dialect: Dialect, header: list[str]
) -> tuple[Dialect, dict[str, str], dict[str, str]]:
    """Find the contract's columns in `header`; raises `ExtractStopped` if a required one is missing.

    Returns the dialect of the file, its column for each contract column, and its column for each local name that a
    derived column is computed from. `name` is the file's name in messages.
    """
    present = set(map(normalise_heading, header))
    for column, sentence in contract.refused_columns.items():
        if normalise_heading(column) in present:
            raise ExtractStopped(f"{name}: {sentence}")
    dialect = choose_dialect(contract, header, council_dialect)
    found = {
        column.name: heading
        for column in contract.columns
        if column.name not in dialect.derived
        and (heading := _find_heading(name, header, column.name, dialect.get_local_name(column.name), column.name))
    }
    made_from = [(column, local) for column, derived in dialect.derived.items() for local in derived.inputs]
    made_from += [("a mark of deletion", mark) for mark in dialect.deleted]
    inputs = {local: heading for column, local in made_from if (heading := _find_heading(name, header, column, local))}
    missing = find_missing_columns(contract, dialect, header)
    if missing:
        stop_at_values(name, header)
        # a heading that is already used cannot be the new name of a missing one
        used = {*found.values(), *inputs.values()}
        spare = [column for column in header if column not in used]
        likely = _suggest_renames(contract, missing, spare)
        parts, own, listed = [], [], []
        for local, column in missing.items():
            heading = likely.get(local, "")
            called = f"{local!r} ({column})" if local != column else repr(column)
            parts.append(repr(column) + (f", perhaps renamed to column {header.index(heading) + 1}" if heading else ""))
            own.append(called + (f", perhaps renamed to {heading!r}" if heading else ""))
            listed.append((called, heading))
        raise ExtractStopped(
            f"{name}: missing column {'; '.join(parts)}. Add it or map it in the council file",
            f"{name}: missing column {'; '.join(own)}. Use the headings that we look for, or tell us what yours are",
            HeadingsMissing(tuple(listed), tuple(heading for heading in spare if heading not in likely.values())),
        )
    return dialect, found, inputs


def _find_heading(name: str, header: Sequence[str], column: str, *called: str) -> str | None:
    """Return the heading of the contract column `column`: the first of `called` in the header, exactly or normalised.

    Raises `ExtractStopped` if two headings are the same when normalised, because either could be meant.
    """
    for wanted in called:
        similar = [heading for heading in header if normalise_heading(heading) == normalise_heading(wanted)]
        if wanted in similar:
            return wanted
        if len(similar) > 1:
            stop_at_values(name, header)
            read = f"are both read as {column}; send only one of them"
            numbers = format_column_numbers([index for index, heading in enumerate(header, 1) if heading in similar])
            raise ExtractStopped(f"{name}: {numbers} {read}", f"{name}: {' and '.join(map(repr, similar))} {read}")
        if similar:
            return similar[0]
    return None


def choose_dialect(contract: SourceContract, header: list[str], council_dialect: Dialect) -> Dialect:
    """Return the contract's dialect for a file in contract form if the council file maps headings; otherwise the
    council's dialect."""
    own_headings = council_dialect.columns or council_dialect.derived
    return (
        council_dialect.in_contract_form if own_headings and is_in_contract_form(contract, header) else council_dialect
    )


def is_in_contract_form(contract: SourceContract, header: list[str]) -> bool:
    """Return whether `header` contains every required column under the contract's name."""
    return not find_missing_columns(contract, CONTRACT_DIALECT, header)


def find_missing_columns(contract: SourceContract, dialect: Dialect, header: list[str]) -> dict[str, str]:
    """Return the missing headings, each with the required contract column that needs it."""
    present = set(map(normalise_heading, header))
    missing: dict[str, str] = {}
    for column in contract.required:
        if column in dialect.derived:
            missing |= {
                local: column for local in dialect.derived[column].inputs if normalise_heading(local) not in present
            }
        elif (
            column not in dialect.constants
            and not {normalise_heading(dialect.get_local_name(column)), normalise_heading(column)} & present
        ):
            missing[dialect.get_local_name(column)] = column
    return missing


def _suggest_renames(contract: SourceContract, missing: Mapping[str, str], spare: Sequence[str]) -> dict[str, str]:
    """Suggest the heading that each missing local name may have been renamed to: most similar pairs first, each
    heading once."""
    found: dict[str, str] = {}
    pairs = [
        (-_score_likeness(contract[column], local, heading), order, local, heading)
        for local, column in missing.items()
        for order, heading in enumerate(spare[:_MOST_SPARE])
    ]
    for distance, _, local, heading in sorted(pairs):
        if -distance >= _RENAMED_LIKENESS and local not in found and heading not in found.values():
            found[local] = heading
    return found


def _score_likeness(column: Column, local: str, heading: str) -> float:
    """Score how similar a heading is to the names of a column, from 0 to 1: by its letters, or as a known synonym."""
    # the bound spares most pairs the full comparison, which took 250 s for half a megabyte of headings
    letters = (
        compute_likeness(normalise_heading(heading), normalise_heading(name), _RENAMED_LIKENESS)
        for name in (local, column.name)
    )
    return max(*letters, score_heading(column, heading))


def count_known_names(cells: Iterable[str], known: Container[str]) -> int:
    """Count the distinct column names of `known` (see `collect_known_keys`) in a line."""
    return len({name for cell in cells if (name := normalise_heading(cell)) in known})
