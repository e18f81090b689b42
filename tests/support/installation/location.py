"""The code location that `tests/support/installation/launching.py` loads, over the installation of the environment."""

from pipelines.definitions import build_definitions

defs = build_definitions()
