"""The uv that the scripts run."""

from tests.support.supply import uv
