"""Exact variances and covariances of every figure that a plan can give, from the plan alone.

For two functionals f and g in product form, with v_i and w_i their vectors over attribute i and v_i - mean v_i the
centred vector,

    Cov(f, g) = sum over C of prod(<v_i - mean v_i, w_i - mean w_i>, i in C)
                              prod(mean v_i mean w_i, i not in C) / tau_C,

where the sum runs over subsets C of the attributes that both name. For every component D that identities act on, the
identities subtract the same product over D times the inner product of the two functionals' shares u in the whitened
equalities (see `components`). With a nesting the formula holds within each group, and variances add up; arrays then
have a leading axis of groups, and rows with the same weights, such as two councils of one region, are computed once.

All sums run component by component and group by group in one fixed order, elementwise over the cells. A figure
therefore has the same variance, to the last bit, in every cube and next to any other figures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, wraps
from typing import TypeVar, TypeVarTuple

import numpy as np
from numpy.typing import NDArray

from privacy.release.components import Constraint, Lattice, build_constraints, iter_subsets
from privacy.release.plan import Plan
from privacy.release.workload import (
    Array,
    Attribute,
    Cube,
    Figures,
    MeasuredFamily,
    Selector,
    WorkloadError,
    list_terms,
)

_Self = TypeVar("_Self")
_Answer = TypeVar("_Answer")
_Arguments = TypeVarTuple("_Arguments")


def cache_by_identity(method: Callable[[_Self, *_Arguments], _Answer]) -> Callable[[_Self, *_Arguments], _Answer]:
    """Cache a method's answers by the identity of its arguments; numbers and tuples count by value."""

    @wraps(method)
    def answer(self: _Self, *arguments: *_Arguments) -> _Answer:
        cache = self.__dict__.setdefault("_cached_by_identity", {})
        # Comparing arrays would take longer than computing again.
        key = (method.__name__, *(each if isinstance(each, int | float | tuple) else id(each) for each in arguments))
        if key not in cache:
            # The arguments are kept alive, so that no identity is reused.
            cache[key] = arguments, method(self, *arguments)
        found: _Answer = cache[key][1]
        return found

    return answer


class Covariances:
    """Variances and covariances, in squared rows of the child table, of the estimates under a plan."""

    def __init__(self, plan: Plan) -> None:
        self._parts = parts = tuple(plan.parts.values()) or (plan,)
        self._family = plan.family
        self._lattice: Lattice = parts[0].lattice  # every part has the same sets of attributes
        self._groups = Groups(plan.family) if plan.parts else None
        self._variances = np.array([1.0 / part.component_precisions for part in parts])
        found = _recall(plan)
        self.constraints: tuple[tuple[Constraint, ...], ...] = found.constraints
        """Constraints of each group, or of the whole."""
        self._known, self._computed, self._placed = found.known, found.computed, found.placed

    def compute_variance(self, figures: Figures) -> Array:
        """Return the variance of each figure; shape of `figures`. Raises WorkloadError outside the workload."""
        terms, total = list_terms(figures), np.zeros(figures.shape)
        for index, (coefficient, cube) in enumerate(terms):
            total = total + coefficient**2 * self._compute_between(cube, cube)
            for other_coefficient, other in terms[:index]:
                total = total + 2 * coefficient * other_coefficient * self._compute_between(cube, other)
        # Rounding may leave a variance of zero just below it.
        return np.maximum(total, 0.0)

    def compute_covariance(self, left: Figures, right: Figures) -> Array:
        """Return the covariance of each figure of `left` with the one of `right` at its position; equal shapes."""
        if left.shape != right.shape:
            raise WorkloadError(f"figures of different shapes: {left.shape} and {right.shape}")
        total = np.zeros(left.shape)
        for coefficient, cube in list_terms(left):
            for other_coefficient, other in list_terms(right):
                total = total + coefficient * other_coefficient * self._compute_between(cube, other)
        return total

    def _compute_between(self, left: Cube, right: Cube) -> Array:
        # Of 4,619 pairs of the pilot's release 3,099 are different.
        key = frozenset((identify_cube(left), identify_cube(right)))
        if key not in self._computed:
            pair = _CubePair(self._place_selectors(left), self._place_selectors(right), self._family, self._groups)
            self._computed[key] = self._compute_pair(pair, left.shape)
        return self._computed[key]

    def _compute_pair(self, pair: "_CubePair", shape: tuple[int, ...]) -> Array:
        by_group = np.zeros((len(self._variances), *[1] * len(shape)))
        # The subsets of the attributes that both cubes vary along, in lattice order.
        for component in iter_subsets(pair.shared):
            variances = self._variances[:, self._lattice.find_position(component)].reshape(
                by_group.shape[0], *[1] * pair.ndim
            )
            by_group = by_group + pair.multiply(component) * variances
        for known in self._known:
            if set(known.over) <= set(pair.shared):
                by_group = by_group - pair.compute_removed(known)
        # Added group by group: the order in which numpy sums an axis depends on the shape of the array.
        return pair.spread(sum(by_group[1:], by_group[0]), shape)

    def _place_selectors(self, cube: Cube) -> dict[str, "_Placed"]:
        """Return the cube's selectors in family order, with their axes. Raises WorkloadError outside the workload."""
        identity = identify_cube(cube)
        if identity not in self._placed:
            self._placed[identity] = self._place_new(cube)
        return self._placed[identity]

    def _place_new(self, cube: Cube) -> dict[str, "_Placed"]:
        axes = list(cube.selectors)
        selectors = {**cube.where, **cube.selectors}
        for name, selector in selectors.items():
            if self._family.get_attribute(name) != selector.attribute:
                raise WorkloadError(f"cube: attribute {name!r} has another domain than in family {self._family.name!r}")
        self._lattice.find_position(name for name, selector in selectors.items() if not self._is_total(selector))
        return {
            name: _Placed(selectors[name], axes.index(name) if name in axes else None, len(axes))
            for name in self._family.sort_names(selectors)
        }

    def _is_total(self, selector: Selector) -> bool:
        """Return whether no row distinguishes categories of the attribute, or members of a group."""
        if self._groups and selector.attribute.name == self._groups.inner:
            _, inner, _ = self._groups.get_products(selector, selector)
            return not inner.any()
        return bool(selector.is_total.all())


CubeIdentity = tuple[tuple[Attribute, bool, bytes], ...]


@dataclass(frozen=True, eq=False)
class _Recalled:
    """What follows from a plan alone, and what was computed under it so far."""

    constraints: tuple[tuple[Constraint, ...], ...]
    known: list["_Known"]
    computed: dict[frozenset[CubeIdentity], Array]
    placed: dict[CubeIdentity, dict[str, "_Placed"]]


@lru_cache(maxsize=8)
def _recall(plan: Plan) -> _Recalled:
    """Return what is kept of a plan: decision sheet, rehearsal and release ask for the same covariances."""
    parts = tuple(plan.parts.values()) or (plan,)
    constraints = tuple(build_constraints(part.lattice, part.component_precisions) for part in parts)
    return _Recalled(constraints, _group_constraints(constraints), {}, {})


def identify_cube(cube: Cube) -> CubeIdentity:
    """Return what tells a cube from others: per selector the attribute, whether it is an axis, and the weights."""
    sides = ((cube.selectors, True), (cube.where, False))
    return tuple((each.attribute, is_axis, each.matrix.tobytes()) for side, is_axis in sides for each in side.values())


@dataclass(frozen=True, eq=False)
class _Known:
    """The equalities on D + E, for one D = `over`; `gains[e]` are (*sizes of e, R, groups), 0 without information."""

    over: tuple[str, ...]
    gains: Mapping[tuple[str, ...], Array]

    @cached_property
    def weighed(self) -> frozenset[str]:
        return frozenset(name for block in self.gains for name in block)

    @cache_by_identity
    def compute_shares(self, cube: dict[str, "_Placed"], ndim: int) -> Array:
        """Return every figure's share u in the whitened equalities, over attributes they weigh: (R, groups, ...)."""
        shares = np.zeros(())
        for block, gain in self.gains.items():
            if set(block) <= set(cube):
                outside = np.ones(())
                for name, placed in cube.items():
                    if name in self.weighed and name not in block:
                        outside = outside * placed.means
                shares = shares + outside * _contract_tensor(gain, [cube[name] for name in block], ndim)
        return shares


def _group_constraints(constraints: Sequence[tuple[Constraint, ...]]) -> list[_Known]:
    by_over: dict[tuple[str, ...], dict[int, Constraint]] = {}
    for group, found in enumerate(constraints):
        for constraint in found:
            by_over.setdefault(constraint.over, {})[group] = constraint
    known = []
    for over, by_group in by_over.items():
        # Equalities may have a lower rank in some groups; zeros add nothing to an inner product.
        rank = max(len(gain) for constraint in by_group.values() for gain in constraint.gains.values())
        gains = {
            block: np.zeros((*gain.shape[1:], rank, len(constraints)))
            for constraint in by_group.values()
            for block, gain in constraint.gains.items()
        }
        for group, constraint in by_group.items():
            for block, gain in constraint.gains.items():
                gains[block][..., : len(gain), group] = np.moveaxis(gain, 0, -1)
        known.append(_Known(over, gains))
    return known


class Groups:
    """The groups of a nesting, their members, and the weights that selectors on its inner attribute have in each."""

    def __init__(self, family: MeasuredFamily) -> None:
        nesting = family.nesting
        assert nesting is not None
        self.inner, self.outer = nesting.inner, nesting.outer
        self.everything = Selector.for_total(family.get_attribute(self.inner))
        position = {category: index for index, category in enumerate(self.everything.attribute.categories)}
        groups = family.get_attribute(self.outer).categories
        self._members = [[position[member] for member in nesting.members[group]] for group in groups]
        self.order = np.concatenate(self._members)
        """(members,): position of each in the domain of the inner attribute, group by group."""
        self.sizes = np.array([len(members) for members in self._members])
        """(groups,): number of members."""
        self._group = np.repeat(np.arange(len(groups)), self.sizes)
        self._starts = np.cumsum(self.sizes) - self.sizes

    @cache_by_identity
    def get_products(self, left: Selector | None, right: Selector | None) -> tuple[Array, Array, NDArray[np.int64]]:
        """Return products of the rows of two selectors (None: the whole attribute) within each group; equal rows once.

        These are the products of means and the inner products of centred weights, (groups, distinct rows), and the
        distinct row that each row equals, (rows,).
        """
        left, right = left or self.everything, right or self.everything
        means, inner = [], []
        for members in self._members:
            one, other = left.matrix[:, members], right.matrix[:, members]
            sums = one.sum(axis=1) * other.sum(axis=1)
            means.append(sums / len(members) ** 2)
            inner.append((one * other).sum(axis=1) - sums / len(members))
        by_row = np.concatenate([means, inner]).T
        distinct, row = np.unique(by_row, axis=0, return_inverse=True)
        groups = len(self._members)
        return distinct.T[:groups], distinct.T[groups:], row.ravel()

    def get_slice(self, group: int) -> slice:
        """Return the slice of a group's members."""
        return slice(self._starts[group], self._starts[group] + self.sizes[group])

    def sum_members(self, by_member: Array) -> Array:
        """Return the sum over the members of each group."""
        return np.asarray(np.add.reduceat(by_member, self._starts, axis=0))

    def repeat_for_members(self, by_group: Array) -> Array:
        """Return each group's value for each of its members."""
        return by_group[self._group]

    def weigh_groups(self, rows: Array) -> Array:
        """Return weights as (rows x categories and groups); a group whose weights are all one is weighed as a whole."""
        whole = np.array(
            [(rows[:, self.order[self.get_slice(g)]] == 1.0).all(axis=1) for g in range(len(self.sizes))]
        ).T
        members = rows.copy()
        members[:, self.order] = np.where(whole[:, self._group], 0.0, rows[:, self.order])
        return np.hstack([members, whole.astype(np.float64)])


@dataclass(frozen=True, eq=False)
class _Placed:
    """A selector laid along one axis of an array of `ndim` axes, or along none."""

    selector: Selector
    axis: int | None
    ndim: int

    def reshape_along(self, by_row: Array) -> Array:
        """Return an array with its first axis, the selector's rows, at the selector's axis and other axes last."""
        shape = [1] * self.ndim
        if self.axis is not None:
            shape[self.axis] = len(by_row)
        return by_row.reshape((*shape, *by_row.shape[1:]))

    @cached_property
    def means(self) -> Array:
        return self.reshape_along(self.selector.means)

    @cached_property
    def centred(self) -> Array:
        """Centred weights, categories on the last axis."""
        return self.reshape_along(self.selector.centred)


class _CubePair:
    """Two cubes of one shape, and the products over attributes that make up their covariances.

    Arrays that differ by group have a leading axis of groups. The axis of the inner attribute, if present, has the
    distinct rows of `Groups.get_products` until `spread` expands them to all figures.
    """

    def __init__(
        self, left: dict[str, _Placed], right: dict[str, _Placed], family: MeasuredFamily, groups: Groups | None
    ) -> None:
        self._left, self._right = left, right
        self._named = family.sort_names({*left, *right})
        self.ndim = next((placed.ndim for placed in (*left.values(), *right.values())), 0)
        self._means, self._inner = {}, {}
        self._spread: tuple[NDArray[np.int64], int] | None = None
        for name in self._named:
            if groups is not None and name == groups.inner:
                self._add_nested(name, groups)
            else:
                self._means[name] = _get_means(left.get(name)) * _get_means(right.get(name))
                if name in left and name in right and not left[name].selector.is_total.all():
                    self._inner[name] = (left[name].centred * right[name].centred).sum(axis=-1)
        self.shared = tuple(self._inner)

    def _add_nested(self, name: str, groups: Groups) -> None:
        left, right = self._left.get(name), self._right.get(name)
        axes = {placed.axis for placed in (left, right) if placed is not None and placed.axis is not None}
        if len(axes) > 1:
            raise WorkloadError(f"covariances need {name!r} on one axis, not on two")
        means, inner, row = groups.get_products(*(placed.selector if placed else None for placed in (left, right)))
        shape = [1] * self.ndim
        for axis in axes:
            shape[axis] = means.shape[1]
            self._spread = row, axis
        self._means[name] = means.reshape(-1, *shape)
        if inner.any():
            self._inner[name] = inner.reshape(-1, *shape)

    def multiply(self, component: tuple[str, ...], excluding: frozenset[str] = frozenset()) -> Array:
        """Return the inner products over the component times means over every other attribute not in `excluding`."""
        result = np.ones(())
        for name in self._named:
            if name in component:
                result = result * self._inner[name]
            elif name not in excluding:
                result = result * self._means[name]
        return result

    def compute_removed(self, known: _Known) -> Array:
        """Return the covariance that identities remove."""
        left, right = (known.compute_shares(side, self.ndim) for side in (self._left, self._right))
        common = sum(one * other for one, other in zip(left, right, strict=True))
        return self.multiply(known.over, excluding=known.weighed) * common

    def spread(self, figures: Array, shape: tuple[int, ...]) -> Array:
        """Expand results for distinct rows to all figures."""
        if self._spread is not None:
            row, axis = self._spread
            figures = figures.take(row, axis=axis)
        return np.broadcast_to(figures, shape)


def _get_means(placed: _Placed | None) -> Array:
    return np.ones(()) if placed is None else placed.means


def _contract_tensor(tensor: Array, placed: list[_Placed], ndim: int) -> Array:
    """Return the inner product of a tensor over categories, R and groups, with the outer product of centred vectors."""
    if not placed:
        return tensor.reshape(*tensor.shape, *[1] * ndim)
    total = np.zeros(())
    for category, slab in enumerate(tensor):
        total = total + placed[0].centred[..., category] * _contract_tensor(slab, placed[1:], ndim)
    return total
