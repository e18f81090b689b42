"""Metadata of a release in the standards that catalogues and tools read; `templates` has the text of records.

`records` turns the release's description and the content of its files into JSON-ready values. It reads no file of the
bundle and no clock. What all standards state is in `description`; columns and levels come from the table definitions.
`tests/integration/export/test_standards.py` checks every record with the standard's own validator.
"""
