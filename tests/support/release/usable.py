"""Shares of published rates that are usable and whose interval holds the truth, for made-up tables of real sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pyarrow as pa

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
    """A row for each rate of each of so many releases: its `table` and `area`, whether it is `published`, `usable` and
    `covered` by its interval (missing for a rate without one)."""

    rates: pd.DataFrame
    releases: int

    def compute_share(self, **of: str) -> float:
        """Return the share of published rates that are usable, of one table or area; NaN if none is published."""
        rates = self._choose(of)
        return float(rates[rates.published].usable.mean())

    def count_published(self, **of: str) -> int:
        """Return the number of published rates, averaged over the releases."""
        return round(self._choose(of).published.sum() / self.releases)

    def count_defined(self, **of: str) -> int:
        """Return the number of rates, published or withheld."""
        return len(self._choose(of)) // self.releases

    @property
    def coverage(self) -> float:
        return float(self.rates.covered.mean())

    def _choose(self, of: Mapping[str, str]) -> pd.DataFrame:
        rates = self.rates
        for column, wanted in of.items():
            rates = rates[rates[column] == wanted]
        return rates


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
    rates = []
    for _ in range(releases):
        drawn = {name: measure(plan, counts[name], OpenDPNoise(compute_charge(plan))) for name, plan in plans.items()}
        found = _collect_rates(_iter_tables(plans, drawn, councils, policy.reliability))
        covered = (found.lower - truth.rounding <= truth.figure) & (truth.figure <= found.upper + truth.rounding)
        shown = found[["table", "area"]].assign(published=found.flag != Flag.WITHHELD.value, usable=found.flag == "")
        rates.append(shown.assign(covered=covered.astype(float).where(truth.figure.notna())))
    return Usable(pd.concat(rates), releases)


def _iter_tables(
    plans: dict[str, Plan], drawn: dict[str, Measurement], councils: Sequence[str], reliability: Reliability
) -> dict[str, pa.Table]:
    return tabulate(MeasuredRelease([MeasuredCohort(_COHORT, _VERSION, plans, drawn)], councils, reliability, {}))


def _collect_rates(tables: dict[str, pa.Table]) -> pd.DataFrame:
    """Return the applicable percentages and differences of all tables; the flag is empty if there is none."""
    found = []
    for name, data in ((name, table.to_pandas()) for name, table in tables.items()):
        area = data.la_name.fillna(data.english_devolved_area_name).fillna(data.region_name)
        for each in (each for each in TABLES[name].measures if not each.is_count):
            rates = pd.DataFrame({"table": name, "area": area.fillna(data.geographic_level)})
            for role in (ColumnRole.FIGURE, ColumnRole.LOWER, ColumnRole.UPPER, ColumnRole.FLAG):
                rates[role.value] = data[get_column_name(each, role)]
            rates = rates.assign(flag=rates.flag.fillna(""), rounding=0.5 * 10.0**-each.decimals)
            found.append(rates[rates.flag != Flag.NOT_APPLICABLE.value])
    return pd.concat(found, ignore_index=True)
