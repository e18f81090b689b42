"""Measures the quality of synthetic children, and their cost in time and memory: `python -m bench.synthetic`.

The children of the project's own generator, for the pilot and for all England, are counted and measured through OpenDP
under the policy. Synthetic children are then made from the noisy counts, each in its own process. The generator's
children are known, so the rows can be compared with them in ways that no release publishes: how the goals go together,
and rates of groups that were not measured together. The pilot's result, with its date, is written to
`ndl_export/synthetic/benchmark.yaml`, which the quality page of synthetic children prints.

Attributes that come from linkage are drawn again for each child, from a synthetic child of the same council and
outcome.
"""

import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from numpy.typing import NDArray

from assets.release.planning import plan_family
from assets.release.tabulate import MeasuredRelease
from assets.synthetic_children.make import synthesise_cohort
from ndl_export.synthetic.children import SyntheticChildren
from ndl_export.synthetic.folder import BENCHMARK
from ndl_export.tables import pupil
from ndl_export.tables.model import IMD, UNKNOWN
from privacy.doors import clock
from privacy.doors.database import open_in_memory
from privacy.release.child_table import count_cells
from privacy.release.mechanism import OpenDPNoise, compute_charge, measure
from privacy.release.policy import load_policy
from privacy.release.statement import MeasuredCohort
from privacy.synthetic.model import MissingLibrary
from sources.reference.code_lists import GLD_GOALS, GOALS
from sources.reference.cohorts import Cohort
from sources.reference.places import PILOT, load_places
from sources.synthetic.attainment import EXPECTED as GOAL_EXPECTED
from sources.synthetic.margins import TOPICS
from sources.synthetic.recording import draw_world
from tests.support.release.accuracy import CHARACTERISTICS, LARGE, draw_child_table

WHERE = {"pilot": sorted(PILOT), "england": sorted(load_places())}
COHORT, SEED = "202425", 1
_UNSEARCHABLE = pupil.format_dots_category(pupil.UNSEARCHABLE, "None")
_ABOUT = """# How far synthetic children were from children of whom all is known: the pilot's result of
# `python -m bench.synthetic`, which writes this file. The quality page of synthetic children prints it.

"""
_LINKED = sorted(pupil.FAMILY.found_by_linkage | pupil.FAMILY.never_shown)


def draw_children(england: bool, seed: int) -> pa.Table:
    """Return the generator's children, with categories that can occur together."""
    world = draw_world(Cohort(COHORT), seed, england, 1.0, contract_names=True)
    people, pupils = world.people, np.flatnonzero(world.people.pupil)
    quintile = world.geography.get_quintile(people.postcode)
    councils = [place.council for place in world.margins.councils]
    met = world.attainment.goals == GOAL_EXPECTED
    gld = met[:, : len(GLD_GOALS)].all(axis=1)
    named = {attribute.label: attribute for attribute in pupil.FAMILY.attributes}
    columns = {
        "council": np.array(councils)[people.council[pupils]],
        **{named[topic].name: np.array(labels)[people.categories[topic][pupils]] for topic, labels in TOPICS.items()},
        "imd_quintile": np.array([UNKNOWN, *IMD.categories[:-1]])[quintile[pupils]],
        "gld": np.where(gld, *pupil.GLD.categories),
        **{goal: np.where(met[:, place], pupil.EXPECTED, pupil.NOT_EXPECTED) for place, goal in enumerate(GOALS)},
        pupil.GOALS_EXPECTED.name: np.array([band for band, own in pupil.GOAL_BANDS.items() for _ in own])[
            met.sum(axis=1)
        ],
    }
    columns |= _draw_linked(columns["council"], columns["gld"], sorted(councils), seed)
    return pa.table({"child_id": pa.array(range(len(pupils)), pa.int64()), **columns})


def _draw_linked(council: NDArray[np.str_], gld: NDArray[np.str_], councils: list[str], seed: int) -> dict[str, Any]:
    """Return attributes that only links provide, from a synthetic child of the same council and outcome."""
    rng, table = np.random.default_rng(seed), draw_child_table(councils, seed)
    lost = pc.equal(table["dots"].cast(pa.string()), _UNSEARCHABLE)
    linked = {name: table[name].cast(pa.string()) for name in _LINKED}
    for name, instead in (("asq3", "Review without ASQ-3"), ("entitlement", "Not taken")):
        found = pc.if_else(pc.equal(linked[name], pupil.UNSEARCHABLE), instead, linked[name])
        linked[name] = pc.if_else(lost, pupil.UNSEARCHABLE, found)
    kind, of_table = (
        _name_kinds(council, gld),
        _name_kinds(*(np.asarray(table[name].cast(pa.string())) for name in ("council", "gld"))),
    )
    order = np.argsort(of_table, kind="stable")
    first, after = (np.searchsorted(of_table[order], kind, side) for side in ("left", "right"))
    chosen = order[rng.integers(first, after)]
    return {name: values.take(pa.array(chosen)) for name, values in linked.items()}


def _name_kinds(council: NDArray[np.str_], gld: NDArray[np.str_]) -> NDArray[np.str_]:
    return np.char.add(council.astype(str), gld.astype(str))


def draw_synthetic(councils: Sequence[str], children: pa.Table) -> SyntheticChildren:
    """Return synthetic children of a release of these councils; print how long each part took."""
    policy, begun = load_policy(), time.process_time()
    plan = plan_family("pupil", councils, policy)
    measurement = measure(plan, count_cells(children, plan), OpenDPNoise(compute_charge(plan)))
    print(f"plan and noisy counts: {time.process_time() - begun:.0f} s of processor time")
    own = MeasuredCohort(COHORT, "2026.11.0", {"pupil": plan}, {"pupil": measurement})
    release = MeasuredRelease([own], councils, policy.reliability, {})
    return synthesise_cohort(release.select(own), {"councils": list(councils)}, SEED)


def compare(children: pa.Table, rows: pa.Table) -> dict[str, Any]:
    """Return the content of the benchmark's file: figures of the children and of the rows, and how far groups are off.

    No release publishes these figures but the bands.
    """
    both = [_compute_figures(table) for table in (children, rows)]
    rates = [_compute_group_rates(table) for table in (children, rows)]
    apart = np.array([abs(rates[0][key] - rates[1][key]) for key in rates[0].keys() & rates[1].keys()])
    return {
        "measured_on": f"{clock.now():%Y-%m-%d}",
        "figures": [[name, *(of[name] for of in both)] for name in both[0]],
        "groups_off": {
            "median": round(float(np.median(apart)), 1),
            "ninetieth": round(float(np.quantile(apart, 0.9)), 1),
        },
    }


def _compute_figures(table: pa.Table) -> dict[str, str]:
    """Return figures of all children as text, by name."""
    met = np.array([np.asarray(table[goal]) == pupil.EXPECTED for goal in GOALS], dtype=np.float64)
    number, pairs = met.sum(axis=0), np.triu_indices(len(GOALS), 1)
    bands = {
        f"At the expected level in {band} goals": f"{100 * np.isin(number, numbers).mean():.1f}%"
        for band, numbers in pupil.GOAL_BANDS.items()
    }
    return bands | {
        "Goals at the expected level, average": f"{number.mean():.2f}",
        "Goals at the expected level, standard deviation": f"{number.std():.2f}",
        "Correlation of two goals, median of all pairs": f"{np.median(np.corrcoef(met)[pairs]):.2f}",
    }


def _compute_group_rates(table: pa.Table) -> dict[tuple[str, ...], float]:
    """Return percentages with a good level of development of large groups of two characteristics, by group."""
    found = {}
    con = open_in_memory()
    con.register("rows", table)
    for names in combinations(CHARACTERISTICS, 2):
        groups = con.execute(
            f"SELECT {', '.join(names)}, avg((gld = 'Yes')::INTEGER) FROM rows GROUP BY ALL HAVING count(*) >= {LARGE}"
        ).fetchall()
        found |= {(*names, *group): 100 * rate for *group, rate in groups}
    return found


def main(where: Sequence[str]) -> None:
    if len(where) != 1:
        for each in where or WHERE:
            subprocess.run([sys.executable, "-m", "bench.synthetic", each], check=True)
        return
    begun, used = time.perf_counter(), time.process_time()
    try:
        children = draw_children(where[0] == "england", SEED)
        made = draw_synthetic(WHERE[where[0]], children)
    except MissingLibrary as missing:
        print(f"{where[0]}: not measured: {missing}")
        return
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{where[0]}: {made.rows.num_rows:,} synthetic children in {time.perf_counter() - begun:.0f} s,"
        f" {time.process_time() - used:.0f} s of processor time, {peak:.1f} GiB at most;"
        f" {made.within:,} of {made.compared:,} percentages within their intervals, {made.changed:,} children changed,"
        f" {made.contradictions} contradictions"
    )
    result = compare(children, made.rows)
    print(textwrap.indent(yaml.safe_dump(result, sort_keys=False, width=120), "  "), end="")
    if where[0] == "pilot":
        BENCHMARK.write_text(f"{_ABOUT}{yaml.safe_dump(result, sort_keys=False, width=120)}", encoding="utf-8")
    for line in made.outside:
        print(f"  outside: {line}")
    for each in made.held_out:
        print(f"  held out {', '.join(each.attributes)}: {each.compared} rates, {each.median:.1f} points median")


if __name__ == "__main__":
    main(sys.argv[1:])
