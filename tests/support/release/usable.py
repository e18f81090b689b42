"""Shares of published rates that are usable and whose interval holds the truth, for made-up tables of real sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.release.planning import draw_rows_per_child, plan_family
from assets.release.tabulate import MeasuredRelease, tabulate
from ndl_export.tables import FAMILIES, TABLES
from ndl_export.tables.schema import ColumnRole, Flag, get_column_name
from privacy.release.child_table import UNIT_COLUMN, count_cells
from privacy.release.mechanism import Measurement, OpenDPNoise, compute_charge, measure
from privacy.release.plan import Plan
from privacy.release.policy import Reliability, load_policy
from privacy.release.statement import MeasuredCohort
from sources.reference.published_figures import estimate_council_size
from tests.support.release.accuracy import draw_child_table, get_public_shares

_COHORT, _VERSION = "202425", "2026.11.0"
_SPREAD = 100.0
"""Concentration of the Dirichlet distribution of a council's shares around the assumed ones."""
_ALL_SHOWN = Reliability(1e9, 1e9, 0.0)


@dataclass(frozen=True)
class Usable:
    """Rates of some tables over repeated releases: whether each is published, usable and, if it has an interval, covers
    the truth; by table and area."""

    table: NDArray[np.str_]
    area: NDArray[np.str_]
    published: NDArray[np.bool_]
    """Shape (releases, rates)."""
    usable: NDArray[np.bool_]
    covered: NDArray[np.bool_]

    def compute_share(self, *, table: str | None = None, area: str | None = None) -> float:
        """Return the share of published rates that are usable; NaN if none is published."""
        chosen = self._mask_chosen(table, area)
        published = self.published[:, chosen].sum()
        return float(self.usable[:, chosen].sum() / published) if published else float("nan")

    def count_published(self, *, table: str | None = None, area: str | None = None) -> int:
        """Return the number of published rates, averaged over the releases."""
        return round(float(self.published[:, self._mask_chosen(table, area)].sum(axis=1).mean()))

    def count_defined(self, *, table: str | None = None, area: str | None = None) -> int:
        """Return the number of rates, published or withheld."""
        return int(self._mask_chosen(table, area).sum())

    @property
    def coverage(self) -> float:
        return float(self.covered.mean())

    def _mask_chosen(self, table: str | None, area: str | None) -> NDArray[np.bool_]:
        every = np.ones(len(self.table), dtype=np.bool_)
        for wanted, names in ((table, self.table), (area, self.area)):
            every &= names == wanted if wanted is not None else True
        return every


def make_up(family: str, councils: Sequence[str], seed: int) -> pa.Table:
    """Return a family's confidential table in the size expected for each council, with shares that differ by council
    from those assumed in the plan."""
    if family == "pupil":
        return draw_child_table(councils, seed)
    definition, rng = FAMILIES[family], np.random.default_rng(seed)
    sizes = [round(draw_rows_per_child(definition)[0] * estimate_council_size(council)) for council in councils]
    codes = {"council": np.repeat(np.arange(len(councils)), sizes)}
    for attribute in definition.attributes:
        drawn = []
        for council, size in zip(councils, sizes, strict=True):
            assumed = np.array(list(get_public_shares(attribute, council).values()))
            drawn.append(rng.choice(len(assumed), size, p=rng.dirichlet(np.maximum(assumed, 1e-3) * _SPREAD)))
        codes[attribute.name] = np.concatenate(drawn)
    domains = {"council": tuple(councils)} | {each.name: each.categories for each in definition.attributes}
    columns = {name: pa.DictionaryArray.from_arrays(pa.array(of), list(domains[name])) for name, of in codes.items()}
    return pa.table({UNIT_COLUMN: pa.array(range(sum(sizes)), pa.int64()), **columns})


def count_usable_rates(
    councils: Sequence[str], releases: int, tables: Mapping[str, Path] = MappingProxyType({})
) -> Usable:
    """Release the same tables repeatedly under the policy: made-up tables, or those in files, by family."""
    policy = load_policy()
    plans = {family: plan_family(family, councils, policy) for family in FAMILIES}
    counts = {name: count_cells(tables.get(name) or make_up(name, councils, 1), plan) for name, plan in plans.items()}
    exact = {n: Measurement(plan.sha256, "none", "none", plan.rho, counts[n]) for n, plan in plans.items()}
    truth = _collect_rates(_iter_tables(plans, exact, councils, _ALL_SHOWN))
    published, usable, covered = [], [], []
    for _ in range(releases):
        drawn = {name: measure(plan, counts[name], OpenDPNoise(compute_charge(plan))) for name, plan in plans.items()}
        found = _collect_rates(_iter_tables(plans, drawn, councils, policy.reliability))
        published.append(found.flag != Flag.WITHHELD.value)
        usable.append(found.flag == "")
        covered.append((found.lower - truth.rounding <= truth.value) & (truth.value <= found.upper + truth.rounding))
    defined = ~np.isnan(truth.value)
    shown = np.array(published), np.array(usable)
    return Usable(truth.table, truth.area, *shown, np.array(covered)[:, defined])


def _iter_tables(
    plans: dict[str, Plan], drawn: dict[str, Measurement], councils: Sequence[str], reliability: Reliability
) -> dict[str, pa.Table]:
    return tabulate(MeasuredRelease([MeasuredCohort(_COHORT, _VERSION, plans, drawn)], councils, reliability, {}))


@dataclass(frozen=True)
class _Rates:
    """Applicable percentages and differences, concatenated over all tables."""

    table: NDArray[np.str_]
    area: NDArray[np.str_]
    value: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    flag: NDArray[np.str_]
    """Empty if there is none."""
    rounding: NDArray[np.float64]


def _collect_rates(tables: dict[str, pa.Table]) -> _Rates:
    found: dict[str, list[np.ndarray]] = {name: [] for name in _Rates.__dataclass_fields__}
    for name, data in tables.items():
        area = pc.coalesce(
            data["la_name"], data["english_devolved_area_name"], data["region_name"], data["geographic_level"]
        )
        for measure_ in (each for each in TABLES[name].measures if not each.is_count):
            flag = (
                pc.fill_null(data[get_column_name(measure_, ColumnRole.FLAG)], "")
                .to_numpy(zero_copy_only=False)
                .astype(str)
            )
            applies = flag != Flag.NOT_APPLICABLE.value
            columns = {
                "table": np.full(len(flag), name),
                "area": area.to_numpy(zero_copy_only=False).astype(str),
                "value": data[get_column_name(measure_, ColumnRole.FIGURE)].to_numpy(),
                "lower": data[get_column_name(measure_, ColumnRole.LOWER)].to_numpy(),
                "upper": data[get_column_name(measure_, ColumnRole.UPPER)].to_numpy(),
                "flag": flag,
                "rounding": np.full(len(flag), 0.5 * 10.0**-measure_.decimals),
            }
            for key, values in columns.items():
                found[key].append(values[applies])
    return _Rates(**{name: np.concatenate(values) for name, values in found.items()})
