"""The analyst database `readiness.duckdb`: every release in one DuckDB file, described, with macros and worked queries.

Schemas of the file, and the module that fills each:

- `releases`: one table for each published table, the rows of all versions stacked, and `release`, one row a version;
- `latest`: views of the same names with the newest version that is not withdrawn (both: `facts`, `child_groups`);
- `official`: what the Department for Education has published of the same cohorts (`facts`);
- `dimension`: areas, cohorts, categories, questions, flags, with codes, labels and order (`dimensions`, `categories`),
  and the names that the macros understand (`names`);
- `main`: short views, which `SHOW TABLES` lists (`short_views`, `questions.sql`), and the macros (`macros.sql`);
- tables on request are beside the others in all of these (`requested`);
- `help`: where to start, the macros and the worked queries (`help`, `start.sql`, `worked_queries.sql`).

A bundle has the same for its own release, as a script. `changes` says which of its figures moved since the release
before, by the rule of the macros.

`database` writes each statement with its comments; `tables.sql` has the tables that do not follow from the table
definitions; `releases` reads what the database is made from, and `build` puts all together. `document` writes
docs/analyst-database.md from the same.
"""

from ndl_export.analyst_db.build import (
    STORAGE_VERSION,
    NothingReleased,
    build_database,
    database_is_current,
    made_from,
    releases_held,
)
from ndl_export.facts.description import DATABASE_FILE

__all__ = [
    "DATABASE_FILE",
    "STORAGE_VERSION",
    "NothingReleased",
    "build_database",
    "database_is_current",
    "made_from",
    "releases_held",
]
