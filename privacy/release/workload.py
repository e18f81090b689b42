"""The workload of a family of tables: attributes, marginals, identities, and the figures read from them.

Everything here is a declaration made from public facts alone: the domain of an attribute comes from a contract, never
from the data. Nothing here counts, draws or estimates. A *functional* is a weighted sum of cells in product form: one
vector of weights per attribute, and ones (summed out) for every attribute that is not named.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Vector = Mapping[str, float] | tuple[str, ...]
"""Weights of an attribute's categories: a mapping category -> weight, or the categories with weight one."""


class WorkloadError(ValueError):
    """A declaration that contradicts itself or names something that does not exist."""


@dataclass(frozen=True)
class Attribute:
    """A column of the child table and its public categories, in publication order."""

    name: str
    categories: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.categories:
            raise WorkloadError(f"attribute {self.name!r} needs a category")
        _refuse_duplicates(self.categories, f"attribute {self.name!r}: category")

    @property
    def size(self) -> int:
        """Number of categories."""
        return len(self.categories)

    def get_weights(self, vector: Vector) -> tuple[float, ...]:
        """Return one weight per category, in category order. Raises WorkloadError for an unknown category."""
        weight_of = _parse_weights(self.name, vector)
        unknown = [category for category in weight_of if category not in self.categories]
        if unknown:
            raise WorkloadError(f"attribute {self.name!r} has no category {unknown[0]!r}")
        return tuple(float(weight_of.get(category, 0.0)) for category in self.categories)


@dataclass(frozen=True)
class Marginal:
    """The counts over `attributes`; in the plan's objective `weight` multiplies the sum of their variances."""

    attributes: tuple[str, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        _refuse_duplicates(self.attributes, "marginal: attribute")
        if not (0 < self.weight < float("inf")):
            raise WorkloadError(
                f"marginal {_format_names(self.attributes)}: weight must be positive, not {self.weight}"
            )


@dataclass(frozen=True)
class Term:
    """`coefficient` times a functional: one vector per named attribute, ones for every other."""

    vectors: Mapping[str, Vector]
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        # As weights, so that equal terms compare equal however they were written.
        weights = {name: _parse_weights(name, vector) for name, vector in self.vectors.items()}
        object.__setattr__(self, "vectors", weights)


@dataclass(frozen=True)
class Batch:
    """For every cell of `over`, the sum of `terms` within that cell."""

    over: tuple[str, ...]
    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        _refuse_duplicates(self.over, "batch: attribute")
        for term in self.terms:
            both = [name for name in term.vectors if name in self.over]
            if both:
                raise WorkloadError(f"batch over {_format_names(self.over)}: a term also weighs {both[0]!r}")


@dataclass(frozen=True)
class Identity:
    """An equality of `left` and `right`, which run over the same attributes, cell by cell for every child table.

    For instance, two attributes may record the same fact.
    """

    left: Batch
    right: Batch
    description: str

    def __post_init__(self) -> None:
        if set(self.left.over) != set(self.right.over):
            raise WorkloadError(f"identity {self.description!r}: its two sides run over different attributes")

    @property
    def over(self) -> tuple[str, ...]:
        """The attributes it runs over: each of their cells gives one equality."""
        return self.left.over

    def iter_signed_terms(self) -> Iterator[tuple[float, Term]]:
        """Yield the terms of left minus right, each with its signed coefficient; their sum is zero in every cell."""
        yield from ((term.coefficient, term) for term in self.left.terms)
        yield from ((-term.coefficient, term) for term in self.right.terms)


@dataclass(frozen=True)
class Nesting:
    """A grouping, as of councils by region: each category of `outer`, which is no column, is a group of `inner`'s."""

    inner: str
    outer: str
    members: Mapping[str, tuple[str, ...]]
    share: float

    def __post_init__(self) -> None:
        _refuse_duplicates(
            (m for group in self.members.values() for m in group), f"nesting of {self.inner!r}: category"
        )
        if not all(self.members.values()):
            raise WorkloadError(f"nesting of {self.inner!r}: a group is empty")
        if not 0 < self.share < 1:
            raise WorkloadError(f"nesting of {self.inner!r}: share must lie between 0 and 1, not {self.share}")


@dataclass(frozen=True)
class MeasuredFamily:
    """Tables over one population, measured together. `unit` says in words what one row of the child table is.

    With a `nesting`, every marginal holds its inner or its outer attribute, so that each group is a separate problem.
    """

    name: str
    unit: str
    attributes: tuple[Attribute, ...]
    marginals: tuple[Marginal, ...]
    identities: tuple[Identity, ...] = ()
    nesting: Nesting | None = None

    def __post_init__(self) -> None:
        if not self.attributes or not self.marginals:
            raise WorkloadError(f"family {self.name!r} needs attributes and marginals")
        _refuse_duplicates([a.name for a in self.attributes], f"family {self.name!r}: attribute")
        workload = [self.sort_names(marginal.attributes) for marginal in self.marginals]
        _refuse_duplicates(workload, f"family {self.name!r}: marginal")
        for identity in self.identities:
            self._check_identity(identity)
        self._check_identity_roles()
        if self.nesting is not None:
            self._check_nesting(self.nesting)

    def get_attribute(self, name: str) -> Attribute:
        """Return the attribute of that name. Raises WorkloadError if it does not exist."""
        try:
            return self._by_name[name]
        except KeyError:
            raise WorkloadError(f"family {self.name!r} has no attribute {name!r}") from None

    def sort_names(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the names in the family's attribute order. Raises WorkloadError for an unknown name."""
        wanted = set(names)
        for unknown in wanted - self._positions.keys():
            self.get_attribute(unknown)
        return tuple(sorted(wanted, key=self._positions.__getitem__))

    def get_shape(self, names: Iterable[str]) -> tuple[int, ...]:
        """Return the domain sizes of the named attributes, in the order given."""
        return tuple(self.get_attribute(name).size for name in names)

    def has_marginal_over(self, names: Iterable[str]) -> bool:
        """Return whether some marginal of the workload holds all the named attributes."""
        wanted = set(names)
        return any(wanted <= set(marginal.attributes) for marginal in self.marginals)

    @property
    def columns(self) -> tuple[str, ...]:
        """The attributes that are columns of the child table: all except an outer one, which follows from its inner."""
        return tuple(a.name for a in self.attributes if self.nesting is None or a.name != self.nesting.outer)

    def select_group(self, group: str) -> "MeasuredFamily":
        """Return the family of one group of the nesting: its inner categories, with the group's marginals as totals."""
        if self.nesting is None:
            raise WorkloadError(f"family {self.name!r} has no nesting")
        inner, outer, members = self.nesting.inner, self.nesting.outer, self.nesting.members[group]
        attributes = (
            Attribute(a.name, tuple(c for c in a.categories if c in members)) if a.name == inner else a
            for a in self.attributes
            if a.name != outer
        )
        marginals = (Marginal(tuple(n for n in m.attributes if n != outer), m.weight) for m in self.marginals)
        return MeasuredFamily(self.name, self.unit, tuple(attributes), tuple(marginals), self.identities)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self._by_name)}

    @cached_property
    def _by_name(self) -> dict[str, Attribute]:
        return {attribute.name: attribute for attribute in self.attributes}

    def _check_identity(self, identity: Identity) -> None:
        for _, term in identity.iter_signed_terms():
            for name, vector in term.vectors.items():
                self.get_attribute(name).get_weights(vector)
            marginal = self.sort_names((*identity.over, *term.vectors))
            # Without it some of the components on which the equality acts are never measured.
            if not self.has_marginal_over(marginal):
                raise WorkloadError(
                    f"identity {identity.description!r} needs the marginal {_format_names(marginal)}, "
                    f"which no marginal of family {self.name!r} contains"
                )

    def _check_nesting(self, nesting: Nesting) -> None:
        inner, outer = self.get_attribute(nesting.inner), self.get_attribute(nesting.outer)
        if set(nesting.members) != set(outer.categories):
            raise WorkloadError(
                f"family {self.name!r}: the groups of the nesting are not the categories of {outer.name!r}"
            )
        if {c for group in nesting.members.values() for c in group} != set(inner.categories):
            raise WorkloadError(f"family {self.name!r}: the nesting does not group every category of {inner.name!r}")
        for marginal in self.marginals:
            if len({inner.name, outer.name} & set(marginal.attributes)) != 1:
                raise WorkloadError(
                    f"family {self.name!r}: marginal {_format_names(marginal.attributes)} must hold either "
                    f"{inner.name!r} or {outer.name!r}"
                )

    def _check_identity_roles(self) -> None:
        over = {name for identity in self.identities for name in identity.over}
        weighed = {name for i in self.identities for _, term in i.iter_signed_terms() for name in term.vectors}
        # Otherwise the equalities do not split into one small problem for each residual component.
        if over & weighed:
            raise WorkloadError(
                f"family {self.name!r}: identities run over {min(over & weighed)!r} and also weigh its categories; "
                "an attribute can do only one of the two"
            )


@dataclass(frozen=True)
class Selector:
    """The rows of one axis of a cube: `labels[i]` names `rows[i]`, one weight per category of `attribute`."""

    attribute: Attribute
    labels: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]

    @classmethod
    def for_groups(cls, attribute: Attribute, groups: Mapping[str, Vector]) -> "Selector":
        """Return a selector with one row per group: label -> the categories it adds up, or their weights."""
        rows = tuple(attribute.get_weights(vector) for vector in groups.values())
        return cls(attribute, tuple(groups), rows)

    @classmethod
    def for_each(cls, attribute: Attribute) -> "Selector":
        """Return a selector with one row per category."""
        return cls.for_groups(attribute, {category: (category,) for category in attribute.categories})

    @classmethod
    def for_total(cls, attribute: Attribute) -> "Selector":
        """Return a single row that sums over every category."""
        return cls.for_groups(attribute, {"Total": attribute.categories})

    @classmethod
    def for_categories(cls, attribute: Attribute, *categories: str) -> "Selector":
        """Return a single row that sums over the given categories."""
        return cls.for_groups(attribute, {" + ".join(categories): categories})

    def __add__(self, other: "Selector") -> "Selector":
        """Join the rows of both, in order."""
        return Selector(self.attribute, self.labels + other.labels, self.rows + other.rows)

    def take(self, rows: Sequence[int]) -> "Selector":
        """Return the selector with only these rows, by number."""
        return Selector(self.attribute, tuple(self.labels[i] for i in rows), tuple(self.rows[i] for i in rows))

    def reweigh(self, weights: Array) -> "Selector":
        """Return the selector with other weights, (rows, categories), under the same labels."""
        return Selector(self.attribute, self.labels, tuple(map(tuple, weights.tolist())))

    @cached_property
    def matrix(self) -> Array:
        """The rows as a (rows x categories) array."""
        return np.array(self.rows, dtype=np.float64)

    @cached_property
    def is_total(self) -> NDArray[np.bool_]:
        """Per row, whether it sums out the attribute."""
        return np.all(self.matrix == 1.0, axis=1)

    @cached_property
    def means(self) -> Array:
        """Per row, the mean of its weights."""
        # Added up category by category, so that other rows cannot change the last bits of a mean.
        total = np.zeros(len(self.rows))
        for column in self.matrix.T:
            total = total + column
        return total / self.attribute.size

    @cached_property
    def centred(self) -> Array:
        """The (rows x categories) weights with each row's mean subtracted; exactly zero for a total."""
        return self.matrix - self.means[:, None]


@dataclass(frozen=True)
class Cube:
    """An array of functionals: one axis per selector, in order; `where` restricts every figure and adds no axis."""

    selectors: Mapping[str, Selector]
    where: Mapping[str, Selector] = field(default_factory=dict)

    @cached_property
    def named(self) -> Mapping[str, Selector]:
        """Selectors by attribute: of every axis, and of every restriction."""
        return {**self.selectors, **self.where}

    def replace(self, selector: Selector) -> "Cube":
        """Return the cube with another selector on one of its attributes, with the same number of rows."""
        name = selector.attribute.name
        if name in self.selectors:
            return Cube({**self.selectors, name: selector}, self.where)
        return Cube(self.selectors, {**self.where, name: selector})

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows of each selector."""
        return tuple(len(selector.rows) for selector in self.selectors.values())


@dataclass(frozen=True)
class LinearCombination:
    """The sum of `coefficient * cube` over `terms`, cell by cell; all cubes have one shape."""

    terms: tuple[tuple[float, Cube], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of every cube in it."""
        return self.terms[0][1].shape


Figures = Cube | LinearCombination
"""Anything that has values, variances and covariances."""


def list_terms(figures: Figures) -> tuple[tuple[float, Cube], ...]:
    """Return the figures as (coefficient, cube) pairs."""
    return figures.terms if isinstance(figures, LinearCombination) else ((1.0, figures),)


def _parse_weights(name: str, vector: Vector) -> dict[str, float]:
    # A string is a sequence too, of its characters.
    if isinstance(vector, str):
        raise WorkloadError(f"attribute {name!r}: give a tuple of categories, not the text {vector!r}")
    if not vector:
        raise WorkloadError(f"attribute {name!r}: an empty choice of categories")
    if isinstance(vector, Mapping):
        weights = {category: float(weight) for category, weight in vector.items()}
    else:
        _refuse_duplicates(vector, f"attribute {name!r}: category")
        weights = dict.fromkeys(vector, 1.0)
    if not all(np.isfinite(weight) for weight in weights.values()):
        raise WorkloadError(f"attribute {name!r}: weights must be finite")
    return weights


def _refuse_duplicates(values: Iterable[object], what: str) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise WorkloadError(f"{what} {value!r} is listed twice")
        seen.add(value)


def _format_names(names: Iterable[str]) -> str:
    return "(" + ", ".join(names) + ")"
