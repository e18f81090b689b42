"""What goes out: table definitions, release bundle, its documents, metadata and signature, analyst database.

Everything here is made from the published tables and the release's own facts. It may use the public reference data of
`sources`; it knows nothing of the restricted zone, of keys other than the signing key, or of Dagster. Each room uses
those above it alone:

- `files`: files that appear whole, archives, signature, stores behind a URL;
- `tables`: definitions of what is published; columns, rows, areas and CSV files, which follow from them;
- `facts`: what a release says besides its tables: version, publisher, noisy counts, what is missing, withdrawals;
- `check`: what must be true of the content, for whoever makes a release and whoever receives one;
- `documents` for people, `metadata` for catalogues and tools;
- `analyst_db`: every release in one DuckDB file, whose macros decide what may be concluded;
- `site`: pages for anyone with a browser, with the conclusions that the database gives;
- `bundle`: made, read, verified, and what stands beside bundles in a release directory;
- `publish`: put where readers get it, withdrawn, compared.
"""
