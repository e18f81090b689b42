"""Time and memory of synthetic children, and how many published percentages they hold: `python -m bench.synthetic`.

Children of the pilot and of all England are made up in the published sizes, counted and measured through OpenDP under
the policy, and synthetic children made from the noisy counts, each in a process of its own. Made-up children keep what
no child can break: a good level of development is twelve goals, and who is not linked was not seen.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.release.planning import plan_family
from assets.release.synthetic_children import of_cohort
from ndl_export.facts.synthetic import SyntheticChildren
from ndl_export.tables.pupil import EXPECTED, NOT_EXPECTED, UNSEARCHABLE, dots_category
from privacy.release.child_table import true_counts
from privacy.release.mechanism import OpenDPNoise, charge, measure
from privacy.release.policy import load_policy
from privacy.release.statement import MeasuredCohort
from privacy.synthetic.model import MissingLibrary
from sources.reference.goals import GLD_GOALS
from sources.reference.places import PILOT, places
from tests.support.release.accuracy import child_table

WHERE = {"pilot": sorted(PILOT), "england": sorted(places())}
COHORT, SEED = "202425", 1
_UNSEARCHABLE = dots_category(UNSEARCHABLE, "None")


def made_up(councils: Sequence[str], seed: int) -> pa.Table:
    """A child for each published one, with categories that can stand together."""
    table, rng = child_table(councils, seed), np.random.default_rng(seed)
    columns = {name: table[name].cast(pa.string()) for name in table.column_names if name != "child_id"}
    good = pc.equal(columns["gld"], "Yes")
    spared = pa.array(rng.integers(0, len(GLD_GOALS), table.num_rows))
    for number, goal in enumerate(GLD_GOALS):
        missed = pc.if_else(pc.equal(spared, number), NOT_EXPECTED, columns[goal])
        columns[goal] = pc.if_else(good, EXPECTED, missed)
    lost = pc.equal(columns["dots"], _UNSEARCHABLE)
    for name, instead in (("asq3", "Review without ASQ-3"), ("entitlement", "Not taken")):
        found = pc.if_else(pc.equal(columns[name], UNSEARCHABLE), instead, columns[name])
        columns[name] = pc.if_else(lost, UNSEARCHABLE, found)
    return pa.table({"child_id": table["child_id"], **columns})


def synthetic(councils: Sequence[str]) -> SyntheticChildren:
    """Synthetic children of a release of these councils; says how long each part took."""
    policy, begun = load_policy(), time.process_time()
    plan = plan_family("pupil", councils, policy)
    measurement = measure(plan, true_counts(made_up(councils, SEED), plan), OpenDPNoise(charge(plan)))
    print(f"plan and noisy counts: {time.process_time() - begun:.0f} s of processor time")
    own = MeasuredCohort(COHORT, "2026.11.0", {"pupil": plan}, {"pupil": measurement})
    return of_cohort(own, {"councils": list(councils)}, policy.reliability, {}, SEED)


def main(where: Sequence[str]) -> None:
    if len(where) != 1:
        for each in where or WHERE:
            subprocess.run([sys.executable, "-m", "bench.synthetic", each], check=True)
        return
    begun, used = time.perf_counter(), time.process_time()
    try:
        made = synthetic(WHERE[where[0]])
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
    for line in made.outside:
        print(f"  outside: {line}")
    for each in made.held_out:
        print(f"  held out {', '.join(each.attributes)}: {each.compared} rates, {each.median:.1f} points median")


if __name__ == "__main__":
    main(sys.argv[1:])
