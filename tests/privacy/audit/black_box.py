"""C. Nobody who sees everything published can distinguish two neighbouring tables better than rho allows.

With Gaussian noise of rho, neighbours are at most as distinguishable as two normals sqrt(2 rho) apart (mu of Gaussian
differential privacy). A fixed linear statistic over all published numbers, including the manifest, decides between the
two tables; its true and false positive rates give a lower bound of mu, by Clopper-Pearson intervals. The check fails if
the bound exceeds sqrt(2 rho). Weights and threshold come from separate pilot releases.
"""

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import stats

from assets.release import fix_release, measure as release, release as releases, sign_off
from assets.release.planning import plan_family
from assets.release.release import CohortRelease
from ndl_export.facts.release_facts import ReleaseFacts
from ndl_export.tables import FAMILIES
from privacy.estimation.estimates import Estimates
from privacy.estimation.intervals import compute_published_counts
from privacy.keys import KeyRing
from privacy.release import session
from privacy.release.child_table import count_cells
from privacy.release.mechanism import OPENDP, Counts, Measurement, combine_measurements, measure
from privacy.release.plan import Plan, make_plan
from privacy.release.policy import Policy
from privacy.release.workload import Cube, Marginal, Selector
from tests.support.release.doubles import NoNoise
from tests.support.release.examples import build_small_family, draw_small_table
from tests.support.release.homes import COHORT, make_home

CONFIDENCE = 1 - 1e-6
PILOT_SHARE = 0.2
"""Pilot releases, from which weights and threshold are chosen, per tested release."""

FEWEST_PILOTS = 20
"""With this many, a rounded figure with noise does not by chance differ between two tables and never within one."""

Vector = NDArray[np.float64]


def check_black_box(publisher: "Small | Bundles", fewer: int, releases: int) -> None:
    """Raise AssertionError if tables of `fewer` and `fewer` + 1 rows can be distinguished too well.

    The publisher makes successive releases of tables, each of which is the first rows of the same table.
    """
    weights, threshold = _statistic(publisher, fewer, max(FEWEST_PILOTS, math.ceil(PILOT_SHARE * releases)))
    false, true = (
        sum(float(publisher.numbers(rows) @ weights) > threshold for _ in range(releases))
        for rows in (fewer, fewer + 1)
    )
    alpha = (1 - CONFIDENCE) / 2
    most_false = stats.beta.ppf(1 - alpha, false + 1, releases - false) if false < releases else 1.0
    least_true = stats.beta.ppf(alpha, true, releases - true + 1) if true else 0.0
    bound, allowed = stats.norm.ppf(least_true) - stats.norm.ppf(most_false), math.sqrt(2 * publisher.rho())
    assert bound <= allowed, (
        f"tables of {fewer} and {fewer + 1} rows are distinguished as by mu of at least {bound:.3f};"
        f" rho allows {allowed:.3f}"
    )


def _statistic(publisher: "Small | Bundles", fewer: int, pilots: int) -> tuple[Vector, float]:
    """Return weights and threshold: the effect of one row on each number over the number's variance, and the midpoint.

    Raises AssertionError for a number that differs although it has no noise.
    """
    seen = [np.array([publisher.numbers(rows) for _ in range(pilots)]) for rows in (fewer, fewer + 1)]
    variance = (seen[0].var(axis=0) + seen[1].var(axis=0)) / 2
    with patch.object(session, "OpenDPNoise", _Zero):
        added = publisher.numbers(fewer + 1) - publisher.numbers(fewer)
    bare = (variance == 0) & (seen[0][0] != seen[1][0])
    assert not bare.any(), f"{int(bare.sum())} published numbers tell the tables apart without any noise"
    weights = np.divide(added, variance, out=np.zeros_like(added), where=variance > 0)
    return weights, float(np.mean([(numbers @ weights).mean() for numbers in seen]))


class _Zero(NoNoise):
    name = OPENDP

    def __init__(self, rho: float) -> None:
        pass


class Small:
    """A small family, measured and estimated; counts, their intervals and the charge are published. With a further
    measurement for a requested table everything is published again, from both."""

    def __init__(self, rho: float, on_request: float = 0.0) -> None:
        self._plans = [make_plan(build_small_family(), rho, delta=1e-6)]
        if on_request:
            requested = replace(build_small_family(), marginals=(Marginal(("fsm", "gld", "asq")),), identities=())
            self._plans.append(make_plan(requested, on_request, delta=1e-6, known=self._plans))
        self._table: pa.Table = draw_small_table(4, seed=3)
        self._counts: dict[tuple[int, int], Counts] = {}

    def rho(self) -> float:
        """Return the charge of such a release."""
        return sum(map(session.compute_charge, self._plans))

    def numbers(self, rows: int) -> Vector:
        """Make a new release of the first rows and return every published number."""
        made = [self._measure(number, rows) for number in range(len(self._plans))]
        parts = []
        for known in range(1, len(made) + 1):
            further = list(zip(self._plans[1:known], made[1:known], strict=True))
            estimates = Estimates(*combine_measurements(self._plans[0], made[0], further))
            parts.append(self._publish(estimates, self._plans[:known]))
        return np.concatenate([*parts, [each.rho for each in made]])

    def _measure(self, number: int, rows: int) -> Measurement:
        plan, key = self._plans[number], (number, rows)
        if key not in self._counts:
            self._counts[key] = count_cells(self._table.slice(0, rows), plan)
        return measure(plan, self._counts[key], session.OpenDPNoise(session.compute_charge(plan)))

    def _publish(self, estimates: Estimates, plans: Sequence[Plan]) -> Vector:
        parts = []
        for attributes in (marginal.attributes for plan in plans for marginal in plan.family.marginals):
            cube = Cube({name: Selector.for_each(self._plans[0].family.get_attribute(name)) for name in attributes})
            shown = compute_published_counts(estimates, cube)
            parts += [estimates.compute_values(cube), shown.value, shown.lower, shown.upper]
        return np.concatenate([np.ravel(part) for part in parts]).astype(np.float64)


class Bundles:
    """Releases of one council as made by the assets: the numbers of all tables, the privacy statement and the facts, as
    passed to the bundle's writer.

    `shape` checks that the bundle contains nothing else. Plans and their expected accuracy are computed only once,
    because they do not depend on data.
    """

    def __init__(self, folder: Path, keys: KeyRing, councils: Sequence[str] = ("leeds",)) -> None:
        self._folder, self._keys, self._councils = folder, keys, councils
        self._plans: dict[str, Plan] = {}
        self._made = 0
        self._rho = 0.0

    def rho(self) -> float:
        return self._rho

    def numbers(self, rows: int) -> Vector:
        """Make a release in a new ledger and store, so that no cap is reached, and return every published number."""
        home = make_home(self._folder / f"release{self._made}", rows, self._councils)
        store = home.get_cohort(COHORT)
        self._made += 1
        captured: list[Any] = []

        def capture(_: Path, facts: ReleaseFacts, tables: dict[str, pa.Table], *__: Any, **___: Any) -> Path:
            captured.extend((facts, tables))
            return home.release / facts.version

        with (
            patch.object(release, "write_bundle", capture),
            patch.object(releases, "plan_family", self._plan),
            patch.object(fix_release, "check_accuracy", lambda *_: None),
            patch.object(sign_off, "write_sheet", lambda *_: "0" * 64),
        ):
            for family in FAMILIES:
                fix_release.fix_release(
                    CohortRelease(store, "2026.11.0"), self._councils, fix_release.ReleaseOptions(allow_missing=False)
                )
                release.measure_family(CohortRelease(store, "2026.11.0"), self._keys, family)
            release.publish_bundle(CohortRelease(store, "2026.11.0"), self._keys)
        shutil.rmtree(home.root)
        facts, tables = captured
        self._rho = facts.privacy_record["privacy_parameters"]["rho"]
        columns = [column for table in tables.values() for column in table.columns]
        numeric = [column.to_pandas() for column in columns if not pa.types.is_string(column.type)]
        figures = [np.nan_to_num(column.to_numpy(dtype=np.float64, na_value=np.nan)) for column in numeric]
        return np.concatenate([*figures, list(_numbers(facts.privacy_record))])

    def _plan(self, family: str, councils: Sequence[str], policy: Policy) -> Plan:
        if family not in self._plans:
            self._plans[family] = plan_family(family, councils, policy)
        return self._plans[family]


def _numbers(value: Any) -> Iterator[float]:
    """Yield every number in a document, in order."""
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    if isinstance(value, list):
        for entry in value:
            yield from _numbers(entry)
    elif isinstance(value, (int, float)):
        yield float(value)
