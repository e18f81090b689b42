"""Measurements of the release: accuracy against one query a table, the model's estimates, and time for England.

    python -m bench.release            writes docs/accuracy.md

No part of the test suite; `tests/privacy/mechanism` holds the bounds that must not be passed.
"""
