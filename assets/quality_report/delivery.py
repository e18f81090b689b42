"""What a report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from assets.intake import ExtractQuality
from assets.profile import Profile


@dataclass(frozen=True)
class Delivery:
    """One extract as it was taken in.

    `taken_at` is an ISO 8601 time. `rows_warned` counts kept rows with at least one warning. `headings` maps contract
    columns to the file's own headings, where they differ.
    """

    quality: ExtractQuality
    profile: Profile
    taken_at: str
    rows_warned: int
    headings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoppedExtract:
    """One extract that could not be taken, and the sentence that says why; `stopped_at` is an ISO 8601 time."""

    council: str
    source: str
    cohort: str
    file: str
    sentence: str
    stopped_at: str
