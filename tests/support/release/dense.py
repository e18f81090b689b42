"""Least squares on the full contingency table, against which estimates and their variances are compared."""

import math

import numpy as np
from scipy.linalg import null_space

from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.workload import Figures, MeasuredFamily, list_terms


def build_sums(family: MeasuredFamily, named: dict[str, np.ndarray]) -> np.ndarray:
    """Return the matrix that applies these rows of weights, by attribute, to the full table and sums over the rest."""
    matrix = np.ones((1, 1))
    for name in family.columns:
        matrix = np.kron(matrix, named.get(name, np.ones((1, family.get_attribute(name).size))))
    return matrix


def build_cells(family: MeasuredFamily, attributes: tuple[str, ...]) -> np.ndarray:
    """Return the 0-1 matrix with a row for each cell of a marginal; a region's cells add up its councils."""
    named = {name: np.eye(family.get_attribute(name).size) for name in attributes if name in family.columns}
    nesting = family.nesting
    if nesting and nesting.outer in attributes:
        groups = [nesting.members[group] for group in family.get_attribute(nesting.outer).categories]
        members = family.get_attribute(nesting.inner).categories
        named[nesting.inner] = np.array([[float(member in group) for member in members] for group in groups])
    return build_sums(family, named)


def draw_noisy(plan: Plan, seed: int) -> Measurement:
    """Return integers that no child table could give: least squares does not care."""
    generator = np.random.default_rng(seed)
    values = {a: generator.integers(-20, 50, plan.family.get_shape(a)) for a in plan.sigmas}
    return Measurement(plan.sha256, "none (test)", "", 0.0, values)


class Dense:
    """Textbook least squares over the measurements of one or several plans, constraints by substitution.

    y = M x + noise, B x = 0: with N a basis of the null space of B, x = N z and z is weighted least squares.
    """

    def __init__(self, *measured: tuple[Plan, Measurement]) -> None:
        self.family = measured[0][0].family
        drawn = [(a, sigma, each.noisy[a]) for plan, each in measured for a, sigma in plan.sigmas.items()]
        design = np.vstack([build_cells(self.family, a) / sigma for a, sigma, _ in drawn])
        target = np.concatenate([counts.ravel() / sigma for _, sigma, counts in drawn])
        allowed = self._find_allowed()
        inverse = np.linalg.pinv(design @ allowed, rcond=1e-9)
        self.estimate = allowed @ inverse @ target
        self.covariance = allowed @ inverse @ inverse.T @ allowed.T

    def build_figures(self, figures: Figures) -> np.ndarray:
        """Return one row of weights per figure, in C order."""
        total = 0
        for coefficient, cube in list_terms(figures):
            named = {n: s.matrix for n, s in {**cube.where, **cube.selectors}.items()}
            names = self.family.sort_names(named)
            rows = build_sums(self.family, named).reshape([len(named[n]) for n in names] + [-1])
            kept = [names.index(n) for n in cube.selectors]
            dropped = [axis for axis in range(len(names)) if axis not in kept]
            laid = rows.transpose([*kept, *dropped, len(names)])
            total = total + coefficient * laid.reshape(math.prod(cube.shape), -1)
        return total

    def _find_allowed(self) -> np.ndarray:
        equalities = [np.zeros((1, build_sums(self.family, {}).shape[1]))]
        for identity in self.family.identities:
            over = {name: np.eye(self.family.get_attribute(name).size) for name in identity.over}
            weighed = [
                (c, {n: np.array([self.family.get_attribute(n).get_weights(v)]) for n, v in t.vectors.items()})
                for c, t in identity.iter_signed_terms()
            ]
            equalities.append(sum(c * build_sums(self.family, over | vectors) for c, vectors in weighed))
        return null_space(np.vstack(equalities), rcond=1e-10)
