"""Reduced numbers of tests for `make test`: a tenth of each property's examples and the first of many cases.

`make test-all` runs all of them.
"""

from collections.abc import Collection, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

EXAMPLES_PERCENT = 10


def limit_examples(number: int, unchecked: Collection[HealthCheck] = ()) -> settings:
    """Return settings of a property: `number` examples in `make test-all`, without the health checks `unchecked`."""
    number = max(1, number * settings.default.max_examples // 100)
    return settings(max_examples=number, suppress_health_check=[*settings.default.suppress_health_check, *unchecked])


def mark_slow_after(number: int, cases: Iterable[Any]) -> list[Any]:
    """Return the cases for `parametrize`, with all except the first `number` marked slow."""
    return [case if place < number else _mark_slow(case) for place, case in enumerate(cases)]


def _mark_slow(case: Any) -> Any:
    slow = pytest.mark.slow
    if isinstance(case, type(pytest.param())):
        return pytest.param(*case.values, marks=[*case.marks, slow], id=case.id)
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=slow)
