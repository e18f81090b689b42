"""Deliveries as the real intake makes them, from small extracts of Leeds."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from assets.intake.deliveries import ExtractQuality
from tests.support.intake.desk import Desk, build_eyfsp, desk

Deliver = Callable[..., ExtractQuality]
Text = Callable[..., str]


@pytest.fixture
def deliver(desk: Desk) -> Deliver:
    """Land the text of an extract, ingest it, and gather what a report needs."""

    def delivered(
        content: str, source: str = "eyfsp", council: str = "leeds", at: str = "2025-11-20T09:30"
    ) -> ExtractQuality:
        desk.land(content, source, council=council)
        return replace(desk.take(source, council), taken_at=at)

    return delivered


@pytest.fixture
def profiles() -> Text:
    """The text of an EYFS Profile extract in contract form, no two rows alike: one for each mapping of changes."""

    def text(*changes: dict[str, str]) -> str:
        return build_eyfsp(*({"urn": str(700_000 + number)} | change for number, change in enumerate(changes)))

    return text
