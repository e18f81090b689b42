"""Builds the API's documents from published releases alone, and writes them as files into a release directory.

Figures, in the shape `shapes.Figure`, come from the analyst database's view `releases.figure`. The files of figures of
a release are made again only if its bundle, its withdrawal or the program changed, and are replaced only if their
content did. They are written first, then the documents that lead to them, and the index last.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

import duckdb
from pydantic import BaseModel

from ndl_export.analyst_db import dimensions, facts
from ndl_export.analyst_db.build import add_all
from ndl_export.analyst_db.database import Database
from ndl_export.api import shapes
from ndl_export.facts import description, missing
from ndl_export.facts.on_request import merge_tables
from ndl_export.facts.release_facts import QUOTES_FILE, SITE_FOLDER, TITLE, PublishedRelease, read_releases
from ndl_export.facts.row_hashes import prove_rows
from ndl_export.files import signing, whole_files
from ndl_export.tables import Table
from ndl_export.tables.rows import list_levels
from privacy.doors.database import open_in_memory
from privacy.doors.program import compute_program_sha256
from privacy.doors.sql import quote_identifier, quote_text
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

INDEX = "index.json"
RELEASES_FOLDER = "releases"
FIGURES_FOLDER = f"{description.API_FOLDER}/{RELEASES_FOLDER}/"
"""Folder of the files of figures, by release, in a release directory."""
MADE_FROM_FILE = ".made_from.json"
"""Record of what the files of figures were made from. It is not published, because readers have no use for it."""
_PROGRAM, _LIBRARIES = ("ndl_export", "sources/reference"), ("duckdb", "pyarrow")
LICENCE = shapes.Licence(name=description.OGL_NAME, url=description.OGL_ADDRESS)
_ABOUT = (
    "Differentially private statistics on school readiness, from linked early-years records: every figure with its 95%"
    " interval, flag and unit. Show the notice and the withdrawal of a release before its figures, and cite it."
)

COLUMNS = tuple(shapes.Figure.model_fields)
JSON = f"to_json(struct_pack({', '.join(map(quote_identifier, COLUMNS))}))::VARCHAR"
"""SQL for the JSON of one figure."""
# JSON writes whole numbers as they are shown: counts, and unreliable percentages. Ends of intervals keep all digits.
FIGURES = """
    SELECT f.release_version AS release, f.table_name AS "table", f.row_number AS "row", f.measure, f.time_period,
           f.geographic_level::VARCHAR AS geographic_level, f.area_code, f.area_name,
           map(t.filters, f.levels) AS filters,
           if(f.kind = 'count' OR (decimals_shown(f.flag) = 0 AND f.figure = f.figure::BIGINT),
              to_json(f.figure::BIGINT), to_json(f.figure)) AS "value",
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


def build_documents(found: Sequence[PublishedRelease], sums: Mapping[str, str]) -> dict[str, bytes]:
    """Return every document except those of figures, by path below the folder of the API.

    `found` are the releases, oldest first, and `sums` the SHA-256 of each one's file of checksums.
    """
    current, newest = facts.query_current(found), facts.find_newest_release(found)
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


def build_quotes(release_dir: Path, found: Sequence[PublishedRelease]) -> dict[str, bytes]:
    """Return the sentences of the newest release that may be quoted, and their proofs, by path and area."""
    newest = facts.find_newest_release(found)
    file = release_dir / newest.version / SITE_FOLDER / QUOTES_FILE if newest else None
    if newest is None or file is None or not file.is_file():
        return {}
    quotes: dict[str, dict[str, Any]] = json.loads(file.read_bytes())
    figures = {code: [figure for quote in each["said"] for figure in quote["figures"]] for code, each in quotes.items()}
    rows = {code: {(each["table"], each["row"]) for each in own} for code, own in figures.items()}
    # The rows of all areas at once, because each proof hashes whole tables.
    whole = prove_rows(release_dir / newest.version, sorted(set().union(*rows.values())))
    documents: dict[str, BaseModel] = {}
    for code, each in quotes.items():
        evidence = whole | {"rows": [row for row in whole["rows"] if (row["table"], row["row"]) in rows[code]]}
        proof = {"figures": figures[code], "notice": newest.notice, "evidence": [evidence]}
        quoted = dict(build_about(newest)) | each
        documents[f"{shapes.QUOTES}/{code}.json"] = shapes.QuotesOfArea.model_validate(quoted)
        documents[f"{shapes.PROOFS}/{code}.json"] = shapes.Proof.model_validate(proof)
    return {name: format_document(document) for name, document in documents.items()}


def build_about(release: PublishedRelease) -> shapes.ReleaseNotice:
    """Return what must be shown with any figure of a release."""
    gone = release.withdrawal
    return shapes.ReleaseNotice(
        release=release.version,
        published_on=release.published_on,
        notice=release.notice or None,
        withdrawal=shapes.Withdrawal(date=gone.date, reason=gone.reason, sentence=gone.sentence) if gone else None,
        citation=release.citation,
        licence=LICENCE,
    )


def _build_release(release: PublishedRelease, current: Mapping[str, str], sums: str) -> shapes.Release:
    return shapes.Release(
        **dict(build_about(release)),
        cohorts=sorted(release.cohorts),
        current_for=[cohort for cohort, version in current.items() if version == release.version],
        councils=[get_place(council).new_la_code for council in release.councils],
        missing=missing.format_missing(release.missing),
        sha256sums=sums,
        tables=list_table_names(release),
        bundle=f"../../{release.version}/",
        figures=f"releases/{release.version}/{INDEX}",
    )


def list_table_names(release: PublishedRelease) -> list[str]:
    """Return the names of a release's tables, in order; a bundle of another schema may lack one."""
    return [name for name in merge_tables(release.requested) if release.read(f"{name}.parquet", ()) is not None]


def iter_tables(found: Sequence[PublishedRelease]) -> Iterator[shapes.Table]:
    """Yield every table, as the newest release that has it defines it."""
    having: dict[str, list[PublishedRelease]] = {}
    for release in found:
        for name in list_table_names(release):
            having.setdefault(name, []).append(release)
    for name, releases in having.items():
        table = merge_tables(releases[-1].requested)[name]
        text = build_table_text(table, releases[-1])
        filters = [
            shapes.FilterWithCategories(**dict(each), categories=list(list_levels(table, each.name)))
            for each in text.filters
        ]
        yield shapes.Table(**dict(text) | {"filters": filters}, releases=[each.version for each in releases])


def build_table_text(table: Table, release: PublishedRelease) -> shapes.TableText:
    """Return the definition of a table of a release, in words."""
    own = {name: getattr(table, name) for name in ("name", "title", "description", "population", "filters")}
    measures = [
        {name: getattr(each, name) for name in ("name", "label", "decimals", "description")}
        | {"kind": each.kind.label, "unit": facts.get_unit(each)}
        for each in table.measures
    ]
    more = {"on_request": release.on_request.origins.get(table.name), "measures": measures}
    return shapes.TableText.model_validate(own | more)


def build_areas(found: Sequence[PublishedRelease]) -> shapes.Areas:
    """Return every area, the widest first; each has the name that the newest release gives it."""
    versions: dict[str, dict[str, None]] = {}
    areas = {}
    for version, _, _, area in dimensions.iter_areas(list(found)):
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


def _build_cohorts(found: Sequence[PublishedRelease], current: Mapping[str, str]) -> shapes.Cohorts:
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


def _build_index(newest: PublishedRelease | None) -> shapes.Index:
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
        links=links | {"analyst_database": f"../../{description.DATABASE_FILE}", "catalogue": "../../catalogue.jsonld"},
    )


def iter_figure_files(
    connection: duckdb.DuckDBPyConnection, release: PublishedRelease, table: Table, area: str | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the file of each area of a table, or of one area, from the SQL table `figures`."""
    about, text = dict(build_about(release)), build_table_text(table, release)
    query = f"""
        SELECT area_code, any_value(area_name), string_agg({JSON}, ',\n' ORDER BY position)
        FROM figures WHERE release = $version AND "table" = $table AND area_code = coalesce($area, area_code)
        GROUP BY area_code ORDER BY area_code"""
    found = connection.execute(query, {"version": release.version, "table": table.name, "area": area})
    for code, name, figures in found.fetchall():
        head = format_document(shapes.FiguresOfArea(**about, table=text, area_code=code, area_name=name, figures=[]))
        yield f"{table.name}/{code}.json", fill_figures(head, figures)


def fill_figures(document: bytes, figures: str) -> bytes:
    """Return a document with figures, each on its own line, so that files can be compared and searched by line."""
    return document.replace(b'"figures": []', f'"figures": [\n{figures}\n  ]'.encode())


def iter_release_files(connection: duckdb.DuckDBPyConnection, release: PublishedRelease) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file of a release's figures, and last the list of them."""
    tables, total = merge_tables(release.requested), hashlib.sha256()
    digests: dict[str, bytes] = {}
    for table in tables.values():
        for name, content in iter_figure_files(connection, release, table):
            digests[name] = hashlib.sha256(content).digest()
            yield name, content
    areas: dict[str, dict[str, str]] = {}
    for name, digest in sorted(digests.items()):
        total.update(name.encode() + b"\0" + digest)
        areas.setdefault(PurePosixPath(name).parent.name, {})[PurePosixPath(name).stem] = quote(name)
    files = [
        shapes.TableFiles(table=name, title=tables[name].title, areas=areas[name]) for name in tables if name in areas
    ]
    about = dict(build_about(release))
    yield INDEX, format_document(shapes.ReleaseFiles(**about, sha256=total.hexdigest(), files=files))


def publish_api(release_dir: Path) -> None:
    """Update the files of the API from the analyst database; the caller holds the lock of the release directory.

    Raises `UnreadableWithdrawals`.
    """
    place, found = release_dir / description.API_FOLDER, read_releases(release_dir)
    sums = {each.version: hash_sums_file(release_dir, each.version) for each in found}
    wanted = {each.version: _hash_inputs(each, sums[each.version]) for each in found}
    made = _read_made_from(place)
    below = [place / name for name in (RELEASES_FOLDER, "schemas", shapes.QUOTES, shapes.PROOFS)]
    for folder in (place, *below):
        folder.mkdir(parents=True, exist_ok=True)
    for folder in (place.parent, place, *below):
        folder.chmod(whole_files.FOLDER_MODE)
    for release in found:
        if made.get(release.version) != wanted[release.version]:
            _write_figures(release_dir, release)
    for gone in {path.name for path in (place / RELEASES_FOLDER).iterdir()} - sums.keys():
        shutil.rmtree(place / RELEASES_FOLDER / gone)
    quotes = build_quotes(release_dir, found)
    for kind in (shapes.QUOTES, shapes.PROOFS):
        for old in (place / kind).iterdir():
            if f"{kind}/{old.name}" not in quotes:
                old.unlink()
    documents = build_documents(found, sums) | quotes | {MADE_FROM_FILE: whole_files.format_json(wanted)}
    for name in sorted(documents, key=lambda name: (name == INDEX, name)):
        whole_files.write_whole(place / name, documents[name])


def load_figures(connection: duckdb.DuckDBPyConnection, found: Sequence[PublishedRelease]) -> None:
    """Make tables `figures` (of `select_figures`) and `releases.current` of these releases, oldest first, in memory."""
    add_all(Database(connection, comments=False), list(found))
    connection.execute("ATTACH ':memory:' AS served; CREATE SCHEMA served.releases")
    connection.execute("CREATE TABLE served.releases.current AS FROM releases.current")
    select_figures(connection, database="served")
    # The analyst database takes four times the memory of the figures, most of it for indexes.
    connection.execute("USE served; DETACH memory")


def select_figures(connection: duckdb.DuckDBPyConnection, version: str | None = None, database: str = "memory") -> None:
    """Create the table `figures`, in order of `position`, from an analyst database: of one release or all.

    `database` is one in memory.
    """
    connection.execute(
        f"""CREATE TABLE {database}.figures AS
        SELECT f.*, row_number() OVER (ORDER BY r.position, t.rowid, "row", m.rowid) AS position
        FROM ({FIGURES}) AS f
        JOIN releases.release AS r ON r.release_version = f.release
        JOIN dimension.published_table AS t ON t.table_name = f."table"
        JOIN dimension.measure AS m ON m.table_name = f."table" AND m.measure = f.measure
        WHERE f.release = coalesce($version, f.release)""",
        {"version": version},
    )


def is_figure_file(name: str) -> bool:
    """Return whether a file of the release directory, by relative path, is one of the files of figures."""
    return name.startswith(FIGURES_FOLDER) and not is_list_of_files(name)


def is_list_of_files(name: str) -> bool:
    """Return whether a file of the release directory is the list of a release's files of figures."""
    return name.startswith(FIGURES_FOLDER) and name.endswith(f"/{INDEX}")


def hash_sums_file(release_dir: Path, version: str) -> str:
    """Return the SHA-256 of a bundle's file of checksums."""
    return hashlib.sha256((release_dir / version / signing.SUMS_FILE).read_bytes()).hexdigest()


def _hash_inputs(release: PublishedRelease, sums: str) -> str:
    """Return the SHA-256 of what determines the files of figures of a release."""
    withdrawal = asdict(release.withdrawal) if release.withdrawal else None
    parts = [compute_program_sha256(_PROGRAM, _LIBRARIES), sums, withdrawal]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _read_made_from(place: Path) -> dict[str, str]:
    """Return what each version's files of figures were made from, leaving out releases for which it is unknown."""
    try:
        made = dict(json.loads((place / MADE_FROM_FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}
    return {version: each for version, each in made.items() if _is_whole(place / RELEASES_FOLDER / version)}


def _is_whole(folder: Path) -> bool:
    """Return whether a release's folder has its list of files, and every file on it."""
    try:
        listed = json.loads((folder / INDEX).read_bytes())["files"]
    except (OSError, ValueError, KeyError):
        return False
    return all((folder / unquote(file)).is_file() for table in listed for file in table["areas"].values())


def _write_figures(release_dir: Path, release: PublishedRelease) -> None:
    """Write the files of figures of a release, and the list of them."""
    with open_in_memory() as connection, tempfile.TemporaryDirectory(prefix=".api.", dir=release_dir) as scratch:
        connection.execute(
            f"ATTACH {quote_text(release_dir / description.DATABASE_FILE)} AS built (READ_ONLY); USE built"
        )
        select_figures(connection, release.version)
        connection.execute("USE memory")
        staged = Path(scratch) / release.version
        for name, content in iter_release_files(connection, release):
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).write_bytes(content)
        whole_files.set_modes(staged, whole_files.FOLDER_MODE, whole_files.FILE_MODE)
        whole_files.replace_folder(staged, release_dir / description.API_FOLDER / RELEASES_FOLDER / release.version)
