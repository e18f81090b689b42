"""B. With zero noise, one child in the raw extracts changes each measured marginal by at most 1 in L2, and all of them
together by at most rho, both for a release's own tables and for tables on request."""

import math
import tempfile
from pathlib import Path

from assets.home.paths import Home
from assets.linkage.children import build_confidential_tables
from assets.linkage.inputs import list_extract_paths
from assets.release.planning import plan_family
from ndl_export.tables import FAMILIES
from privacy.release.child_table import count_cells
from privacy.release.mechanism import compute_charge, measure
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort
from tests.privacy.audit.extracts import COHORT, COUNCILS, Neighbours
from tests.support.release.doubles import NoNoise
from tests.support.release.requests import make_further_plans


def check_sensitivity(neighbours: Neighbours, moved: tuple[str, ...] = ("pupil",)) -> None:
    """Raise AssertionError if a child changes more than is charged for, or nothing in a family of `moved`."""
    policy, on_request = load_policy(), make_further_plans(COUNCILS)
    with tempfile.TemporaryDirectory() as folder:
        tables = [_tables(home, Path(folder) / home.root.name) for home in (neighbours.without, neighbours.with_child)]
        for family in FAMILIES:
            plan = plan_family(family, COUNCILS, policy)
            assert plan.rho == policy.get_rho(family)
            for each in (plan, *([on_request[family]] if family in on_request else [])):
                _check(each, [table[family] for table in tables], family in moved)


def _check(plan: Plan, tables: list[Path], moved: bool) -> None:
    family = plan.family.name
    here, there = (measure(plan, count_cells(table, plan), NoNoise()) for table in tables)
    moved_by = {names: here.noisy[names] - there.noisy[names] for names in plan.sigmas}
    distances = {names: math.sqrt(int((difference**2).sum())) for names, difference in moved_by.items()}
    worst = max(distances, key=lambda names: distances[names])
    assert distances[worst] <= 1, f"{family} over {worst} moves by {distances[worst]:.3f} in L2"
    cost = math.fsum(d**2 / (2 * plan.sigmas[names] ** 2) for names, d in distances.items())
    assert cost <= compute_charge(plan) <= plan.rho
    assert (distances[worst] == 1) == moved, f"{family}: the planted child is misplaced"


def _tables(home: Home, folder: Path) -> dict[str, Path]:
    """Derive the confidential tables and return their paths."""
    store = home.get_cohort(COHORT)
    folder.mkdir()
    tables = {family: folder / f"{family}.parquet" for family in FAMILIES}
    extracts = {source: list_extract_paths(store, source, COUNCILS) for source in CONTRACTS}
    build_confidential_tables(Cohort(COHORT), store.links, store.agreement, extracts, tables)
    return tables
