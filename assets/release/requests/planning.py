"""Plans what is measured for requests, given what a published release already makes known.

A table that earlier counts give at the requested accuracy costs nothing. For all others of a family one measurement is
planned at the smallest rho, in steps of `STEP`, that gives every one of them its accuracy, judged as the published
table will be: for groups of the published sizes, by the function that gives a percentage its interval and its flag. The
plan does not depend on the order of the requests.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from assets.home.errors import Refused
from assets.home.paths import Home
from assets.release.noise_workload import build_block_figures, build_requested_family
from assets.release.planning import ExpectedMoments, Sizes
from assets.release.requests.request import Request
from ndl_export.facts.noisy_counts import NOISY_COUNTS_FILE, NoisyCounts, list_plan_files
from ndl_export.facts.on_request import OnRequest, RequestedTable
from ndl_export.facts.release_facts import list_not_withdrawn, read_bundle_facts
from ndl_export.facts.synthetic_folder import SYNTHETIC_FOLDER
from ndl_export.tables import FAMILIES
from ndl_export.tables.geography import list_geographies
from ndl_export.tables.model import COUNCIL, MeasureKind
from privacy.estimation.estimates import Estimates, build_estimates
from privacy.estimation.intervals import WITHHELD, compute_published_ratios, is_within
from privacy.release.canonical import encode_canonical_json
from privacy.release.ledger import NANO
from privacy.release.mechanism import Measurement, combine_plans
from privacy.release.plan import Plan, compute_largest_gains, make_plan
from privacy.release.policy import Policy
from privacy.release.workload import Array, Attribute, Cube, MeasuredFamily, Selector

STEP = 10_000
"""Step, in nano-rho, to which a measurement's budget is rounded up."""


_Weighed = Sequence[tuple[Request, Mapping[str | None, float]]]
"""Requests of one family, with divisors of the weights of their tables: `build_requested_family`."""


class AccuracyOutOfReach(Exception):
    """A request that even the whole budget of an account would not answer at the requested accuracy."""


@dataclass(frozen=True, eq=False)
class Expected:
    """Expected accuracy of a requested table's percentages.

    `half_widths` of intervals in points and `flags` are (areas, rows); `detailed` marks the rows that the
    requested accuracy applies to: those at full detail, with no column at its total.
    """

    half_widths: Array
    flags: NDArray[np.str_]
    detailed: NDArray[np.bool_]

    @property
    def points(self) -> Array:
        """Half-widths at full detail, in points, as one flat array."""
        return self.half_widths[:, self.detailed].ravel()

    def compute_share_within(self, points: float) -> float:
        """Return the share of the percentages that are published with at most this half-width."""
        published = self.flags[:, self.detailed].ravel() != WITHHELD
        return float((published & is_within(self.points, points)).mean())

    def is_enough_for(self, request: Request) -> bool:
        return self.compute_share_within(request.accuracy.half_width_points) >= request.accuracy.share_of_rates


def estimate_sizes(plan: Plan, measurement: Measurement) -> Sizes:
    """Return the measured sizes; an attribute not measured by council has the same shares in all."""
    family, estimates = plan.family, build_estimates(plan, measurement)
    rows = estimates.compute_values(Cube({COUNCIL: Selector.for_each(family.get_attribute(COUNCIL))}))
    others = [family.get_attribute(name) for name in family.columns if name != COUNCIL]
    # a noisy count may be negative, a number of rows may not
    return Sizes(np.maximum(rows, 0.0), {each.name: _estimate_shares(family, estimates, each) for each in others})


def _estimate_shares(family: MeasuredFamily, estimates: Estimates, attribute: Attribute) -> Array:
    council, levels = family.get_attribute(COUNCIL), Selector.for_each(attribute)
    if family.has_marginal_over((COUNCIL, attribute.name)):
        counts = estimates.compute_values(Cube({COUNCIL: Selector.for_each(council), attribute.name: levels}))
    elif family.has_marginal_over((attribute.name,)):
        counts = estimates.compute_values(Cube({COUNCIL: Selector.for_total(council), attribute.name: levels}))
    else:
        counts = np.ones((1, attribute.size))
    counts = np.broadcast_to(np.maximum(counts, 0.0), (council.size, attribute.size))
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0))


@dataclass(frozen=True, eq=False)
class Known:
    """Everything measured of a published cohort: plans by family and on request, published sizes, and the policy."""

    cohort: str
    base: Mapping[str, Plan]
    on_request: tuple[Plan, ...]
    sizes_of: Callable[[str], Sizes]
    policy: Policy

    @classmethod
    def read(
        cls, policy: Policy, bundle: Path, cohort: str, base: Mapping[str, Plan], on_request: Iterable[Plan]
    ) -> Self:
        """Return the released plans, with group sizes from the noisy counts of a bundle measured under `base`."""
        sizes_of = cache(partial(_read_published_sizes, bundle, cohort, base))
        return cls(cohort, base, tuple(on_request), sizes_of, policy)

    def combine(self, family: str, more: Plan | None = None) -> Plan:
        """Return one plan of everything measured of a family and, if given, of a plan for `more`."""
        first, *others = self._list_measured(family)
        return combine_plans(first, [*others, more] if more else others)

    def estimate(self, request: Request | RequestedTable, plan: Plan | None = None) -> Expected | None:
        """Return the accuracy of a request, given all that is measured and `plan`; None without such a table."""
        (block,) = request.table.blocks  # a requested table has one block, and a row for each area
        # everything measured of a family is one least-squares problem, so earlier counts sharpen a new table
        whole = self.combine(request.family, plan)
        councils = whole.family.get_attribute(COUNCIL).categories
        figures = build_block_figures(block, whole.family, councils)
        wanted = len(list_geographies(councils)) if block.councils else 1
        if figures is None or len(figures.areas) < wanted:
            return None
        ((rate, _),) = figures.judged_by
        moments, unit = ExpectedMoments(whole, self.sizes_of(request.family)), MeasureKind.PERCENT.scale
        found = compute_published_ratios(moments, *rate, self.policy.reliability, largest=1.0, unit=unit)
        rows = len(figures.areas), -1
        levels = product(*(axis.selections for axis in block.axes))
        return Expected(
            ((found.upper - found.lower) / 2).reshape(rows)[:wanted],
            found.flag.reshape(rows)[:wanted],
            np.array([all(level.categories is not None for level in chosen) for chosen in levels]),
        )

    def plan_requests(self, requests: Iterable[Request]) -> dict[str, Plan | None]:
        """Return the cohort's plans by family, None if nothing is measured. Raises `AccuracyOutOfReach`."""
        # sorted, so that the plan does not depend on the order in which requests are named
        chosen = sorted(
            (each for each in requests if self.cohort in each.cohorts),
            key=lambda request: (request.name, encode_canonical_json(request.build_document())),
        )
        by_family = {family: [each for each in chosen if each.family == family] for family in FAMILIES}
        return {family: self._plan_family(family, own) for family, own in by_family.items() if own}

    def plan_at(self, rho: float, request: Request) -> Plan:
        """Return the plan that spends `rho` on one request's table."""
        return self._build_planner([(request, {})])(rho)

    def _list_measured(self, family: str) -> list[Plan]:
        return [self.base[family], *(each for each in self.on_request if each.family.name == family)]

    def _plan_family(self, family: str, requests: Sequence[Request]) -> Plan | None:
        unknown = [each for each in requests if not self._is_met(each)]
        if not unknown:
            return None
        alone, measured = [self._find_least([(each, {})]) for each in unknown], self._list_measured(family)
        # weights are divided by what another unit of precision would gain for a request alone: at the sum of their
        # separate costs, that balances tables that have nothing in common
        weighed = [(each, compute_largest_gains(plan, measured)) for each, plan in zip(unknown, alone, strict=True)]
        plan = self._find_least(weighed) if len(unknown) > 1 else alone[0]
        named = [{"family": each.family, "definition": each.definition.model_dump(mode="json")} for each in unknown]
        return replace(plan, detail={"requests": named})

    def _find_least(self, weighed: _Weighed) -> Plan:
        """Return the plan of least rho, up to the cap, under which each request is met, found by bisection."""
        requests, plan = [each for each, _ in weighed], self._build_planner(weighed)
        account = self.policy.accounts[self.policy.get_unit(requests[0].family)]
        fails, meets = 0, round(account.cap_rho * NANO) // STEP
        found = plan(meets * STEP / NANO)
        if unmet := [each for each in requests if not self._is_met(each, found)]:
            raise AccuracyOutOfReach("\n".join(self._iter_out_of_reach(unmet, found)))
        while meets - fails > 1:
            middle = (fails + meets) // 2
            tried = plan(middle * STEP / NANO)
            if all(self._is_met(each, tried) for each in requests):
                meets, found = middle, tried
            else:
                fails = middle
        return found

    def _build_planner(self, weighed: _Weighed) -> Callable[[float], Plan]:
        """Return the function that plans, for a given rho, the tables of requests of one family."""
        name = weighed[0][0].family
        tables = [(each.table, gains) for each, gains in weighed]
        family = build_requested_family(self.base[name].family, tables, self.policy)
        return partial(make_plan, family, delta=self.policy.delta, known=self._list_measured(name))

    def _is_met(self, request: Request, plan: Plan | None = None) -> bool:
        """Return whether a request is answered by what is known and by the plan, if given."""
        found = self.estimate(request, plan)
        return found is not None and found.is_enough_for(request)

    def _iter_out_of_reach(self, requests: Iterable[Request], plan: Plan) -> Iterator[str]:
        for each in requests:
            if found := self.estimate(each, plan):
                wanted = each.accuracy
                yield (
                    f"{each.name}: even the whole budget of a cohort, rho {plan.rho:g}, would bring"
                    f" {found.compute_share_within(wanted.half_width_points):.0%} of its {found.points.size:,}"
                    f" percentages within {wanted.half_width_points:g} points, not {wanted.share_of_rates:.0%}"
                )


@dataclass(frozen=True, eq=False)
class Released:
    """A published release, as its bundle describes it."""

    version: str
    folder: Path
    cohorts: tuple[str, ...]
    on_request: OnRequest

    @classmethod
    def read(cls, bundle: Path) -> Self:
        package, _ = read_bundle_facts(bundle)
        return cls(package["version"], bundle, tuple(package["cohorts"]), OnRequest.read_bundle(bundle))

    @property
    def synthetic_children(self) -> Path:
        """Folder of the synthetic children made from it, if any."""
        return self.folder.parent / SYNTHETIC_FOLDER / self.version

    def read_known(self, policy: Policy, cohort: str) -> Known:
        names = list_plan_files(self.cohorts)
        base = {family: Plan.from_json((self.folder / names[cohort, family]).read_bytes()) for family in FAMILIES}
        measured = sorted(self.on_request.noisy_counts.items())
        on_request = (Plan.from_json(counts.plan) for key, counts in measured if key.cohort == cohort)
        return Known.read(policy, self.folder, cohort, base, on_request)


def find_release(home: Home, requests: Sequence[Request], version: str | None) -> Released:
    """Return release `version`, or the newest one not withdrawn that has every requested cohort. Raises `Refused`."""
    wanted = {cohort for request in requests for cohort in request.cohorts}
    # an answer adds to a published release, so a withdrawn release cannot take one
    usable = list(map(str, list_not_withdrawn(home.release)))
    found = [Released.read(home.release / each) for each in usable if version in (None, each)]
    if fit := [each for each in found if wanted <= set(each.cohorts)]:
        return fit[-1]
    if version and version not in usable:
        raise Refused(f"there is no release {version} in {home.release}: {', '.join(usable) or 'none was made'}")
    has = "; ".join(f"{each.version} has {', '.join(each.cohorts)}" for each in found) or "there is no release"
    raise Refused(
        f"no release in {home.release} has {'cohort' if len(wanted) == 1 else 'all of the cohorts'}"
        f" {', '.join(sorted(wanted))}: {has}. A table on request is made from a release that is published"
    )


def _read_published_sizes(bundle: Path, cohort: str, base: Mapping[str, Plan], family: str) -> Sizes:
    plan = base[family]
    drawn = NoisyCounts.read(plan.encode_json(), pq.ParquetFile(bundle / NOISY_COUNTS_FILE).read(), cohort, family)
    return estimate_sizes(plan, Measurement(plan.sha256, "as published", "", plan.rho, drawn.counts))
