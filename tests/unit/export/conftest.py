"""Bundles of made-up figures."""

from tests.support.export.bundles import tables
