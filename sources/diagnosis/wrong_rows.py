"""Recognises wrong rows: another cohort's or council's children, and columns with the wrong values.

Another cohort or council is recognised by non-identifying parts of the rows, which are counted in memory during the
intake pass: the school year of the date of birth, and the authority in a local authority code or pupil number (UPN). If
most values of a column are invalid, the file's first rows are read again to see whether its dates have another format
or its values are under another heading. Messages never quote a value.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from sources.contracts import Column, Kind, SourceContract, extract_rules, people
from sources.councils.dialect import ISO_DATES, build_plausible_sql
from sources.diagnosis.column_guesses import TextSample, build_identifier_sql
from sources.errors import ExtractStopped
from sources.extract.project import build_typed_sql
from sources.extract.table import OpenExtract, take_first_rows
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place, load_places

MOSTLY = 0.5
"""If more than this share of the rows with a value belong to another year or council, the file looks like that one's.
The share equals the `stop_share` of dates and council codes. A council's own children hardly ever have that many pupil
numbers (UPN) from one other authority: the first school issues the number, and these children started school at most a
year earlier.
"""
IN_PART = 0.1
"""If more than this share of the dates of birth are in one other school year, part of the file looks like that year's.
Children who start late or repeat a year are one or two in a hundred."""
BORN, LA_CODE, UPN_AREA = "born_cohort", "la_code_in_row", "upn_area"
COLUMNS = (BORN, LA_CODE, UPN_AREA)
_BORN_SQL = f"CASE WHEN birth_date(date_of_birth) IS NOT NULL THEN {people.BORN_COHORT_SQL} END"
_LA_CODE_SQL = r"regexp_replace(la_code, '\.0+$', '')"
_UPN_AREA_SQL = "nullif(regexp_extract(upn, '^[A-Za-z] *([0-9]{3})', 1), '')"
"""Characters 2 to 4 of a UPN: the code of the authority whose school issued it (Department for Education, Unique pupil
numbers: guidance)."""


@dataclass(frozen=True)
class OtherOrigin:
    """Another year or council that many rows of an extract belong to.

    Judged by the column `by`: of the `of` rows with a value, `rows` belong to `name`, and `own` to the extract's own
    year or council, `should_be`.
    """

    by: str
    name: str
    should_be: str
    rows: int
    of: int
    own: int

    @property
    def is_year(self) -> bool:
        return self.by == BORN

    @property
    def mostly(self) -> bool:
        return self.rows > MOSTLY * self.of

    @property
    def looks_like(self) -> str:
        """Message without numbers: `this looks like 2023/24, not 2024/25`."""
        whole = "this" if self.mostly else "part of this"
        return f"{whole} looks like {self.name}{'' if self.is_year else '’s'}, not {self.should_be}"

    @property
    def for_sender(self) -> str:
        """Message for the sender, with numbers."""
        whole = "This" if self.mostly else "Part of this"
        share = f"{self.rows:,} of {self.of:,}"
        if self.is_year:
            reason = f"{share} dates of birth are of children who finish Reception in {self.name}"
            return f"{whole} looks like {self.name}: {reason}, {self.own:,} of {self.should_be}."
        what = (
            "rows have its local authority code" if self.by == LA_CODE else "pupil numbers (UPN) were given out there"
        )
        reason = f"{share} {what}"
        return f"{whole} looks like {self.name}’s: {reason}, {self.own:,} of {self.should_be}’s own."


def build_origin_sql(contract: SourceContract) -> str:
    """Return the SQL, over typed rows, of the columns that `OriginCounter` reads, each preceded by a comma."""
    terms = {"date_of_birth": (_BORN_SQL, BORN), "la_code": (_LA_CODE_SQL, LA_CODE), "upn": (_UPN_AREA_SQL, UPN_AREA)}
    return "".join(f", {sql} AS {name}" for column, (sql, name) in terms.items() if column in contract)


class OriginCounter:
    """Counts the school years and authorities in the typed rows of an extract, chunk by chunk."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[object]] = defaultdict(Counter)

    def see(self, chunk: pa.Table) -> None:
        for name in set(COLUMNS) & set(chunk.column_names):
            found = pc.value_counts(chunk[name].drop_null()).to_pylist()
            self._counts[name].update({entry["values"]: entry["counts"] for entry in found})

    def find_other_origins(self, council: str, cohort: str) -> tuple[OtherOrigin, ...]:
        """Return the other year and council that rows seem to be from, if any; council codes count before UPNs."""
        first = Cohort(cohort).first_year
        labels = {year: f"{year}/{(year + 1) % 100:02d}" for year in range(first - 10, first + 11)}
        year = self._find_other(BORN, labels, Cohort(cohort).label, IN_PART)
        authorities = {
            code: each.la_name for each in load_places().values() for code in (each.old_la_code, each.new_la_code)
        }
        own = get_place(council).la_name
        of_council = (self._find_other(by, authorities, own, MOSTLY) for by in (LA_CODE, UPN_AREA))
        other = next((found for found in of_council if found), None)
        return tuple(found for found in (year, other) if found)

    def _find_other(self, by: str, names: Mapping[Any, str], own: str, share: float) -> OtherOrigin | None:
        """Return the most frequent other name if more than `share` of the rows have it."""
        counts: Counter[str] = Counter()
        for value, rows in self._counts[by].items():
            counts[names.get(value, "")] += rows
        total = counts.total()
        # "" collects the values of unknown years and authorities
        others = [(rows, name) for name, rows in counts.items() if name not in ("", own)]
        rows, name = max(others, default=(0, ""))
        if total < extract_rules.MANY_ROWS or rows <= share * total:
            return None
        return OtherOrigin(by, name, own, rows, total, counts[own])


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
            return self._sample.measure_share(heading, self._forms[column.name])
        typed = build_typed_sql(column, self._extract, {}).replace(f"raw_{column.name}", "cell")
        return self._sample.measure_share(
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
