"""Figures corrected for records that were linked wrongly or not found, with that uncertainty in their variances.

`Corrected` corrects for missed and false links. Let M[f, t] be the chance that a child of true category t of a linked
attribute is found in category f, and N the counts as found. M^-1 N estimates the true counts without bias (the matrix
method for misclassified categories; Kuha and Skinner 1997). A figure that weighs the categories by w becomes w M^-1 N:
the same measured counts under other weights, so its value, variance and covariances come from the same exact estimates.
A total does not change, because every column of M adds up to 1.

Two variances are added to that of the noise: one for the uncertain rates behind M, from how far w (dM^-1/drate) N moves
with each, and one for chance, (w_f - w_t)^2 M[f, t] for each child of category t, so that an interval is about these
children.

Rates may be higher in some places than in others, by one factor per place and group of rates (`Local`). With S the
derivative of M^-1 along the rates of a group, M^-1 of a place with factor m is M^-1 + (m - 1) S, apart from terms of
second order. Factors are uncertain too, independently in each place. If children belong to two places, such as a
council and an ethnic group, the terms of both add up.

`Joined` corrects for children whose row in another source of the same service was not found, so that everything it
records about a child is unknown at once. Let c be the share of such children, U the cell in which everything is unknown
and k = c / (1 - c). A figure that weighs cells by w is w N + k (w - w(U)) N; a total stays the same to the last bit.
Weights of several such attributes multiply: w - w(U) is the sum of products with one factor w_i - w_i(U) each, those
before it at w_j(U), those after it at w_j. The variance of k is added to that of the noise.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from privacy.estimation.covariance import cache_by_identity
from privacy.estimation.intervals import Moments
from privacy.release.workload import Array, Attribute, Cube, Figures, LinearCombination, Selector, list_terms

_STEP = 1e-6
"""Step in a rate for numerical derivatives."""
_DECIMALS = 9

_Block = tuple[tuple[int, ...], ...]
"""Indices of rows on each axis of figures."""
Transitions = Callable[[Array], Mapping[str, Array]]
"""A function from the rates to M of each attribute: (categories found, true categories), in domain order."""


@dataclass(frozen=True, eq=False)
class Local:
    """Factors by which linkage error rates differ between the categories (places) of an attribute.

    - `factors` (groups, categories): each place's rates relative to the overall rates, by group of rates
    - `covariances` (categories, groups, groups): covariances of the factors
    - `groups` (rates,): group of each rate, or -1 if the rate is the same everywhere
    - `sizes` (categories,): weights of the mean factor
    - `splits`: whether a figure over given attributes can be split by `attribute`; if not, the mean factor is used
    - `added_up`: whether totals of `attribute` are sums over places; if not, they use the mean factor
    """

    attribute: str
    factors: Array
    covariances: Array
    groups: NDArray[np.int64]
    sizes: Array
    splits: Callable[[Iterable[str]], bool]
    added_up: bool = True

    @cached_property
    def mean(self) -> Array:
        """Mean factor of each group."""
        # Rounded, so that the order of summation cannot change it.
        whole = self.sizes.sum()
        return np.round(self.factors @ self.sizes / whole, _DECIMALS) if whole > 0 else np.ones(len(self.factors))

    @cache_by_identity
    def weigh_by_factor(self, places: Selector, group: int, less: float) -> Selector:
        """Return the selector in which each place counts by its factor minus `less`."""
        weights = places.matrix * (self.factors[group] - less)
        if not self.added_up:
            weights[places.is_total] = self.mean[group] - less
        return places.reweigh(weights)


@dataclass(frozen=True, eq=False)
class Corrected:
    """Moments of figures corrected for missed and false links.

    `rates` (r,) with their covariance (r, r) give M by `transitions`; each of `local`, on different attributes and with
    the same groups of rates, says where rates are higher. Raises ValueError for a figure that weighs or selects
    categories of two linked attributes.
    """

    moments: Moments
    transitions: Transitions
    rates: Array
    covariance_of_rates: Array
    local: tuple[Local, ...] = ()

    def compute_values(self, figures: Figures) -> Array:
        return self._compute_in_blocks(lambda each: self.moments.compute_values(self._correct_figures(each)), figures)

    def compute_variance(self, figures: Figures) -> Array:
        def compute(each: Figures) -> Array:
            of_noise = self.moments.compute_variance(self._correct_figures(each))
            # Computed from noisy counts, so it may come out negative.
            return of_noise + np.maximum(self._compute_linkage_covariance(each, each), 0.0)

        return self._compute_in_blocks(compute, figures)

    def compute_covariance(self, left: Figures, right: Figures) -> Array:
        def compute(one: Figures, other: Figures) -> Array:
            of_noise = self.moments.compute_covariance(self._correct_figures(one), self._correct_figures(other))
            return of_noise + self._compute_linkage_covariance(one, other)

        return self._compute_in_blocks(compute, left, right)

    def _compute_in_blocks(self, compute: Callable[..., Array], *figures: Figures) -> Array:
        """Return moments of figures of one shape, block by block if some rows need it.

        Rows at the total of an attribute may be split by place, and a number must be the same wherever it is shown.
        """
        cubes = [cube for each in figures for _, cube in list_terms(each)]
        summed = [local for local in self.local if local.added_up]
        if all(self._find_attribute(cube) is None or _can_split(local, cube) for local in summed for cube in cubes):
            return compute(*figures)
        groups = []
        for axis in range(len(figures[0].shape)):
            totals = np.stack([list(cube.selectors.values())[axis].is_total for cube in cubes], axis=1)
            by_marks = defaultdict[bytes, list[int]](list)
            for row, marks in enumerate(totals):
                by_marks[marks.tobytes()].append(row)
            groups.append([tuple(rows) for rows in by_marks.values()])
        if all(len(each) == 1 for each in groups):
            return compute(*figures)
        answer = np.zeros(figures[0].shape)
        for block in product(*groups):
            answer[np.ix_(*block)] = compute(*(self._select_part(each, block) for each in figures))
        return answer

    @cache_by_identity
    def _select_part(self, figures: Figures, block: _Block) -> Figures:
        """Return the figures of some rows of each axis; the same object for the same arguments."""
        terms = []
        for coefficient, cube in list_terms(figures):
            axes = zip(cube.selectors.items(), block, strict=True)
            chosen = {name: selector.take(rows) for (name, selector), rows in axes}
            terms.append((coefficient, Cube(chosen, cube.where)))
        return LinearCombination(tuple(terms)) if isinstance(figures, LinearCombination) else terms[0][1]

    def _compute_linkage_covariance(self, left: Figures, right: Figures) -> Array:
        """Return the covariance added by uncertain rates and by chance in who is missed."""
        (rates, places), (other_rates, other_places) = self._compute_moves(left), self._compute_moves(right)
        total = np.zeros(left.shape)
        for i, by_one in enumerate(rates):
            for j, by_other in enumerate(other_rates):
                total = total + self.covariance_of_rates[i, j] * by_one * by_other
        for local, at_one, at_other in zip(self.local, places, other_places, strict=True):
            if at_one is not None and at_other is not None:
                total = total + _sum_over_places(at_one, at_other, local.covariances)
        for a, one_cube in list_terms(left):
            for b, other_cube in list_terms(right):
                total = total + a * b * self._compute_chance_covariance(one_cube, other_cube)
        return total

    @cache_by_identity
    def _compute_moves(self, figures: Figures) -> tuple[list[Array], list[Array | None]]:
        """Return how much the figures move with each rate and, by `Local`, with its places' factors."""
        linked = [(each, cube) for each, cube in list_terms(figures) if self._find_attribute(cube) is not None]
        rates = [self._compute_move(linked, figures.shape, rate) for rate in range(len(self.rates))] if linked else []
        return rates, [self._compute_moves_in_places(local, linked) for local in self.local]

    def _compute_move(self, terms: Sequence[tuple[float, Cube]], shape: tuple[int, ...], rate: int) -> Array:
        total = np.zeros(shape)
        for coefficient, cube in terms:
            scale, weighed = self._weigh_by_factors(cube, int(self.local[0].groups[rate]) if self.local else -1)
            name = self._find_attribute(cube)
            assert name is not None
            moved = self.moments.compute_values(_weigh_cube(weighed, name, self._slopes[rate][name]))
            total = total + coefficient * scale * moved
        return total

    def _weigh_by_factors(self, cube: Cube, group: int) -> tuple[float, Cube]:
        """Return (scale, cube) in which children count by the factors of all their places, if `group` has factors."""
        scale = 1.0
        for local in self.local if group >= 0 else ():
            of_all, cube = self._weigh_by_factor(local, cube, group)
            scale *= of_all
        return scale, cube

    def _weigh_by_factor(self, local: Local, cube: Cube, group: int, less: float = 0.0) -> tuple[float, Cube]:
        """Return (scale, cube) in which children count by their place's factor, or the mean factor, minus `less`."""
        if not _can_split(local, cube):
            return local.mean[group] - less, cube
        return 1.0, cube.replace(local.weigh_by_factor(cube.named[local.attribute], group, less))

    def _compute_moves_in_places(self, local: Local, terms: Sequence[tuple[float, Cube]]) -> Array | None:
        """Return how much the figures move with the factor of each place and group: (*figures, places, groups)."""
        total = None
        for coefficient, cube in terms:
            if _can_split(local, cube):
                by_group = [self._split_by_place(cube, local, along) for along in self._along]
                moved = coefficient * np.stack(by_group, axis=-1)
                total = moved if total is None else total + moved
        return total

    def _split_by_place(self, cube: Cube, local: Local, along: Mapping[str, Array]) -> Array:
        """Return how much of the figures, weighed by `along`, comes from each place: (*figures, places)."""
        name, place = self._find_attribute(cube), local.attribute
        assert name is not None
        placed = cube.named[place]
        rows = placed.matrix if local.added_up else placed.matrix * ~placed.is_total[:, None]
        axis = list(cube.selectors).index(place) if place in cube.selectors else None
        each = _select_each(placed.attribute)
        # a new axis, if any, comes first
        axes = {**({place: each} if axis is None else {}), **cube.selectors, place: each}
        by_place = Cube(axes, {other: selector for other, selector in cube.where.items() if other != place})
        moved = self.moments.compute_values(_weigh_cube(by_place, name, along[name]))
        found = np.moveaxis(moved, axis or 0, -1)
        if axis is None:
            return found * rows[0]
        return np.moveaxis(found[..., None, :] * rows, -2, axis)

    def _compute_chance_covariance(self, left: Cube, right: Cube) -> Array:
        """Return the covariance by chance of two cubes of one shape, from the children counted in both."""
        name = self._find_attribute(left)
        if name is None or name != self._find_attribute(right):
            return np.zeros(left.shape)
        total = np.zeros(left.shape)
        one, other = left.named[name].matrix, right.named[name].matrix
        for group, chances in self._parts.items():
            both = _intersect_cubes(left, right, name, _weigh_differences(one, other, chances[name]))
            scale, weighed = self._weigh_by_factors(both, group)
            total = total + scale * self.moments.compute_values(_weigh_cube(weighed, name, self._inverses[name]))
        return total

    def _correct_figures(self, figures: Figures) -> Figures:
        terms = [term for coefficient, cube in list_terms(figures) for term in self._list_true_terms(coefficient, cube)]
        return terms[0][1] if len(terms) == 1 and terms[0][0] == 1.0 else LinearCombination(tuple(terms))

    def _list_true_terms(self, coefficient: float, cube: Cube) -> list[tuple[float, Cube]]:
        name = self._find_attribute(cube)
        if name is None:
            return [(coefficient, cube)]
        terms = [(coefficient, _weigh_cube(cube, name, self._inverses[name]))]
        for local in self.local:
            for group, along in enumerate(self._along):
                # M^-1 already has the overall rates, so each place adds its factor less 1.
                scale, weighed = self._weigh_by_factor(local, cube, group, less=1.0)
                if scale:
                    terms.append((coefficient * scale, _weigh_cube(weighed, name, along[name])))
        return terms

    def _find_attribute(self, cube: Cube) -> str | None:
        """Return the linked attribute that a cube distinguishes children by; None if it only has totals of them."""
        named = cube.named
        names = [name for name in self._inverses if name in named and not named[name].is_total.all()]
        if len(names) > 1:
            raise ValueError(f"a figure of {' and '.join(names)} cannot be corrected")
        return names[0] if names else None

    @cached_property
    def _matrices(self) -> Mapping[str, Array]:
        return self.transitions(self.rates)

    @cached_property
    def _inverses(self) -> dict[str, Array]:
        return {name: invert_matrix(matrix) for name, matrix in self._matrices.items()}

    @cached_property
    def _parts(self) -> dict[int, Mapping[str, Array]]:
        """M as a sum of parts, by group of rates; -1 is the part of the rates that are the same everywhere."""
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
            moved_rates = np.where(np.arange(len(self.rates)) == rate, self.rates + _STEP, self.rates)
            moved = {name: invert_matrix(matrix) for name, matrix in self.transitions(moved_rates).items()}
            slopes.append({name: (moved[name] - self._inverses[name]) / _STEP for name in moved})
        return slopes


def _can_split(local: Local, cube: Cube) -> bool:
    """Return whether a cube can be split by the places of `local`."""
    distinguished = {name for name, selector in cube.named.items() if not selector.is_total.all()}
    if local.attribute not in (cube.named if local.added_up else distinguished):
        return False
    return local.splits({*distinguished, local.attribute})


def _sum_over_places(one: Array, other: Array, covariances: Array) -> Array:
    """Return the sum over places and pairs of groups of one . other . covariance."""
    by_place = np.zeros(one.shape[:-1])
    for g in range(one.shape[-1]):
        for h in range(one.shape[-1]):
            by_place = by_place + one[..., g] * other[..., h] * covariances[:, g, h]
    # cumsum adds the places in order, which sum does not, so the result is the same on every machine.
    total: Array = np.cumsum(by_place, axis=-1)[..., -1]
    return total


def invert_matrix(matrix: Array) -> Array:
    """Return the inverse of a square matrix by Gauss-Jordan elimination, identical to the last bit on any machine."""
    size = len(matrix)
    rows = np.concatenate([matrix, np.eye(size)], axis=1)
    # Rows are not exchanged, because the pivots of M are near 1.
    for pivot in range(size):
        rows[pivot] = rows[pivot] / rows[pivot, pivot]
        for other in range(size):
            if other != pivot:
                rows[other] = rows[other] - rows[other, pivot] * rows[pivot]
    return rows[:, size:]


def _weigh_cube(cube: Cube, name: str, matrix: Array) -> Cube:
    """Return the cube with each row of weights w of the attribute replaced by w `matrix`; totals stay, or are 0."""
    weights, total = cube.named[name].matrix, np.zeros((1, matrix.shape[1]))
    for category in range(matrix.shape[0]):
        total = total + weights[:, category : category + 1] * matrix[category]
    totals = cube.named[name].is_total
    # whole again after rounding errors, so that a total is recognised as one
    total[totals] = np.rint(total[totals])
    return cube.replace(cube.named[name].reweigh(total))


def _weigh_differences(one: Array, other: Array, chances: Array) -> Array:
    """Return, by true category t, the sum over f of (one_f - one_t) (other_f - other_t) chances[f, t]: (rows, true)."""
    weights = np.zeros((max(len(one), len(other)), chances.shape[1]))
    for f, row in enumerate(chances):
        weights = weights + (one[:, [f]] - one) * (other[:, [f]] - other) * row
    return weights


@cache
def _select_each(attribute: Attribute) -> Selector:
    return Selector.for_each(attribute)


def _intersect_cubes(left: Cube, right: Cube, name: str, weights: Array) -> Cube:
    """Return the cube of children counted in both cubes of equal axes, weighing `name` by these weights."""
    if list(left.selectors) != list(right.selectors):
        raise ValueError("figures of different axes have no covariance by chance that is worked out here")
    axes = {
        each: _multiply_selectors(selector, right.selectors[each]) if each != name else selector
        for each, selector in left.selectors.items()
    }
    where = {each: selector for each, selector in left.where.items() if each != name}
    for each, selector in right.where.items():
        if each != name:
            where[each] = _multiply_selectors(where[each], selector) if each in where else selector
    chosen = left.where if name in left.where else right.where
    if name not in axes:
        where[name] = chosen[name]
    both = Cube(axes, where)
    return both.replace(both.named[name].reweigh(weights))


def _multiply_selectors(left: Selector, right: Selector) -> Selector:
    # Zeros and ones are their own squares, and the same object is found again in caches by identity.
    if left is right and np.isin(left.matrix, (0.0, 1.0)).all():
        return left
    return left.reweigh(left.matrix * right.matrix)


@dataclass(frozen=True, eq=False)
class Joined:
    """Moments of figures corrected for rows that were not found.

    `unknown`: by attribute, the category of a child whose row was not found; `odds` is k, with `variance_of_odds`.
    """

    moments: Moments
    unknown: Mapping[str, str]
    odds: float
    variance_of_odds: float

    def compute_values(self, figures: Figures) -> Array:
        return self.moments.compute_values(self._correct_figures(figures))

    def compute_variance(self, figures: Figures) -> Array:
        return (
            self.moments.compute_variance(self._correct_figures(figures))
            + self.variance_of_odds * self._compute_move(figures) ** 2
        )

    def compute_covariance(self, left: Figures, right: Figures) -> Array:
        of_noise = self.moments.compute_covariance(self._correct_figures(left), self._correct_figures(right))
        return of_noise + self.variance_of_odds * self._compute_move(left) * self._compute_move(right)

    def _correct_figures(self, figures: Figures) -> Figures:
        lost = self._list_lost_terms(figures)
        terms = tuple((self.odds * coefficient, cube) for coefficient, cube in lost)
        return LinearCombination((*list_terms(figures), *terms)) if lost else figures

    def _compute_move(self, figures: Figures) -> Array | float:
        """Return how much the figures move with the odds."""
        lost = self._list_lost_terms(figures)
        return self.moments.compute_values(LinearCombination(tuple(lost))) if lost else 0.0

    def _list_lost_terms(self, figures: Figures) -> list[tuple[float, Cube]]:
        """Return the terms of (w - w(U)) N."""
        terms = []
        for coefficient, cube in list_terms(figures):
            named = cube.named
            recorded = [name for name in named if name in self.unknown and not named[name].is_total.all()]
            for place, name in enumerate(recorded):
                others = {each: self._split(named[each])[1] for each in recorded[:place]}
                here = {**others, name: self._split(named[name])[0]}
                selectors, where = ({n: here.get(n, s) for n, s in own.items()} for own in (cube.selectors, cube.where))
                terms.append((coefficient, Cube(selectors, where)))
        return terms

    @cache_by_identity
    def _split(self, selector: Selector) -> tuple[Selector, Selector]:
        """Return w - w(U), and w(U) for every category."""
        at = selector.attribute.categories.index(self.unknown[selector.attribute.name])
        constant = np.repeat(selector.matrix[:, [at]], selector.attribute.size, axis=1)
        return selector.reweigh(selector.matrix - constant), selector.reweigh(constant)
