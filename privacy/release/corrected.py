"""Figures corrected for an attribute that is recorded wrongly at known rates, with that uncertainty in their variances.

An attribute of a child (who had seen it) is found by linkage, and found wrongly at times. Let M[f, t] be the chance
that a child of the true category t is found in category f, and N the counts as found. Then M^-1 N estimates the true
counts without bias (the matrix method for misclassified categories; Kuha and Skinner 1997). A figure that weighs the
categories by w is w M^-1 N: the same measured counts under other weights, so its value, variance and covariances come
from the same exact estimates. A total weighs all categories alike and stays as it is, for every column of M adds up
to 1.

Two more variances add to that of the noise. The rates behind M have a covariance C of their own: w (dM^-1/drate) N is
how much a figure moves with each. And of the true children of a category, how many were found elsewhere is itself a
matter of chance: those of category t add (w_f - w_t)^2 M[f, t] each, so that an interval is about these children.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from privacy.release.intervals import Moments
from privacy.release.workload import Array, Cube, Figures, LinearCombination, Selector, terms_of

_STEP = 1e-6
"""By which a rate is moved, to see what moves with it."""

Transitions = Callable[[Array], Mapping[str, Array]]
"""From the rates to M of each attribute: (categories found, true categories), in the order of its domain."""


@dataclass(frozen=True, eq=False)
class Corrected:
    """The moments of figures, corrected. `rates` (r,) with `covariance` (r, r) give M by `transitions`.

    A figure may weigh or choose the categories of one such attribute: ValueError for one that does of two.
    """

    moments: Moments
    transitions: Transitions
    rates: Array
    covariance_of_rates: Array
    _known: dict[int, tuple[Figures, list[Array]]] = field(default_factory=dict, init=False, repr=False)
    """By identity; figures are held on to, for safety."""

    def values(self, figures: Figures) -> Array:
        return self.moments.values(self._corrected(figures))

    def variance(self, figures: Figures) -> Array:
        of_noise = self.moments.variance(self._corrected(figures))
        return of_noise + np.maximum(self._of_linkage(figures, figures), 0.0)

    def covariance(self, left: Figures, right: Figures) -> Array:
        of_noise = self.moments.covariance(self._corrected(left), self._corrected(right))
        return of_noise + self._of_linkage(left, right)

    def _of_linkage(self, left: Figures, right: Figures) -> Array:
        """What rates that are not known exactly, and chance in who is missed, add to the covariance."""
        moves = [self._moves(figures) for figures in (left, right)]
        total = np.zeros(left.shape)
        for i, one in enumerate(moves[0]):
            for j, other in enumerate(moves[1]):
                total = total + self.covariance_of_rates[i, j] * one * other
        for a, one_cube in terms_of(left):
            for b, other_cube in terms_of(right):
                total = total + a * b * self._by_chance(one_cube, other_cube)
        return total

    def _moves(self, figures: Figures) -> list[Array]:
        """How much the figures move with each rate; none where they tell no such children apart. Worked out once."""
        if id(figures) not in self._known:
            told = any(self._attribute(cube) is not None for _, cube in terms_of(figures))
            moves = [self._moved(figures, rate) for rate in range(len(self.rates))] if told else []
            self._known[id(figures)] = (figures, moves)
        return self._known[id(figures)][1]

    def _moved(self, figures: Figures, rate: int) -> Array:
        total = np.zeros(figures.shape)
        for coefficient, cube in terms_of(figures):
            if (name := self._attribute(cube)) is not None:
                total = total + coefficient * self.moments.values(_weighed(cube, name, self._slopes[rate][name]))
        return total

    def _by_chance(self, left: Cube, right: Cube) -> Array:
        """The covariance by chance of two cubes of one shape: of the children whom both count."""
        name = self._attribute(left)
        if name is None or name != self._attribute(right):
            return np.zeros(left.shape)
        one, other = _rows(left, name), _rows(right, name)
        found, true = self._matrices[name].shape
        weights = np.zeros((max(len(one), len(other)), true))
        for t in range(true):
            for f in range(found):
                apart = (one[:, f] - one[:, t]) * (other[:, f] - other[:, t])
                weights[:, t] = weights[:, t] + apart * self._matrices[name][f, t]
        both = _intersection(left, right, name, weights)
        return self.moments.values(_weighed(both, name, self._inverses[name]))

    def _corrected(self, figures: Figures) -> Figures:
        terms = [(coefficient, self._true(cube)) for coefficient, cube in terms_of(figures)]
        return terms[0][1] if isinstance(figures, Cube) else LinearCombination(tuple(terms))

    def _true(self, cube: Cube) -> Cube:
        name = self._attribute(cube)
        return cube if name is None else _weighed(cube, name, self._inverses[name])

    def _attribute(self, cube: Cube) -> str | None:
        """The attribute found by linkage that a cube tells children apart by."""
        names = [name for name in self._inverses if name in cube.selectors or name in cube.where]
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
    def _slopes(self) -> list[dict[str, Array]]:
        """For each rate, by attribute, the derivative of M^-1."""
        slopes = []
        for rate in range(len(self.rates)):
            there = np.where(np.arange(len(self.rates)) == rate, self.rates + _STEP, self.rates)
            moved = {name: inverse(matrix) for name, matrix in self.transitions(there).items()}
            slopes.append({name: (moved[name] - self._inverses[name]) / _STEP for name in moved})
        return slopes


def inverse(matrix: Array) -> Array:
    """The inverse of a square matrix by Gauss and Jordan, whose result is the same to the last bit on any machine.
    Pivots are taken as they come: those of M lie near 1."""
    size = len(matrix)
    rows = np.concatenate([matrix, np.eye(size)], axis=1)
    for pivot in range(size):
        rows[pivot] = rows[pivot] / rows[pivot, pivot]
        for other in range(size):
            if other != pivot:
                rows[other] = rows[other] - rows[other, pivot] * rows[pivot]
    return rows[:, size:]


def _rows(cube: Cube, name: str) -> Array:
    """The weights of an attribute's categories: (levels of its axis, or 1; categories)."""
    return (cube.selectors.get(name) or cube.where[name]).matrix


def _weighed(cube: Cube, name: str, matrix: Array) -> Cube:
    """The cube with each row of weights w of the attribute as w `matrix`; a total stays one, or is 0 where the columns
    of the matrix add up to 0."""
    weights, total = _rows(cube, name), np.zeros((1, matrix.shape[1]))
    for category in range(matrix.shape[0]):
        total = total + weights[:, category : category + 1] * matrix[category]
    alike = np.all(weights == 1.0, axis=1)
    total[alike] = np.rint(total[alike])
    return _with(cube, name, total)


def _with(cube: Cube, name: str, weights: Array) -> Cube:
    """The cube with other weights of an attribute's categories; all its rows stay."""
    there = cube.selectors.get(name) or cube.where[name]
    rows = tuple(tuple(row) for row in weights.tolist())
    selector = Selector(there.attribute, there.labels, rows)
    if name in cube.selectors:
        return Cube({**cube.selectors, name: selector}, cube.where)
    return Cube(cube.selectors, {**cube.where, name: selector})


def _intersection(left: Cube, right: Cube, name: str, weights: Array) -> Cube:
    """The children whom both count, with these weights of the attribute `name`: weights of every other attribute
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
    return Selector(left.attribute, left.labels, tuple(map(tuple, (left.matrix * right.matrix).tolist())))
