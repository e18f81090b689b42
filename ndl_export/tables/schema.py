"""Columns of a published table, in order.

Every table has time and place columns, its filters and a column for breaks in the time series. Each measure then has
the figure shown, the unbiased estimate behind it (counts only), both ends of the 95% interval, a flag, and, if the
definition asks for it, a model's estimate with both ends of its interval.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pyarrow as pa

from ndl_export.tables.declarations import DECLARATIONS
from ndl_export.tables.model import Measure, Table
from privacy.doors.shipped import read_yaml
from privacy.doors.sql import quote_text

_WITHOUT_TABLES = "1.0.1"
"""Version of the schema by everything but the tables that were added since, as they state themselves."""
SCHEMA_VERSION = max(
    (_WITHOUT_TABLES, *(table.since for table in DECLARATIONS.tables.values())),
    key=lambda version: tuple(map(int, version.split("."))),
)
"""Semantic version of the published tables; `publish.release_diff` lists the changes that raise each part of it."""

TIME_IDENTIFIER = "Academic year"


class Flag(StrEnum):
    """Values of a `_flag` column; NULL means that the figure can be used.

    `u`, `z` and `x` are symbols of the Government Statistical Service, with its meanings (Analysis Function, "Using
    symbols and shorthand in tables"). The Service has no symbol for a figure withheld because it is uncertain: `c`
    means that it would disclose something, `low` that it rounds to zero, `w` that a survey had no respondents, and `u`
    is for figures that are shown. The guidance allows producers to add symbols, so `withheld` is used here and, for
    figures that depend on a correction for missed links, `linkage`.
    """

    UNRELIABLE = "u"
    LINKAGE = "linkage"
    WITHHELD = "withheld"
    NOT_APPLICABLE = "z"
    NOT_AVAILABLE = "x"


BREAK = "b"
"""Value of the column `series_break`, with the meaning in the same guidance; NULL if no break is known."""

_STATED = read_yaml(Path(__file__).parent / "columns.yaml")
FLAG_MEANINGS: dict[str, str] = {Flag(symbol): meaning for symbol, meaning in _STATED["flag"].items()}
SYMBOLS: dict[str, str] = {
    **FLAG_MEANINGS,
    BREAK: "break in the time series: a figure of the row is not comparable with that of the cohort before",
}
"""Every symbol and its meaning, the same in tables, CSV files, database, pages and documents."""


class ColumnRole(StrEnum):
    """The role of a column."""

    TIME = "time"
    PLACE = "place"
    FILTER = "filter"
    BREAK = "break"
    FIGURE = "figure"
    ESTIMATE = "estimate"
    LOWER = "lower"
    UPPER = "upper"
    FLAG = "flag"
    MODEL = "model"
    MODEL_LOWER = "model lower"
    MODEL_UPPER = "model upper"


WITH_INTERVAL = (ColumnRole.FIGURE, ColumnRole.LOWER, ColumnRole.UPPER)
"""Roles of a figure and the two ends of its interval."""
MODEL_WITH_INTERVAL = (ColumnRole.MODEL, ColumnRole.MODEL_LOWER, ColumnRole.MODEL_UPPER)
"""Roles of a model's figure and the two ends of its interval."""
KEY_ROLES = (ColumnRole.TIME, ColumnRole.PLACE, ColumnRole.FILTER)
"""Roles of the key columns; no two rows of a table agree in all of them."""


@dataclass(frozen=True)
class PublishedColumn:
    """A published column; `measure` is given for columns of figures."""

    name: str
    label: str
    type: pa.DataType
    description: str
    role: ColumnRole
    measure: Measure | None = None

    @property
    def meaning(self) -> str:
        """Label and description; the label alone if they are equal, as they can be in a requested table."""
        return self.label if self.label == self.description else f"{self.label}. {self.description}"

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that a flag or break column may hold; empty for other columns."""
        return {ColumnRole.FLAG: tuple(Flag), ColumnRole.BREAK: (BREAK,)}.get(self.role, ())


TIME_COLUMNS, PLACE_COLUMNS = (
    tuple(
        PublishedColumn(name, label, pa.string(), description, role)
        for name, (label, description) in _STATED[role].items()
    )
    for role in (ColumnRole.TIME, ColumnRole.PLACE)
)
BREAK_COLUMN = PublishedColumn(
    "series_break",
    "Break in the time series",
    pa.string(),
    f"{BREAK}: {SYMBOLS[BREAK]}, for a reason that the methodology gives; NULL: no break is known",
    ColumnRole.BREAK,
)

LEVEL = "geographic_level"
OWN_AREA = ("area_code", "area_name")
"""Place columns that identify the row's area at any level; each later place column belongs to one level."""


def list_columns(table: Table) -> tuple[PublishedColumn, ...]:
    """Return every column of `table`, in order."""
    filters = (PublishedColumn(f.name, f.label, pa.string(), f.description, ColumnRole.FILTER) for f in table.filters)
    figures = (column for measure in table.measures for column in list_measure_columns(measure))
    return (*TIME_COLUMNS, *PLACE_COLUMNS, *filters, BREAK_COLUMN, *figures)


def list_key_names(table: Table) -> tuple[str, ...]:
    """Return the names of the key columns."""
    return tuple(column.name for column in list_columns(table) if column.role in KEY_ROLES)


def list_measure_columns(measure: Measure) -> tuple[PublishedColumn, ...]:
    """Return the columns of one measure, in order."""
    absent = (*(() if measure.is_count else (ColumnRole.ESTIMATE,)), *(() if measure.modelled else MODEL_WITH_INTERVAL))
    found = []
    for role, (suffix, label, description) in _OF_MEASURE.items():
        if role in absent:
            continue
        kind, words = pa.float64(), description.format(measure.description)
        if role is ColumnRole.FLAG:
            kind, words = pa.string(), _FLAGS
        elif role is ColumnRole.FIGURE and measure.is_count:
            kind = pa.int64()
            words += "; estimate rounded to a whole number of at least 0, for display: never add these up"
        elif role is ColumnRole.FIGURE:
            words += f"; rounded to {measure.decimals} decimal{'s' * (measure.decimals != 1)}"
            is_coarse = count_decimals(measure, Flag.UNRELIABLE) < measure.decimals
            words += ", and to whole points if it is unreliable" if is_coarse else ""
        found.append(PublishedColumn(measure.name + suffix, label.format(measure.label), kind, words, role, measure))
    return tuple(found)


def count_decimals(measure: Measure, flag: str | None) -> int:
    """Return the decimals that a figure with this flag, and the ends of its interval, are shown with."""
    return count_unit_decimals(measure.unit, flag, measure.decimals)


def count_unit_decimals(unit: str, flag: str | None, usual: int) -> int:
    """Return the decimals that a number in this unit is shown with: unreliable ones in percent or points have none.

    A whole point is at most a tenth of the half-width that makes a percentage unreliable, so no verdict turns on it. A
    whole unit of an average would be too coarse.
    """
    return 0 if flag == Flag.UNRELIABLE and unit in ("%", "pp") else usual


def build_decimals_sql(measure: Measure, flag: str) -> str:
    """Return SQL for the decimals of a figure, from SQL for its flag."""
    coarse = count_decimals(measure, Flag.UNRELIABLE)
    return f"if({flag}::VARCHAR IS NOT DISTINCT FROM {quote_text(Flag.UNRELIABLE)}, {coarse}, {measure.decimals})"


def get_column_name(measure: Measure, role: ColumnRole) -> str:
    """Return the name of a measure's column in a role."""
    return measure.name + _OF_MEASURE[role][0]


def build_arrow_schema(table: Table) -> pa.Schema:
    """Return the Arrow schema, with `label` and `description` in the metadata of each field."""
    fields = [
        pa.field(
            column.name,
            column.type,
            nullable=column.role not in (ColumnRole.TIME, ColumnRole.FILTER) and column.name not in (LEVEL, *OWN_AREA),
            metadata={"label": column.label, "description": column.description},
        )
        for column in list_columns(table)
    ]
    metadata = {"title": table.title, "description": table.description, "population": table.population}
    return pa.schema(fields, metadata=metadata)


_FLAGS = "; ".join(
    f"{flag}: {meaning}" for flag, meaning in ({"NULL": "the figure can be used"} | FLAG_MEANINGS).items()
)
_OF_MEASURE = {ColumnRole(role): words for role, words in _STATED["measure"].items()}
