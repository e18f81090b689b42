"""Figures corrected for children whose row in another source of the same service was not found.

What such a row says of a child (its free school meals, ethnic group, special needs, language) is then unknown, each at
once. Let c be the share of children for whom it was not found, N the counts as found, and U the cell of those of whom
all is unknown. Each cell has lost c of its children to U, so with k = c / (1 - c) a figure that weighs cells by w is

    w N + k (w - w(U)) N,

in which a total, w = 1, stays as it is to the bit. Weights of several such attributes multiply: w - w(U) is the sum of
products with one factor w_i - w_i(U) each, those before it at w_j(U), those after it at w_j. To the variance of the
noise comes that of k.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from privacy.release.intervals import Moments
from privacy.release.workload import Array, Cube, Figures, LinearCombination, Selector, terms_of


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
        """How much the figures move with the odds."""
        lost = self._lost(figures)
        return self.moments.values(LinearCombination(tuple(lost))) if lost else 0.0

    def _lost(self, figures: Figures) -> list[tuple[float, Cube]]:
        """The terms of (w - w(U)) N."""
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
        """w - w(U), and w(U)."""
        if id(selector) not in self._known:
            attribute, labels = selector.attribute, selector.labels
            at = attribute.categories.index(self.unknown[attribute.name])
            rest = tuple(tuple(weight - row[at] for weight in row) for row in selector.rows)
            alike = tuple((row[at],) * attribute.size for row in selector.rows)
            parts = Selector(attribute, labels, rest), Selector(attribute, labels, alike)
            self._known[id(selector)] = (selector, *parts)
        _, rest_of, alike_of = self._known[id(selector)]
        return rest_of, alike_of
