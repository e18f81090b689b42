"""Fixtures for keys."""

from tests.support.linkage.populations import key_folder, keys

__all__ = ["key_folder", "keys"]
