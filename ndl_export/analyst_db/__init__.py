"""The analyst database `readiness.duckdb`: all releases in one DuckDB file, with comments, macros and worked queries.

Schemas of the file, and the modules that fill each:

- `releases`: each published table with the rows of all versions, and `release` with one row per version;
- `latest`: views of the same names, showing the newest version that is not withdrawn (both: `facts`, `child_groups`);
- `official`: official statistics about the same cohorts (`facts`);
- `dimension`: codes, labels and order of areas, cohorts, categories, questions and flags, and the names that the macros
  accept (`dimensions`, `child_groups`);
- `main`: short views, which `SHOW TABLES` lists (`short_views`, `questions.sql`), and the macros (`macros.sql`);
- `help`: where to start, the macros and the worked queries (`build`, `start.sql`, `worked_queries.sql`).

`releases`, `latest`, `dimension` and `main` also include the tables on request (`short_views`).

A bundle contains the same database for its own release, as a script. `changes` finds the figures that moved since the
previous release, by the rule of the macros.

`database` writes each statement with its comments, and `tables.sql` has the tables that do not follow from the table
definitions. `build` puts everything together, and generates docs/analyst-database.md from the same sources.
"""
