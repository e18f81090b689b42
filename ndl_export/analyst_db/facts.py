"""Schemas `releases`, `latest` and `official`.

`releases` has the published tables of all versions, `latest` those of the newest version that is not withdrawn, and
`official` has official statistics to compare them with. `releases.figure` has every published figure in one shape, one
row a figure, for questions that do not depend on the table, such as how two figures compare (`figures_compared` in
`macros.sql`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from ndl_export.analyst_db.child_groups import EVERYONE, build_groups_sql, get_type_name, list_characteristics
from ndl_export.analyst_db.database import FLAG_TYPE, LEVEL_TYPE, Database
from ndl_export.facts import missing
from ndl_export.facts.noisy_counts import NOISE_COVARIANCE_FILE
from ndl_export.facts.official import read_official_figures, read_official_reviews
from ndl_export.facts.release_facts import PublishedRelease, Version
from ndl_export.pages import kit
from ndl_export.pages.number_format import join_parts
from ndl_export.tables import TABLES, Measure, Table, schema
from ndl_export.tables.geography import ALL_TOGETHER, NATIONAL, REGIONS_ABOVE
from ndl_export.tables.model import BREAKDOWN_FILTER, TOPIC_FILTER, AverageBlock, MeasureKind, ShareBlock
from ndl_export.tables.pupil import CHILDREN, GLD_PERCENT
from ndl_export.tables.schema import BREAK, Flag
from privacy.doors.database import open_in_memory
from privacy.doors.shipped import read_yaml
from privacy.doors.sql import quote_identifier, quote_text

NOISE_CORRELATION, NOISE_CORRELATION_WITH_REGIONS = 0.06, 0.15
"""Bounds on the correlation of the noise in two councils' rates, without regions and with them; a test measures it."""

VERSION_COLUMN = {"release_version": "Version of the release that the row is from; see releases.release"}
AREA_COLUMNS = {
    **{column.name: column.description for column in schema.PLACE_COLUMNS if column.name in schema.OWN_AREA},
    "is_all_together": f"Whether the row is about all councils together: level {NATIONAL!r} or {ALL_TOGETHER!r}",
}
"""Columns of a row's own area, which come first; the last is not in the Parquet files."""

BY_GROUP = "gld_by_group"
_STATED: dict[str, Any] = read_yaml(Path(__file__).parent / "columns.yaml")
# By position, the order of versions: as text, revision 10 would come before revision 2.
_CURRENT = """
        SELECT time_period, max_by(release_version, position) AS release_version
        FROM (SELECT unnest(cohorts) AS time_period, release_version, position
              FROM releases.release WHERE withdrawn_on IS NULL)
        GROUP BY time_period"""


def add_facts(database: Database, found: list[PublishedRelease]) -> None:
    """Add the facts of the releases and their tables; the types and tables of `dimension` must exist."""
    database.fill(
        "releases.release", [_build_release_row(number, release) for number, release in enumerate(found, start=1)]
    )
    newest = find_newest_release(found)
    for table in TABLES.values():
        add_table(database, table, found, newest, get_type_name)
    for release in found:
        rows = release.read(NOISE_COVARIANCE_FILE, None)
        if rows is not None:
            columns = f"{_select_version_sql(release)}, * RENAME (cohort AS time_period)"
            database.insert_file("releases.noise_covariance", NOISE_COVARIANCE_FILE, rows, columns)
    database.create_view(
        "releases.current", _CURRENT, "For each cohort, the release whose figures stand", _STATED["current"]
    )
    _add_by_group(database, newest)
    cohorts = sorted({cohort for release in found for cohort in release.cohorts})
    figures = chain.from_iterable(read_official_figures(cohort) for cohort in cohorts)
    reviews = chain.from_iterable(read_official_reviews(cohort) for cohort in cohorts)
    # Fields are in the order of the columns of `tables.sql`.
    database.fill("official.gld", (astuple(figure) for figure in figures))
    database.fill("official.asq3", (astuple(review) for review in reviews))


def _build_release_row(number: int, release: PublishedRelease) -> tuple[object, ...]:
    parameters, withdrawal = release.privacy_record["privacy_parameters"], release.withdrawal
    return (
        release.version,
        number,
        release.published_on,
        release.notice or None,
        list(release.cohorts),
        list(release.councils),
        missing.format_missing(release.missing),
        *(parameters[name] for name in ("rho", "epsilon", "delta")),
        NOISE_CORRELATION_WITH_REGIONS if len(release.councils) > REGIONS_ABOVE else NOISE_CORRELATION,
        withdrawal.date if withdrawal else None,
        withdrawal.reason if withdrawal else None,
    )


def query_current(found: Sequence[PublishedRelease]) -> dict[str, str]:
    """Return the version of the current release of each cohort, as `releases.current` has it."""
    columns = {
        "release_version": [release.version for release in found],
        "position": list(range(len(found))),
        "cohorts": pa.array([list(release.cohorts) for release in found], pa.list_(pa.string())),
        "withdrawn_on": [release.withdrawal.date if release.withdrawal else None for release in found],
    }
    with open_in_memory() as connection:
        connection.execute("CREATE SCHEMA releases")
        connection.register("stated", pa.table(columns))
        connection.execute("CREATE TABLE releases.release AS FROM stated")
        return dict(connection.execute(f"{_CURRENT} ORDER BY time_period").fetchall())


def find_newest_release(found: Sequence[PublishedRelease]) -> PublishedRelease | None:
    """Return the newest of these releases that is not withdrawn, or None."""
    kept = [release for release in found if release.withdrawal is None]
    return max(kept, key=lambda release: Version.parse(release.version), default=None)


def add_table(
    database: Database,
    table: Table,
    found: Sequence[PublishedRelease],
    newest: PublishedRelease | None,
    type_of: Callable[[str], str],
) -> None:
    """Add a table with its rows in all releases and its newest view; `type_of` names a filter's type."""
    described, name = _describe_columns(table), f"releases.{quote_identifier(table.name)}"
    key = ("release_version", "time_period", "geographic_level", "area_code", *(f.name for f in table.filters))
    database.create_table(
        name,
        f"{_describe_table(table)}. All releases",
        {column: (kind, described[column]) for column, kind in _iter_column_types(table, type_of)},
        (
            f"PRIMARY KEY ({', '.join(map(quote_identifier, key))})",
            "FOREIGN KEY (release_version) REFERENCES releases.release (release_version)",
        ),
    )
    together = f"geographic_level IN ({quote_text(NATIONAL)}, {quote_text(ALL_TOGETHER)}) AS is_all_together"
    for release in found:
        file = f"{table.name}.parquet"
        rows = release.read(file, [column.name for column in schema.list_columns(table)])
        if rows is not None:
            database.insert_file(name, file, rows, f"{_select_version_sql(release)}, {together}, *")
    del described["release_version"]
    _add_latest(database, table.name, newest, _describe_table(table), described)


def _iter_column_types(table: Table, type_of: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    types = {"string": "VARCHAR", "int64": "BIGINT", "double": "DOUBLE"}
    for name in VERSION_COLUMN | AREA_COLUMNS:
        yield name, "BOOLEAN NOT NULL" if name.startswith("is_") else "VARCHAR NOT NULL"
    for column in (each for each in schema.list_columns(table) if each.name not in AREA_COLUMNS):
        if column.role is schema.ColumnRole.FILTER:
            yield column.name, f"{type_of(column.name)} NOT NULL"
        elif column.symbols:
            yield column.name, FLAG_TYPE
        elif column.name == "geographic_level":
            yield column.name, f"{LEVEL_TYPE} NOT NULL"
        else:
            yield column.name, types[str(column.type)]


def _select_version_sql(release: PublishedRelease) -> str:
    return f"{quote_text(release.version)} AS release_version"


def _add_latest(
    database: Database, name: str, newest: PublishedRelease | None, about: str, described: dict[str, str]
) -> None:
    """Add the view of the newest release; its comment names the release and what that release lacks."""
    # If every release is withdrawn, the view is empty, so that the macros and views over it can still be created.
    version, release = "", "Nothing: every release with it is withdrawn"
    if newest:
        not_sent = "; ".join(missing.format_missing(newest.missing))
        version, release = (
            newest.version,
            f"Release {newest.version}" + (f". Not sent: {not_sent}" if not_sent else ""),
        )
    query = (
        f"SELECT * EXCLUDE (release_version) FROM releases.{quote_identifier(name)}"
        f" WHERE release_version = {quote_text(version)}"
    )
    comment = join_parts(f"{about}.", newest.notice if newest else "", release)
    database.create_view(f"latest.{quote_identifier(name)}", query, comment, described)


def _add_by_group(database: Database, newest: PublishedRelease | None) -> None:
    groups = " UNION ALL ".join(map(build_groups_sql, list_characteristics()))
    query = (
        f"SELECT figures.*, g.group_key, g.position FROM ({groups}) AS figures"
        " JOIN dimension.child_group AS g USING (characteristic, child_group)"
    )
    of_table = _describe_columns(TABLES["gld_headline"])
    figures = [schema.get_column_name(CHILDREN, schema.ColumnRole.ESTIMATE)]
    figures += [schema.get_column_name(GLD_PERCENT, role) for role in (*schema.WITH_INTERVAL, schema.ColumnRole.FLAG)]
    keys = (*VERSION_COLUMN, "time_period", "geographic_level", *AREA_COLUMNS)
    described = {name: of_table[name] for name in (*keys, *figures, schema.BREAK_COLUMN.name)} | _STATED["group"]
    database.create_view(f"releases.{BY_GROUP}", query, f"{_STATED['by_group']}. All releases", described)
    del described["release_version"]
    _add_latest(database, BY_GROUP, newest, _STATED["by_group"], described)


def _describe_columns(table: Table) -> dict[str, str]:
    return VERSION_COLUMN | AREA_COLUMNS | {column.name: column.description for column in schema.list_columns(table)}


def _describe_table(table: Table) -> str:
    return f"{table.title}. {table.about}"


def get_unit(measure: Measure) -> str:
    """Return the unit of a measure: its symbol, or in words if it has none."""
    return measure.unit or measure.unit_in_words


def add_figures(database: Database, tables: Iterable[Table]) -> None:
    """Create the view from the tables of `releases`, which must exist."""
    query = " UNION ALL ".join(_build_figures_sql(table, measure) for table in tables for measure in table.measures)
    description = "Every published figure of every table, one row a figure, in all releases"
    described = VERSION_COLUMN | _STATED["figure"] | AREA_COLUMNS
    database.create_view("releases.figure", query, description, described)


def _build_figures_sql(table: Table, measure: Measure) -> str:
    most = {MeasureKind.PERCENT: 100, MeasureKind.AVERAGE: _count_averaged(table, measure)}.get(measure.kind)
    return kit.render(
        Path(__file__).parent / "templates",
        "figure.sql",
        table=table,
        measure=measure,
        unit=get_unit(measure),
        broken=BREAK,
        most=most or "NULL",
        base=_build_base_sql(table, measure) if most else "NULL",
    ).strip()


def _count_averaged(table: Table, measure: Measure) -> int | None:
    """Return how many groups an average counts: 17 for the early learning goals."""
    blocks = (block for block in table.blocks if isinstance(block, AverageBlock) and block.average == measure.name)
    return next((len(block.average_of) for block in blocks), None)


def _build_base_sql(table: Table, measure: Measure) -> str:
    """Return SQL for the number of children or responses behind a percentage or average."""
    base = next((block.base for block in table.blocks if block.base), None)
    shared = {block.share_of for block in table.blocks if isinstance(block, ShareBlock) and block.share == measure.name}
    if base is None:
        # The table of goals does not count a row's children, but `gld_by_group` counts the same group and area.
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
