"""The downward closure of a workload, as arrays over its residual components.

A marginal over attributes A splits into orthogonal residual components, one for each subset C of A: the part of the
table that varies along every attribute of C and is flat along the others. With n_i the size of attribute i,

    P_C = (tensor of (I - J/n_i), i in C) (tensor of J/n_i, i in A\\C),        sum over C of P_C = I,

where J is all ones. Component C is one and the same vector r_C whichever marginal A it is seen through, up to the
factor prod(n_i, i in A\\C). Noise of variance sigma_A^2 on every cell of A therefore tells r_C with precision
1 / (sigma_A^2 prod(n_i, i in A\\C)), and different components independently of each other. That turns least squares
over all tables into arithmetic per component (residual-basis view of the marginal matrix mechanism: Xiao, He, Zhang,
Kifer 2023; Mullins et al. 2024).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from privacy.release.workload import Array, Family, WorkloadError


def subsets(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every subset, smallest first, each in the order given."""
    return (subset for size in range(len(names) + 1) for subset in combinations(names, size))


@dataclass(frozen=True, eq=False)
class Lattice:
    """The closure of a family's marginals under subset; K sets of attributes, smallest first, then by position.

    `subsets[k]` names set k in the family's attribute order. Arrays are indexed by k throughout.
    """

    family: Family
    subsets: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, family: Family) -> Lattice:
        """The closure of `family.marginals`; it always holds the empty set, the number of rows."""
        position = {attribute.name: index for index, attribute in enumerate(family.attributes)}
        closure = {subset for marginal in family.marginals for subset in subsets(family.ordered(marginal.attributes))}
        return cls(family, tuple(sorted(closure, key=lambda s: (len(s), [position[name] for name in s]))))

    def index(self, names: Iterable[str]) -> int:
        """Position of a set of attributes. Raises WorkloadError where no marginal of the workload contains it."""
        subset = self.family.ordered(names)
        try:
            return self._index[subset]
        except KeyError:
            raise WorkloadError(
                f"family {self.family.name!r} has no table over ({', '.join(subset)}): declare it as a marginal"
            ) from None

    @cached_property
    def within(self) -> NDArray[np.bool_]:
        """(K x K): `within[c, a]` where set c is a subset of set a."""
        masks = self._members @ (1 << np.arange(self._members.shape[1], dtype=np.int64))
        return (masks[:, None] & masks[None, :]) == masks[:, None]

    @cached_property
    def cells(self) -> Array:
        """(K,): number of cells of each marginal, prod n_i."""
        return self._product(self._sizes)

    @cached_property
    def contrasts(self) -> Array:
        """(K,): dimension of each residual component, prod (n_i - 1)."""
        return self._product(self._sizes - 1)

    @cached_property
    def is_maximal(self) -> NDArray[np.bool_]:
        """(K,): sets that no other set of the closure contains; each must be measured to be known at all."""
        return self.within.sum(axis=1) == 1

    @cached_property
    def information(self) -> Array:
        """(K x K): precision that one unit of 1/sigma_A^2 spent on marginal A gives to component C, [C, A]."""
        return np.where(self.within, self.cells[:, None] / self.cells[None, :], 0.0)

    def component_weights(self) -> Array:
        """(K,): weight w_C of 1/tau_C in the workload's objective, the weighted sum of all its cell variances.

        A cell of table W has variance sum over C in W of prod((n_i - 1)/n_i, i in C) prod(1/n_i^2, i in W\\C) / tau_C.
        Over the prod(n_i) cells of W that is sum over C of prod(n_i - 1, i in C) / prod(n_i, i in W\\C) / tau_C.
        """
        weights = np.zeros(len(self.subsets))
        for marginal in self.family.marginals:
            table = self.index(marginal.attributes)
            weights += marginal.weight * self.information[:, table] * self.contrasts
        return weights

    @cached_property
    def _index(self) -> dict[tuple[str, ...], int]:
        return {subset: k for k, subset in enumerate(self.subsets)}

    @cached_property
    def _sizes(self) -> Array:
        return np.array([attribute.size for attribute in self.family.attributes], dtype=np.float64)

    @cached_property
    def _members(self) -> NDArray[np.int64]:
        names = [attribute.name for attribute in self.family.attributes]
        return np.array([[name in subset for name in names] for subset in self.subsets], dtype=np.int64)

    def _product(self, per_attribute: Array) -> Array:
        return np.where(self._members == 1, per_attribute[None, :], 1.0).prod(axis=1)
