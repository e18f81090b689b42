"""Figures corrected for records that were linked wrongly or not found, with that uncertainty in their variances.

`Corrected` is for links that are missed or false. An attribute of a child (who had seen it) is found by linkage, and
found wrongly at times. Let M[f, t] be the chance that a child of the true category t is found in category f, and N the
counts as found. Then M^-1 N estimates the true counts without bias (the matrix method for misclassified categories;
Kuha and Skinner 1997). A figure that weighs the categories by w is w M^-1 N: the same measured counts under other
weights, so its value, variance and covariances come
from the same exact estimates. A total weighs all categories alike and stays as it is, for every column of M adds up
to 1.

Two more variances add to that of the noise. The rates behind M have a covariance C of their own: w (dM^-1/drate) N is
how much a figure moves with each. And of the true children of a category, how many were found elsewhere is itself a
matter of chance: those of category t add (w_f - w_t)^2 M[f, t] each, so that an interval is about these children.

Rates may be higher in some places than in others, by a factor of each (`Local`), of one group of rates and another.
With S the derivative of M^-1 along the rates of a group, M^-1 of a place with factor m is M^-1 + (m - 1) S but for what
is of second order in the rates, and a figure of many places weighs each place's own. A factor is not known exactly
either, and errs in each place by itself. Where children are in two places, as in a council and in an ethnic group, the
terms of both add up; those of groups have a mean factor of 1 and change no figure of all groups together.

`Joined` is for children whose row in another source of the same service was not found. What such a row says of a child
(its free school meals, ethnic group, special needs, language) is then unknown, each at once. Let c be the share of
children for whom it was not found, N the counts as found, and U the cell of those of whom all is unknown. Each cell has
lost c of its children to U, so with k = c / (1 - c) a figure that weighs cells by w is w N + k (w - w(U)) N, in which a
total, w = 1, stays as it is to the bit. Weights of several such attributes multiply: w - w(U) is the sum of products
with one factor w_i - w_i(U) each, those before it at w_j(U), those after it at w_j. To the variance of the noise comes
that of k.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from privacy.estimation.intervals import Moments
from privacy.release.workload import Array, Attribute, Cube, Figures, LinearCombination, Selector, terms_of

_STEP = 1e-6
"""By which a rate is moved, to see what moves with it."""
_DECIMALS = 9

_Block = tuple[tuple[int, ...], ...]
"""Rows of each axis of figures."""
Transitions = Callable[[Array], Mapping[str, Array]]
"""From the rates to M of each attribute: (categories found, true categories), in the order of its domain."""


@dataclass(frozen=True, eq=False)
class Local:
    """By category of `attribute`, how many times as high as over all the rates of each group are: `factors` (groups,
    categories), with their `covariances` (categories, groups, groups). `groups` (rates,) is the group of each rate, or
    -1 of one that is the same everywhere. Where `told` says of the attributes of a figure that it cannot be had by that
    attribute, the mean factor, by `sizes` (categories,), stands for all. So it does at the total of the attribute,
    unless places are `added_up` there."""

    attribute: str
    factors: Array
    covariances: Array
    groups: NDArray[np.int64]
    sizes: Array
    told: Callable[[Iterable[str]], bool]
    added_up: bool = True

    @cached_property
    def mean(self) -> Array:
        """Of each group; rounded, so that it is the same on every machine, however it adds up."""
        whole = self.sizes.sum()
        return np.round(self.factors @ self.sizes / whole, _DECIMALS) if whole > 0 else np.ones(len(self.factors))


@dataclass(frozen=True, eq=False)
class Corrected:
    """The moments of figures, corrected. `rates` (r,) with `covariance` (r, r) give M by `transitions`; each of
    `local`, of other attributes and the same groups of rates, says where they are higher.

    A figure may weigh or choose the categories of one such attribute: ValueError for one that does of two.
    """

    moments: Moments
    transitions: Transitions
    rates: Array
    covariance_of_rates: Array
    local: tuple[Local, ...] = ()
    _known: dict[int, tuple[Figures, _Moves]] = field(default_factory=dict, init=False, repr=False)
    _reweighed: dict[tuple[int, int, float], tuple[Selector, Selector]] = field(
        default_factory=dict, init=False, repr=False
    )
    _parts_of: dict[tuple[int, _Block], tuple[Figures, Figures]] = field(default_factory=dict, init=False, repr=False)
    """By identity; figures and selectors are held on to, for safety."""

    def values(self, figures: Figures) -> Array:
        return self._in_blocks(self._values, figures)

    def variance(self, figures: Figures) -> Array:
        return self._in_blocks(self._variance, figures)

    def covariance(self, left: Figures, right: Figures) -> Array:
        return self._in_blocks(self._covariance, left, right)

    def _values(self, figures: Figures) -> Array:
        return self.moments.values(self._corrected(figures))

    def _variance(self, figures: Figures) -> Array:
        of_noise = self.moments.variance(self._corrected(figures))
        return of_noise + np.maximum(self._of_linkage(figures, figures), 0.0)

    def _covariance(self, left: Figures, right: Figures) -> Array:
        of_noise = self.moments.covariance(self._corrected(left), self._corrected(right))
        return of_noise + self._of_linkage(left, right)

    def _in_blocks(self, ask: Callable[..., Array], *figures: Figures) -> Array:
        """Return moments of figures of one shape. Where they cannot be had by place, those at the total of an attribute
        perhaps can: they are asked for by themselves, so that a number is the same wherever it is shown."""
        cubes = [cube for each in figures for _, cube in terms_of(each)]
        summed = [local for local in self.local if local.added_up]
        if all(self._attribute(cube) is None or _is_told(local, cube) for local in summed for cube in cubes):
            return ask(*figures)
        groups = [
            _alike(np.stack([list(cube.selectors.values())[axis].is_total for cube in cubes], axis=1))
            for axis in range(len(figures[0].shape))
        ]
        if all(len(each) == 1 for each in groups):
            return ask(*figures)
        answer = np.zeros(figures[0].shape)
        for block in product(*groups):
            answer[np.ix_(*block)] = ask(*(self._part(each, block) for each in figures))
        return answer

    def _part(self, figures: Figures, block: _Block) -> Figures:
        """Return the figures of some rows of each axis; the same object for the same ones."""
        key = (id(figures), block)
        if key not in self._parts_of:
            terms = [(coefficient, _rows_of(cube, block)) for coefficient, cube in terms_of(figures)]
            part = LinearCombination(tuple(terms)) if isinstance(figures, LinearCombination) else terms[0][1]
            self._parts_of[key] = (figures, part)
        return self._parts_of[key][1]

    def _of_linkage(self, left: Figures, right: Figures) -> Array:
        """Return what rates that are not known exactly, and chance in who is missed, add to the covariance."""
        one, other = self._moves(left), self._moves(right)
        total = np.zeros(left.shape)
        for i, by_one in enumerate(one.rates):
            for j, by_other in enumerate(other.rates):
                total = total + self.covariance_of_rates[i, j] * by_one * by_other
        for local, here, there in zip(self.local, one.places, other.places, strict=True):
            if here is not None and there is not None:
                total = total + _over_places(here, there, local.covariances)
        for a, one_cube in terms_of(left):
            for b, other_cube in terms_of(right):
                total = total + a * b * self._by_chance(one_cube, other_cube)
        return total

    def _moves(self, figures: Figures) -> _Moves:
        """Return how much the figures move with each rate, and with each place's factor. Worked out once."""
        if id(figures) not in self._known:
            told = [(coefficient, cube) for coefficient, cube in terms_of(figures) if self._attribute(cube) is not None]
            rates = [self._moved(told, figures.shape, rate) for rate in range(len(self.rates))] if told else []
            places = [self._moved_in_places(local, told) for local in self.local]
            self._known[id(figures)] = (figures, _Moves(rates, places))
        return self._known[id(figures)][1]

    def _moved(self, terms: Sequence[tuple[float, Cube]], shape: tuple[int, ...], rate: int) -> Array:
        total = np.zeros(shape)
        for coefficient, cube in terms:
            scale, there = self._in_places(cube, rate)
            name = self._attribute(cube)
            assert name is not None
            moved = self.moments.values(_weighed(there, name, self._slopes[rate][name]))
            total = total + coefficient * scale * moved
        return total

    def _in_places(self, cube: Cube, rate: int) -> tuple[float, Cube]:
        """Return the cube with as many times the children as a rate is higher where they are."""
        return self._by_factors(cube, int(self.local[0].groups[rate]) if self.local else -1)

    def _by_factors(self, cube: Cube, group: int) -> tuple[float, Cube]:
        """Return the cube in which children count by the factors of all places that they are in; by 1 of no group."""
        scale = 1.0
        for local in self.local if group >= 0 else ():
            of_all, cube = self._by_factor(local, cube, group)
            scale *= of_all
        return scale, cube

    def _by_factor(self, local: Local, cube: Cube, group: int, less: float = 0.0) -> tuple[float, Cube]:
        """Return the cube in which the children of each place count by its factor, or all by the mean, `less` so
        much."""
        if not _is_told(local, cube):
            return local.mean[group] - less, cube
        there = _selector(cube, local.attribute)
        key = (id(there), group, less)
        if key not in self._reweighed:
            weights = there.matrix * (local.factors[group] - less)
            if not local.added_up:
                weights[there.is_total] = local.mean[group] - less
            self._reweighed[key] = (there, _reweighed(there, weights))
        return 1.0, _instead(cube, self._reweighed[key][1])

    def _moved_in_places(self, local: Local, terms: Sequence[tuple[float, Cube]]) -> Array | None:
        """Return how much the figures move with the factor of each place and group: (*figures, places, groups)."""
        total = None
        for coefficient, cube in terms:
            if _is_told(local, cube):
                by_group = [self._by_place(cube, local, along) for along in self._along]
                moved = coefficient * np.stack(by_group, axis=-1)
                total = moved if total is None else total + moved
        return total

    def _by_place(self, cube: Cube, local: Local, along: Mapping[str, Array]) -> Array:
        """Return how much of the figures, weighed by `along` of their attribute, comes from each place: (*figures,
        places)."""
        name, place = self._attribute(cube), local.attribute
        assert name is not None
        there = _selector(cube, place)
        rows = there.matrix if local.added_up else there.matrix * ~there.is_total[:, None]
        each = _each(there.attribute)
        moved = self.moments.values(_weighed(_by(cube, place, each), name, along[name]))
        axis = list(cube.selectors).index(place) if place in cube.selectors else None
        found = np.moveaxis(moved, axis or 0, -1)
        if axis is None:
            return found * rows[0]
        return np.moveaxis(found[..., None, :] * rows, -2, axis)

    def _by_chance(self, left: Cube, right: Cube) -> Array:
        """Return the covariance by chance of two cubes of one shape: of the children whom both count."""
        name = self._attribute(left)
        if name is None or name != self._attribute(right):
            return np.zeros(left.shape)
        total = np.zeros(left.shape)
        one, other = _rows(left, name), _rows(right, name)
        for group, chances in self._parts.items():
            both = _intersection(left, right, name, _apart(one, other, chances[name]))
            scale, there = self._by_factors(both, group)
            total = total + scale * self.moments.values(_weighed(there, name, self._inverses[name]))
        return total

    def _corrected(self, figures: Figures) -> Figures:
        terms = [term for coefficient, cube in terms_of(figures) for term in self._true(coefficient, cube)]
        return terms[0][1] if len(terms) == 1 and terms[0][0] == 1.0 else LinearCombination(tuple(terms))

    def _true(self, coefficient: float, cube: Cube) -> list[tuple[float, Cube]]:
        name = self._attribute(cube)
        if name is None:
            return [(coefficient, cube)]
        terms = [(coefficient, _weighed(cube, name, self._inverses[name]))]
        for local in self.local if not _is_total(cube, name) else ():
            for group, along in enumerate(self._along):
                scale, there = self._by_factor(local, cube, group, less=1.0)
                if scale:
                    terms.append((coefficient * scale, _weighed(there, name, along[name])))
        return terms

    def _attribute(self, cube: Cube) -> str | None:
        """Return the attribute found by linkage that a cube tells children apart by; none where it is at its total."""
        present = (name for name in self._inverses if name in cube.selectors or name in cube.where)
        names = [name for name in present if not _is_total(cube, name)]
        if len(names) > 1:
            raise ValueError(f"a figure of {' and '.join(names)} cannot be corrected")
        return names[0] if names else None

    @cached_property
    def _matrices(self) -> Mapping[str, Array]:
        return self.transitions(self.rates)

    @cached_property
    def _inverses(self) -> dict[str, Array]:
        return {name: inverse(matrix) for name, matrix in self._matrices.items()}

    @cached_property
    def _parts(self) -> dict[int, Mapping[str, Array]]:
        """The chances in M of being found in another category, in parts that add up: by group of rates, and -1 of those
        that are the same everywhere."""
        if not self.local:
            return {-1: self._matrices}
        groups = self.local[0].groups
        parts = {-1: self.transitions(np.where(groups < 0, self.rates, 0.0))}
        for group in range(len(self.local[0].factors)):
            without = self.transitions(np.where(groups == group, 0.0, self.rates))
            parts[group] = {name: matrix - without[name] for name, matrix in self._matrices.items()}
        return parts

    @cached_property
    def _along(self) -> list[dict[str, Array]]:
        """For each group of rates, by attribute, the derivative of M^-1 by the factor of a place."""
        found = []
        for group in range(len(self.local[0].factors)):
            rates = np.where(self.local[0].groups == group, self.rates, 0.0)
            along = {name: np.zeros_like(matrix) for name, matrix in self._inverses.items()}
            for value, slope in zip(rates, self._slopes, strict=True):
                along = {name: along[name] + value * slope[name] for name in along}
            found.append(along)
        return found

    @cached_property
    def _slopes(self) -> list[dict[str, Array]]:
        """For each rate, by attribute, the derivative of M^-1."""
        slopes = []
        for rate in range(len(self.rates)):
            there = np.where(np.arange(len(self.rates)) == rate, self.rates + _STEP, self.rates)
            moved = {name: inverse(matrix) for name, matrix in self.transitions(there).items()}
            slopes.append({name: (moved[name] - self._inverses[name]) / _STEP for name in moved})
        return slopes


@dataclass(frozen=True, eq=False)
class _Moves:
    """How much figures move with each rate, and, for each `Local`, (*figures, places, groups) with the factors of each
    place, if any."""

    rates: list[Array]
    places: list[Array | None]


def _is_told(local: Local, cube: Cube) -> bool:
    """Return whether a cube can be had by the places in which rates are higher."""
    selectors = {**cube.selectors, **cube.where}
    if local.attribute not in selectors or not (local.added_up or not _is_total(cube, local.attribute)):
        return False
    told_apart = {name for name, selector in selectors.items() if not selector.is_total.all()}
    return local.told({*told_apart, local.attribute})


def _alike(marks: NDArray[np.bool_]) -> list[tuple[int, ...]]:
    """Return the rows that have the same marks, together."""
    found: dict[bytes, list[int]] = {}
    for row, own in enumerate(marks):
        found.setdefault(own.tobytes(), []).append(row)
    return [tuple(rows) for rows in found.values()]


def _rows_of(cube: Cube, block: _Block) -> Cube:
    """Return the cube with these rows of each axis."""
    chosen = {
        name: Selector(
            selector.attribute, tuple(selector.labels[i] for i in rows), tuple(selector.rows[i] for i in rows)
        )
        for (name, selector), rows in zip(cube.selectors.items(), block, strict=True)
    }
    return Cube(chosen, cube.where)


def _over_places(one: Array, other: Array, covariances: Array) -> Array:
    """Return the sum over places and pairs of groups of one . other . covariance, place after place on every
    machine."""
    by_place = np.zeros(one.shape[:-1])
    for g in range(one.shape[-1]):
        for h in range(one.shape[-1]):
            by_place = by_place + one[..., g] * other[..., h] * covariances[:, g, h]
    total: Array = np.cumsum(by_place, axis=-1)[..., -1]
    return total


def inverse(matrix: Array) -> Array:
    """Return the inverse of a square matrix by Gauss and Jordan, the same to the last bit on any machine. Pivots are
    taken as they come: those of M lie near 1."""
    size = len(matrix)
    rows = np.concatenate([matrix, np.eye(size)], axis=1)
    for pivot in range(size):
        rows[pivot] = rows[pivot] / rows[pivot, pivot]
        for other in range(size):
            if other != pivot:
                rows[other] = rows[other] - rows[other, pivot] * rows[pivot]
    return rows[:, size:]


def _rows(cube: Cube, name: str) -> Array:
    """Return the weights of an attribute's categories: (levels of its axis, or 1; categories)."""
    return _selector(cube, name).matrix


def _selector(cube: Cube, name: str) -> Selector:
    return cube.selectors.get(name) or cube.where[name]


def _weighed(cube: Cube, name: str, matrix: Array) -> Cube:
    """Return the cube with each row of weights w of the attribute as w `matrix`; a total stays one, or is 0 where the
    columns of the matrix add up to 0."""
    weights, total = _rows(cube, name), np.zeros((1, matrix.shape[1]))
    for category in range(matrix.shape[0]):
        total = total + weights[:, category : category + 1] * matrix[category]
    alike = np.all(weights == 1.0, axis=1)
    total[alike] = np.rint(total[alike])
    return _with(cube, name, total)


def _with(cube: Cube, name: str, weights: Array) -> Cube:
    """Return the cube with other weights of an attribute's categories; all its rows stay."""
    return _instead(cube, _reweighed(_selector(cube, name), weights))


def _reweighed(selector: Selector, weights: Array) -> Selector:
    return Selector(selector.attribute, selector.labels, tuple(map(tuple, weights.tolist())))


def _instead(cube: Cube, selector: Selector) -> Cube:
    """Return the cube with another selector on an attribute, of as many rows."""
    name = selector.attribute.name
    if name in cube.selectors:
        return Cube({**cube.selectors, name: selector}, cube.where)
    return Cube(cube.selectors, {**cube.where, name: selector})


def _apart(one: Array, other: Array, chances: Array) -> Array:
    """Return, by true category t, the sum over f of (one_f - one_t) (other_f - other_t) chances[f, t]: (rows, true)."""
    found, true = chances.shape
    weights = np.zeros((max(len(one), len(other)), true))
    for t in range(true):
        for f in range(found):
            weights[:, t] = weights[:, t] + (one[:, f] - one[:, t]) * (other[:, f] - other[:, t]) * chances[f, t]
    return weights


@cache
def _each(attribute: Attribute) -> Selector:
    return Selector.each(attribute)


def _is_total(cube: Cube, name: str) -> bool:
    """Return whether every row of the cube adds up all categories of an attribute."""
    return bool(_selector(cube, name).is_total.all())


def _by(cube: Cube, name: str, selector: Selector) -> Cube:
    """Return the cube with other rows of an attribute, as its axis, or as its first where it only chose some."""
    if name in cube.selectors:
        return _instead(cube, selector)
    return Cube({name: selector, **cube.selectors}, {each: s for each, s in cube.where.items() if each != name})


def _intersection(left: Cube, right: Cube, name: str, weights: Array) -> Cube:
    """Return the children whom both count, with these weights of the attribute `name`: weights of every other attribute
    multiply, level by level. Both have the same axes."""
    if list(left.selectors) != list(right.selectors):
        raise ValueError("figures of different axes have no covariance by chance that is worked out here")
    axes = {
        each: _product(selector, right.selectors[each]) if each != name else selector
        for each, selector in left.selectors.items()
    }
    where = {each: selector for each, selector in left.where.items() if each != name}
    for each, selector in right.where.items():
        if each != name:
            where[each] = _product(where[each], selector) if each in where else selector
    chosen = left.where if name in left.where else right.where
    if name not in axes:
        where[name] = chosen[name]
    return _with(Cube(axes, where), name, weights)


def _product(left: Selector, right: Selector) -> Selector:
    if left is right and np.isin(left.matrix, (0.0, 1.0)).all():
        return left
    return _reweighed(left, left.matrix * right.matrix)


@dataclass(frozen=True, eq=False)
class Joined:
    """The moments of figures, corrected. `unknown` gives, by attribute, the category of a child whose row was not
    found; `odds` is k, with its `variance_of_odds`."""

    moments: Moments
    unknown: Mapping[str, str]
    odds: float
    variance_of_odds: float
    _known: dict[int, tuple[Selector, Selector, Selector]] = field(default_factory=dict, init=False, repr=False)
    """By identity of a selector w: itself, w - w(U), and w(U) alike for every category."""

    def values(self, figures: Figures) -> Array:
        return self.moments.values(self._corrected(figures))

    def variance(self, figures: Figures) -> Array:
        return self.moments.variance(self._corrected(figures)) + self.variance_of_odds * self._moved(figures) ** 2

    def covariance(self, left: Figures, right: Figures) -> Array:
        of_noise = self.moments.covariance(self._corrected(left), self._corrected(right))
        return of_noise + self.variance_of_odds * self._moved(left) * self._moved(right)

    def _corrected(self, figures: Figures) -> Figures:
        lost = self._lost(figures)
        terms = tuple((self.odds * coefficient, cube) for coefficient, cube in lost)
        return LinearCombination((*terms_of(figures), *terms)) if lost else figures

    def _moved(self, figures: Figures) -> Array | float:
        """Return how much the figures move with the odds."""
        lost = self._lost(figures)
        return self.moments.values(LinearCombination(tuple(lost))) if lost else 0.0

    def _lost(self, figures: Figures) -> list[tuple[float, Cube]]:
        """Return the terms of (w - w(U)) N."""
        terms = []
        for coefficient, cube in terms_of(figures):
            of_all = {**cube.selectors, **cube.where}
            told = [name for name in of_all if name in self.unknown and not of_all[name].is_total.all()]
            for place, name in enumerate(told):
                others = {each: self._split(of_all[each])[1] for each in told[:place]}
                here = {**others, name: self._split(of_all[name])[0]}
                selectors, where = ({n: here.get(n, s) for n, s in of.items()} for of in (cube.selectors, cube.where))
                terms.append((coefficient, Cube(selectors, where)))
        return terms

    def _split(self, selector: Selector) -> tuple[Selector, Selector]:
        """Return w - w(U), and w(U)."""
        if id(selector) not in self._known:
            attribute, labels = selector.attribute, selector.labels
            at = attribute.categories.index(self.unknown[attribute.name])
            rest = tuple(tuple(weight - row[at] for weight in row) for row in selector.rows)
            alike = tuple((row[at],) * attribute.size for row in selector.rows)
            parts = Selector(attribute, labels, rest), Selector(attribute, labels, alike)
            self._known[id(selector)] = (selector, *parts)
        _, rest_of, alike_of = self._known[id(selector)]
        return rest_of, alike_of
