"""Classes that describe a published table, and the attributes, filters and measures that several families share.

The latter use the wording of the Department for Education's tables.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from pydantic import TypeAdapter

from ndl_export.tables.declarations import DECLARATIONS, WrongDeclaration
from sources.reference import read_rows

COUNCIL = "council"
"""The place attribute of every family; its categories are the councils in the release."""

UNKNOWN = "Unknown"
"""The category of rows whose attribute is not known. They count in every total and are not published as a row."""


@dataclass(frozen=True)
class TableAttribute:
    """A property of a row of the confidential table, with all its public categories."""

    name: str
    label: str
    categories: tuple[str, ...]
    sent_as: str = ""
    """The kind of record, as `source/code`, that shows it; without it, nothing is known of a council's children. Empty
    if every delivery of the source has it."""


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
    """The categories that its total adds up, if not all: the denominator of its shares."""


class MeasureKind(Enum):
    """The kind of number a measure is.

    Each has its name, its unit as a symbol and in words, and its lowest and highest possible value. `scale` is the
    factor applied to a ratio of two counts; 1 for a measure that is not a ratio.
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
    """A published figure, with an interval and a reliability flag."""

    name: str
    label: str
    kind: MeasureKind
    description: str
    decimals: int
    of: str = "children"
    """The things it counts or averages, such as children or goals."""
    modelled: bool = False
    """Whether a model's estimate for councils is published beside it."""
    as_linked: bool = False
    """Whether it counts children as they were linked. All other figures are corrected for missed and false links."""

    @property
    def unit(self) -> str:
        """The unit as a symbol; may be empty."""
        return self.kind.unit

    @property
    def unit_in_words(self) -> str:
        return self.kind.words.format(of=self.of)

    @property
    def is_count(self) -> bool:
        return self.kind is MeasureKind.COUNT

    @property
    def limits(self) -> dict[str, int]:
        """The lowest and highest possible values, in the keywords of JSON Schema."""
        known = {"minimum": self.kind.least, "maximum": self.kind.most}
        return {name: limit for name, limit in known.items() if limit is not None}


@dataclass(frozen=True)
class Filter:
    """A column that identifies the children a row is about."""

    name: str
    label: str
    description: str


Group = tuple[str, tuple[str, ...]]
"""The children whose attribute has one of these categories."""


@dataclass(frozen=True)
class Count:
    """A number behind a figure: the children of a row who are also in each of `groups`.

    With `over`, the column of that filter is at its total instead. With `all_together`, the area is all councils
    together.
    """

    groups: tuple[Group, ...] = ()
    over: str | None = None
    all_together: bool = False


@dataclass(frozen=True)
class Ratio:
    """The sum of `parts` divided by `whole`, minus the ratio `taken_off` if given."""

    parts: tuple[Count, ...]
    whole: Count
    taken_off: "Ratio | None" = None

    @property
    def counts(self) -> tuple[Count, ...]:
        """Every count in it."""
        return (*self.parts, self.whole, *(self.taken_off.counts if self.taken_off else ()))


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows of one shape: geography x the outer product of `axes`, with `constants` in the other filter columns.

    `base` is the measure that counts the children of a row, and `as_linked` the same count before correction for
    linkage error. Each subclass is a kind of figure and declares the counts it is made from. The noise plan, the
    tables, the checks and the expected accuracy are derived from that declaration.
    """

    axes: tuple[Axis, ...]
    constants: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None
    as_linked: str | None = None
    councils: bool = True
    """If False, the block is measured for all councils together, or for regions, and not for single councils."""
    everywhere: bool = False
    """Whether these are main figures of the release: measured by council whatever the width of their intervals."""
    weight: str = "linked"
    """Kind of cell at full detail, as named in the weights of the privacy policy."""
    total_weight: str = ""
    """Kind of cell with one or more axes at their total; the same as `weight` if empty."""
    structural_zeros: frozenset[tuple[str, ...]] = frozenset()
    """Combinations of axis levels, in axis order, that are impossible by definition; published as not applicable."""

    @property
    def counts(self) -> dict[str, Count]:
        """The measures that are counts, each with what it counts."""
        return {name: Count() for name in (self.base, self.as_linked) if name}

    @property
    def ratios(self) -> dict[str, Ratio]:
        """The measures that are ratios of counts, or differences between such ratios."""
        return {}

    @property
    def judged_by(self) -> tuple[Ratio, ...]:
        """The ratios whose intervals decide whether a row is published; in a block of counts, the last axis's share."""
        return tuple(self.ratios.values()) or (Ratio((Count(),), Count(over=self.axes[-1].filter)),)

    @property
    def measured(self) -> tuple[Count, ...]:
        """The counts that noise is added to; the block's other counts are derived from these or from other blocks."""
        return (Count(),)

    @property
    def measures(self) -> frozenset[str]:
        return frozenset((*self.counts, *self.ratios))

    @property
    def needed(self) -> frozenset[Count]:
        """Every count that its figures use."""
        return frozenset((*self.counts.values(), *(count for each in self.ratios.values() for count in each.counts)))

    @property
    def attributes(self) -> frozenset[str]:
        """Every attribute that its rows and figures use, apart from the council."""
        groups = (name for count in self.needed for name, _ in count.groups)
        return frozenset((*(axis.attribute for axis in self.axes), *groups))

    @property
    def differs(self) -> bool:
        """Whether its figures are differences between ratios, which count no children themselves."""
        return any(ratio.taken_off for ratio in self.ratios.values())

    @property
    def with_all_together(self) -> bool:
        """Whether an area is compared with all councils together. All councils together have no such figure."""
        return any(count.all_together for count in self.needed)


@dataclass(frozen=True, kw_only=True)
class RateBlock(Block):
    """The share of a row's children who are in the group `numerator`; `part` is the measure that counts them."""

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
    """The mean number of the groups in `average_of` that a child belongs to."""

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
    """The rate of `numerator` in one group minus its rate in another.

    That is `first` minus `second`; without `second`, the rate of `first` (everyone if None) in an area minus the same
    rate in all councils together. The rates themselves are published by other blocks.
    """

    numerator: Group
    first: Group | None = None
    second: Group | None = None
    difference: str

    @property
    def ratios(self) -> dict[str, Ratio]:
        less = self._build_rate(self.second or self.first, all_together=self.second is None)
        return {self.difference: replace(self._build_rate(self.first), taken_off=less)}

    @property
    def measured(self) -> tuple[Count, ...]:
        # Both rates are measured for other blocks, so a difference costs no budget.
        return ()

    def _build_rate(self, group: Group | None, *, all_together: bool = False) -> Ratio:
        groups = (group,) if group else ()
        part = Count((*groups, self.numerator), all_together=all_together)
        return Ratio((part,), Count(groups, all_together=all_together))


# Compared by identity: functions cache by table, and the mappings in its blocks cannot be hashed.
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
        """Its description and population."""
        return f"{self.description}. Population: {self.population}"

    def get_measure(self, name: str) -> Measure:
        """Return the measure with this name."""
        return self._by_name[name]

    @cached_property
    def counted_by(self) -> frozenset[str]:
        """Attributes on the axes and in the counts of its blocks."""
        on_axes = {axis.attribute for block in self.blocks for axis in block.axes}
        groups = {name for block in self.blocks for count in block.counts.values() for name, _ in count.groups}
        return frozenset(on_axes | groups)

    @cached_property
    def _by_name(self) -> dict[str, Measure]:
        return {measure.name: measure for measure in self.measures}


@dataclass(frozen=True)
class SharedTotal:
    """Two sums of categories that must be equal in any data, within each council and each category of `within`."""

    description: str
    left: tuple[str, tuple[str, ...]]
    right: tuple[str, tuple[str, ...]]
    within: str


@dataclass(frozen=True, kw_only=True)
class Family:
    """Tables about one population, measured together; `unit` is what one row is about.

    `name` is also used for its entries in the ledger and its lines in the privacy policy.
    """

    name: str
    unit: str
    source: str
    """The source whose rows are counted. A council that has not sent it has no rows."""
    population: str
    confidential_table: str
    """Name of the table in the restricted zone that is measured with noise, one row per unit."""
    confidential_description: str
    """The content of that table, in one sentence for its asset."""
    attributes: tuple[TableAttribute, ...]
    tables: tuple[Table, ...]
    further_sources: tuple[str, ...] = ()
    """Sources whose rows are linked to the counted rows and add attributes to them."""
    is_linked: bool = True
    """Whether a row is about a linked child; if not, it is about itself, such as a survey response."""
    shared_totals: tuple[SharedTotal, ...] = ()
    counted: str
    """The measure that counts its rows."""
    share: str
    """The measure that gives this count as a percentage of the count with one filter at its total."""
    counted_as_linked: str = ""
    """The same count before correction for linkage error; empty if it is not corrected."""
    found_by_linkage: frozenset[str] = frozenset()
    """Attributes known only through a link. Figures broken down by one of them are corrected for linkage error."""
    figures: Mapping[Group, tuple[str, str]] = field(default_factory=dict, hash=False)
    """Groups with their own measures: the number of children in the group, and their share."""
    weight: str
    """Kind of cell of a requested table, as named in the weights of the privacy policy."""
    measured_apart: tuple[tuple[tuple[str, ...], str], ...] = ()
    """Marginals that are measured although no table shows them, each with its kind of cell in the weights of the
    privacy policy. Those without the council attribute are measured over all councils together."""
    never_shown: frozenset[str] = frozenset()
    """Attributes measured only to estimate linkage error; no table may use them."""

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources its rows are made from, the counted one first."""
        return (self.source, *self.further_sources)

    def get_table(self, name: str) -> Table:
        """Return the table with this name."""
        return next(table for table in self.tables if table.name == name)

    def get_attribute(self, name: str) -> TableAttribute:
        """Return the attribute with this name."""
        return next(attribute for attribute in self.attributes if attribute.name == name)


def select_each(attribute: TableAttribute) -> tuple[Selection, ...]:
    """Return one level for each category except the unknown."""
    return tuple(Selection(category, (category,)) for category in attribute.categories if category != UNKNOWN)


def build_axis(name: str, attribute: TableAttribute) -> Axis:
    """Return the axis of a filter at its total and at one level for each category except the unknown."""
    return Axis(name, attribute.name, (ALL, *select_each(attribute)))


def build_breakdowns(
    *attributes: TableAttribute, levels: Mapping[TableAttribute, tuple[Selection, ...]] = MappingProxyType({})
) -> tuple[tuple[tuple[Axis, ...], dict[str, str]], ...]:
    """Return the axes and constants of rows that are not broken down, and of rows broken down by each attribute.

    An attribute is broken down by `levels`, if given, or by each of its categories.
    """
    by_attribute = (
        ((Axis("breakdown", attribute.name, levels.get(attribute) or select_each(attribute)),), attribute.label)
        for attribute in attributes
    )
    broken_down = ((axes, {"breakdown_topic": label}) for axes, label in by_attribute)
    return (((), {"breakdown_topic": "Total", "breakdown": "Total"}), *broken_down)


SEX = TableAttribute("sex", "Sex", ("Female", "Male", UNKNOWN))
FSM = TableAttribute(
    "fsm",
    "Free school meal eligibility",
    ("Eligible for free school meals", "Not eligible for free school meals", UNKNOWN),
)
IMD = TableAttribute(
    "imd_quintile",
    "IMD quintile",
    ("Quintile 1 (most deprived)", "Quintile 2", "Quintile 3", "Quintile 4", "Quintile 5 (least deprived)", UNKNOWN),
)


_FOLDER = Path(__file__).parent
_MEASURE = TypeAdapter(Measure)
MEASURES = {
    row["name"]: _MEASURE.validate_python(row | {"kind": MeasureKind[row["kind"].upper()]})
    for row in read_rows(_FOLDER / "measures.csv")
}
"""All measures, by name, in their order in a table."""
FILTERS = {name: Filter(name, each.label, each.description) for name, each in DECLARATIONS.filters.items()}
"""All filters, by name."""
TOPIC_FILTER, BREAKDOWN_FILTER = FILTERS["breakdown_topic"], FILTERS["breakdown"]


def list_declared_attributes(family: str) -> tuple[TableAttribute, ...]:
    """Return the attributes that a family's file declares as codes of a column of a source."""
    return tuple(
        TableAttribute(name, each.label, (*each.codes.values(), UNKNOWN))
        for name, each in DECLARATIONS.files[family].attributes.items()
    )


def define_table(name: str, family: str, population: str, blocks: Iterable[Block], **words: str) -> Table:
    """Return the table of these blocks, with its declared text and filters; `words` are put into the text.

    Raises `WrongDeclaration` naming each file and entry that is missing.
    """
    rows = tuple(blocks)
    used = {measure for block in rows for measure in block.measures}
    if missing := [*_find_missing(name, family, rows, used)]:
        raise WrongDeclaration(f"The table {name} cannot be defined:\n" + "\n".join(missing))
    declared = DECLARATIONS.tables[name]
    return Table(
        name,
        declared.title,
        family,
        population,
        declared.description.format(**words),
        tuple(FILTERS[each] for each in declared.filters),
        tuple(measure for measure in MEASURES.values() if measure.name in used),
        rows,
    )


def _find_missing(name: str, family: str, blocks: Sequence[Block], measures: Collection[str]) -> Iterator[str]:
    """Yield what the declarations lack for a table."""
    yield from (f"measures.csv: {each!r} is missing" for each in sorted(measures) if each not in MEASURES)
    if name not in DECLARATIONS.tables:
        yield f"{family}.yaml: tables.{name} is missing"
        return
    filters = set(DECLARATIONS.tables[name].filters)
    for each in sorted(filters - FILTERS.keys()):
        yield DECLARATIONS.describe_fault("tables", name, f"{each!r} is no filter in a section filters", "filters")
    levels: list[set[str]] = [{*(axis.filter for axis in block.axes), *block.constants} for block in blocks]
    for each in sorted(set().union(*levels) - filters):
        yield DECLARATIONS.describe_fault("tables", name, f"{each!r} is missing", "filters")
    for each in sorted(filters - levels[0].intersection(*levels)):
        yield DECLARATIONS.describe_fault(
            "tables", name, f"{each!r} has no level in some block of the table", "filters"
        )
