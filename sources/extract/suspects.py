"""Diagnosis of a column that is mostly wrong: dates in another format, or values under another heading.

Only the first rows are read again, and only for such a column. Messages name columns and formats, never a value.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from sources.contracts import Column, Kind, SourceContract
from sources.contracts.people import WRITTEN_AS_A_POSTCODE
from sources.councils.date_formats import ISO_DATES, USUAL_FORMATS, date_sql, likeliest, plausible
from sources.errors import ExtractStopped
from sources.extract.open import OpenExtract
from sources.extract.project import typed_sql
from sources.extract.table import SOURCE_ROW, first_rows, trimmed

MAX_ROWS = 2000
_RIGHT_SHARE = 0.9
"""Share of a column's values that must be right for it to be named."""
_FILLED_SHARE = 0.5
"""Share of the rows in which a column must be filled to be named."""
_TRIMMED_CELL = trimmed("cell")


@dataclass(frozen=True)
class Suspicion:
    """A sentence that names columns by number, and for the sender by heading.

    `moved` means that another column certainly holds these values: numbers with a valid check digit, or a heading that
    belongs to another column that is read.
    """

    sentence: str
    for_sender: str
    moved: bool = False


def suspicions(
    con: duckdb.DuckDBPyConnection,
    extract: OpenExtract,
    contract: SourceContract,
    valid: Mapping[str, str],
    wrong: Collection[str],
) -> tuple[Suspicion, ...]:
    """Suggest what is in the contract columns `wrong`, most of whose values are refused.

    `valid` gives SQL conditions for identifiers that have a fixed form, whose macros are defined in `con`.
    """
    look = _Look(con, extract, contract, valid, wrong)
    if not look.rows:
        return ()
    found = (look.suspicion(contract[name]) for name in wrong)
    return tuple(suspicion for suspicion in found if suspicion)


class _Look:
    """The first rows of an extract, every column as text."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        extract: OpenExtract,
        contract: SourceContract,
        valid: Mapping[str, str],
        wrong: Collection[str],
    ) -> None:
        self._con, self._extract = con, extract
        self._forms = {**valid, "postcode": WRITTEN_AS_A_POSTCODE}
        self._text = _first_rows(extract)
        self.rows = self._text.num_rows
        judged = (column for column in contract.columns if column.name not in wrong and self._has_form(column))
        self._settled = {extract.headings.get(column.name) for column in judged}

    def suspicion(self, column: Column) -> Suspicion | None:
        heading = self._extract.headings.get(column.name)
        if heading is None or not self._has_form(column):
            return None
        if column.kind is Kind.DATE and (form := self._date_form(column, heading)):
            standard = self._extract.table.in_contract_form
            remedy = "" if standard else "say date_format in the council file, or "
            said = f"look like {form}; {remedy}write them as 2020-02-29."
            return Suspicion(f"The dates in {self._number(heading)} {said}", f"The dates under {heading!r} {said}")
        own = self._share(heading, self._right(column))
        other = self._holds(column, heading) if own < _RIGHT_SHARE else None
        if other is None:
            return None
        by_number = f"in {self._number(other)} look like {column.name}, those in {self._number(heading)} do not."
        by_name = f"under {other!r} look like {column.name}, those under {heading!r} do not."
        numbered = column.name in self._forms and column.name != "postcode"
        swapped = other in self._extract.headings.values() and column.name in self._forms
        return Suspicion(f"The values {by_number}", f"The values {by_name}", moved=numbered or swapped)

    def _number(self, heading: str) -> str:
        return f"column {self._extract.table.header.index(heading) + 1}"

    def _date_form(self, column: Column, heading: str) -> str | None:
        """The usual format, not read so far, that nearly all values fit; both where day and month leave it open."""
        known = (*self._extract.dialect.formats_of(column.name), *ISO_DATES)
        shares = {form: self._share(heading, plausible(date_sql("written", (form,)))) for form in USUAL_FORMATS}
        best, exchanged = likeliest(shares)
        if shares[best] < _RIGHT_SHARE or best in known:
            return None
        return f"{best} or {exchanged}" if exchanged else best

    def _holds(self, column: Column, heading: str) -> str | None:
        """The other heading whose values would be right, if they are not those of a column that is right itself."""
        free = [name for name in self._text.column_names if name != heading and name not in self._settled]
        fit = {name: self._share(name, self._right(column)) for name in free}
        best = max(fit, key=fit.__getitem__, default=None)
        return best if best is not None and fit[best] >= _RIGHT_SHARE else None

    def _right(self, column: Column) -> str:
        """SQL condition on `written`: a usable value of the column."""
        if column.name in self._forms:
            return self._forms[column.name].format("written")
        typed = typed_sql(column, self._extract.dialect, {}).replace(f"raw_{column.name}", "written")
        return plausible(typed) if column.kind is Kind.DATE else f"{typed} IS NOT NULL"

    def _has_form(self, column: Column) -> bool:
        return column.kind is not Kind.TEXT or bool(column.pattern) or column.name in self._forms

    def _share(self, heading: str, condition: str) -> float:
        """Share of the filled cells that meet an SQL condition on `written`; 0 where few cells are filled."""
        self._con.register("suspect", self._text.select([heading]).rename_columns(["cell"]))
        filled, right = self._con.execute(
            f"SELECT count(*), count(*) FILTER ({condition}) FROM (SELECT {_TRIMMED_CELL} AS written FROM suspect)"
            " WHERE written IS NOT NULL"
        ).fetchall()[0]
        self._con.unregister("suspect")
        return right / filled if filled >= max(_FILLED_SHARE * self.rows, 1) else 0.0


def _first_rows(extract: OpenExtract) -> pa.Table:
    """Of every column where they can be read as text, else of those that the extract is made from."""
    table = extract.table
    for names in (table.header, list(dict.fromkeys(extract.headings.values()))):
        try:
            taken = first_rows(table.read(names), MAX_ROWS)
        except ExtractStopped:
            continue
        schema = pa.schema([*((name, pa.string()) for name in names), (SOURCE_ROW, pa.int64())])
        return pa.Table.from_batches(taken, schema).drop_columns([SOURCE_ROW])
    return pa.table({})
