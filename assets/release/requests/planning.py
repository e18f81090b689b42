"""Plans what is measured for requests: the smallest budget that gives each the accuracy it asks for.

A table that earlier counts give at that accuracy costs nothing. For all others of a family one measurement is planned
at the smallest rho, in steps of `STEP`, that gives every one of them its accuracy, judged as the published table will
be: for groups of the published sizes, by the function that gives a percentage its interval and its flag. The plan does
not depend on the order of the requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from assets.release.noise_workload import build_block_figures, build_requested_family
from assets.release.planning import DECIMALS, Sizes
from assets.release.requests.request import Request
from ndl_export.facts.noisy_counts import NOISY_COUNTS_FILE, NoisyCounts
from ndl_export.facts.on_request import RequestedTable
from ndl_export.tables import FAMILIES
from ndl_export.tables.geography import list_geographies
from ndl_export.tables.model import COUNCIL, MeasureKind
from privacy.estimation.covariance import Covariances
from privacy.estimation.estimates import Estimates, build_estimates
from privacy.estimation.intervals import WITHHELD, compute_published_ratios
from privacy.release.canonical import encode_canonical_json
from privacy.release.ledger import NANO
from privacy.release.mechanism import Measurement, combine_plans
from privacy.release.plan import Plan, compute_largest_gains, make_plan
from privacy.release.policy import Policy
from privacy.release.workload import Array, Attribute, Cube, Family, Figures, Selector

STEP = 10_000
"""Step, in nano-rho, to which a measurement's budget is rounded up."""


_Weighed = Sequence[tuple[Request, Mapping[str | None, float]]]
"""Requests of one family, with divisors of the weights of their tables: `build_requested_family`."""


class AccuracyOutOfReach(Exception):
    """A request that even the whole budget of an account would not answer at the accuracy asked for."""


@dataclass(frozen=True, eq=False)
class Expected:
    """Expected accuracy of a requested table's percentages.

    `half_widths` of intervals in points and `flags` are (areas, rows); `detailed` marks rows at full detail, with no
    column at its total, which the requested accuracy is about.
    """

    half_widths: Array
    flags: NDArray[np.str_]
    detailed: NDArray[np.bool_]

    @property
    def points(self) -> Array:
        """Half-widths at full detail, in points, as one flat array."""
        return self.half_widths[:, self.detailed].ravel()

    def share_within(self, points: float) -> float:
        """Return the share of the percentages that are published with at most this half-width."""
        published = self.flags[:, self.detailed].ravel() != WITHHELD
        return float((published & (np.round(self.points, DECIMALS) <= points)).mean())

    def meets(self, request: Request) -> bool:
        return self.share_within(request.accuracy.half_width_points) >= request.accuracy.share_of_rates


@dataclass(frozen=True, eq=False)
class _Planned:
    """Moments of figures not measured yet: published group sizes, with the noise of a plan."""

    sizes: Sizes
    noise: Covariances

    def values(self, figures: Figures) -> Array:
        return self.sizes.values(figures)

    def variance(self, figures: Figures) -> Array:
        return self.noise.variance(figures)

    def covariance(self, left: Figures, right: Figures) -> Array:
        return self.noise.covariance(left, right)


def plan_requests(requests: Iterable[Request], cohort: str, known: Known, policy: Policy) -> dict[str, Plan | None]:
    """Return what is measured of a cohort for its requests, by family, None if known. Raises `AccuracyOutOfReach`."""
    # sorted, so that the plan does not depend on the order in which requests are named
    chosen = sorted(
        (each for each in requests if cohort in each.cohorts),
        key=lambda request: (request.name, encode_canonical_json(request.to_document())),
    )
    return {
        family: _plan_family([each for each in chosen if each.family == family], family, known, policy)
        for family in FAMILIES
        if any(each.family == family for each in chosen)
    }


def plan_at(rho: float, request: Request, known: Known, policy: Policy) -> Plan:
    """Return the plan that spends `rho` on one request's table, given what is known of its family."""
    return _build_planner([(request, {})], known, policy)(rho)


def _build_planner(weighed: _Weighed, known: Known, policy: Policy) -> Callable[[float], Plan]:
    """Return the function that plans the tables of requests, of one family, for a rho."""
    name = weighed[0][0].family
    family = build_requested_family(known.base[name].family, [(each.table, gains) for each, gains in weighed], policy)
    return partial(make_plan, family, delta=policy.delta, known=known.list_measured(name))


def estimate_accuracy(request: Request | RequestedTable, plan: Plan, sizes: Sizes, policy: Policy) -> Expected | None:
    """Return the expected accuracy of a request under a plan of everything measured; None if that does not give it."""
    (block,) = request.table.blocks  # a requested table has one block, and a row for each area
    councils = plan.family.get_attribute(COUNCIL).categories
    figures = build_block_figures(block, plan.family, councils)
    wanted = len(list_geographies(councils)) if block.councils else 1
    if figures is None or len(figures.areas) < wanted:
        return None
    ((rate, _),) = figures.judged_by
    found = compute_published_ratios(
        _Planned(sizes, Covariances(plan)), *rate, policy.reliability, largest=1.0, unit=MeasureKind.PERCENT.scale
    )
    rows = len(figures.areas), -1
    levels = product(*(axis.selections for axis in block.axes))
    return Expected(
        ((found.upper - found.lower) / 2).reshape(rows)[:wanted],
        found.flag.reshape(rows)[:wanted],
        np.array([all(level.categories is not None for level in chosen) for chosen in levels]),
    )


def _plan_family(requests: Sequence[Request], family: str, known: Known, policy: Policy) -> Plan | None:
    search = _Search(family, known, policy)
    unknown = [each for each in requests if not search.is_met([each], None)]
    if not unknown:
        return None
    alone, measured = [search.find_least([(each, {})]) for each in unknown], known.list_measured(family)
    weighed = [(each, compute_largest_gains(plan, measured)) for each, plan in zip(unknown, alone, strict=True)]
    plan = search.find_least(weighed) if len(unknown) > 1 else alone[0]
    named = [{"family": each.family, "definition": each.definition.model_dump(mode="json")} for each in unknown]
    return replace(plan, detail={"requests": named})


@dataclass(frozen=True, eq=False)
class _Search:
    """A search for the cheapest plan that answers requests of one family, given what is known."""

    family: str
    known: Known
    policy: Policy

    def find_least(self, weighed: _Weighed) -> Plan:
        """Return the plan of least rho, up to the cap, under which each request is met, found by bisection."""
        requests = [each for each, _ in weighed]
        # weights are divided by what another unit of precision would gain for a request alone: at the sum of their
        # separate costs, that balances tables that have nothing in common
        plan = _build_planner(weighed, self.known, self.policy)
        fails, meets = 0, round(self.policy.accounts[self.policy.get_unit(self.family)].cap_rho * NANO) // STEP
        found = plan(meets * STEP / NANO)
        if not self.is_met(requests, found):
            raise AccuracyOutOfReach("\n".join(self._explain_out_of_reach(requests, found)))
        while meets - fails > 1:
            middle = (fails + meets) // 2
            tried = plan(middle * STEP / NANO)
            if self.is_met(requests, tried):
                meets, found = middle, tried
            else:
                fails = middle
        return found

    def is_met(self, requests: Iterable[Request], plan: Plan | None) -> bool:
        """Return whether each request is answered by what is known and by the plan, if given."""
        return all(found is not None and found.meets(each) for each, found in self._estimate_each(requests, plan))

    def _estimate_each(self, requests: Iterable[Request], plan: Plan | None) -> list[tuple[Request, Expected | None]]:
        # everything measured of a family is one least-squares problem, so earlier counts sharpen a new table
        whole, sizes = self.known.combine(self.family, plan), self.known.sizes_of(self.family)
        return [(each, estimate_accuracy(each, whole, sizes, self.policy)) for each in requests]

    def _explain_out_of_reach(self, requests: Iterable[Request], plan: Plan) -> Iterable[str]:
        for each, found in self._estimate_each(requests, plan):
            if found is not None and not found.meets(each):
                wanted = each.accuracy
                yield (
                    f"{each.name}: even the whole budget of a cohort, rho {plan.rho:g}, would bring"
                    f" {found.share_within(wanted.half_width_points):.0%} of its {found.points.size:,} percentages"
                    f" within {wanted.half_width_points:g} points, not {wanted.share_of_rates:.0%}"
                )


def estimate_sizes(plan: Plan, measurement: Measurement) -> Sizes:
    """Return the measured sizes; an attribute not measured by council has the same shares in all."""
    family, estimates = plan.family, build_estimates(plan, measurement)
    rows = estimates.values(Cube({COUNCIL: Selector.each(family.get_attribute(COUNCIL))}))
    others = [family.get_attribute(name) for name in family.columns if name != COUNCIL]
    # a noisy count may be negative, a number of rows may not
    return Sizes(np.maximum(rows, 0.0), {each.name: _estimate_shares(family, estimates, each) for each in others})


def _estimate_shares(family: Family, estimates: Estimates, attribute: Attribute) -> Array:
    council, levels = family.get_attribute(COUNCIL), Selector.each(attribute)
    if family.covers((COUNCIL, attribute.name)):
        counts = estimates.values(Cube({COUNCIL: Selector.each(council), attribute.name: levels}))
    elif family.covers((attribute.name,)):
        counts = estimates.values(Cube({COUNCIL: Selector.total(council), attribute.name: levels}))
    else:
        counts = np.ones((1, attribute.size))
    counts = np.broadcast_to(np.maximum(counts, 0.0), (council.size, attribute.size))
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0))


@dataclass(frozen=True, eq=False)
class Known:
    """Plans of everything measured of a published cohort, by family and on request, and published sizes by family."""

    base: Mapping[str, Plan]
    on_request: tuple[Plan, ...]
    sizes_of: Callable[[str], Sizes]

    @classmethod
    def read(cls, bundle: Path, cohort: str, base: Mapping[str, Plan], on_request: tuple[Plan, ...]) -> Known:
        """Return the released plans, with group sizes from the noisy counts of a bundle measured under `base`."""
        return cls(base, on_request, cache(partial(_read_published_sizes, bundle, cohort, base)))

    def list_measured(self, family: str) -> list[Plan]:
        return [self.base[family], *(each for each in self.on_request if each.family.name == family)]

    def combine(self, family: str, more: Plan | None = None) -> Plan:
        """Return one plan of everything measured of a family, and of a plan for more."""
        first, *others = self.list_measured(family)
        return combine_plans(first, [*others, more] if more else others)


def _read_published_sizes(bundle: Path, cohort: str, base: Mapping[str, Plan], family: str) -> Sizes:
    plan = base[family]
    drawn = NoisyCounts.read(plan.to_json(), pq.read_table(bundle / NOISY_COUNTS_FILE), cohort, family)
    return estimate_sizes(plan, Measurement(plan.sha256, "as published", "", plan.rho, drawn.counts))
