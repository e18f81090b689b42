"""Dialect of a council for one source: its date formats, its derived columns and its other settings.

Date formats are strptime formats, or `excel` for the day numbers of a spreadsheet. There are five operations for
deriving a column. All are declarative: nothing in a council file is executed. Its texts reach SQL only as string
literals, and its headings not at all: the caller passes the expression of each input.
"""

import codecs
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from enum import StrEnum
from functools import cache, cached_property, lru_cache
from itertools import combinations
from typing import Annotated, Any, Self

import duckdb
from pydantic import AfterValidator, Field, model_validator

from privacy.doors.database import open_in_memory
from privacy.doors.settings_file import AsList, OrEmpty, Settings, Text, build_fault_validator, suggest_names
from privacy.doors.sql import quote_text

ISO_DATES = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")
"""Accepted everywhere, whatever the council file says."""

EXCEL = "excel"
USUAL_FORMATS = (
    "%Y-%m-%d", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y", "%Y%m%d", "%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%d/%b/%Y",
    "%d-%b-%y", "%d/%m/%y", "%d-%m-%y", "%d.%m.%y", "%d %b %y", "%Y/%m/%d", "%d%m%Y", "%d/%m/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S", "%d-%b-%Y %H:%M", "%m/%d/%Y", "%m/%d/%y", EXCEL,
)  # fmt: skip
"""Formats that councils use, tried in this order: day before month if a column is ambiguous."""
_LAST_EXCEL_DAY = 73_050  # 2099-12-31, so that 20200203 is not read as a day number
_PLACEHOLDERS = (  # as in Excel, longest first
    ("yyyy", "%Y"), ("mmmm", "%B"), ("mmm", "%b"), ("mm", "%m"), ("dd", "%d"), ("yy", "%y"), ("m", "%m"), ("d", "%d"),
)  # fmt: skip
_LOOK_ALIKES, _DIGITS = "OoIl|ZzSsGB", "00111225568"
_CLOCK = {"hh:mm:ss": "%H:%M:%S", "hh:mm": "%H:%M"}


def format_in_words(form: str) -> str:
    """Return a format as people write it: `DD/MM/YYYY` for `%d/%m/%Y`, `DD-MMM-YYYY` for `02-Sep-2019`."""
    if form == EXCEL:
        return "as an Excel day"
    for placeholder, meaning in (*_PLACEHOLDERS[:-2], ("hh", "%H"), ("mm", "%M"), ("ss", "%S")):
        form = form.replace(meaning, placeholder.upper() if meaning in "%Y%B%b%m%d%y" else placeholder)
    return form


def build_date_sql(text: str, formats: Iterable[str]) -> str:
    """Return SQL (DATE) that reads the SQL expression `text` in the first of `formats` that fits, or else as ISO.

    It is NULL if none fits.

    DuckDB reads two-digit years 00 to 68 as 2000 to 2068 and 69 to 99 as 1969 to 1999.
    """
    # `%Y` would read 20 as the year 20; `%y` never reads four digits. So two-digit years come first.
    strptime = sorted((form for form in formats if form != EXCEL), key=lambda form: "%y" not in form)
    listed = ", ".join(quote_text(form) for form in dict.fromkeys((*strptime, *ISO_DATES)))
    date = f"try_strptime({text}, [{listed}])::DATE"
    if EXCEL not in formats:
        return date
    day = f"try_cast({text} AS DOUBLE)"
    # Excel counts a 29 February 1900, so its days from March 1900 on are counted from 1899-12-30; a fraction is the
    # time.
    from_day = f"CASE WHEN {day} BETWEEN 1 AND {_LAST_EXCEL_DAY} THEN DATE '1899-12-30' + floor({day})::INTEGER END"
    return f"coalesce({date}, {from_day})"


def build_mended_date_sql(text: str, formats: Iterable[str]) -> str:
    """Return SQL (DATE) that repairs a `text` that `build_date_sql` cannot read; NULL if it cannot be repaired.

    Repairs are day and month exchanged (the month is above 12) and letters in place of similar digits.
    """
    # Not formats with month names: the letters in them would be taken for digits.
    numeric = [form for form in (*formats, *ISO_DATES) if "%d" in form and "%m" in form]
    exchanged = list(map(exchange_day_and_month, numeric))
    digits = f"translate({text}, '{_LOOK_ALIKES}', '{_DIGITS}')"
    readings = [build_date_sql(digits, numeric), build_date_sql(text, exchanged), build_date_sql(digits, exchanged)]
    return f"coalesce({', '.join(readings)})"


def build_plausible_sql(date: str) -> str:
    """Return the SQL condition that the SQL expression `date` is between 1900 and 2099."""
    return f"year({date}) BETWEEN 1900 AND 2099"


def exchange_day_and_month(form: str) -> str:
    """Return a date format with day and month exchanged."""
    return form.replace("%d", "%?").replace("%m", "%d").replace("%?", "%m")


def is_date(text: str, formats: Iterable[str]) -> bool:
    """Return whether `build_date_sql` can read `text`."""
    return _try_sql(f"SELECT {build_date_sql(quote_text(text), formats)} IS NOT NULL") == [(True,)]


def _try_sql(sql: str) -> list[tuple[Any, ...]]:
    with _open_trial_database().cursor() as con:
        return con.execute(sql).fetchall()


@cache
def _open_trial_database() -> duckdb.DuckDBPyConnection:
    """Return an empty database for trying formats, cached because opening it takes longer than the queries."""
    return open_in_memory()


@lru_cache(maxsize=1024)
def find_format_fault(form: str) -> str | None:
    """Return why a format cannot be used, or None."""
    if form == EXCEL:
        return None
    if "%" not in form:
        near = _translate_format(form)
        remedy = repr(near) if near else "it as '%d/%m/%Y' (day, month, year), or 'excel' for day numbers"
        return f"{form!r} is not a date format; write {remedy}"
    try:
        lost = _try_sql(_build_difference_sql(form, (form,)))
    except duckdb.Error as error:
        reason = re.search(r"Failed to parse format specifier .*?: (.*)", str(error))
        return f"{form!r} is not a date format: {reason[1] if reason else 'see the strptime codes of DuckDB'}"
    return f"{form!r} does not give the day, the month and the year of a date" if lost else None


@lru_cache(maxsize=1024)
def find_ambiguity(formats: tuple[str, ...]) -> str | None:
    """Return a sentence about two of these valid formats that read a text as different dates, or None."""
    for one, other in combinations(formats, 2):
        if any(_try_sql(_build_difference_sql(written, (other, one))) for written in (other, one)):
            return f"{one!r} and {other!r} read the same text as different dates; keep the one in use"
    return None


def _build_difference_sql(written: str, formats: tuple[str, ...]) -> str:
    """Return SQL that has a row if some date, written in one format, is read by `formats` as another date."""
    text = f"strftime(day, {quote_text(written)})"
    if written == EXCEL:
        text = "(day::DATE - DATE '1899-12-30')::VARCHAR"
    days = "generate_series(TIMESTAMP '2016-01-01', TIMESTAMP '2027-12-31', INTERVAL 1 DAY)"
    return f"SELECT 1 FROM {days} AS days(day) WHERE {build_date_sql(text, formats)} IS DISTINCT FROM day::DATE LIMIT 1"


def _translate_format(form: str) -> str | None:
    """Return a format such as `DD/MM/YYYY` as strptime; None if that is not a date format."""
    rest = form.lower()
    # Clock times first: `mm` is minutes in them and months elsewhere.
    for clock, theirs in _CLOCK.items():
        rest = rest.replace(clock, theirs)
    for placeholder, theirs in _PLACEHOLDERS:
        rest = re.sub(rf"(?<![%a-zA-Z]){placeholder}(?![a-zA-Z])|(?<![%a-z]){placeholder}(?=%)", theirs, rest)
    if "%" not in rest:  # no separators: yyyymmdd
        rest = re.sub("yyyy", "%Y", re.sub("mm", "%m", re.sub("dd", "%d", form.lower())))
    return rest if "%" in rest and find_format_fault(rest) is None else None


@lru_cache(maxsize=1024)
def find_pattern_fault(pattern: str) -> str | None:
    """Return why `pattern` cannot be used, or None: it must be RE2 with exactly one capture group."""
    extract = f"SELECT regexp_extract('', {quote_text(pattern)}"
    try:
        _try_sql(f"{extract})")
    except duckdb.Error as error:
        return f"is not a pattern (RE2): {str(error).partition(': ')[2].splitlines()[0]}"
    groups = 0
    # DuckDB cannot count the groups of a pattern, but refuses more names than it has groups.
    with suppress(duckdb.BinderException):
        while groups < 2:
            _try_sql(f"{extract}, {[f'part_{index}' for index in range(groups + 1)]})")
            groups += 1
    return None if groups == 1 else "must have exactly one capture group, ( ); write (?: ) for any other"


_FORMS = (
    "{from: Heading, pattern: '(...)'}, {from: Heading, characters: 1-3}, {from: Heading, filled: Y, blank: N},"
    " {join: [Heading, Heading], with: '-'} or {first_of: [Heading, Heading]}"
)
_OPERATIONS = {
    "pattern": ("heading",),
    "characters": ("heading",),
    "filled": ("heading", "blank"),
    "join": ("separator",),
    "first_of": (),
}
"""Operations that derive a column, each with the other fields that it takes."""
_SPAN = re.compile(r"([1-9]\d{0,3})\s*(?:-\s*([1-9]\d{0,3}))?")


def _find_span_fault(text: str) -> str | None:
    span = _SPAN.fullmatch(text)
    sound = span and int(span[1]) <= int(span[2] or span[1])
    return None if sound else "must be two positions from 1, as 1-3"


def _check_two_or_more(headings: tuple[str, ...]) -> tuple[str, ...]:
    if len(headings) < 2:
        raise ValueError("needs two headings or more, in [ ]")
    return headings


_Headings = Annotated[tuple[Text, ...], AsList, AfterValidator(_check_two_or_more)]


class Derived(Settings):
    """A contract column made from the council's headings of other columns, by exactly one operation with its keys.

    `pattern` is an RE2 pattern whose capture group is taken, `characters` the first and last position, from 1; `filled`
    is the value for a filled input, `blank` for a blank one. `join` is NULL if an input is blank; `first_of` takes the
    first that is not.
    """

    heading: Annotated[Text | None, Field(alias="from")] = None
    pattern: Annotated[str, build_fault_validator(find_pattern_fault)] | None = None
    characters: Annotated[Text, build_fault_validator(_find_span_fault)] | None = None
    filled: Annotated[str, Field(min_length=1)] | None = None
    blank: OrEmpty = ""
    join: _Headings | None = None
    separator: Annotated[OrEmpty, Field(alias="with")] = ""
    first_of: _Headings | None = None

    @model_validator(mode="after")
    def _check_operation(self) -> Self:
        operations = [name for name in _OPERATIONS if getattr(self, name) is not None]
        if len(operations) != 1:
            problem = f"has {' and '.join(operations)}" if operations else "does not say how it is made"
            raise ValueError(f"{problem}; write one of {_FORMS}")
        (operation,) = operations
        for name in self.model_fields_set - {operation, *_OPERATIONS[operation]}:
            key = type(self).model_fields[name].alias or name
            raise ValueError(f"{key!r} does not go with {operation!r}; write one of {_FORMS}")
        if "heading" in _OPERATIONS[operation] and not self.heading:
            raise ValueError("has no 'from': the heading that it is made from")
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """The council's headings that the column is made from."""
        return self.join or self.first_of or (self.heading or "",)

    def build_sql(self, columns: Mapping[str, str]) -> str:
        """Return an SQL expression (VARCHAR); `columns` maps each input to an SQL expression of its trimmed text.

        Empty inputs are NULL, and so are empty results and results without usable input.
        """
        texts = [columns[name] for name in self.inputs]
        if self.pattern is not None:
            return f"nullif(regexp_extract({texts[0]}, {quote_text(self.pattern)}, 1), '')"
        if self.characters is not None and (span := _SPAN.fullmatch(self.characters)):
            first, last = int(span[1]), int(span[2] or span[1])
            return f"nullif(substring({texts[0]}, {first}, {last - first + 1}), '')"
        if self.filled is not None:
            blank = f"nullif({quote_text(self.blank)}, '')"
            return f"CASE WHEN {texts[0]} IS NULL THEN {blank} ELSE {quote_text(self.filled)} END"
        if self.join is not None:
            return "(" + f" || {quote_text(self.separator)} || ".join(texts) + ")"
        return f"coalesce({', '.join(texts)})"


def _find_delimiter_fault(text: str) -> str | None:
    if text in ("\\t", "tab"):
        return 'must be one character; write a tab as "\\t", in double quotes'
    if len(text) != 1:
        return f"must be one character, not {len(text)}"
    if text.isalnum() or text in "\"'\r\n " or not text.isascii():
        return "must be a character that parts columns, such as ; | , or a tab"
    return None


def _find_encoding_fault(text: str) -> str | None:
    known = ("utf-8", "utf-8-sig", "utf-16", "windows-1252", "latin-1", "iso-8859-15", "cp850")
    try:
        codec = codecs.lookup(text)
        "".encode(codec.name)  # refuses codecs that do not encode text
    except (LookupError, ValueError):
        return f"{text!r} is not the name of an encoding{suggest_names(text, known)}"
    return None


_Formats = Annotated[
    tuple[Annotated[Text, build_fault_validator(find_format_fault)], ...],
    AsList,
    AfterValidator(lambda formats: tuple(dict.fromkeys(formats))),
    build_fault_validator(find_ambiguity),
]


class Parts(StrEnum):
    """Way in which the parts of an extract are combined."""

    CUMULATIVE = "cumulative"
    """Each part has all records up to its date: only the latest counts."""
    INCREMENTAL = "incremental"
    """Each part has new and corrected records."""
    CHANGES = "changes"
    """Like incremental, but rows can also delete a record; within a part, the last row of a record counts."""


class Dialect(Settings):
    """Form of one council's extracts of one source; the defaults are contract form.

    `columns` maps contract columns to the council's headings. `codes` maps, for a contract column, the council's values
    to contract codes, or to "" for unknown. `date_formats` override the file's formats (`date_format`) for a column.
    `derived` are contract columns made from other columns of the file. `parts` says how several files of one extract
    are combined (None: detected from the files); `deleted` has, for `changes`, the heading whose values mark a row as
    the deletion of its record. `sheet` is the workbook sheet to read (None: found by its columns). `reviews` are the
    codes of the reviews that health visitors send (None: not stated); other sources have none.
    """

    delimiter: Annotated[str, build_fault_validator(_find_delimiter_fault)] = ","
    encoding: Annotated[Text, build_fault_validator(_find_encoding_fault)] = "utf-8"
    date_format: _Formats = ("%Y-%m-%d",)
    date_formats: Mapping[str, _Formats] = {}
    columns: Mapping[str, Text] = {}
    codes: Mapping[str, Mapping[str, OrEmpty]] = {}
    constants: Mapping[str, Text] = {}
    derived: Mapping[str, Derived] = {}
    parts: Parts | None = None
    deleted: Mapping[Text, Annotated[tuple[Text, ...], AsList]] = {}
    sheet: Text | None = None
    reviews: Annotated[tuple[Text, ...], AsList] | None = None

    def get_formats(self, column: str) -> tuple[str, ...]:
        """Return the date formats of a contract column."""
        return self.date_formats.get(column, self.date_format)

    @property
    def in_contract_form(self) -> "Dialect":
        """Dialect of the same council's files under contract column names."""
        return Dialect(parts=self.parts, deleted=self.deleted, sheet=self.sheet)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The council's headings that are read for derived columns and deletions."""
        names = [name for derived in self.derived.values() for name in derived.inputs]
        return tuple(dict.fromkeys([*names, *self.deleted]))

    def get_local_name(self, column: str) -> str:
        """Return the council's heading of a contract column."""
        return self.columns.get(column, column)

    @cached_property
    def sha256(self) -> str:
        """Hash of the source's settings that affect reading; an extract read with another hash is read again."""
        # neither changes how a file is read
        content = self.model_dump(mode="json", exclude={"parts", "reviews"}, exclude_defaults=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


CONTRACT_DIALECT = Dialect()
