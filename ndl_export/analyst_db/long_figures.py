"""View `releases.figure`: every published figure of every table in one shape, a row a figure.

Questions that do not depend on the table are put to this view: what a figure is, and how two figures compare
(`figures_compared` in `macros.sql`).
"""

from collections.abc import Iterable

from ndl_export.analyst_db.child_groups import EVERYONE
from ndl_export.analyst_db.database import Database
from ndl_export.analyst_db.facts import AREA_COLUMNS, VERSION_COLUMN
from ndl_export.tables import Measure, Table
from ndl_export.tables.dimensions import BREAKDOWN_FILTER, TOPIC_FILTER
from ndl_export.tables.model import AverageBlock, MeasureKind, ShareBlock
from ndl_export.tables.schema import BREAK, Flag
from privacy.doors.sql import quote_identifier, quote_text

FIGURE_VIEW = "releases.figure"
_COLUMNS = {
    **VERSION_COLUMN,
    "time_period": "Academic year of the assessment",
    "geographic_level": "Kind of area",
    **AREA_COLUMNS,
    "table_name": "Published table; see dimension.published_table",
    "row_number": "Number of its row in the table's Parquet and all-rows CSV files of the release; the first is 1",
    "levels": "Categories of the table's filters, in the order of dimension.published_table.filters",
    "measure": "Measure; see dimension.measure",
    "kind": "Kind of number: count, percent, average or difference",
    "figure": "The figure as published; NULL if a flag replaces it",
    "estimate": "The unbiased estimate behind a count; other figures as they are",
    "lower_ci": "Lower end of the 95% interval",
    "upper_ci": "Upper end of the 95% interval",
    "unit": "What the figure counts: %, pp (percentage points), or words such as children",
    "flag": "Flag of the figure; see dimension.flag",
    "is_broken": "Whether a break in the series precedes the cohort",
    "most": "The highest value that one child or response can add: 100 for a percentage; NULL for other kinds",
    "of_children": "Estimated children or responses that a percentage or average is of; NULL for other kinds",
}


def get_unit(measure: Measure) -> str:
    """Return the unit of a measure: its symbol, or in words if it has none."""
    return measure.unit or measure.unit_in_words


def add_figures(database: Database, tables: Iterable[Table]) -> None:
    """Create the view from the tables of `releases`, which must exist."""
    query = " UNION ALL ".join(_build_figures_sql(table, measure) for table in tables for measure in table.measures)
    description = "Every published figure of every table, one row a figure, in all releases"
    database.create_view(FIGURE_VIEW, query, description, _COLUMNS)


def _build_figures_sql(table: Table, measure: Measure) -> str:
    filters = [quote_identifier(each.name) for each in table.filters]
    estimate = f"{measure.name}_estimate" if measure.is_count else measure.name
    most = {MeasureKind.PERCENT: 100, MeasureKind.AVERAGE: _count_averaged(table, measure)}.get(measure.kind)
    columns = (
        *(f"t.{name}" for name in VERSION_COLUMN),
        "t.time_period",
        "t.geographic_level",
        *(f"t.{name}" for name in AREA_COLUMNS),
        quote_text(table.name),
        # Rows are inserted in the order of the release's file.
        "t.rowid - min(t.rowid) OVER (PARTITION BY t.release_version) + 1",
        f"[{', '.join(f't.{name}::VARCHAR' for name in filters)}]",
        quote_text(measure.name),
        quote_text(measure.kind.label),
        f"t.{measure.name}::DOUBLE",
        f"t.{estimate}::DOUBLE",
        f"t.{measure.name}_lower_ci",
        f"t.{measure.name}_upper_ci",
        quote_text(get_unit(measure)),
        f"t.{measure.name}_flag::VARCHAR",
        f"coalesce(t.series_break::VARCHAR = {quote_text(BREAK)}, false)",
        "NULL::INTEGER" if most is None else str(most),
        "NULL::DOUBLE" if most is None else _build_base_sql(table, measure),
    )
    named = (f"{sql} AS {name}" for sql, name in zip(columns, _COLUMNS, strict=True))
    return f"SELECT {', '.join(named)} FROM releases.{quote_identifier(table.name)} AS t"


def _count_averaged(table: Table, measure: Measure) -> int | None:
    """Return how many groups an average counts: 17 for the early learning goals."""
    blocks = (block for block in table.blocks if isinstance(block, AverageBlock) and block.average == measure.name)
    return next((len(block.average_of) for block in blocks), None)


def _build_base_sql(table: Table, measure: Measure) -> str:
    """Return SQL for the children or responses that a percentage or average is of."""
    base = next((block.base for block in table.blocks if block.base), None)
    shared = {block.share_of for block in table.blocks if isinstance(block, ShareBlock) and block.share == measure.name}
    if base is None:
        # The goals' table counts no children of a row; the same group in the same area is counted with its good level.
        return (
            "(SELECT any_value(g.children_count_estimate) FROM releases.gld_by_group AS g"
            " WHERE g.release_version = t.release_version AND g.time_period = t.time_period"
            f" AND g.area_code = t.area_code AND g.characteristic = t.{TOPIC_FILTER.name}::VARCHAR"
            f" AND g.child_group = t.{BREAKDOWN_FILTER.name}::VARCHAR)"
        )
    count = f"t.{base}_estimate"
    if not shared:
        return count
    others = [f"t.{quote_identifier(each.name)}" for each in table.filters if each.name not in shared]
    window = f"OVER (PARTITION BY {', '.join(['t.release_version', 't.time_period', 't.area_code', *others])})"
    at_total = " AND ".join(f"t.{quote_identifier(name)}::VARCHAR = {quote_text(EVERYONE)}" for name in sorted(shared))
    # Answers have no total: they add up to the responses, without those to which the question does not apply.
    applies = f"t.{measure.name}_flag IS DISTINCT FROM {quote_text(Flag.NOT_APPLICABLE)}"
    return (
        f"coalesce(max({count}) FILTER ({at_total}) {window},"
        f" sum({count}) FILTER ({applies} AND NOT ({at_total})) {window})"
    )
