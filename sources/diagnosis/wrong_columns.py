"""Diagnosis of columns with mostly invalid values: dates in another format, or values under another heading.

The file's first rows are read again only if it has such a column. Messages name columns and formats, never a value.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from sources.contracts.model import Column, Kind, SourceContract
from sources.councils.dialect import ISO_DATES, build_plausible_sql
from sources.diagnosis.column_guesses import TextSample, build_identifier_sql
from sources.errors import ExtractStopped
from sources.extract.match import OpenExtract
from sources.extract.project import build_typed_sql
from sources.extract.table import take_first_rows

MAX_ROWS = 2000
_RIGHT_SHARE = 0.9
"""Share of a column's values that must be valid for a message to name it."""
_FILLED_SHARE = 0.5
"""Share of rows in which a column must be filled for a message to name it."""


@dataclass(frozen=True)
class Suspicion:
    """A sentence that names columns by number, and one for the sender that names them by heading.

    `moved` means that the values are certainly under another column's heading: they are numbers with a valid check
    digit, or the heading is mapped to another contract column.
    """

    sentence: str
    for_sender: str
    moved: bool = False


def suspect_columns(
    con: duckdb.DuckDBPyConnection,
    extract: OpenExtract,
    contract: SourceContract,
    valid: Mapping[str, str],
    wrong: Collection[str],
) -> tuple[Suspicion, ...]:
    """Suggest reasons for contract columns `wrong`, most of whose values are invalid.

    `valid` has SQL conditions for identifiers with a fixed form; their macros are defined in `con`.
    """
    headings, rows = _read_first_rows(extract)
    if not rows:
        return ()
    sample, forms = TextSample(con, headings, rows), build_identifier_sql(valid)
    # a column whose own values are right cannot be where another's values went
    settled = {
        extract.headings.get(column.name)
        for column in contract.columns
        if column.name not in wrong and _has_form(column, forms)
    }
    comparison = _Comparison(sample, extract, forms, settled)
    found = [comparison.find_suspicion(contract[name]) for name in wrong]
    sample.close()
    return tuple(suspicion for suspicion in found if suspicion)


def _has_form(column: Column, forms: Mapping[str, str]) -> bool:
    return column.kind is not Kind.TEXT or bool(column.pattern) or column.name in forms


@dataclass(frozen=True)
class _Comparison:
    """The first rows of an extract, compared with its contract. `settled` are headings of columns that are not in
    doubt."""

    _sample: TextSample
    _extract: OpenExtract
    _forms: Mapping[str, str]
    _settled: Collection[str | None]

    def find_suspicion(self, column: Column) -> Suspicion | None:
        heading = self._extract.headings.get(column.name)
        if heading is None or not _has_form(column, self._forms):
            return None
        if column.kind is Kind.DATE and (form := self._find_unread_form(column, heading)):
            remedy = "" if self._extract.table.in_contract_form else "say date_format in the council file, or "
            return self._suspect(f"The dates {{}} look like {form}; {remedy}write them as 2020-02-29.", heading)
        own = self._share(column, heading)
        other = self._find_likeliest_heading(column, heading) if own < _RIGHT_SHARE else None
        if other is None:
            return None
        # a postcode has no check digit that makes it certain
        numbered = column.name in self._forms and column.name != "postcode"
        swapped = other in self._extract.headings.values() and column.name in self._forms
        sentence = f"The values {{}} look like {column.name}, those {{}} do not."
        return self._suspect(sentence, other, heading, moved=numbered or swapped)

    def _suspect(self, sentence: str, *headings: str, moved: bool = False) -> Suspicion:
        by_number = (f"in column {self._extract.table.header.index(heading) + 1}" for heading in headings)
        by_heading = (f"under {heading!r}" for heading in headings)
        return Suspicion(sentence.format(*by_number), sentence.format(*by_heading), moved)

    def _find_unread_form(self, column: Column, heading: str) -> str | None:
        """Return the date format that nearly all values have, unless the dialect has it already; two formats if day and
        month are ambiguous."""
        found = self._sample.find_date_form(heading, _RIGHT_SHARE) if self._is_filled(heading) else None
        if found is None or found.form in (*self._extract.dialect.get_formats(column.name), *ISO_DATES):
            return None
        return f"{found.form} or {found.exchanged}" if found.exchanged else found.form

    def _find_likeliest_heading(self, column: Column, heading: str) -> str | None:
        """Return another heading whose values fit the column, except headings of columns that are not in doubt."""
        free = [name for name in self._sample.headings if name != heading and name not in self._settled]
        shares = {name: self._share(column, name) for name in free}
        best = max(shares, key=shares.__getitem__, default=None)
        return best if best is not None and shares[best] >= _RIGHT_SHARE else None

    def _share(self, column: Column, heading: str) -> float:
        """Return the share of values under a heading that are valid for the column; 0 if few cells are filled."""
        if not self._is_filled(heading):
            return 0.0
        if column.name in self._forms:
            return self._sample.share(heading, self._forms[column.name])
        typed = build_typed_sql(column, self._extract.dialect, {}).replace(f"raw_{column.name}", "cell")
        return self._sample.share(
            heading, build_plausible_sql(typed) if column.kind is Kind.DATE else f"{typed} IS NOT NULL"
        )

    def _is_filled(self, heading: str) -> bool:
        return self._sample.filled[heading] >= max(_FILLED_SHARE * self._sample.rows, 1)


def _read_first_rows(extract: OpenExtract) -> tuple[list[str], list[pa.RecordBatch]]:
    """Return headings and first rows: all columns if they can be read as text, otherwise those that are used."""
    for headings in (extract.table.header, list(dict.fromkeys(extract.headings.values()))):
        try:
            return headings, take_first_rows(extract.table.read(headings), MAX_ROWS)
        except ExtractStopped:
            continue
    return [], []
