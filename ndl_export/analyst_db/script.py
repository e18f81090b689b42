"""Files of a bundle for analysts: `database.sql` and `questions.py`.

`database.sql` makes the analyst database of one release from the Parquet files beside it: what the database of the
release directory has, a bundle alone has by `duckdb -init database.sql` in its folder. It holds the statements that
`build.add_all` executes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from ndl_export.analyst_db.build import add_all
from ndl_export.analyst_db.database import Database
from ndl_export.analyst_db.releases import release_in_making
from ndl_export.facts.release_facts import ReleaseFacts
from ndl_export.pages.number_format import said
from privacy.doors.database import in_memory

SCRIPT_FILE, NOTEBOOK_FILE = "database.sql", "questions.py"
_HOW = (
    "The analyst database of this release, from the Parquet files beside this one. In this folder, with DuckDB 1.2 or"
    " newer: duckdb -init database.sql. Then: SHOW TABLES;"
)


def analyst_files(facts: ReleaseFacts, script: str) -> dict[str, bytes]:
    """The files of a bundle that are for analysts, by name: the script, and a notebook that asks its database."""
    notebook = (Path(__file__).parent / "templates" / NOTEBOOK_FILE).read_text(encoding="utf-8")
    notice = f"# {facts.notice}\n" if facts.notice else ""
    return {SCRIPT_FILE: script.encode(), NOTEBOOK_FILE: f"{notice}{notebook}".encode()}


@contextmanager
def analyst_database(
    facts: ReleaseFacts, tables: Mapping[str, pa.Table]
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """Makes the database of a bundle of these facts and tables in memory, with the script that makes it again."""
    with in_memory() as connection:
        database = Database(connection)
        add_all(database, [release_in_making(facts, tables)])
        head = textwrap.fill(said(facts.notice, _HOW), 118, initial_indent="-- ", subsequent_indent="-- ")
        yield connection, f"{head}\n\n" + "".join(f"{statement};\n" for statement in database.statements)
