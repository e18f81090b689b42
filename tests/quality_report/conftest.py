"""Deliveries as the real intake makes them, from small extracts of Leeds."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import pytest

from assets.profile import profile, rows_warned
from assets.quality_report import Delivery
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort
from tests.intake.conftest import COHORT, Desk, desk, eyfsp, keys

__all__ = ["desk", "eyfsp", "keys"]

Deliver = Callable[..., Delivery]
Text = Callable[..., str]


@pytest.fixture
def deliver(desk: Desk) -> Deliver:
    """Land the text of an extract, take it in, and gather what a report needs."""

    def delivered(
        content: str, source: str = "eyfsp", council: str = "leeds", at: str = "2025-11-20T09:30"
    ) -> Delivery:
        desk.land(content, source, council=council)
        quality = desk.take(source, council)
        con = duckdb.connect()
        key = (source, COHORT, council)
        return Delivery(
            quality,
            profile(con, desk.home.pseudonymised(*key), CONTRACTS[source], Cohort(COHORT)),
            at,
            rows_warned(con, desk.home.quarantine(*key)),
        )

    return delivered


@pytest.fixture
def profiles(eyfsp: Text) -> Text:
    """The text of an EYFS Profile extract in contract form, no two rows alike: one for each mapping of changes."""

    def text(*changes: dict[str, str]) -> str:
        return eyfsp(*({"urn": str(700_000 + number)} | change for number, change in enumerate(changes)))

    return text
