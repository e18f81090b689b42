"""The figures for programs: files in the release directory that any web server can serve, and a service with queries.

Both are made from the published bundles alone, and give the same documents in the same shapes. `documents` writes the
files, `service` is the HTTP application; `shapes` declares every document once, for JSON Schema and OpenAPI. Figures
become JSON in DuckDB, never row by row in Python. Nothing here reads a key or the restricted zone.
"""
