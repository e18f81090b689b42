"""On how many examples a property is tried: all of them in `make test-all`, a quarter in `make test`."""

from __future__ import annotations

from collections.abc import Collection

from hypothesis import HealthCheck, settings

DAILY_PERCENT = 25


def examples(number: int, unchecked: Collection[HealthCheck] = ()) -> settings:
    """Settings of a property with so many examples where all are tried, without the health checks named."""
    daily = max(1, number * settings.default.max_examples // 100)
    return settings(max_examples=daily, suppress_health_check=unchecked)
