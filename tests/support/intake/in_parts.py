"""Numbered children in Leeds' EYFS Profile, whose extract comes in parts."""

from __future__ import annotations

from pathlib import Path

from assets.home.paths import Home
from assets.intake import deliveries
from assets.intake.ingest import Intake
from privacy.keys import KeyRing
from sources.extract.landed import find
from tests.support.extracts import COHORT, nhs_number, row, upn


def child(number: int, **changes: str) -> dict[str, str]:
    """Return a child's row; no two children have the same numbers or the same two names."""
    names = {"surname": f"Surname{chr(97 + number % 26)}", "forename": f"Name{chr(97 + number // 26)}"}
    numbers = {"upn": upn(800_000_000_000 + number), "nhs_number": str(nhs_number(number * 11 + 1))}
    return row("eyfsp", names, numbers, changes)


def take(landing: Path, home: Home, keys: KeyRing) -> deliveries.ExtractQuality:
    """Ingest the extract that is in landing."""
    landed = find(landing, "leeds", "eyfsp", COHORT)
    assert landed
    return Intake(landing, home, keys).ingest(landed)
