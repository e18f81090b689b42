"""CSV files of a table: in the format of Explore Education Statistics (EES), and plain.

Plain files, `<table>_all_rows.csv`, have the rows and values of the Parquet file, with an empty cell for NULL. An
unreliable percentage is a whole number in both kinds of file; plain files keep all digits of its interval. EES itself
shows a column with one number of decimals (`indicator_dp`), so its pages add a zero to it. The files for EES,
`<table>.csv` with metadata in `<table>.meta.csv`, follow its open data standards and the Department for
Education's data screener: no area without an official geography, a number or a symbol in every cell of a figure, `none`
in place of NULL, and flags, estimates and interval limits as indicators.

`ees_bulk_upload.zip` follows the checks of EES (`DataSetValidator`, `DataSetDto` and `FileNameValidators` of
dfe-analytical-services/explore-education-statistics): a `dataset_names.csv`, the two files of each of its lines, no
other file, and unique titles of at most 120 characters. EES rejects a file without rows, so such tables are left out.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ndl_export.files.archive import pack_flat_zip
from ndl_export.files.whole_files import format_csv
from ndl_export.tables import ALL, Table, geography, model, schema
from ndl_export.tables.rows import list_allowed, list_levels
from ndl_export.tables.schema import LEVEL, OWN_AREA, ColumnRole, Flag, get_column_name
from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_identifier, quote_text

INSTEAD = {flag: schema.FLAG_MEANINGS[flag] for flag in (Flag.WITHHELD, Flag.NOT_APPLICABLE, Flag.NOT_AVAILABLE)}
"""Symbols that replace a figure, with their meanings."""

NOTHING = "none"
"""Text of a flag or break cell that is NULL in the tables."""

ALL_ROWS = "_all_rows.csv"
"""Ending of the names of plain files."""

LIMIT_DECIMALS = 3
"""Decimals of estimates and interval limits in the CSV files; the Parquet files are not rounded."""

_OF_INDICATORS = ("indicator_grouping", "indicator_unit", "indicator_dp")
_OF_FILTERS = ("filter_hint", "filter_grouping_column", "filter_default")
_NO_INDICATOR, _NO_FILTER = ("",) * len(_OF_INDICATORS), ("",) * len(_OF_FILTERS)
_META_COLUMNS = ("col_name", "col_type", "label", *_OF_INDICATORS, *_OF_FILTERS)

_GROUPS = {
    ColumnRole.FIGURE: "Figures",
    ColumnRole.ESTIMATE: "Estimates for adding up",
    ColumnRole.LOWER: "95% intervals",
    ColumnRole.UPPER: "95% intervals",
    ColumnRole.FLAG: "Flags",
    ColumnRole.BREAK: "Breaks in the time series",
    ColumnRole.MODEL: "Model estimates",
    ColumnRole.MODEL_LOWER: "Model estimates",
    ColumnRole.MODEL_UPPER: "Model estimates",
}


@dataclass(frozen=True)
class CsvColumn:
    """A column of a CSV file: the table's column and, for filters and symbols, its allowed values except `NOTHING`.

    An `official` file is one for EES, with symbols in place of figures; others have empty cells.
    """

    source: schema.PublishedColumn
    words: tuple[str, ...] = ()
    official: bool = True

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def description(self) -> str:
        if not self.official or not (self.is_number or self.source.symbols):
            return self.source.description
        if self.source.symbols:
            # The description is that of the Parquet file, in which the symbol is NULL.
            return self.source.description.replace("NULL", NOTHING)
        return f"{self.source.description} ({'; '.join(f'{symbol}: {meaning}' for symbol, meaning in INSTEAD.items())})"

    @property
    def is_number(self) -> bool:
        """Whether it holds figures, or the symbols that replace them."""
        return self.source.measure is not None and self.source.role is not ColumnRole.FLAG

    @property
    def limits(self) -> dict[str, int]:
        """The lowest and highest possible value of a figure; in official files, of its interval too."""
        # Estimates may be negative. Ends of intervals may exceed a limit by a rounding error, which only the fixed
        # decimals of official files remove.
        limited = set(_GROUPS) - {ColumnRole.ESTIMATE} if self.official else {ColumnRole.FIGURE}
        measure = self.source.measure
        return measure.limits if measure and self.is_number and self.source.role in limited else {}

    @property
    def required(self) -> bool:
        """Whether every cell must have a value."""
        places = ("country_code", "country_name") if self.official else OWN_AREA
        return self.source.role in (ColumnRole.TIME, ColumnRole.FILTER) or self.name in (LEVEL, *places)


def list_csv_columns(table: Table, *, official: bool = True) -> tuple[CsvColumn, ...]:
    """Return the columns of the file for EES or, if it is not `official`, of the plain file."""
    # Files for EES leave out flags of counts, whose cells hold the same symbols, and the columns of the row's own area,
    # because EES has fixed columns for each level.
    return tuple(
        CsvColumn(column, list_allowed(table, column), official)
        for column in schema.list_columns(table)
        if not official
        or (
            not (column.role is ColumnRole.FLAG and column.measure is not None and column.measure.is_count)
            and column.name not in OWN_AREA
        )
    )


def select_official_rows(data: pa.Table) -> pa.Table:
    """Return the rows of areas that have an official geography."""
    return data.filter(pc.not_equal(data[LEVEL], geography.ALL_TOGETHER))


def build_csv_files(tables: Mapping[str, pa.Table], defined: Mapping[str, Table]) -> dict[str, bytes]:
    """Return the CSV files and the bulk upload by name; `tables` have their rows in order."""
    files: dict[str, bytes] = {}
    with open_in_memory() as connection, tempfile.TemporaryDirectory() as scratch:
        for name, data in tables.items():
            connection.register("every", data)
            connection.register("official", select_official_rows(data))
            cells = ", ".join(
                f"{_build_cell_sql(column)} AS {quote_identifier(column.name)}"
                for column in list_csv_columns(defined[name])
            )
            plain = ", ".join(
                f"{_build_plain_cell_sql(column)} AS {quote_identifier(column.name)}"
                for column in schema.list_columns(defined[name])
            )
            queries = {".csv": f"SELECT {cells} FROM official", ALL_ROWS: f"SELECT {plain} FROM every"}
            for suffix, query in queries.items():
                place = Path(scratch) / f"{name}{suffix}"
                connection.execute(f"COPY ({query}) TO ? (FORMAT csv, HEADER, DELIMITER ',', NULL '')", [str(place)])
                files[place.name] = place.read_bytes()
            files[f"{name}.meta.csv"] = _build_meta_csv(data, defined[name])
    taken = [name for name in tables if files[f"{name}.csv"].count(b"\n") > 1]  # more than a header
    listed = format_csv(("file_name", "dataset_name"), ((name, format_upload_title(defined[name])) for name in taken))
    names = (f"{name}{suffix}" for name in taken for suffix in (".csv", ".meta.csv"))
    upload = {"dataset_names.csv": listed.encode()} | {name: files[name] for name in names}
    return files | {EES_UPLOAD_FILE: pack_flat_zip(upload)}


def _build_meta_csv(data: pa.Table, table: Table) -> bytes:
    """Return the metadata file: one row for each indicator and each filter with two or more levels in the CSV file."""
    official = select_official_rows(data)
    varying = {f.name for f in table.filters if pc.count_distinct(official[f.name]).as_py() > 1}
    rows = []
    for entry in (entry for entry in table.filters if entry.name in varying):
        shown = list_levels(table, entry.name)
        # The grouping column needs a metadata row too, and a topic with one level has none.
        grouped = entry == model.BREAKDOWN_FILTER and model.TOPIC_FILTER.name in varying
        default = "" if ALL.label in shown else shown[0]
        of_filter = (entry.description, model.TOPIC_FILTER.name if grouped else "", default)
        rows.append((entry.name, "Filter", entry.label, *_NO_INDICATOR, *of_filter))
    return format_csv(_META_COLUMNS, (*rows, *_iter_indicator_rows(table))).encode()


def _build_cell_sql(column: CsvColumn) -> str:
    """Return SQL for the text of a cell."""
    role, measure, name = column.source.role, column.source.measure, quote_identifier(column.source.name)
    if column.source.symbols:
        return f"coalesce({name}, {quote_text(NOTHING)})"
    if measure is None:
        return name
    flag = quote_identifier(get_column_name(measure, ColumnRole.FLAG))
    # A withheld figure keeps its interval and estimate: only the cell of the figure has the symbol.
    absent = [Flag.NOT_APPLICABLE, Flag.NOT_AVAILABLE, *([Flag.WITHHELD] if role is ColumnRole.FIGURE else [])]
    cases = f"WHEN {flag} IN ({', '.join(map(quote_text, absent))}) THEN {flag}"
    if role in schema.MODEL_WITH_INTERVAL:
        # A model covers councils only, and in rows of other areas an indicator must not be blank either.
        cases += f" WHEN {name} IS NULL THEN {quote_text(Flag.NOT_APPLICABLE)}"
    cases += f" WHEN {_is_coarse_sql(column.source)} THEN {_format_number_sql(name, 0)}"
    decimals = measure.decimals if role is ColumnRole.FIGURE else LIMIT_DECIMALS
    return f"CASE {cases} ELSE {_format_number_sql(name, decimals)} END"


def _build_plain_cell_sql(column: schema.PublishedColumn) -> str:
    """Return SQL for a cell of a plain file: the number of the Parquet file, or its whole points."""
    name = quote_identifier(column.name)
    if column.role is not ColumnRole.FIGURE or (column.measure and column.measure.is_count):
        return name
    return f"if({_is_coarse_sql(column)}, {_format_number_sql(name, 0)}, {name}::VARCHAR)"


def _is_coarse_sql(column: schema.PublishedColumn) -> str:
    """Return the SQL condition that a figure, with its interval, is shown as a whole number although others are not."""
    measure = column.measure
    if measure is None or not measure.decimals or column.role not in schema.WITH_INTERVAL:
        return "false"
    return f"{schema.build_decimals_sql(measure, get_column_name(measure, ColumnRole.FLAG))} = 0"


def _format_number_sql(name: str, decimals: int) -> str:
    # As a DECIMAL, a cell has a fixed number of digits and never an exponent.
    return f"CAST(CAST({name} AS DECIMAL(18, {decimals})) AS VARCHAR)"


def _iter_indicator_rows(table: Table) -> Iterator[tuple[str, ...]]:
    """Yield the metadata row of each indicator."""
    for column in list_csv_columns(table):
        measure, role = column.source.measure, column.source.role
        if role in _GROUPS:
            unit, decimals = "", 0
            if measure is not None and role is not ColumnRole.FLAG:
                # Only counts have estimates; these are not whole numbers, although the count shown is.
                unit = measure.unit
                decimals = max(measure.decimals, 1) if role is ColumnRole.ESTIMATE else measure.decimals
            of_indicator = (_GROUPS[role], unit, str(decimals))
            yield (column.name, "Indicator", column.source.label, *of_indicator, *_NO_FILTER)


EES_UPLOAD_FILE = "ees_bulk_upload.zip"
_NOT_IN_NAMES = re.compile(r'["<>|:*?\\/]')


def format_upload_title(table: Table) -> str:
    """Return the title of a table without colons and similar characters."""
    # In a bulk upload, EES allows only characters that are valid in a file name.
    return _NOT_IN_NAMES.sub("-", table.title.replace(": ", ", "))
