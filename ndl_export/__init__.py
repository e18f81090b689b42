"""What goes out: table definitions, release bundle, metadata, signature, analyst database.

Everything here is made from the published tables and the release's own facts. It may use the public reference data of
`sources`; it knows nothing of the restricted zone, of keys other than the signing key, or of Dagster.
"""
