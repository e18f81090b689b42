"""Figures for programs: files in the release directory that any web server can serve.

`documents` writes the files, and `shapes` declares every document once, for JSON Schema and OpenAPI. `ndl_export.serve`
answers queries with the same documents. Figures become JSON in DuckDB, never row by row in Python. Nothing here reads a
key or the restricted zone.
"""
