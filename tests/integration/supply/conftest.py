"""The uv that the scripts run."""

from tests.support.supply.scripts import uv

__all__ = ["uv"]
