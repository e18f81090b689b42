"""Linkage error in the figures, against the truth: how many links are missed, how many the estimate says, and how often
the published intervals of who had seen the children hold the truth.

    python -m bench.missed_links [--children 26000] [--seeds 1 2] [--releases 40]

Populations of which the truth is known: the stress extracts of the tests, the same with three times the slips in all
councils, in the largest or in a small one, the synthetic extracts (at the pilot's size, whatever --children), and those
of the tests' independent generator. Each is linked once a seed, and its children are released so many times.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from assets.release.linkage_error import corrected
from assets.release.noise_workload import block_figures
from assets.release.planning import plan_family
from ndl_export.tables import pupil
from ndl_export.tables.pupil import BOTH, CONCERN_GIVEN_SEEN, HV_ONLY, NEITHER, NONE, SETTING_ONLY, UNSEARCHABLE
from privacy.keys import KeyRing
from privacy.linkage.agreement import Agreement
from privacy.linkage.cells import CELLS, KIND_OF
from privacy.linkage.link import link
from privacy.linkage.missed import RATES, missed
from privacy.release.child_table import true_counts
from privacy.release.corrected import Corrected
from privacy.release.estimates import Estimates
from privacy.release.intervals import published_counts, published_ratios
from privacy.release.mechanism import Counts, OpenDPNoise, charge, measure
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from sources.synthetic import generate
from tests.support import independent
from tests.support.linkage import stress
from tests.support.linkage.populations import Frames, tokenised

Array = NDArray[np.float64]
COHORT = "202425"
_IN_LEEDS, _IN_WIRRAL = {"leeds": 3.0}, {"wirral": 3.0}
_HEALTH, _SETTINGS, _PUPILS = "hv_reviews", "early_years_census", "eyfsp"
_SEEN = (NEITHER, HV_ONLY, SETTING_ONLY, BOTH)


def main() -> None:
    options = _options()
    for name, frames_of in _populations(options.children).items():
        for seed in options.seeds:
            linked = _linked(frames_of(seed))
            _tell_rates(f"{name}, seed {seed}", linked)
            _tell_figures(linked, options.releases, seed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--children", type=int, default=26_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--releases", type=int, default=40)
    return parser.parse_args()


def _populations(children: int) -> dict[str, Callable[[int], Frames]]:
    return {
        "stress": lambda seed: stress.extracts(children, seed),
        "stress, three times the slips": lambda seed: stress.extracts(children, seed, slips=3.0),
        "stress, three times the slips in Leeds": lambda seed: stress.extracts(children, seed, slips_of={"leeds": 3.0}),
        "stress, three times the slips in Wirral": lambda seed: stress.extracts(
            children, seed, slips_of={"wirral": 3.0}
        ),
        "synthetic": _synthetic,
        "independent": lambda seed: _independent(children, seed),
    }


def _synthetic(seed: int) -> Frames:
    with tempfile.TemporaryDirectory() as folder:
        landing = Path(folder) / "landing"
        generate(landing, COHORT, seed=seed, councils="pilot", contract_names=True)
        truth = pd.read_parquet(Path(folder) / "truth.parquet")
        child = {(row.source, row.council, row.source_row): row.person_id for row in truth.itertuples()}
        return _frames(landing, child)


def _independent(children: int, seed: int) -> Frames:
    with tempfile.TemporaryDirectory() as folder:
        truth = independent.write_extracts(Path(folder), children, seed)
        return _frames(Path(folder), truth.child)


def _frames(landing: Path, child: dict[tuple[str, str, int], int]) -> Frames:
    """The linked sources as they lie in landing under the contract's names, with `child`, `council`, `row_key`."""
    frames = {}
    for source in (_PUPILS, "school_census", _SETTINGS, _HEALTH):
        parts = []
        for path in sorted(landing.glob(f"*/{source}/{COHORT}*")):
            part = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)
            council, rows = path.parent.parent.name, range(1, len(part) + 1)
            known = [child[source, council, row] for row in rows]
            parts.append(part.assign(council=council, row_key=list(rows), child=known))
        frames[source] = pd.concat(parts, ignore_index=True)
    return frames


@dataclass(frozen=True)
class _Linked:
    """A pupil each: council, whether a health visitor and a setting saw it, whether each is found to have, its cell."""

    pupils: pd.DataFrame

    @property
    def of_rates(self) -> tuple[Array, Array]:
        """Of `RATES`: how many links were missed, and of how many children."""
        p = self.pupils
        both, health, setting = p.health & p.setting, p.health & ~p.setting, p.setting & ~p.health
        lost = (
            both & ~p.found_health & ~p.found_setting,
            both & ~p.found_health & p.found_setting,
            both & p.found_health & ~p.found_setting,
            health & ~p.found_health,
            setting & ~p.found_setting,
        )
        return (
            np.array([float(each.sum()) for each in lost]),
            np.array([float(each.sum()) for each in (both, both, both, health, setting)]),
        )


def _linked(frames: Frames) -> _Linked:
    agreement = Agreement()
    with tempfile.TemporaryDirectory() as folder:
        keys = KeyRing.create(Path(folder) / "keys")
        result = link(tokenised(frames, keys), children=len(frames[_PUPILS]), watchers=(agreement,))
    links = result.links.to_pandas()
    rows = {s: links[links.source == s].merge(f[["council", "row_key", "child"]]) for s, f in frames.items()}
    pupils = rows[_PUPILS].drop_duplicates("child_id")[["child_id", "council", "child"]]
    for name, source in (("health", _HEALTH), ("setting", _SETTINGS)):
        pupils[name] = pupils.child.isin(rows[source].child)
        pupils[f"found_{name}"] = pupils.child_id.isin(rows[source].child_id)
    cells = agreement.children(result.links).to_pandas().set_index("child_id")
    pupils["cell"] = pupils.child_id.map(cells.cell).fillna(0).astype(int)
    pupils["too_little"] = pupils.child_id.map(cells.too_little).fillna(False).astype(bool)
    return _Linked(pupils.reset_index(drop=True))


def _tell_rates(name: str, linked: _Linked) -> None:
    counts = np.bincount(linked.pupils.cell, minlength=len(CELLS)).astype(float)
    found = missed(counts, np.zeros(len(CELLS)))
    lost, of = linked.of_rates
    lines = zip(RATES, lost, found.rates * of, np.sqrt(np.diag(found.covariance)) * of, strict=True)
    print(f"\n{name}: {len(linked.pupils):,} pupils\n")
    print("| links | missed | estimated | standard deviation |\n|---|---|---|---|")
    for rate, here, estimate, deviation in lines:
        print(f"| {rate} | {here:.0f} | {estimate:.1f} | {deviation:.1f} |")
    p = linked.pupils
    unseen = [(~p[name], ~p[name] & p[f"found_{name}"]) for name in ("health", "setting")]
    false, of_unseen = sum(int(found.sum()) for _, found in unseen), sum(int(those.sum()) for those, _ in unseen)
    print(f"\nLinked to a service that had not seen the child: {false} of {of_unseen:,}")


def _tell_figures(linked: _Linked, releases: int, seed: int) -> None:
    councils = sorted(linked.pupils.council.unique())
    plan = plan_family("pupil", councils, load_policy())
    table, truth = _tables(linked, councils, seed)
    counts = true_counts(table, plan)
    found = [_one(plan, councils, truth, _released(plan, counts)) for _ in range(releases)]
    print("\n| seen by | truth | as linked | published | counts held | shares held | width, times an oracle's |")
    print("|---|---|---|---|---|---|---|")
    for place, seen in enumerate(_SEEN):
        linked_so, published = (np.mean([each[key][0, place] for each in found]) for key in ("as_linked", "all"))
        held = [np.mean([each[key][:, place] for each in found]) for key in ("counts", "shares")]
        width = np.mean([each["width"][:, place] for each in found])
        print(
            f"| {seen} | {truth[seen].sum():.0f} | {linked_so:.0f} | {published:.0f}"
            f" | {held[0]:.1%} | {held[1]:.1%} | {width:.2f} |"
        )
    _tell_worst(linked, councils, truth[NEITHER], found)


def _tell_worst(linked: _Linked, councils: Sequence[str], truth: Array, found: Sequence[dict[str, Array]]) -> None:
    """Whom neither service had seen, in the council in which most children were missed by both."""
    p = linked.pupils
    lost = p[(p.health | p.setting) & ~p.found_health & ~p.found_setting]
    if lost.empty:
        return
    worst = lost.council.mode()[0]
    at, place = councils.index(worst) - len(councils), _SEEN.index(NEITHER)  # areas end with the councils, in order
    linked_so, published = (np.mean([each[key][at, place] for each in found]) for key in ("as_linked", "all"))
    held = np.mean([each["counts"][at, place] for each in found])
    print(
        f"\n{worst}: {NEITHER} {truth[at]:.0f}, as linked {linked_so:.0f}, published {published:.0f}; held {held:.1%}"
    )


def _released(plan: Plan, counts: Counts) -> Estimates:
    return Estimates(plan, measure(plan, counts, OpenDPNoise(charge(plan))))


def _one(plan: Plan, councils: Sequence[str], truth: dict[str, Array], estimates: Estimates) -> dict[str, Array]:
    """Of one release, by area and who had seen the children: whether intervals hold the truth, and how wide they are.
    An oracle knows how often links are missed, and not which."""
    moments = corrected(plan.family, estimates)
    assert isinstance(moments, Corrected)
    oracle = replace(moments, covariance_of_rates=np.zeros_like(moments.covariance_of_rates))
    block, share_block = pupil.JOINED_DOTS.blocks[:2]
    figures = block_figures(block, plan.family, councils)
    cube = figures.counts["children_count"]
    levels = [selection.label for selection in block.axes[0].selections]
    at = [levels.index(seen) for seen in _SEEN]
    areas = [[councils.index(council) for council in area.councils] for area in figures.areas]
    true = np.array([[truth[seen][inside].sum() for seen in _SEEN] for inside in areas])
    whole = np.array([[truth["all"][inside].sum()] for inside in areas])
    counted, by_oracle = (published_counts(each, cube) for each in (moments, oracle))
    part, total = block_figures(share_block, plan.family, councils).ratios["children_percent"][0]
    shares = published_ratios(moments, part, total, load_policy().reliability, largest=1.0, unit=100.0)
    return {
        "counts": (counted.lower[:, at] <= true) & (true <= counted.upper[:, at]),
        "shares": (shares.lower[:, at] <= 100 * true / whole) & (100 * true / whole <= shares.upper[:, at]),
        "width": (counted.upper - counted.lower)[:, at] / (by_oracle.upper - by_oracle.lower)[:, at],
        "all": moments.values(cube)[:, at],
        "as_linked": estimates.values(cube)[:, at],
    }


def _tables(linked: _Linked, councils: Sequence[str], seed: int) -> tuple[pa.Table, dict[str, Array]]:
    """The child table as found, with what linkage does not tell at random, and true children by council."""
    rng, p = np.random.default_rng(seed), linked.pupils
    size = len(p)
    columns = {a.name: rng.choice(np.array(a.categories), size) for a in pupil.FAMILY.attributes}
    concerns = {"health": rng.random(size) < 0.25, "setting": rng.random(size) < 0.2}
    seen = _who(p.found_health.to_numpy(), p.found_setting.to_numpy(), NEITHER)
    concern = _who(p.found_health & concerns["health"], p.found_setting & concerns["setting"], NONE)
    unsearchable = p.too_little.to_numpy() & (seen == NEITHER)
    seen = np.where(unsearchable, UNSEARCHABLE, seen)
    columns["dots"] = np.array([pupil.dots_category(s, c) for s, c in zip(seen, concern, strict=True)])
    columns["asq3"] = np.where(p.found_health, pupil.LINKED[0], np.where(unsearchable, UNSEARCHABLE, pupil.NO_REVIEW))
    nothing = np.where(unsearchable, UNSEARCHABLE, pupil.NOT_LINKED_TO_SETTING)
    columns["entitlement"] = np.where(p.found_setting, "Taken", nothing)
    columns[pupil.AGREEMENT.name] = np.array(CELLS)[p.cell]
    columns[pupil.DIFFERENCES.name] = np.array(KIND_OF)[p.cell]
    columns["council"] = p.council.to_numpy().astype(str)
    table = pa.table({"child_id": np.arange(size), **columns})
    truly = np.where(unsearchable, UNSEARCHABLE, _who(p.health.to_numpy(), p.setting.to_numpy(), NEITHER))
    of_council = np.array([councils.index(council) for council in p.council])
    truth = {
        each: np.bincount(of_council[truly == each], minlength=len(councils)).astype(float)
        for each in CONCERN_GIVEN_SEEN
    }
    return table, truth | {"all": np.bincount(of_council, minlength=len(councils)).astype(float)}


def _who(health: Array, setting: Array, nobody: str) -> NDArray[np.str_]:
    return np.select([health & setting, health, setting], [BOTH, HV_ONLY, SETTING_ONLY], nobody)


if __name__ == "__main__":
    main()
