"""The vocabulary of table definitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

COUNCIL = "council"
"""The attribute of place in every family; its categories are the councils that take part in the release."""


@dataclass(frozen=True)
class Attribute:
    """A property of a row of the confidential table, with its whole public domain."""

    name: str
    label: str
    categories: tuple[str, ...]


@dataclass(frozen=True)
class Selection:
    """One published level of a filter: its label and the attribute categories it adds up (`None` = all)."""

    label: str
    categories: tuple[str, ...] | None


ALL = Selection("Total", None)


@dataclass(frozen=True)
class Axis:
    """A filter column filled from one attribute, level by level."""

    filter: str
    attribute: str
    selections: tuple[Selection, ...]


class MeasureKind(StrEnum):
    COUNT = "count"
    PERCENT = "percent"
    AVERAGE = "average"
    DIFFERENCE = "difference"


@dataclass(frozen=True)
class Measure:
    """A published figure; each comes with its interval and reliability flag."""

    name: str
    label: str
    kind: MeasureKind
    description: str
    decimals: int
    modelled: bool = False
    """Whether a model's estimate of a council's figure stands beside it."""

    @property
    def unit(self) -> str:
        return {MeasureKind.PERCENT: "%", MeasureKind.DIFFERENCE: "pp"}.get(self.kind, "")


@dataclass(frozen=True)
class Filter:
    """A column that says which children a row is about."""

    name: str
    label: str
    description: str


Group = tuple[str, tuple[str, ...]]
"""Children whose attribute has one of these categories."""


@dataclass(frozen=True)
class Difference:
    """The rate of a block's numerator in one group less that in another: `first` less `second`, or the rate of `first`
    (of everyone where it is None) in an area less the same in all councils together."""

    first: Group | None = None
    second: Group | None = None

    @property
    def with_all_together(self) -> bool:
        return self.second is None


@dataclass(frozen=True)
class Block:
    """Rows of one shape: geography x the outer product of `axes`, with `constants` in the other filter columns.

    `base` is the measure that counts the children of a row. With `numerator` (attribute categories), `part` counts
    those of them who are in it and `ratio` is part over base. With `share_of` (a filter), `ratio` is the row's count
    over the same count with that filter at its total. With `average_of` (attribute: category), `ratio` is the mean
    number of those attributes that hold. With `difference`, `ratio` is a difference of two rates, read from marginals
    that other blocks publish. `councils` False keeps the block to the highest geography.
    """

    axes: tuple[Axis, ...]
    constants: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None
    numerator: tuple[str, tuple[str, ...]] | None = None
    part: str | None = None
    ratio: str | None = None
    share_of: str | None = None
    average_of: Mapping[str, str] | None = None
    difference: Difference | None = None
    councils: bool = True
    weight: str = "linked"
    """Kind of cell at full detail, in the weights of the privacy policy."""
    total_weight: str = ""
    """The same of a cell with one or more axes at their total; that of full detail where not given."""
    structural_zeros: frozenset[tuple[str, ...]] = frozenset()
    """Levels of the axes, in their order, that cannot occur by definition: published as not applicable."""


@dataclass(frozen=True)
class Table:
    """A published table."""

    name: str
    title: str
    family: str
    population: str
    description: str
    filters: tuple[Filter, ...]
    measures: tuple[Measure, ...]
    blocks: tuple[Block, ...]

    def measure(self, name: str) -> Measure:
        return next(measure for measure in self.measures if measure.name == name)


@dataclass(frozen=True)
class SharedTotal:
    """Two sums of categories that are equal for every data set, within each council and each category of `within`."""

    description: str
    left: tuple[str, tuple[str, ...]]
    right: tuple[str, tuple[str, ...]]
    within: str


@dataclass(frozen=True)
class Family:
    """Tables over one population, measured together; `unit` is what one row of it stands for.

    `name` is also that of its entries in the ledger and of its lines in the privacy policy.
    """

    name: str
    unit: str
    source: str
    """The source whose rows are counted: a council that has not sent it has none."""
    population: str
    confidential_table: str
    """Name of the table in the restricted zone that noise is added over, one row a unit."""
    confidential_description: str
    """What that table holds, in a sentence for its asset."""
    rows_per_child: float
    """Rows that are expected for each child of the cohort; a planning assumption, made from public figures."""
    attributes: tuple[Attribute, ...]
    tables: tuple[Table, ...]
    further_sources: tuple[str, ...] = ()
    """Sources whose rows are linked to those that are counted, and add attributes to them."""
    is_linked: bool = True
    """Whether a row is about a linked child; else it stands for itself."""
    shared_totals: tuple[SharedTotal, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """All that its rows are made from, the one whose rows are counted first."""
        return (self.source, *self.further_sources)

    def attribute(self, name: str) -> Attribute:
        return next(attribute for attribute in self.attributes if attribute.name == name)


def each(attribute: Attribute) -> tuple[Selection, ...]:
    """One level for each category."""
    return tuple(Selection(category, (category,)) for category in attribute.categories)


def total_and_each(attribute: Attribute) -> tuple[Selection, ...]:
    return (ALL, *each(attribute))
