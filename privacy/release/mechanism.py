"""The noise mechanism, the only way out for a true count: exact counts in, noisy integers out.

The charge is OpenDP's privacy map, not our arithmetic, and its noise is the only source in production.

Unit and neighbours: one row of the child table, added or removed. That changes one cell of every marginal by one, so
every marginal has L2 sensitivity 1, and a discrete Gaussian of parameter sigma costs rho = 1/(2 sigma^2).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opendp import combinators, domains, measurements, metrics, mod

from privacy.release.components import Lattice
from privacy.release.plan import Plan

mod.enable_features("contrib")

Integers = NDArray[np.int64]
Counts = Mapping[tuple[str, ...], Integers]
"""Marginal -> exact counts, int64, shape = domain sizes of its attributes in family order."""

OPENDP = "OpenDP discrete Gaussian"

_COUNTS = domains.vector_domain(domains.atom_domain(T="i64"))
_L2 = metrics.l2_distance(T="f64")


class ChargeError(ValueError):
    """Noise that would cost more than was declared or reserved."""


class OpenDPNoise:
    """Vector discrete Gaussian on 64-bit integers, for a total of `rho`.

    A second safeguard behind the ledger: it adds up what this object has drawn, by OpenDP's own map, and refuses a draw
    that would exceed `rho`, whatever the caller believes. A row added or removed moves each vector by at most 1 in L2.
    Sources of another `name` are for tests; the store refuses their measurements.
    """

    name = OPENDP

    def __init__(self, rho: float) -> None:
        self._rho = rho
        self._drawn: list[mod.Measurement] = []

    def add(self, vectors: Sequence[Integers], sigmas: Sequence[float]) -> list[Integers]:
        """Return each vector of counts with independent noise of its sigma added to every count; same shapes, int64.

        Raises ChargeError, now and on later calls, if all draws together would exceed `rho`.
        """
        draws = [_make_gaussian(sigma) for sigma in sigmas]
        # Added before the check, so that a source that refused once gives nothing more.
        self._drawn += draws
        if _compute_cost(self._drawn) > self._rho:
            raise ChargeError("The noise would cost more than the reserved rho. Nothing was drawn.")
        # On plain vectors: user-defined transformations and queryables call back into Python, and an exception that a
        # signal raises there corrupts OpenDP's memory. Version 0.16 died within ten seconds of draws interrupted at
        # random, while 900 interrupts of plain vectors did no harm.
        return [np.array(draw(vector), dtype=np.int64) for draw, vector in zip(draws, vectors, strict=True)]


@dataclass(frozen=True, eq=False)
class Measurement:
    """The noisy integers (averages, if combined) of every measured marginal, and how they were made. Safe to keep."""

    plan_sha256: str
    noise_source: str
    opendp_version: str
    rho: float
    noisy: Mapping[tuple[str, ...], NDArray[Any]]


def compute_charge(plan: Plan) -> float:
    """Return the cost of the whole plan in rho (zCDP), by OpenDP. Raises ChargeError if it is more than declared."""
    rho = _compute_cost([_make_gaussian(sigma) for sigma in plan.sigmas.values()])
    if rho > plan.rho:
        raise ChargeError(f"OpenDP charges rho {rho!r} for this plan, more than the {plan.rho!r} it declares")
    return rho


def compute_epsilon(rho: float, delta: float) -> float:
    """Return the epsilon that rho-zCDP gives at `delta`, by OpenDP's own conversion."""
    # rounded down, so that OpenDP charges at least rho
    gaussian = _make_gaussian(math.nextafter(1 / math.sqrt(2 * rho), 0.0))
    return float(combinators.make_zCDP_to_approxDP(gaussian).map(1.0).epsilon(delta))


def measure(plan: Plan, counts: Counts, noise: OpenDPNoise) -> Measurement:
    """Draw the noise of every measured marginal once. Raises ValueError first for counts that do not fit the plan."""
    check_counts(plan, counts)
    rho = compute_charge(plan)
    drawn = noise.add([counts[attributes].ravel() for attributes in plan.sigmas], list(plan.sigmas.values()))
    noisy = {
        attributes: vector.reshape(counts[attributes].shape)
        for attributes, vector in zip(plan.sigmas, drawn, strict=True)
    }
    return Measurement(plan.sha256, noise.name, version("opendp"), rho, noisy)


def check_counts(plan: Plan, counts: Counts) -> None:
    """Raise ValueError unless `counts` holds exactly the measured marginals, as int64 arrays of their domains."""
    if set(counts) != set(plan.sigmas):
        raise ValueError("the counts are not those of the plan's measured marginals")
    for attributes, table in counts.items():
        if table.dtype != np.int64 or table.shape != plan.family.get_shape(attributes):
            raise ValueError(f"the counts over {attributes} must be int64 of shape {plan.family.get_shape(attributes)}")


def _compute_cost(draws: Sequence[mod.Measurement]) -> float:
    """Return the rho (zCDP) of these draws together for one row, from OpenDP's map."""
    return float(combinators.make_composition(draws).map(1.0))


def _make_gaussian(sigma: float) -> mod.Measurement:
    return measurements.make_gaussian(_COUNTS, _L2, scale=sigma)


def combine_plans(plan: Plan, further: Sequence[Plan]) -> Plan:
    """Return the plan that gives the accuracy of all these measurements together; nothing is measured under it."""
    if not further:
        return plan
    for each in further:
        if (each.family.attributes, each.family.nesting) != (plan.family.attributes, plan.family.nesting):
            raise ValueError(f"the plans are not of one child table of {plan.family.name!r}")
    marginals = {each.attributes: each for every in (plan, *further) for each in every.family.marginals}
    family = replace(plan.family, marginals=tuple(marginals.values()))
    precisions: dict[tuple[str, ...], float] = {}
    for each in (plan, *further):
        for names, sigma in each.sigmas.items():
            precisions[names] = precisions.get(names, 0.0) + sigma**-2.0
    sigmas = {names: 1 / math.sqrt(precisions[names]) for names in Lattice.build(family).subsets if names in precisions}
    rho = math.fsum(each.rho for each in (plan, *further))
    return Plan(family, rho, plan.delta, sigmas, plan.detail)


def combine_measurements(
    plan: Plan, measurement: Measurement, further: Sequence[tuple[Plan, Measurement]]
) -> tuple[Plan, Measurement]:
    """Combine measurements of one child table into one plan and measurement, whose counts need not be whole numbers.

    A marginal measured more than once becomes the average weighted by inverse variance, with noise of precision sum of
    1/sigma^2.
    """
    if not further:
        return plan, measurement
    measured = [(plan, measurement), *further]
    if any(counts.plan_sha256 != each.sha256 for each, counts in measured):
        raise ValueError("a measurement was made under another plan")
    whole = combine_plans(plan, [each for each, _ in further])
    noisy: dict[tuple[str, ...], NDArray[Any]] = {}
    for names, sigma in whole.sigmas.items():
        own = [(each.sigmas[names], counts.noisy[names]) for each, counts in measured if names in each.sigmas]
        if len(own) == 1:
            # As drawn, because dividing and multiplying by the variance would round.
            noisy[names] = own[0][1]
        else:
            noisy[names] = np.sum([counts / scale**2 for scale, counts in own], axis=0) * sigma**2
    return whole, replace(measurement, plan_sha256=whole.sha256, rho=whole.rho, noisy=noisy)
