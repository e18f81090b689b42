"""What `make test` takes of what is many: a tenth of a property's examples, the first of many cases.

`make test-all` takes all of both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

EXAMPLES_PERCENT = 10


def examples(number: int, unchecked: Collection[HealthCheck] = ()) -> settings:
    """Settings of a property with so many examples where all are tried, without the health checks named."""
    number = max(1, number * settings.default.max_examples // 100)
    return settings(max_examples=number, suppress_health_check=[*settings.default.suppress_health_check, *unchecked])


def first(number: int, cases: Iterable[Any]) -> list[Any]:
    """The cases for `parametrize`, of which all but the first ones are marked slow."""
    return [case if place < number else _slow(case) for place, case in enumerate(cases)]


def _slow(case: Any) -> Any:
    slow = pytest.mark.slow
    if isinstance(case, type(pytest.param())):
        return pytest.param(*case.values, marks=[*case.marks, slow], id=case.id)
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=slow)
