"""The vocabulary of table definitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

COUNCIL = "council"
"""The attribute of place in every family; its categories are the councils that take part in the release."""

UNKNOWN = "Unknown"
"""The category of rows whose attribute is not known: counted in every total, and not published as a row."""


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
    whole: tuple[str, ...] | None = None
    """The categories that its total adds up, where they are not all: those that a share is of."""


class MeasureKind(Enum):
    """What sort of number a measure is: its name, unit as a symbol and in words, and the range that it cannot leave.

    `scale` is what a ratio of two counts is multiplied by to give it; 1 for what is no ratio.
    """

    COUNT = ("count", "", "{of}", 1.0, 0, None)
    PERCENT = ("percent", "%", "percent", 100.0, 0, 100)
    AVERAGE = ("average", "", "{of} per child", 1.0, 0, None)
    DIFFERENCE = ("difference", "pp", "percentage points", 100.0, -100, 100)

    def __init__(self, label: str, unit: str, words: str, scale: float, least: int, most: int | None) -> None:
        self.label = label
        self.unit = unit
        self.words = words
        self.scale = scale
        self.least = least
        self.most = most


@dataclass(frozen=True)
class Measure:
    """A published figure; each comes with its interval and reliability flag."""

    name: str
    label: str
    kind: MeasureKind
    description: str
    decimals: int
    of: str = "children"
    """What it counts, or the average number of what it gives."""
    modelled: bool = False
    """Whether a model's estimate of a council's figure is published beside it."""
    as_linked: bool = False
    """Whether it says what was linked; any other figure is corrected for missed and false links."""

    @property
    def unit(self) -> str:
        """A symbol, or empty."""
        return self.kind.unit

    @property
    def unit_in_words(self) -> str:
        return self.kind.words.format(of=self.of)

    @property
    def is_count(self) -> bool:
        return self.kind is MeasureKind.COUNT

    @property
    def limits(self) -> dict[str, int]:
        """The least and the most that it can be, as schemas write them."""
        known = {"minimum": self.kind.least, "maximum": self.kind.most}
        return {name: limit for name, limit in known.items() if limit is not None}


@dataclass(frozen=True)
class Filter:
    """A column that says which children a row is about."""

    name: str
    label: str
    description: str


Group = tuple[str, tuple[str, ...]]
"""Children whose attribute has one of these categories."""


@dataclass(frozen=True)
class Count:
    """A number behind a figure: the children of a row who are in each of `groups` as well.

    With `over`, the column of that filter is at its total instead; with `all_together`, the area is all councils.
    """

    groups: tuple[Group, ...] = ()
    over: str | None = None
    all_together: bool = False


@dataclass(frozen=True)
class Ratio:
    """The sum of `parts` over `whole`, less the ratio `taken_off`, if any."""

    parts: tuple[Count, ...]
    whole: Count
    taken_off: Ratio | None = None

    @property
    def counts(self) -> tuple[Count, ...]:
        """Every count that it is made of."""
        return (*self.parts, self.whole, *(self.taken_off.counts if self.taken_off else ()))


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows of one shape: geography x the outer product of `axes`, with `constants` in the other filter columns.

    `base` is the measure that counts the children of a row, and `as_linked` the same before it is corrected for linkage
    error. A subclass is a kind of figure: it says which counts that is made of, and the noise plan, the tables, the
    checks and the expected accuracy follow from what it says.
    """

    axes: tuple[Axis, ...]
    constants: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None
    as_linked: str | None = None
    councils: bool = True
    """False measures the block for all councils together, or for regions, and for no council."""
    everywhere: bool = False
    """Whether a release is about its figures: they are shown though their intervals are wide, marked as unreliable,
    where others are withheld."""
    weight: str = "linked"
    """Kind of cell at full detail, in the weights of the privacy policy."""
    total_weight: str = ""
    """The same of a cell with one or more axes at their total; that of full detail where not given."""
    structural_zeros: frozenset[tuple[str, ...]] = frozenset()
    """Levels of the axes, in their order, that cannot occur by definition: published as not applicable."""

    @property
    def counts(self) -> dict[str, Count]:
        """The measures that are counts, and what each counts."""
        return {name: Count() for name in (self.base, self.as_linked) if name}

    @property
    def ratios(self) -> dict[str, Ratio]:
        """The measures that are ratios of counts, or differences of such ratios."""
        return {}

    @property
    def judged_by(self) -> tuple[Ratio, ...]:
        """The ratios by whose intervals it is decided where a row is published: its own, or of a block that counts
        alone the count as a share of the row with its last axis at the total."""
        return tuple(self.ratios.values()) or (Ratio((Count(),), Count(over=self.axes[-1].filter)),)

    @property
    def measured(self) -> tuple[Count, ...]:
        """The counts that noise is added to for this block; others follow from them, or from those of other blocks."""
        return (Count(),)

    @property
    def measures(self) -> frozenset[str]:
        return frozenset((*self.counts, *self.ratios))

    @property
    def needed(self) -> frozenset[Count]:
        """Every count that its figures are made of."""
        return frozenset((*self.counts.values(), *(count for each in self.ratios.values() for count in each.counts)))

    @property
    def differs(self) -> bool:
        """Whether its figures are differences of ratios, which count nobody themselves."""
        return any(ratio.taken_off for ratio in self.ratios.values())

    @property
    def with_all_together(self) -> bool:
        """Whether an area is held against all councils together, which cannot be held against themselves."""
        return any(count.all_together for count in self.needed)


@dataclass(frozen=True, kw_only=True)
class RateBlock(Block):
    """The share of a row's children who are in the group `numerator`, and in `part` how many these are."""

    numerator: Group
    part: str | None = None
    rate: str

    @property
    def counts(self) -> dict[str, Count]:
        return super().counts | ({self.part: Count((self.numerator,))} if self.part else {})

    @property
    def ratios(self) -> dict[str, Ratio]:
        return {self.rate: Ratio((Count((self.numerator,)),), Count())}

    @property
    def measured(self) -> tuple[Count, ...]:
        return (Count((self.numerator,)),)


@dataclass(frozen=True, kw_only=True)
class ShareBlock(Block):
    """A row's count as a share of the same count with the filter `share_of` at its total."""

    share_of: str
    share: str

    @property
    def ratios(self) -> dict[str, Ratio]:
        return {self.share: Ratio((Count(),), Count(over=self.share_of))}


@dataclass(frozen=True, kw_only=True)
class AverageBlock(Block):
    """The mean number of the groups `average_of` that a child is in."""

    average_of: tuple[Group, ...]
    average: str

    @property
    def ratios(self) -> dict[str, Ratio]:
        return {self.average: Ratio(self.measured, Count())}

    @property
    def measured(self) -> tuple[Count, ...]:
        return tuple(Count((group,)) for group in self.average_of)


@dataclass(frozen=True, kw_only=True)
class DifferenceBlock(Block):
    """The rate of `numerator` in one group less that in another: `first` less `second`, or the rate of `first` (of
    everyone where it is None) in an area less the same in all councils together. Other blocks publish what it is of."""

    numerator: Group
    first: Group | None = None
    second: Group | None = None
    difference: str

    @property
    def ratios(self) -> dict[str, Ratio]:
        less = self._rate(self.second or self.first, all_together=self.second is None)
        return {self.difference: replace(self._rate(self.first), taken_off=less)}

    @property
    def measured(self) -> tuple[Count, ...]:
        return ()

    def _rate(self, group: Group | None, *, all_together: bool = False) -> Ratio:
        groups = (group,) if group else ()
        part = Count((*groups, self.numerator), all_together=all_together)
        return Ratio((part,), Count(groups, all_together=all_together))


@dataclass(frozen=True, eq=False)
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

    @property
    def about(self) -> str:
        """What it says, and of whom."""
        return f"{self.description}. Population: {self.population}"

    def measure(self, name: str) -> Measure:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Measure]:
        return {measure.name: measure for measure in self.measures}


@dataclass(frozen=True)
class SharedTotal:
    """Two sums of categories that are equal for every data set, within each council and each category of `within`."""

    description: str
    left: tuple[str, tuple[str, ...]]
    right: tuple[str, tuple[str, ...]]
    within: str


@dataclass(frozen=True, kw_only=True)
class Family:
    """Tables over one population, measured together; `unit` is what one row of it is about.

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
    attributes: tuple[Attribute, ...]
    tables: tuple[Table, ...]
    further_sources: tuple[str, ...] = ()
    """Sources whose rows are linked to those that are counted, and add attributes to them."""
    is_linked: bool = True
    """Whether a row is about a linked child; else it is about itself."""
    shared_totals: tuple[SharedTotal, ...] = ()
    counted: str
    """The measure that counts its rows."""
    share: str
    """The measure of such a count as a percentage of the count with one filter at its total."""
    counted_as_linked: str = ""
    """The same before it is corrected for linkage error, where it is."""
    found_by_linkage: frozenset[str] = frozenset()
    """Attributes that only a link tells: figures that tell rows apart by one of them are corrected."""
    figures: Mapping[Group, tuple[str, str]] = field(default_factory=dict, hash=False)
    """Groups that have measures of their own, of how many there are and which share that is."""
    weight: str
    """Kind of cell of a table that is asked for, in the weights of the privacy policy."""
    measured_apart: tuple[tuple[tuple[str, ...], str], ...] = ()
    """Marginals that are measured though no table shows them, each with its kind of cell in the weights of the privacy
    policy; over all councils together where the council is not among its attributes."""
    never_shown: frozenset[str] = frozenset()
    """Attributes that are measured for linkage error alone, which no table may have."""

    @property
    def sources(self) -> tuple[str, ...]:
        """All that its rows are made from, the one whose rows are counted first."""
        return (self.source, *self.further_sources)

    def attribute(self, name: str) -> Attribute:
        return next(attribute for attribute in self.attributes if attribute.name == name)


def each(attribute: Attribute) -> tuple[Selection, ...]:
    """Return one level for each category but the unknown."""
    return tuple(Selection(category, (category,)) for category in attribute.categories if category != UNKNOWN)


def total_and_each(attribute: Attribute) -> tuple[Selection, ...]:
    return (ALL, *each(attribute))
