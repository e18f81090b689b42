"""Builds the API's documents from published releases alone: what there is, and what must be shown with it.

Figures, in the shape `shapes.Figure`, come from the analyst database's view `releases.figure`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from urllib.parse import quote

import duckdb
from pydantic import BaseModel

from ndl_export.analyst_db.dimensions import iter_areas
from ndl_export.analyst_db.facts import find_newest_release, get_unit, query_current
from ndl_export.api import shapes
from ndl_export.facts.description import DATABASE_FILE, OGL_ADDRESS, OGL_NAME
from ndl_export.facts.missing import format_missing
from ndl_export.facts.on_request import merge_tables
from ndl_export.facts.release_facts import TITLE, Release
from ndl_export.tables import Table
from ndl_export.tables.rows import list_levels
from privacy.doors.sql import quote_identifier
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

INDEX = "index.json"
LICENCE = shapes.Licence(name=OGL_NAME, url=OGL_ADDRESS)
_ABOUT = (
    "Differentially private statistics on school readiness, from linked early-years records: every figure with its 95%"
    " interval, flag and unit. Show the notice and the withdrawal of a release before its figures, and cite it."
)

COLUMNS = tuple(shapes.Figure.model_fields)
JSON = f"to_json(struct_pack({', '.join(map(quote_identifier, COLUMNS))}))::VARCHAR"
"""SQL for the JSON of one figure."""
# Counts are whole numbers and rates are not; JSON keeps both as the bundle has them.
FIGURES = """
    SELECT f.release_version AS release, f.table_name AS "table", f.row_number AS "row", f.measure, f.time_period,
           f.geographic_level::VARCHAR AS geographic_level, f.area_code, f.area_name,
           map(t.filters, f.levels) AS filters,
           if(f.kind = 'count', to_json(f.figure::BIGINT), to_json(f.figure)) AS "value",
           f.lower_ci AS "lower", f.upper_ci AS "upper", f.unit, f.flag, g.meaning AS flag_meaning,
           f.is_broken AS series_break, f.levels, f.is_all_together
    FROM releases.figure AS f
    JOIN dimension.published_table AS t USING (table_name)
    LEFT JOIN dimension.flag AS g ON g.flag::VARCHAR = f.flag"""
"""SQL for every figure: the columns of its JSON, and those that answers are selected by."""

IS_CURRENT = "(time_period, release) IN (SELECT time_period, release_version FROM releases.current)"
"""SQL that keeps figures of the current release of each cohort."""


def format_document(document: BaseModel) -> bytes:
    """Format a document as UTF-8 JSON, its properties in the order of its shape."""
    return json.dumps(document.model_dump(mode="json"), ensure_ascii=False, indent=2).encode() + b"\n"


def build_documents(found: Sequence[Release], sums: Mapping[str, str]) -> dict[str, bytes]:
    """Return every document except those of figures, by path below the folder of the API.

    `found` are the releases, oldest first, and `sums` the SHA-256 of each one's file of checksums.
    """
    current, newest = query_current(found), find_newest_release(found)
    documents = {
        "areas.json": build_areas(found),
        "cohorts.json": _build_cohorts(found, current),
        "releases.json": shapes.Releases(
            current=newest.version if newest else None,
            releases=[_build_release(each, current, sums[each.version]) for each in found],
        ),
        "tables.json": shapes.Tables(tables=list(iter_tables(found))),
        INDEX: _build_index(newest),
    }
    schemas = {f"schemas/{name}.json": shapes.build_schema(name) for name in shapes.DOCUMENTS}
    plain = schemas | {"openapi.json": shapes.build_openapi(LICENCE, found[-1].version)}
    written = {name: json.dumps(each, ensure_ascii=False, indent=2).encode() + b"\n" for name, each in plain.items()}
    return written | {name: format_document(each) for name, each in documents.items()}


def build_about(release: Release) -> shapes.About:
    """Return what must be shown with any figure of a release."""
    gone = release.withdrawal
    return shapes.About(
        release=release.version,
        published_on=release.published_on,
        notice=release.notice or None,
        withdrawal=shapes.Withdrawal(date=gone.date, reason=gone.reason, sentence=gone.sentence) if gone else None,
        citation=release.citation,
        licence=LICENCE,
    )


def _build_release(release: Release, current: Mapping[str, str], sums: str) -> shapes.Release:
    return shapes.Release(
        **dict(build_about(release)),
        cohorts=sorted(release.cohorts),
        current_for=[cohort for cohort, version in current.items() if version == release.version],
        councils=[get_place(council).new_la_code for council in release.councils],
        missing=format_missing(release.missing),
        sha256sums=sums,
        tables=list_table_names(release),
        bundle=f"../../{release.version}/",
        figures=f"releases/{release.version}/{INDEX}",
    )


def list_table_names(release: Release) -> list[str]:
    """Return the names of a release's tables, in order; a bundle of another schema may lack one."""
    return [name for name in merge_tables(release.requested) if release.read(f"{name}.parquet", ()) is not None]


def iter_tables(found: Sequence[Release]) -> Iterator[shapes.Table]:
    """Yield every table, as the newest release that has it defines it."""
    defined: dict[str, tuple[Table, Release]] = {}
    versions: dict[str, list[str]] = {}
    for release in found:
        for name in list_table_names(release):
            versions.setdefault(name, []).append(release.version)
            defined[name] = merge_tables(release.requested)[name], release
    for name, (table, release) in defined.items():
        text = build_table_text(table, release)
        filters = [
            shapes.FilterWithCategories(**dict(each), categories=list(list_levels(table, each.name)))
            for each in text.filters
        ]
        yield shapes.Table(**dict(text) | {"filters": filters}, releases=versions[name])


def build_table_text(table: Table, release: Release) -> shapes.TableText:
    """Return the definition of a table of a release, in words."""
    own = {name: getattr(table, name) for name in ("name", "title", "description", "population", "filters")}
    measures = [
        {name: getattr(each, name) for name in ("name", "label", "decimals", "description")}
        | {"kind": each.kind.label, "unit": get_unit(each)}
        for each in table.measures
    ]
    more = {"on_request": release.on_request.origins.get(table.name), "measures": measures}
    return shapes.TableText.model_validate(own | more)


def build_areas(found: Sequence[Release]) -> shapes.Areas:
    """Return every area, the widest first; each has the name that the newest release gives it."""
    versions: dict[str, dict[str, None]] = {}
    areas = {}
    for version, _, _, area in iter_areas(list(found)):
        versions.setdefault(area.code, {})[version] = None
        areas[area.code] = area
    return shapes.Areas(
        areas=[
            shapes.Area(
                code=code,
                name=area.name,
                geographic_level=area.level,
                region_code=area.columns["region_code"],
                region_name=area.columns["region_name"],
                releases=list(versions[code]),
            )
            for code, area in areas.items()
        ]
    )


def _build_cohorts(found: Sequence[Release], current: Mapping[str, str]) -> shapes.Cohorts:
    codes = sorted({cohort for release in found for cohort in release.cohorts})
    return shapes.Cohorts(
        cohorts=[
            shapes.Cohort(
                code=cohort.code,
                label=cohort.label,
                born_from=cohort.born_from.isoformat(),
                born_to=cohort.born_to.isoformat(),
                releases=[release.version for release in found if cohort.code in release.cohorts],
                current_release=current.get(cohort.code),
            )
            for cohort in map(Cohort, codes)
        ]
    )


def _build_index(newest: Release | None) -> shapes.Index:
    links = {name: f"{name}.json" for name in ("releases", "tables", "areas", "cohorts", "openapi")}
    if newest:
        links["current_figures"] = f"releases/{newest.version}/{INDEX}"
    links |= {f"schema_{name}": f"schemas/{name}.json" for name in shapes.DOCUMENTS}
    return shapes.Index(
        title=TITLE,
        description=_ABOUT,
        notice=newest.notice or None if newest else None,
        current_release=newest.version if newest else None,
        licence=LICENCE,
        links=links | {"analyst_database": f"../../{DATABASE_FILE}", "catalogue": "../../catalogue.jsonld"},
    )


def iter_figure_files(
    connection: duckdb.DuckDBPyConnection, release: Release, table: Table, area: str | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the file of each area of a table, or of one area, from the SQL table `figures`."""
    about, text = dict(build_about(release)), build_table_text(table, release)
    for code, name, figures in _read_by_area(connection, release.version, table.name, area):
        head = format_document(
            shapes.FiguresOfArea(**about, table=text, area_code=code, area_name=name, figures=[])
        ).decode()
        # One figure on each line, so that files can be compared and searched line by line.
        yield f"{table.name}/{code}.json", head.replace('"figures": []', f'"figures": [\n{figures}\n  ]').encode()


def _read_by_area(
    connection: duckdb.DuckDBPyConnection, version: str, table: str, area: str | None = None
) -> Iterator[tuple[str, str, str]]:
    """Yield the code, name and figures (a JSON object on each line) of each area of a table, or of one area."""
    query = f"""
        SELECT area_code, any_value(area_name), string_agg({JSON}, ',\n' ORDER BY position)
        FROM figures WHERE release = $version AND "table" = $table AND area_code = coalesce($area, area_code)
        GROUP BY area_code ORDER BY area_code"""
    yield from connection.execute(query, {"version": version, "table": table, "area": area}).fetchall()


def iter_release_files(connection: duckdb.DuckDBPyConnection, release: Release) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file of a release's figures."""
    for table in merge_tables(release.requested).values():
        yield from iter_figure_files(connection, release, table)


def build_release_files(release: Release, files: Mapping[str, bytes]) -> bytes:
    """Return the list of a release's files of figures; `files` has the SHA-256 of each, in binary, by name."""
    total = hashlib.sha256()
    areas: dict[str, dict[str, str]] = {}
    for name, digest in sorted(files.items()):
        total.update(name.encode() + b"\0" + digest)
        areas.setdefault(PurePosixPath(name).parent.name, {})[PurePosixPath(name).stem] = quote(name)
    tables = merge_tables(release.requested)
    listed = [
        shapes.TableFiles(table=name, title=tables[name].title, areas=areas[name])
        for name in list_table_names(release)
        if name in areas
    ]
    return format_document(shapes.ReleaseFiles(**dict(build_about(release)), sha256=total.hexdigest(), files=listed))
