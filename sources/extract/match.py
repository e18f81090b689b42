"""Header detection, and matching of a file's columns to contract columns, in a council's dialect or contract form.

`OpenExtract` is a file whose columns are matched, opened to be read once.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from sources.contracts.model import Column, Rule, SourceContract
from sources.councils.dialect import Dialect
from sources.councils.known_headings import compute_likeness, score_heading
from sources.errors import ExtractStopped, HeadingsMissing
from sources.extract.landed import Landed
from sources.extract.table import SOURCE_ROW, TextTable, format_column_numbers, stop_at_values

MAX_SKIPPED = 20
"""Maximum number of title and blank lines before the header."""
MIN_KNOWN = 2
"""A line with fewer known column names is not a header: its cells may be about a child, so no message repeats them."""
_MOST_SPARE = 100
"""Maximum number of unused headings considered as possible renames."""
_RENAMED_LIKENESS = 0.6
"""Share of their letters that two headings must have in common, in order, for one to be the other renamed."""
_BETWEEN_WORDS = re.compile(r"[\s_.-]+")
Origin = Literal["column", "derived", "constant", "missing"]


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
    """Join parts of an extract with the same `form` into one stream. `parts` are by number; `numbered` maps row numbers
    of a part to row numbers of the whole extract."""
    first, set_aside = next(iter(parts.values())), dict[Rule, list[int]]()

    def batches() -> Iterator[pa.RecordBatch]:
        for part, extract in parts.items():
            for batch in extract.batches:
                at = batch.schema.get_field_index(SOURCE_ROW)
                yield batch.set_column(at, SOURCE_ROW, pa.array(numbered(part, batch.column(at).to_numpy())))
            for rule, rows in extract.set_aside.items():
                set_aside.setdefault(rule, []).extend(numbered(part, np.array(rows, np.int64)).tolist())

    # parts may come from different sheets
    table = replace(first.table, sheet=None)
    return replace(first, batches=batches(), set_aside=set_aside, table=table)


def normalise_heading(name: str) -> str:
    """Normalise the letter case and word separators of a heading."""
    return _BETWEEN_WORDS.sub(" ", name.lower()).strip()


def collect_known_keys(contract: SourceContract, dialect: Dialect) -> set[str]:
    """Return the keys of all headings in the contract and the council file."""
    names = {name for column in contract.columns for name in (column.name, dialect.get_local_name(column.name))}
    return {normalise_heading(name) for name in names | set(dialect.inputs)}


def match(
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
    inputs = {
        local: heading
        for column, derived in dialect.derived.items()
        for local in derived.inputs
        if (heading := _find_heading(name, header, column, local))
    }
    if (mark := dialect.deleted) and (heading := _find_heading(name, header, "a mark of deletion", mark.heading)):
        inputs[mark.heading] = heading
    missing = find_missing_columns(contract, dialect, header)
    if missing:
        stop_at_values(name, header)
        # only headings that nothing is read from can be renamed ones
        used = {*found.values(), *inputs.values()}
        spare = [column for column in header if column not in used]
        likely = _suggest_renames(contract, missing, spare)
        by_number = {local: f"column {header.index(heading) + 1}" for local, heading in likely.items()}
        by_name = {local: repr(heading) for local, heading in likely.items()}
        called = {
            local: f"{local!r} ({column})" if local != column else repr(column) for local, column in missing.items()
        }
        parts = [_format_missing(repr(column), by_number.get(local)) for local, column in missing.items()]
        own = [_format_missing(called[local], by_name.get(local)) for local in missing]
        raise ExtractStopped(
            f"{name}: missing column {'; '.join(parts)}. Add it or map it in the council file",
            f"{name}: missing column {'; '.join(own)}. Use the headings that we look for, or tell us what yours are",
            HeadingsMissing(
                tuple((called[local], likely.get(local, "")) for local in missing),
                tuple(heading for heading in spare if heading not in likely.values()),
            ),
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
    present = set(map(normalise_heading, header))
    return all(normalise_heading(column) in present for column in contract.required)


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
    # with a bound most pairs need no full comparison, which took 250 s for half a megabyte of headings
    letters = (
        compute_likeness(normalise_heading(heading), normalise_heading(name), _RENAMED_LIKENESS)
        for name in (local, column.name)
    )
    return max(*letters, score_heading(column, heading))


def _format_missing(column: str, likely: str | None) -> str:
    return column + (f", perhaps renamed to {likely}" if likely else "")


def count_known_names(cells: Iterable[str], known: Container[str]) -> int:
    """Count the distinct column names of `known` (see `collect_known_keys`) in a line."""
    return len({name for cell in cells if (name := normalise_heading(cell)) in known})
