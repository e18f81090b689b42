"""What goes out: table definitions, release bundle, its documents, metadata and signature, analyst database.

Everything here is made from the published tables and the release's own facts. It may use the public reference data of
`sources`; it knows nothing of the restricted zone, of keys other than the signing key, or of Dagster.

- what a release is: `tables/` (definitions), `geography` (areas), `schema` (columns), `rows` (rows), `release_facts`;
- what must be true of it: `content_checks`, `consistency`;
- a bundle: `bundle` writes it, from `parquet_files`, `ees` (CSV), `documents/` (for people), `metadata/` (for
  catalogues), `checksums`, `signing`, `archive`; `publisher` says whose it is, `previous` which release it replaces;
- where readers get it: `publish`, with `leading_files`, `stores` (what is behind a URL), `media_types`;
- who receives one: `verify`, with `integrity`, `bundle_source`; who analyses them: `analyst_db/`.
"""
