"""The code location loaded by `tests/support/installation/launching.py`, for the installation set in the
environment."""

from pipelines.definitions import build_definitions

defs = build_definitions()
