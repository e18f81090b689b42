"""Synthetic children of a release: their rows, what was measured of them, and where they lie in a release directory.

Their folder, `synthetic_children/<version>`, is beside the bundles and is not one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ndl_export.facts.released import versions

SYNTHETIC_FOLDER = "synthetic_children"
CSV_FILE, PARQUET_FILE = f"{SYNTHETIC_FOLDER}.csv", f"{SYNTHETIC_FOLDER}.parquet"
STATEMENT_FILE, DICTIONARY_FILE = f"{SYNTHETIC_FOLDER}.md", f"{SYNTHETIC_FOLDER}_data_dictionary.csv"
QUALITY_FILE, QUALITY_PAGE = f"{SYNTHETIC_FOLDER}_quality.md", f"{SYNTHETIC_FOLDER}_quality.html"
CROISSANT_FILE = "croissant.json"
WARNING = "Synthetic children: no row is about a real child."
SMALLEST_GROUP = 200
"""Children of a group from which on the percentages of synthetic children lie in the published intervals."""


@dataclass(frozen=True)
class Agreement:
    """How the percentages of a table, of groups of `SMALLEST_GROUP` or more, compare with the published ones; in
    points, but for the numbers of figures compared and of those within the published interval."""

    table: str
    measure: str
    title: str
    """Of the table."""
    label: str
    """Of the measure."""
    compared: int
    within: int
    median: float
    ninetieth: float
    half_width: float
    """Median half-width of the published intervals."""


@dataclass(frozen=True)
class HeldOut:
    """How rates of a good level of development compare, in points, of children drawn without the marginal that tells
    them: with the release's estimates, beside the median error of these by their own noise."""

    attributes: tuple[str, ...]
    compared: int
    median: float
    ninetieth: float
    noise: float


@dataclass(frozen=True)
class Published:
    """A published figure of all councils together with its interval, and the same of the rows."""

    label: str
    unit: str
    figure: float
    lower: float
    upper: float
    of_rows: float


@dataclass(frozen=True, eq=False)
class SyntheticChildren:
    """One row a synthetic child, and what was measured of them."""

    release: Mapping[str, Any]
    """The descriptor of the release that they are of, its `datapackage.json`."""
    release_sums: str
    """SHA-256 of its file of sums; empty where it has none."""
    cohort: str
    seed: int
    rows: pa.Table
    """Columns of text: the attributes, in order of the family."""
    categories: Mapping[str, tuple[str, ...]]
    """Domains of the attributes."""
    libraries: Mapping[str, str]
    """Versions of the libraries that drew them, by name."""
    left_out: tuple[str, ...]
    not_fitted: tuple[tuple[str, ...], ...]
    """Marginals that were too large for the model."""
    contradictions: int
    """Children with categories that cannot stand together."""
    agreements: tuple[Agreement, ...]
    held_out: tuple[HeldOut, ...]
    goals: tuple[Published, ...]
    """How many goals children reach: the figures of a child that depend on all of its goals."""
    changed: int
    """Rows that were changed after they were drawn, so that published percentages lie in their intervals."""
    outside: tuple[str, ...]
    """Published percentages within whose interval the rows' own do not lie even so: table, measure, area, group."""

    @property
    def notice(self) -> str:
        """The notice that heads everything about the release; may be empty."""
        found: str = self.release.get("notice", "")
        return found

    @property
    def address(self) -> str:
        """Where the folder is served."""
        directory, _, version = str(self.release["homepage"]).rpartition("/")
        return f"{directory}/{SYNTHETIC_FOLDER}/{version}"

    @property
    def compared(self) -> int:
        """Published percentages that the rows were compared with."""
        return sum(each.compared for each in self.agreements)

    @property
    def within(self) -> int:
        """How many of them have the rows' own percentage within their interval."""
        return sum(each.within for each in self.agreements)


def synthetic_versions(release_dir: Path) -> list[str]:
    """Return the releases whose synthetic children a release directory holds, oldest first."""
    return [str(version) for version in versions(release_dir / SYNTHETIC_FOLDER)]
