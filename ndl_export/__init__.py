"""Everything that is published: table definitions, the release bundle with its documents, metadata and signature, and
the analyst database.

All of it is made from the published tables and facts about the release. This package may use the public reference data
in `sources`. It does not use the restricted zone, Dagster, or any key except the signing key. Each room uses only the
rooms listed above it:

- `files`: files written whole, archives, signatures, and stores behind a URL;
- `tables`: definitions of what is published, and the columns, rows, areas and CSV files derived from them;
- `facts`: facts about a release other than its tables: version, publisher, noisy counts, missing sources, withdrawals;
- `check`: checks of the content, for those who make a release and those who receive one;
- `documents` for people, and `metadata` for catalogues and tools;
- `analyst_db`: every release in one DuckDB file, whose macros decide which conclusions the figures support;
- `site`: web pages, with the conclusions from the database;
- `bundle`: making, reading and verifying bundles, and the files beside them in a release directory;
- `publish`: uploading releases for readers, withdrawing them and comparing them.
"""
