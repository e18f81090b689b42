"""Measures the release: accuracy against one query per table, the model's estimates, and computing time for England.

    python -m bench.release            writes docs/accuracy.md

Not part of the test suite; `tests/privacy/mechanism` holds the limits that must not be exceeded.
"""
