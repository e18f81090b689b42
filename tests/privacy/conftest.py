"""Fixtures for keys."""

from tests.support.linkage.populations import keys

__all__ = ["keys"]
