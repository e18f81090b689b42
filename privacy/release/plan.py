"""The plan of a release: which marginals are measured and how much noise each gets, decided before any data is read.

`make_plan` chooses the noise. A `Plan` is a public document with a canonical JSON form and a hash, which everything
made from it quotes. Nothing here sees a count.

In the words of `docs/privacy-derivation.md`, section 3: with tau = t + Q s, the plan minimises the convex function
f(s) = sum over C of w_C / tau_C(s) subject to s >= 0 and sum s_A = B = 2 rho. Two updates alternate, and each lowers f
at every step (the cocktail of Yu 2011, for A-optimal designs). With g = -grad f = Q' (w / tau^2):

    exchange: move precision from the measured marginal with the least g to the one with the greatest, exactly as much
              as lowers f most; this can drop a marginal altogether;
    scale:    s_A  <-  s_A sqrt(g_A), rescaled to sum B (Yu 2010).

The certificate is the gap 1 - (g's) / (B max g). f(s) - f* <= g's* - g's <= B max g - g's, and f(0) - f(s) >= g's: the
gap bounds the share of the possible gain f(0) - f* that the plan misses. Without t that gain is infinite; but then
g's = f, by Cauchy-Schwarz f(s)^2 <= f* (g's*) <= f* B max g, and the gap bounds the relative distance to f*. All sums
are elementwise in a fixed order: the same family gives the same plan.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from privacy.release.canonical import compute_sha256, encode_canonical_json
from privacy.release.components import Lattice
from privacy.release.workload import Array, MeasuredFamily

METHOD = "optimised-marginals/1"
"""Name and version of the method. A plan of another version is refused, never reinterpreted."""

CALIBRATION = 1 - 1e-9
"""Share of rho that is allocated: OpenDP's map rounds up, and the charge may not exceed rho."""

SIGMA_STEP = 2**-14
"""Noise scales are rounded up to a multiple of this, which hides platform differences in the last bits.

OpenDP's sampler calculates with exact fractions: one with few binary digits takes a tenth less time than any decimal.
"""

GAP = 1e-6
"""Relative duality gap at which the allocation stops."""

NEGLIGIBLE = 1e-6
"""Share of the budget below which a marginal is not measured, unless nothing else determines its component."""

LEAST = 1e-4
"""Least share of the budget for a marginal that otherwise only earlier plans would determine.

Each plan's measurement must determine the plan's tables by itself.
"""

MAX_STEPS = 10_000
# halvings of the range; a float has 53 binary digits
BISECTIONS = 60


_FAMILY = TypeAdapter(MeasuredFamily)


class PlanError(ValueError):
    """A plan that cannot be made, or a document that is not a valid plan."""


@dataclass(frozen=True)
class Plan:
    """A measurement plan: the scale of the discrete Gaussian of each measured marginal, in lattice order.

    `detail` holds decisions about the rows to be published, JSON-ready, for the code that makes the tables. It is part
    of the document and its hash, but nothing here reads it.
    """

    family: MeasuredFamily
    rho: float
    delta: float
    sigmas: Mapping[tuple[str, ...], float]
    detail: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.rho > 0 or not 0 < self.delta < 1:
            raise PlanError(f"rho must be positive and delta between 0 and 1, not {self.rho} and {self.delta}")
        if not all(math.isfinite(sigma) and sigma > 0 for sigma in self.sigmas.values()):
            raise PlanError("every noise scale must be positive")
        if not set(self.sigmas) <= set(self.lattice.subsets):
            raise PlanError("a measured marginal is not part of any table, or not in the family's attribute order")
        spent = math.fsum(0.5 / sigma**2 for sigma in self.sigmas.values())
        if spent > self.rho:
            raise PlanError(f"the noise scales cost rho {spent:.9f}, more than the declared {self.rho}")
        if not (self.component_precisions > 0).all():
            raise PlanError("the measured marginals do not determine every table of the workload")
        # Makes the plan of each group, which checks that the plan determines the tables of the group.
        _ = self.parts

    @cached_property
    def parts(self) -> Mapping[str, "Plan"]:
        """The plan as seen by each group of the family's nesting, as independent problems; empty without a nesting."""
        nesting = self.family.nesting
        if nesting is None:
            return {}

        def drop_outer(attributes: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(name for name in attributes if name != nesting.outer)

        sigmas = {drop_outer(attributes): sigma for attributes, sigma in self.sigmas.items()}
        groups = self.family.get_attribute(nesting.outer).categories
        return {group: Plan(self.family.select_group(group), self.rho, self.delta, sigmas) for group in groups}

    @cached_property
    def lattice(self) -> Lattice:
        """The closure of the workload."""
        return Lattice.build(self.family)

    @cached_property
    def component_precisions(self) -> Array:
        """(K,): tau_C of every residual component, sum over A containing C of s_A / prod(n_i, i in A\\C)."""
        measured = np.zeros(len(self.lattice.subsets))
        for attributes, sigma in self.sigmas.items():
            measured[self.lattice.find_position(attributes)] = sigma**-2.0
        return _compute_precisions(self.lattice.information, measured)

    def encode_json(self) -> bytes:
        """Return the canonical document: method, budget, attributes with their domains, workload, identities, noise."""
        return encode_canonical_json(
            {
                "method": METHOD,
                "rho": self.rho,
                "delta": self.delta,
                "family": asdict(self.family),
                "measured": [{"attributes": list(a), "sigma": sigma} for a, sigma in self.sigmas.items()],
                **({"detail": self.detail} if self.detail else {}),
            }
        )

    @classmethod
    def from_json(cls, document: bytes) -> "Plan":
        """Read a canonical document. Raises PlanError for another method or anything but the canonical bytes."""
        try:
            content = json.loads(document)
            method = content["method"]
            if method != METHOD:
                raise PlanError(f"this plan is of method {method!r}; this software knows {METHOD!r}")
            sigmas = {tuple(entry["attributes"]): entry["sigma"] for entry in content["measured"]}
            family = _FAMILY.validate_python(content["family"])
            plan = cls(family, content["rho"], content["delta"], sigmas, content.get("detail", {}))
        except (KeyError, TypeError, json.JSONDecodeError, ValidationError) as error:
            raise PlanError(f"this is not a plan document: {error!r}") from error
        # The hash is over the bytes: the same plan in other bytes would have another identity.
        if plan.encode_json() != document:
            raise PlanError("this plan document is not in canonical form")
        return plan

    def __hash__(self) -> int:
        return hash(self.sha256)

    @cached_property
    def sha256(self) -> str:
        """Hash of the canonical document; the plan's identity."""
        return compute_sha256(self.encode_json())


def make_plan(family: MeasuredFamily, rho: float, *, delta: float, known: Sequence[Plan] = ()) -> Plan:
    """Return the plan that spends at most `rho` (zCDP) on `family` with the smallest weighted sum of cell variances.

    `known` are earlier plans of the same table, whose measurements are taken into account. `delta` is recorded for the
    conversion to (epsilon, delta). With a nesting, each level's marginals are planned separately, under that level's
    share of rho, given what is known at that level. Raises PlanError if the allocation fails or a known plan has other
    attributes.
    """
    if any((each.family.attributes, each.family.nesting) != (family.attributes, family.nesting) for each in known):
        raise PlanError(f"what is known is not of the table of {family.name!r}")
    measured = [entry for each in known for entry in each.sigmas.items()]
    sigmas: dict[tuple[str, ...], float] = {}
    for level, place, share in _list_levels(family):
        sigmas |= _compute_noise_scales(level, place, 2 * rho * share * CALIBRATION, measured)
    order = Lattice.build(family).subsets
    return Plan(family, rho, delta, {attributes: sigmas[attributes] for attributes in order if attributes in sigmas})


def compute_largest_gains(plan: Plan, known: Sequence[Plan] = ()) -> dict[str | None, float]:
    """Return how much one more unit of 1/sigma^2 would reduce the plan's weighted sum of cell variances: max(g).

    Keys are the attribute that all marginals of a level of the nesting hold; None without a nesting.
    """
    measured = [entry for each in (plan, *known) for entry in each.sigmas.items()]
    found = {}
    for level, place, _ in _list_levels(plan.family):
        lattice = Lattice.build(level)
        prior = lattice.compute_precisions(
            (names, sigma) for names, sigma in measured if place is None or place in names
        )
        found[place] = float(_compute_gain(lattice.information, lattice.compute_component_weights(), prior).max())
    return found


def _list_levels(family: MeasuredFamily) -> list[tuple[MeasuredFamily, str | None, float]]:
    """Return, for each level of the nesting, the family with its marginals, its attribute and its share of the budget.

    A level takes the whole budget if the other has no marginals; without a nesting, the only level is the family.
    """
    nesting = family.nesting
    if nesting is None:
        return [(family, None, 1.0)]
    shares = {nesting.inner: 1 - nesting.share, nesting.outer: nesting.share}
    marginals = {name: tuple(m for m in family.marginals if name in m.attributes) for name in shares}
    return [
        (
            replace(family, marginals=own, identities=(), nesting=None),
            name,
            shares[name] if all(marginals.values()) else 1.0,
        )
        for name, own in marginals.items()
        if own
    ]


def _compute_noise_scales(
    family: MeasuredFamily, place: str | None, budget: float, measured: Iterable[tuple[tuple[str, ...], float]]
) -> dict[tuple[str, ...], float]:
    """Return noise scales of marginals with `place`, for at most `budget` in 1/sigma^2, given those `measured`."""
    lattice = Lattice.build(family)
    prior = lattice.compute_precisions((names, sigma) for names, sigma in measured if place is None or place in names)
    candidates = np.array([place is None or place in subset for subset in lattice.subsets])
    allocated, weights = np.zeros(len(lattice.subsets)), lattice.compute_component_weights()
    allocated[candidates] = allocate(lattice.information[:, candidates], weights, budget, prior)
    allocated = np.where(lattice.is_maximal & (prior > 0), np.maximum(allocated, LEAST * budget), allocated)
    kept = lattice.is_maximal | (allocated > NEGLIGIBLE * budget)
    precisions = np.where(kept, allocated, 0.0)
    precisions *= budget / precisions.sum()
    return {
        # Rounded up, because a greater scale costs less.
        lattice.subsets[k]: math.ceil(1 / math.sqrt(precisions[k]) / SIGMA_STEP) * SIGMA_STEP
        for k in np.flatnonzero(kept)
    }


def allocate(information: Array, weights: Array, budget: float, prior: Array | None = None) -> Array:
    """Minimise sum(weights / (prior + information @ s)) over s >= 0 with sum(s) = budget: (candidates,) precisions.

    `information` is (K x candidates), `weights` (K,) positive, `prior` (K,) not negative. Raises PlanError.
    """
    candidates = information.shape[1]
    offset = np.zeros(len(weights)) if prior is None else prior
    precisions = np.full(candidates, budget / candidates)
    for _ in range(MAX_STEPS):
        known = offset + _compute_precisions(information, precisions)
        gain = _compute_gain(information, weights, known)
        gap = 1 - float((gain * precisions).sum()) / (budget * float(gain.max()))
        if gap < GAP:
            return precisions
        precisions = _exchange_precision(information, weights, precisions, known, gain)
        known = offset + _compute_precisions(information, precisions)
        precisions = precisions * np.sqrt(_compute_gain(information, weights, known))
        precisions *= budget / precisions.sum()
    raise PlanError(f"the allocation did not converge: relative gap {gap:.1e} after {MAX_STEPS} steps")


def _exchange_precision(information: Array, weights: Array, precisions: Array, known: Array, gain: Array) -> Array:
    """Return the precisions after the best exchange from the measured marginal of least gain to the one of greatest."""
    receiver, giver = int(gain.argmax()), int(np.where(precisions > 0, gain, np.inf).argmin())
    direction = information[:, receiver] - information[:, giver]

    def is_falling(moved: float) -> bool:
        # Moving all of it may leave a component without precision, that is an infinite variance.
        with np.errstate(divide="ignore"):
            return bool((weights * direction / (known + moved * direction) ** 2).sum() > 0)

    least, most = 0.0, float(precisions[giver])
    if is_falling(most):
        least = most
    for _ in range(BISECTIONS):
        middle = (least + most) / 2
        least, most = (middle, most) if is_falling(middle) else (least, middle)
    exchanged = precisions.copy()
    exchanged[receiver] += least
    exchanged[giver] -= least
    return exchanged


def _compute_gain(information: Array, weights: Array, known: Array) -> Array:
    return (information * (weights / known**2)[:, None]).sum(axis=0)


def _compute_precisions(information: Array, measured: Array) -> Array:
    # Not a matrix product, whose order of summation differs between machines.
    return np.asarray((information * measured[None, :]).sum(axis=1))
