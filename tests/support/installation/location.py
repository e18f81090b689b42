"""The code location of `tests/support/installation/launching.py`, for the installation in the environment."""

from pipelines.definitions import build_definitions

defs = build_definitions()
