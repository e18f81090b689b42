"""A desk that takes in extracts."""

from tests.support.intake.desk import _temporary, desk, eyfsp, keys, read_here

__all__ = ["_temporary", "desk", "eyfsp", "keys", "read_here"]
