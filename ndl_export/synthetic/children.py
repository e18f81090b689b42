"""Synthetic children of a release: their rows and the measurements of their quality."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ndl_export.facts.synthetic_folder import SYNTHETIC_FOLDER

WARNING = "Synthetic children: no row is about a real child."
SMALLEST_GROUP = 200
"""Smallest number of children in a group whose synthetic percentages are adjusted to the published intervals."""


@dataclass(frozen=True)
class IntervalAgreement:
    """How the percentages of a table compare with the published ones, for groups of `SMALLEST_GROUP` or more.

    Values are in points, except `compared` and `within`: the number of figures compared, and of those within the
    published interval.
    """

    table: str
    measure: str
    title: str
    """Title of the table."""
    label: str
    """Label of the measure."""
    compared: int
    within: int
    median: float
    ninetieth: float
    half_width: float
    """Median half-width of the published intervals."""


@dataclass(frozen=True)
class HeldOut:
    """How rates of a good level of development compare if children are drawn without the marginal that determines them.

    Values are in points. The rates are compared with the release's estimates. `noise` is the median error of the
    estimates from their own noise.
    """

    attributes: tuple[str, ...]
    compared: int
    median: float
    ninetieth: float
    noise: float


@dataclass(frozen=True)
class ComparedFigure:
    """A published figure of all councils together with its interval, and the same figure computed from the rows.

    `decimals` are those that the published figure and its interval are shown with.
    """

    label: str
    unit: str
    figure: float
    lower: float
    upper: float
    of_rows: float
    decimals: int


@dataclass(frozen=True, eq=False)
class SyntheticChildren:
    """One row per synthetic child, and the measurements of their quality."""

    release: Mapping[str, Any]
    """The descriptor of the release they are made from, its `datapackage.json`."""
    release_sums: str
    """SHA-256 of the release's file of sums; empty if it has none."""
    cohort: str
    seed: int
    rows: pa.Table
    """Columns of text: the attributes, in the order of the family."""
    categories: Mapping[str, tuple[str, ...]]
    """Categories of the attributes."""
    libraries: Mapping[str, str]
    """Versions of the libraries that drew them, by name."""
    left_out: tuple[str, ...]
    not_fitted: tuple[tuple[str, ...], ...]
    """Marginals that were too large for the model."""
    contradictions: int
    """Children with categories that contradict each other."""
    agreements: tuple[IntervalAgreement, ...]
    held_out: tuple[HeldOut, ...]
    goals: tuple[ComparedFigure, ...]
    """How many goals children reach: the figures that depend on all goals of a child."""
    changed: int
    """Rows changed after they were drawn, so that published percentages are within their intervals."""
    outside: tuple[str, ...]
    """Published percentages whose interval still does not contain the rows' percentage: table, measure, area, group."""

    @property
    def notice(self) -> str:
        """The notice that begins everything about the release; may be empty."""
        found: str = self.release.get("notice", "")
        return found

    @property
    def address(self) -> str:
        """URL of the folder."""
        directory, _, version = str(self.release["homepage"]).rpartition("/")
        return f"{directory}/{SYNTHETIC_FOLDER}/{version}"

    @property
    def compared(self) -> int:
        """Number of published percentages compared with the rows."""
        return sum(each.compared for each in self.agreements)

    @property
    def within(self) -> int:
        """Number of published percentages whose interval contains the rows' percentage."""
        return sum(each.within for each in self.agreements)
