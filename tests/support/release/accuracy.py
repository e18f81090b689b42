"""Accuracy of a release: made-up child tables in the published sizes, and the errors of GLD rates by council and
characteristic in the release, with one query per table, and in the model."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from assets.release.planning import _draw_shares, _list_ranges, plan_family
from ndl_export.tables import pupil
from ndl_export.tables.model import TableAttribute
from privacy.estimation.covariance import Covariances
from privacy.estimation.estimates import Estimates
from privacy.estimation.intervals import NoisyRates, model_rates
from privacy.linkage.cells import ALL_AGREE, NUMBERED, ONE_DIFFERS, ONE_SORT
from privacy.release.child_table import count_cells
from privacy.release.mechanism import Counts, OpenDPNoise, compute_charge, measure
from privacy.release.plan import Plan, make_plan
from privacy.release.policy import load_policy
from privacy.release.workload import Cube, LinearCombination, Marginal, Selector
from sources.reference.published_figures import estimate_council_size
from tests.support.release.examples import compute_published_rates

Array = NDArray[np.float64]
LARGE = 200
CHARACTERISTICS = ("fsm", "ethnic_group", "sen_provision", "first_language", "term_of_birth", "imd_quintile")
_NO_REVIEW = {
    pupil.format_dots_category(seen, c) for seen in ("Setting only", "Neither") for c in pupil.CONCERN_GIVEN_SEEN[seen]
}
_NO_SETTING = {
    pupil.format_dots_category(seen, c)
    for seen in ("Health visitor only", "Neither")
    for c in pupil.CONCERN_GIVEN_SEEN[seen]
}


@dataclass(frozen=True)
class Truth:
    """How probabilities of a good level of development differ from an additive model of council and characteristics.

    `interaction` is the standard deviation, in shares, of a group's effect in one council: normal, or Student's t with
    three degrees of freedom if `heavy_tails`. `special` is subtracted for one ethnic group in one council, the second
    of each.
    """

    interaction: float = 0.0
    special: float = 0.0
    heavy_tails: bool = False


ADDITIVE = Truth()


def draw_child_table(councils: Sequence[str], seed: int, truth: Truth = ADDITIVE) -> pa.Table:
    rng = np.random.default_rng(seed)
    sizes = [round(estimate_council_size(name)) for name in councils]
    council = np.repeat(np.arange(len(councils)), sizes)
    rows = len(council)
    codes = {"council": council}
    chance = 0.68 + rng.normal(0, 0.03, len(councils))[council]
    for attribute in pupil.FAMILY.attributes:
        each = np.array([_compute_shares(attribute, name) for name in councils])
        shares = each.mean(axis=0)
        drawn = [rng.choice(len(own), size, p=own / own.sum()) for own, size in zip(each, sizes, strict=True)]
        codes[attribute.name] = np.concatenate(drawn)
        if attribute.name in CHARACTERISTICS:
            chance += _draw_effects(rng, len(councils), shares, truth)[council, codes[attribute.name]]
    chance -= truth.special * ((council == 1) & (codes["ethnic_group"] == 1))
    codes["gld"] = (rng.random(rows) >= np.clip(chance, 0.02, 0.98)).astype(int)
    dots = np.array(pupil.DOTS.categories)[codes["dots"]]
    for name in ("asq3", "two_year_review"):
        _overrule(codes, name, pupil.NO_REVIEW, np.isin(dots, list(_NO_REVIEW)))
    _overrule(codes, "entitlement", pupil.NOT_LINKED_TO_SETTING, np.isin(dots, list(_NO_SETTING)))
    domains = {"council": tuple(councils)} | {a.name: a.categories for a in pupil.FAMILY.attributes}
    columns = {n: pa.DictionaryArray.from_arrays(pa.array(values), list(domains[n])) for n, values in codes.items()}
    return pa.table({"child_id": pa.array(range(rows), pa.int64()), **columns})


def _compute_shares(attribute: TableAttribute, council: str) -> list[float]:
    """Return the shares of an attribute's categories in a council.

    Most linked records agree completely, as in reality: with equal cells, no link could be trusted.
    """
    if attribute == pupil.AGREEMENT:
        return [0.2, 0.034, *[0.598 / len(ALL_AGREE)] * len(ALL_AGREE), *_share_differences(ONE_DIFFERS)]
    if attribute == pupil.DIFFERENCES:
        return [0.2, 0.034, 0.598, *_share_differences(ONE_SORT)]
    if attribute == pupil.CENSUS_JOIN:
        return [0.01, 0.86, 0.115, 0.015]
    if attribute == pupil.SHARED_NUMBER:
        return [1.0, *[0.0] * (len(NUMBERED) - 1)]
    return list(get_public_shares(attribute, council).values())


def _share_differences(cells: Sequence[object]) -> list[float]:
    """Return shares of cells with one difference; both names of a record seldom differ together."""
    weights = np.array([0.05 if "both names" in str(cell) else 1.0 for cell in cells])
    return [float(each) for each in 0.168 * weights / weights.sum()]


def get_public_shares(attribute: TableAttribute, council: str) -> dict[str, float]:
    return dict(
        zip(
            attribute.categories,
            _draw_shares(attribute.name, _list_ranges(attribute, council))[0].tolist(),
            strict=True,
        )
    )


def _draw_effects(rng: np.random.Generator, councils: int, shares: np.ndarray, truth: Truth) -> np.ndarray:
    """Draw effects, shape (councils, categories): each category's general effect, and its effect in each council."""
    general = rng.normal(0, 0.06, len(shares))
    shape = councils, len(shares)
    own = rng.standard_t(3, shape) / math.sqrt(3) if truth.heavy_tails else rng.normal(0, 1, shape)
    return general - shares @ general / shares.sum() + truth.interaction * own


def _overrule(codes: dict[str, np.ndarray], name: str, category: str, where: np.ndarray) -> None:
    """Assign the category exactly to `where`; other rows that have it get the first category instead."""
    position = pupil.FAMILY.get_attribute(name).categories.index(category)
    codes[name] = np.where(where, position, np.where(codes[name] == position, 0, codes[name]))


@dataclass(frozen=True)
class Cells:
    """A row for every council and category of every characteristic in each release: its `size`, whether it is the group
    of `Truth.special`, and by method the error in percentage points and whether the 95% interval holds the truth."""

    rows: pd.DataFrame

    def mask_within(self, least: float, most: float = math.inf) -> pd.Series:
        """Return which cells have `least` children or more but fewer than `most`."""
        return self.rows["size"].between(least, most, inclusive="left")

    def mask_the_one(self) -> pd.Series:
        """Return which cells are of the special group."""
        return self.rows["special"]

    def compute_coverage(self, way: str, cells: pd.Series) -> float:
        return float(self.rows.loc[cells, f"covered by {way}"].mean())

    def compute_mean_absolute(self, way: str, at_least: float) -> float:
        return float(self._get_errors(way, self.mask_within(at_least)).abs().mean())

    def compute_root_mean_square(self, way: str, cells: pd.Series) -> float:
        return float((self._get_errors(way, cells) ** 2).mean() ** 0.5)

    def compute_share_near(self, way: str, points: float, cells: pd.Series) -> float:
        """Return the share of cells whose figure is within `points` of the truth."""
        return float((self._get_errors(way, cells).abs() <= points).mean())

    def compute_mean_error(self, way: str) -> float:
        return float(self._get_errors(way, self.mask_the_one()).mean())

    def _get_errors(self, way: str, cells: pd.Series) -> pd.Series:
        return self.rows.loc[cells, f"error of {way}"]


def measure_errors(
    councils: Sequence[str], releases: int, *, rho: float | None = None, truth: Truth = ADDITIVE, tables: int = 1
) -> Cells:
    """Return the errors over repeated releases of each of several child tables, all with the same budget."""
    policy = load_policy()
    plan = plan_family("pupil", councils, policy)
    plan = plan if rho is None else make_plan(plan.family, rho, delta=policy.delta)
    rows: list[pd.DataFrame] = []
    for seed in range(1, tables + 1):
        table = draw_child_table(councils, seed, truth)
        counts, exact = count_cells(table, plan), count_cells(table, _select_measured(plan))
        for _ in range(releases):
            rows += _iter_errors(plan, counts, exact)
    return Cells(pd.concat(rows, ignore_index=True))


def count_queries(plan: Plan) -> tuple[int, int]:
    """Return the number of published tables, and of those that no other table contains."""
    maximal = plan.lattice.is_maximal[[plan.lattice.find_position(m.attributes) for m in plan.family.marginals]]
    return len(maximal), int(maximal.sum())


def _iter_errors(plan: Plan, counts: Counts, exact: Counts) -> Iterator[pd.DataFrame]:
    """Make one release, and yield the errors in it for each characteristic."""
    estimates = Estimates(plan, measure(plan, counts, OpenDPNoise(compute_charge(plan))))
    each, detailed = count_queries(plan)
    source = OpenDPNoise(2 * plan.rho * len(CHARACTERISTICS))
    for name in CHARACTERISTICS:
        table = np.moveaxis(exact[_list_names(plan, name)], _find_gld(plan, name), -1).astype(np.float64)
        size = table.sum(axis=-1)
        truth, special = 100 * _compute_rate(table[..., 0], size), np.zeros(size.shape, dtype=bool)
        special[1, 1] = name == "ethnic_group"
        axes = {a: Selector.for_each(plan.family.get_attribute(a)) for a in ("council", name)}
        part, whole = Cube(axes, {"gld": Selector.for_categories(plan.family.get_attribute("gld"), "Yes")}), Cube(axes)
        x, y = estimates.compute_values(part), estimates.compute_values(whole)
        variances = estimates.compute_variance(part), estimates.compute_variance(whole)
        model = model_rates(NoisyRates(x, y, *variances, estimates.compute_covariance(part, whole)))
        published = compute_published_rates(estimates, part, whole, load_policy().reliability)
        found = {
            "size": size,
            "special": special,
            "error of release": 100 * _compute_rate(x, y) - truth,
            "error of model": 100 * model.rate - truth,
            "covered by release": (published.lower <= truth) & (truth <= published.upper),
            "covered by model": (100 * model.lower <= truth) & (truth <= 100 * model.upper),
        }
        for way, number, parts in (("each", each, 1), ("detailed", detailed, 3)):
            sigma = math.sqrt(number / (2 * plan.rho))
            drawn = sum(source.add([np.zeros(table.size, dtype=np.int64)], [sigma])[0] for _ in range(parts))
            query = table + np.asarray(drawn).reshape(table.shape)
            found[f"error of {way}"] = 100 * _compute_rate(query[..., 0], query.sum(axis=-1)) - truth
        yield pd.DataFrame({column: values.ravel() for column, values in found.items()})


def _compute_rate(part: Array, whole: Array) -> Array:
    return np.clip(np.where(whole > 0, part, 0) / np.where(whole > 0, whole, 1), 0, 1)


def _list_names(plan: Plan, characteristic: str) -> tuple[str, ...]:
    return plan.family.sort_names(("council", characteristic, "gld"))


def _find_gld(plan: Plan, characteristic: str) -> int:
    return _list_names(plan, characteristic).index("gld")


def _select_measured(plan: Plan) -> Plan:
    """Return a plan of the tables whose errors are computed; only for exact counts, never for noise."""
    wanted = {_list_names(plan, name): 1e6 for name in CHARACTERISTICS}
    family = replace(plan.family, marginals=tuple(Marginal(names) for names in wanted), identities=())
    return Plan(family, plan.rho, plan.delta, wanted)


_COMPARED = ("sex", "fsm", "ethnic_group", "sen_provision", "imd_quintile")


def measure_correlation(councils: Sequence[str]) -> float:
    """Return the largest correlation of the noise in two councils' GLD rates, over all pairs of councils and the
    characteristics measured by council; rates are taken as two thirds."""
    plan = plan_family("pupil", councils, load_policy())
    covariances, largest = Covariances(plan), 0.0
    council, yes = (
        plan.family.get_attribute("council"),
        Selector.for_categories(plan.family.get_attribute("gld"), "Yes"),
    )
    pairs = list(combinations(councils, 2))
    measured = (name for name in _COMPARED if plan.family.has_marginal_over(("council", name, "gld")))
    for name in measured:
        groups = Selector.for_each(plan.family.get_attribute(name))

        def build_rate(of: int, name: str = name, groups: Selector = groups) -> LinearCombination:
            rows = Selector.for_groups(council, {f"{a} and {b}": ((a, b)[of],) for a, b in pairs})
            axes = {"council": rows, name: groups}
            return LinearCombination(((1.0, Cube(axes, {"gld": yes})), (-2 / 3, Cube(axes))))

        one, other = build_rate(0), build_rate(1)
        scale = np.sqrt(covariances.compute_variance(one) * covariances.compute_variance(other))
        largest = max(largest, float(np.abs(covariances.compute_covariance(one, other) / scale).max()))
    return largest
