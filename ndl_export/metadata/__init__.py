"""A release described in the standards that catalogues and tools read, one module a standard.

Each is a function from the release's description and the content of its files to JSON-ready values; none reads a file
of the bundle or the clock. What they all say is in `description`, once; columns and levels come from the table
definitions. `tests/integration/export/test_standards.py` hands every record to the standard's own validator.
"""
