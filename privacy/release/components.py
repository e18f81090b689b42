"""Residual components of a workload: its downward closure as arrays over them, and the identities they obey.

Sections 3 and 5 of `docs/privacy-derivation.md` derive both. Component C is the same vector r_C whichever marginal A it
is derived from, up to the factor prod(n_i, i in A\\C), n_i being the size of attribute i. That turns least squares over
all tables into arithmetic per component (Xiao, He, Zhang, Kifer 2023; Mullins et al. 2024).

One identity gives an equality per cell of the attributes it runs over, so A has thousands of rows for a country. But
over those attributes A is the identity matrix and S a multiple of a projection in every residual component: the problem
splits into one tiny problem per subset D of those attributes, with a row per identity and a column per cell of the
attributes whose categories the identities weigh. `build_constraints` prepares these; a redundant identity is a zero
eigenvalue of A S A' and drops out.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from privacy.release.workload import Array, MeasuredFamily, Selector, Term, WorkloadError

REDUNDANT = 1e-10
"""Eigenvalues of the equalities' correlation matrix below this count as redundant; rounding leaves some 1e-15."""

VACUOUS = 1e-20
"""An equality carries no information if its variance is below this share of its terms' variances."""


def iter_subsets(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield every subset, smallest first, keeping the order given."""
    return (subset for size in range(len(names) + 1) for subset in combinations(names, size))


@dataclass(frozen=True, eq=False)
class Lattice:
    """A family's marginals and their K subsets, smallest first, then by position; index k throughout."""

    family: MeasuredFamily
    subsets: tuple[tuple[str, ...], ...]

    @classmethod
    def build(cls, family: MeasuredFamily) -> "Lattice":
        """Return the closure of `family.marginals`; it always includes the empty set, the number of rows."""
        closure = {
            subset for marginal in family.marginals for subset in iter_subsets(family.sort_names(marginal.attributes))
        }
        return cls(family, tuple(_sort_subsets(family, closure)))

    def find_position(self, names: Iterable[str]) -> int:
        """Return the position of a set of attributes. Raises WorkloadError if no marginal of the workload has it."""
        subset = self.family.sort_names(names)
        try:
            return self._index[subset]
        except KeyError:
            raise WorkloadError(
                f"family {self.family.name!r} has no table over ({', '.join(subset)}): declare it as a marginal"
            ) from None

    @cached_property
    def within(self) -> NDArray[np.bool_]:
        """(K x K): `within[c, a]` is true if set c is a subset of set a."""
        members = self._members.astype(np.float64)
        return np.asarray(members @ members.T == members.sum(axis=1)[:, None])

    @cached_property
    def cells(self) -> Array:
        """(K,): number of cells of each marginal, prod n_i."""
        return self._multiply_sizes(less=0)

    @cached_property
    def contrasts(self) -> Array:
        """(K,): dimension of each residual component, prod (n_i - 1)."""
        return self._multiply_sizes(less=1)

    @cached_property
    def is_maximal(self) -> NDArray[np.bool_]:
        """(K,): sets that no other set of the closure contains; each must be measured to be known at all."""
        return self.within.sum(axis=1) == 1

    @cached_property
    def information(self) -> Array:
        """(K x K), [C, A]: precision that one unit of 1/sigma_A^2 spent on marginal A gives to component C."""
        return np.where(self.within, self.cells[:, None] / self.cells[None, :], 0.0)

    def compute_precisions(self, measured: Iterable[tuple[tuple[str, ...], float]]) -> Array:
        """Return each component's precision, (K,), given measured marginals of the table and their noise scales.

        It is the sum over A containing C of 1/(sigma_A^2 prod(n_i, i in A\\C)), for A outside the closure too.
        """
        precisions = np.zeros(len(self.subsets))
        for names, sigma in measured:
            outside = [[n for n in names if n not in subset] for subset in self.subsets]
            holds = np.array([set(subset) <= set(names) for subset in self.subsets])
            cells = np.array([math.prod(self.family.get_shape(each)) for each in outside])
            precisions += np.where(holds, sigma**-2.0 / cells, 0.0)
        return precisions

    def compute_component_weights(self) -> Array:
        r"""Return the weights w_C of 1/tau_C in the workload's objective, (K,).

        The objective is the weighted sum of all cell variances.

        A cell of table W has variance sum over C in W of prod((n_i - 1)/n_i, i in C) prod(1/n_i^2, i in W\C) / tau_C.
        Over the prod(n_i) cells of W that is sum over C of prod(n_i - 1, i in C) / prod(n_i, i in W\C) / tau_C.
        """
        weights = np.zeros(len(self.subsets))
        for marginal in self.family.marginals:
            table = self.find_position(marginal.attributes)
            weights += marginal.weight * self.information[:, table] * self.contrasts
        return weights

    @cached_property
    def _index(self) -> dict[tuple[str, ...], int]:
        return {subset: k for k, subset in enumerate(self.subsets)}

    @cached_property
    def _members(self) -> NDArray[np.bool_]:
        return np.array([[a.name in subset for a in self.family.attributes] for subset in self.subsets])

    def _multiply_sizes(self, less: int) -> Array:
        sizes = np.array([float(attribute.size - less) for attribute in self.family.attributes])
        return np.where(self._members, sizes, 1.0).prod(axis=1)


@dataclass(frozen=True, eq=False)
class Constraint:
    """The equalities that act on the residual components D + E, for one D = `over` and all E in `rows`.

    - `rows[e]`: (R, *sizes of e), whitened equalities (their variance is the identity matrix of size R).
    - `gains[e]`: the same divided by tau of D + E, that is S A' in whitened form.
    """

    over: tuple[str, ...]
    rows: Mapping[tuple[str, ...], Array]
    gains: Mapping[tuple[str, ...], Array]


def build_constraints(lattice: Lattice, precisions: Array) -> tuple[Constraint, ...]:
    """Return the constraints of the family's identities under component precisions tau, (K,); none if vacuous."""
    family = lattice.family
    # Every subset of the attributes that an identity runs over.
    over = {subset for identity in family.identities for subset in iter_subsets(family.sort_names(identity.over))}
    found = (_build_constraint(lattice, precisions, each) for each in sorted(over, key=lambda each: (len(each), each)))
    return tuple(constraint for constraint in found if constraint is not None)


def impose(
    constraints: tuple[Constraint, ...], residuals: Mapping[tuple[str, ...], Array], family: MeasuredFamily
) -> dict[tuple[str, ...], Array]:
    """Return the residual components, attributes -> array of their domain's shape, updated to obey the constraints."""
    updated = dict(residuals)
    # Their order does not matter: constraints on different D act on different components D + E.
    for constraint in constraints:
        over, cells = constraint.over, int(np.prod(family.get_shape(constraint.over)))
        joint = {block: family.sort_names(over + block) for block in constraint.rows}
        order = {block: [names.index(name) for name in over + block] for block, names in joint.items()}
        # Component D + E as a (cells of D) x (cells of E) matrix.
        stacked = {b: updated[names].transpose(order[b]).reshape(cells, -1) for b, names in joint.items()}
        breach = sum(np.einsum("de,re->dr", stacked[b], _flatten_rows(rows)) for b, rows in constraint.rows.items())
        for block, gains in constraint.gains.items():
            corrected = stacked[block] - np.einsum("dr,re->de", breach, _flatten_rows(gains))
            # argsort of a permutation is its inverse.
            laid = corrected.reshape(family.get_shape(over + block)).transpose(np.argsort(order[block]))
            updated[joint[block]] = laid
    return updated


def _build_constraint(lattice: Lattice, precisions: Array, over: tuple[str, ...]) -> Constraint | None:
    """Return the whitened equalities on one component D, or None if they carry no information."""
    family = lattice.family
    active = [identity for identity in family.identities if set(over) <= set(identity.over)]
    parts = [
        [_split_into_blocks(family, term, coefficient) for coefficient, term in identity.iter_signed_terms()]
        for identity in active
    ]
    blocks = _sort_subsets(family, {block for terms in parts for term in terms for block in term})
    variances = {block: 1.0 / precisions[lattice.find_position(over + block)] for block in blocks}
    sizes = {block: int(np.prod(family.get_shape(block))) for block in blocks}
    rows = {
        block: np.array(
            [sum((t[block].ravel() for t in terms if block in t), np.zeros(sizes[block])) for terms in parts]
        )
        for block in blocks
    }
    covariance = sum(rows[block] @ rows[block].T * variances[block] for block in blocks)
    reference = [sum(float((t[b] ** 2).sum()) * variances[b] for t in terms for b in t) for terms in parts]
    whitener = _compute_whitener(np.asarray(covariance), np.array(reference))
    if not len(whitener):
        return None
    whitened = {block: (whitener @ rows[block]).reshape(-1, *family.get_shape(block)) for block in blocks}
    return Constraint(over, whitened, {block: whitened[block] * variances[block] for block in blocks})


def _sort_subsets(family: MeasuredFamily, subsets: set[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return sets of attributes, smallest first, then by position."""
    position = {attribute.name: index for index, attribute in enumerate(family.attributes)}
    return sorted(subsets, key=lambda subset: (len(subset), [position[name] for name in subset]))


def _split_into_blocks(family: MeasuredFamily, term: Term, coefficient: float) -> Mapping[tuple[str, ...], Array]:
    """Return a term's residual parts, by subset E: centred vectors over E times the means of other attributes."""
    names = family.sort_names(term.vectors)
    vectors = {name: Selector.for_groups(family.get_attribute(name), {name: term.vectors[name]}) for name in names}

    def build_part(block: tuple[str, ...]) -> Array:
        scale = coefficient * np.prod([vectors[name].means[0] for name in names if name not in block])
        return reduce(np.multiply.outer, (vectors[name].centred[0] for name in block), np.asarray(scale))

    return {block: build_part(block) for block in iter_subsets(names)}


def _compute_whitener(covariance: Array, reference: Array) -> Array:
    """Return W, (R x equalities), such that W covariance W' = I; R is the rank, W'W the pseudo-inverse."""
    deviations = np.sqrt(np.diag(covariance))
    informative = np.diag(covariance) > VACUOUS * reference
    scale = np.where(informative, 1 / np.where(informative, deviations, 1.0), 0.0)
    # Eigenvalues of correlations, so that `REDUNDANT` does not depend on the size of the counts.
    eigenvalues, vectors = np.linalg.eigh(covariance * scale[:, None] * scale[None, :])
    kept = eigenvalues > REDUNDANT
    return (vectors[:, kept] / np.sqrt(eigenvalues[kept])).T * scale[None, :]


def _flatten_rows(rows: Array) -> Array:
    return rows.reshape(len(rows), -1)
