"""Fixtures for keys."""

from tests.support.linkage.fixtures import keys

__all__ = ["keys"]
