"""The database of a release directory, and the files of a bundle for analysts: `database.sql` and `questions.py`.

The whole file is rebuilt next to the old one and renamed over it, so a reader that has the old file open keeps it. The
storage format is that of DuckDB 1.2, which every later version reads. `database.sql` has the statements that `add_all`
executes for one release. Schema `help` says where to start: its text is above the statements of `macros.sql`,
`start.sql` and `worked_queries.sql`. `python -m ndl_export.analyst_db.build` prints docs/analyst-database.md.
"""

import hashlib
import re
import tempfile
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from ndl_export.analyst_db.database import Database, read_statements
from ndl_export.analyst_db.dimensions import add_dimensions, add_names, add_types
from ndl_export.analyst_db.facts import add_facts, add_figures
from ndl_export.analyst_db.short_views import add_requested, add_short_views
from ndl_export.facts import release_facts
from ndl_export.facts.description import DATABASE_FILE
from ndl_export.files.signing import SUMS_FILE
from ndl_export.files.whole_files import lock_folder
from ndl_export.pages import kit
from ndl_export.pages.number_format import join_parts
from ndl_export.tables import TABLES
from privacy.doors.database import open_in_memory
from privacy.doors.files import sync
from privacy.doors.program import compute_program_sha256, list_digests
from privacy.doors.sql import quote_text

SCRIPT_FILE, NOTEBOOK_FILE = "database.sql", "questions.py"
_HOW = (
    "The analyst database of this release, from the Parquet files beside this one. In this folder, with DuckDB 1.2 or"
    " newer: duckdb -init database.sql. Then: SHOW TABLES;"
)
STORAGE_VERSION = "v1.2.0"
BLOCK_SIZE = 16_384
"""The smallest possible: an index takes whole blocks, so with the default size the file is ten times as large."""
_PROGRAM, _LIBRARIES = ("ndl_export", "sources/reference"), ("duckdb",)
SCHEMAS = ("releases", "latest", "dimension", "official", "help")


class NothingReleased(Exception):
    """Raised if there is no bundle to build the database from."""


def build_database(release_dir: Path) -> Path:
    """Build the database if needed; return its path. Raises `NothingReleased` and `UnreadableWithdrawals`."""
    if not release_facts.list_versions(release_dir):
        raise NothingReleased(f"{release_dir} holds no release bundle")
    with lock_folder(release_dir):
        return update_database(release_dir)


def update_database(release_dir: Path) -> Path:
    """Build the database of a directory with a release if needed; the caller holds the lock of the directory.

    Raises `UnreadableWithdrawals`.
    """
    place = release_dir / DATABASE_FILE
    if is_database_current(release_dir):
        return place
    content, found = hash_inputs(release_dir), release_facts.read_releases(release_dir)
    # Beside the old file: a rename is one step only within a file system.
    with tempfile.TemporaryDirectory(prefix=f".{DATABASE_FILE}.", dir=release_dir) as scratch:
        building = Path(scratch) / DATABASE_FILE
        with open_in_memory() as connection:
            target = (
                f"{quote_text(building)} AS building (STORAGE_VERSION '{STORAGE_VERSION}', BLOCK_SIZE {BLOCK_SIZE})"
            )
            connection.execute(f"ATTACH {target}; USE building; BEGIN")
            add_all(Database(connection), found)
            connection.execute("INSERT INTO help.made_from VALUES (?)", [content])
            connection.execute("COMMIT; USE memory; DETACH building")
        # On disk before the rename, so that after a power cut the name never leads to half a file.
        sync(building)
        building.replace(place)
    sync(release_dir)
    return place


def read_released_versions(database: Path) -> set[str]:
    """Return the versions of the releases in a database."""
    with open_in_memory() as con:
        con.execute(f"ATTACH {quote_text(database)} AS existing (READ_ONLY)")
        return {
            version for (version,) in con.execute("SELECT release_version FROM existing.releases.release").fetchall()
        }


def hash_inputs(release_dir: Path) -> str:
    """Return the SHA-256 of all that determines the content: checksums of bundles, withdrawals and the program."""
    sums = [release_dir / str(version) / SUMS_FILE for version in release_facts.list_versions(release_dir)]
    withdrawn = release_dir / release_facts.WITHDRAWN_FILE
    # Includes the program, so that a changed macro reaches the database without a new release.
    parts = [compute_program_sha256(_PROGRAM, _LIBRARIES), *list_digests([*sums, withdrawn], release_dir)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def is_database_current(release_dir: Path) -> bool:
    """Return whether the database is up to date with the bundles, the withdrawals and the program."""
    place = release_dir / DATABASE_FILE
    if not place.is_file():
        return False
    try:
        with open_in_memory() as con:
            con.execute(f"ATTACH {quote_text(place)} AS existing (READ_ONLY)")
            recorded = con.execute("SELECT content_sha256 FROM existing.help.made_from").fetchall()
    # A damaged file, or one without this table, is built again.
    except duckdb.Error:
        return False
    return bool(recorded == [(hash_inputs(release_dir),)])


def add_all(database: Database, found: list[release_facts.PublishedRelease]) -> None:
    """Build everything; the releases `found` are ordered oldest first."""
    for schema in SCHEMAS:
        database.execute(f"CREATE SCHEMA {schema}")
    # In this order, because columns need the types, names need the areas, and views and macros need the facts.
    categories = add_types(database, found)
    database.create_written("tables.sql")
    add_dimensions(database, found, categories)
    add_names(database)
    add_facts(database, found)
    database.create_written("macros.sql")
    add_short_views(database)
    requested = add_requested(database, found)
    add_figures(database, (*TABLES.values(), *requested))
    add_help(database, dict.fromkeys(release.notice for release in found if release.notice))


def build_analyst_files(facts: release_facts.ReleaseFacts, script: str) -> dict[str, bytes]:
    """Return the files of a bundle for analysts, by name: the script, and a notebook that queries its database."""
    notebook = (Path(__file__).parent / "templates" / NOTEBOOK_FILE).read_text(encoding="utf-8")
    notice = f"# {facts.notice}\n" if facts.notice else ""
    return {SCRIPT_FILE: script.encode(), NOTEBOOK_FILE: f"{notice}{notebook}".encode()}


@contextmanager
def open_analyst_database(
    facts: release_facts.ReleaseFacts, tables: Mapping[str, pa.Table]
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """Yield an in-memory database of a bundle with these facts and tables, and the script that builds it again."""
    with open_in_memory() as connection:
        database = Database(connection, comments=False)
        add_all(database, [release_facts.build_release(facts, tables)])
        head = textwrap.fill(join_parts(facts.notice, _HOW), 118, initial_indent="-- ", subsequent_indent="-- ")
        yield connection, f"{head}\n\n" + "".join(f"{statement};\n" for statement in database.statements)


_MACRO = re.compile(r"CREATE MACRO ((\w+)\([^)]*\)) AS (TABLE\n)?")


@dataclass(frozen=True)
class Macro:
    """A macro: its call, what it answers, how its figures are calculated, and an example that runs unchanged."""

    name: str
    call: str
    is_table: bool
    answers: str
    method: str
    example: str


@dataclass(frozen=True)
class WorkedQuery:
    """A query to start from, which runs unchanged, and how to read its answer."""

    title: str
    question: str
    sql: str
    meaning: str


def _read_macros() -> Iterator[Macro]:
    for (answers, method, example), definition in read_statements("macros.sql"):
        found = _MACRO.match(definition)
        assert found is not None, definition
        yield Macro(found[2], found[1], found[3] is not None, answers, method, example)


MACROS = tuple(_read_macros())
WORKED_QUERIES = tuple(
    WorkedQuery(title.removeprefix("# "), question, sql, meaning)
    for (title, question, meaning), sql in read_statements("worked_queries.sql")
)
STEPS = tuple((what, sql) for (what,), sql in read_statements("start.sql"))
"""First steps, each with a query."""


def add_help(database: Database, notices: Iterable[str]) -> None:
    """Fill the tables of `help`; the notices of releases come before the first step."""
    # Notices have the steps 0 and below, so that the first step is 1 with and without them.
    first = [(notice, "SELECT release_version, notice FROM releases.release;") for notice in notices]
    database.fill("help.start", ((n, *step) for n, step in enumerate((*first, *STEPS), start=1 - len(first))))
    queries = ((query.title, query.question, query.sql.strip(), query.meaning) for query in WORKED_QUERIES)
    database.fill("help.worked_queries", queries)
    macros = sorted(MACROS, key=lambda macro: not macro.is_table)
    rows = ((m.name, m.call, "table" if m.is_table else "value", m.answers, m.method, m.example) for m in macros)
    database.fill("help.macros", rows)


def render_analyst_database_page() -> str:
    """Render the page as Markdown."""
    with open_in_memory() as connection:
        # Without releases: the page follows from the definitions alone, so it is the same on every machine.
        add_all(Database(connection), [])
        found = connection.execute(
            "SELECT schema_name, table_name, comment FROM duckdb_tables()"
            " UNION ALL SELECT schema_name, view_name, comment FROM duckdb_views()"
            " WHERE NOT internal AND schema_name <> 'latest' ORDER BY ALL"
        ).fetchall()
    # The first sentence of each comment, by schema.
    tables: dict[str, list[tuple[str, str]]] = {}
    for schema, name, comment in found:
        about = re.split(r"\. |, in short: ", comment.removesuffix(". All releases"))[0].replace("<", "&lt;")
        tables.setdefault(schema, []).append((f"`{name}`", about))
    tables["releases"] = [each for each in tables["releases"] if each[0] not in dict(tables["main"])]
    return kit.render(
        Path(__file__).parent / "templates",
        "analyst-database.md",
        listed={schema: kit.format_grid(("table", "what it holds"), rows) for schema, rows in tables.items()},
        dimensions=", ".join(name for name, _ in tables["dimension"]),
        macros=MACROS,
        values=", ".join(f"`{macro.call}`" for macro in MACROS if not macro.is_table),
        queries=WORKED_QUERIES,
    )


if __name__ == "__main__":
    print(render_analyst_database_page(), end="")
