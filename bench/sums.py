"""Measures how often the interval of an analyst's sum contains the truth: `python -m bench.sums [RELEASES]`.

Synthetic children in the published sizes of the pilot councils are released this many times through OpenDP. The
intervals of `gld_sum`, which use the published covariances, are compared with those from adding up the squares of the
published intervals, as if the noise of every cell were independent.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from assets.release.noise_workload import compute_noise_covariance
from assets.release.planning import plan_family
from ndl_export.facts.noisy_counts import COVARIANCE_COUNTS
from privacy.estimation.estimates import Estimates
from privacy.estimation.intervals import RatioMoments
from privacy.release.child_table import count_cells
from privacy.release.mechanism import OpenDPNoise, compute_charge, measure
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from privacy.release.statement import MeasuredCohort
from privacy.release.workload import Cube, Selector
from sources.reference.places import PILOT
from tests.support.release.accuracy import draw_child_table
from tests.support.release.doubles import NoNoise

Array = NDArray[np.float64]
RELEASES = 300
SUMS: dict[str, tuple[Sequence[str], str, str, Sequence[str], Sequence[str]]] = {
    "Leeds + Wirral, all children": (("leeds", "wirral"), "", "Total", (), ()),
    "Leeds + Wirral, FSM": (("leeds", "wirral"), "fsm", "Free school meal eligibility", ("Eligible*",), ()),
    "Leeds, FSM, girls + boys": (("leeds",), "fsm", "Free school meal eligibility", ("Eligible*",), ("Female", "Male")),
    "Leeds, Asian + Black": (("leeds",), "ethnic_group", "Ethnic group", ("Asian*", "Black*"), ()),
    "Liverpool, quintiles 1 to 5": (("liverpool",), "imd_quintile", "IMD quintile", ("Quintile*",), ()),
    "six councils of the city region, FSM": (
        ("halton", "knowsley", "liverpool", "sefton", "st-helens", "wirral"),
        "fsm",
        "Free school meal eligibility",
        ("Eligible*",),
        (),
    ),
    "all councils, every ethnic group": (tuple(sorted(PILOT)), "ethnic_group", "Ethnic group", ("*",), ()),
}
"""Councils, attribute, its topic, prefixes of the categories, sexes."""


@dataclass(frozen=True)
class Sum:
    """A sum of figures.

    `part` and `whole` are cubes of one figure. `moments` has, by way, the variances of both and their covariance, in
    the order of `COVARIANCE_COUNTS`.
    """

    part: Cube
    whole: Cube
    moments: dict[str, tuple[float, ...]]


def iter_sums(plan: Plan) -> Iterator[tuple[str, Sum]]:
    """Yield `SUMS` by name."""
    nobody = {names: np.zeros(plan.family.get_shape(names), dtype=np.int64) for names in plan.sigmas}
    drawn = measure(plan, nobody, NoNoise())
    held = compute_noise_covariance(
        [MeasuredCohort("202425", "2026.11.0", {"pupil": plan}, {"pupil": drawn})], {}
    ).to_pylist()
    attribute = plan.family.get_attribute
    for name, (councils, of, topic, beginnings, sexes) in SUMS.items():
        begins = tuple(each.rstrip("*") for each in beginnings)
        chosen = [c for c in attribute(of).categories if c.startswith(begins) and c != "Unknown"] if of else ["Total"]
        where = {"council": Selector.for_categories(attribute("council"), *councils)}
        where |= {of: Selector.for_categories(attribute(of), *chosen)} if of else {}
        where |= {"sex": Selector.for_categories(attribute("sex"), *sexes)} if sexes else {}
        rows = set(product(chosen, sexes or ("Total",)))
        pairs = [
            row
            for row in held
            if row["breakdown_topic"] == topic
            and {(row["breakdown"], row["sex"]), (row["other_breakdown"], row["other_sex"])} <= rows
        ]
        n = len(councils)
        exact = (sum(n * (row[f"same_{c}"] + (n - 1) * row[f"apart_{c}"]) for row in pairs) for c in COVARIANCE_COUNTS)
        own = [r for r in pairs if (r["breakdown"], r["sex"]) == (r["other_breakdown"], r["other_sex"])]
        apart = (sum(n * row[f"same_{c}"] for row in own) for c in COVARIANCE_COUNTS)
        part = Cube({}, where | {"gld": Selector.for_categories(attribute("gld"), "Yes")})
        yield name, Sum(part, Cube({}, where), {"covariances": tuple(exact), "squares added up": tuple(apart)})


def main(releases: int) -> None:
    councils = sorted(PILOT)
    plan = plan_family("pupil", councils, load_policy())
    counts = count_cells(draw_child_table(councils, 1), plan)
    exact = Estimates(plan, measure(plan, counts, NoNoise()))
    found: dict[tuple[str, str], list[tuple[bool, bool, float]]] = {}
    asked = dict(iter_sums(plan))
    for _ in range(releases):
        estimates = Estimates(plan, measure(plan, counts, OpenDPNoise(compute_charge(plan))))
        for name, each in asked.items():
            x, y = estimates.compute_values(each.part), estimates.compute_values(each.whole)
            x_true, y_true = exact.compute_values(each.part), exact.compute_values(each.whole)
            for way, (yy, xy, xx) in each.moments.items():
                centre, half = RatioMoments(x, y, *(np.asarray(v) for v in (xx, yy, xy))).compute_interval()
                rate = abs(float(x_true / y_true - centre)) <= float(half)
                whole = abs(float(y - y_true)) <= 1.959964 * yy**0.5  # 95%
                found.setdefault((name, way), []).append((rate, whole, 200 * float(half)))
    print(f"{releases} releases; share of intervals that hold the truth (rate, children), mean width of the rate's")
    for (name, way), values in found.items():
        rate, whole, width = np.mean(np.array(values, dtype=np.float64), axis=0)
        print(f"{name:40}{way:20}{rate:8.3f}{whole:8.3f}{width:8.2f} points")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else RELEASES)
