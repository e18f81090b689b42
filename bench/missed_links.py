"""Compares linkage error in the figures with the truth.

    python -m bench.missed_links [--children 26000] [--seeds 1 2] [--releases 8] [--made gecko=FOLDER ...]
        [--only NAME ...]

Prints how many links are missed and how many the estimate says, and for each headline row how far off the published
figure is and how often its interval contains the truth. Each of `populations` is linked once per seed, and its children
are released this many times, each time with fresh noise, and with and without a clerical review. `missed.VISIBLE` and
`missed.WIDER` are fitted anew for each hand (the first word of a population's name), without its populations. The last
tables have the worst population of each row, and what a review does.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from assets.release.linkage_error import Review, correct_estimates
from assets.release.noise_workload import BlockFigures, build_block_figures
from assets.release.planning import plan_family
from bench.populations import SOURCES, list_populations, select_two_year_reviews
from ndl_export.tables import pupil
from ndl_export.tables.model import FSM, UNKNOWN, Block, ShareBlock
from ndl_export.tables.pupil import BOTH, HV_ONLY, NEITHER, NONE, SETTING_ONLY, UNSEARCHABLE
from privacy.doors.database import open_in_memory
from privacy.estimation.estimates import Estimates
from privacy.estimation.intervals import Moments, Remembered, compute_published_counts, compute_published_ratios
from privacy.keys import KeyRing
from privacy.linkage import missed
from privacy.linkage.agreement import RecordAgreement
from privacy.linkage.cells import CELLS, JOINS, KIND_OF, NEAR as NEAR_CELLS, NUMBERED
from privacy.linkage.link import link
from privacy.linkage.missed import RATES
from privacy.linkage.review import (
    NEAR,
    NO_REVIEW,
    NO_SETTING,
    OTHER,
    Decision,
    ReviewPairs,
    build_reviewed_sql,
    name_stratum,
    plan_review,
)
from privacy.release.child_table import count_cells
from privacy.release.mechanism import OpenDPNoise, compute_charge, measure
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from sources.reference.code_lists import MAJOR_GROUP
from tests.support.linkage.populations import Frames, tokenise_frames
from tests.support.release.doubles import NoNoise

Array = NDArray[np.float64]
_PUPILS, _CENSUS, _SETTINGS, _HEALTH = SOURCES
_AREAS = ("Pilot councils", "Leeds")
_HEADLINE = frozenset(
    f"{row}, {area}"
    for area in _AREAS
    for row in (
        *(f"Seen by: {seen}" for seen in (BOTH, HV_ONLY, SETTING_ONLY, NEITHER)),
        "With a review: all, %",
        f"Two-year-old entitlement: {pupil.NOT_LINKED_TO_SETTING}",
    )
)
_ROUNDING = 1e-6
_OVERLOOKED = 0.02
"""Share of the children known to a service whom its reviewers overlook."""
_OF_CENSUS = {
    "fsm": ("fsm_eligible", {"Y": FSM.categories[0], "N": FSM.categories[1]}, (0.22, 0.78)),
    "ethnic_group": ("ethnicity", MAJOR_GROUP, None),
    "sen_provision": ("sen_provision", dict(zip("NKE", pupil.SEN.categories, strict=False)), (0.84, 0.13, 0.03)),
    "first_language": ("first_language", {"ENG": pupil.LANGUAGE.categories[0]}, (0.8, 0.2)),
}
"""By attribute: the school census column, the categories of its codes, and the shares used if a population has none."""


def main() -> None:
    options = _read_options()
    chosen = {
        name: frames_of
        for name, frames_of in list_populations(options.children, dict(options.made)).items()
        if not options.only or name in options.only
    }
    linked = {(name, seed): link_frames(chosen[name](seed)) for name in chosen for seed in options.seeds}
    found: dict[str, pd.DataFrame] = {}
    wider_of = {key: _count_wider(own) for key, own in linked.items()}
    for (name, seed), own in linked.items():
        others = [key for key in linked if _get_hand(key[0]) != _get_hand(name)]
        visible = _fit_visible([linked[key] for key in others]) or missed.VISIBLE
        near, far = (sum(wider_of[key][part] for key in others) for part in (0, 1))
        wider = near / far if far >= _ENOUGH_NEAR else missed.WIDER
        with mock.patch.multiple(missed, VISIBLE=visible, WIDER=wider):
            _tell_rates(f"{name}, seed {seed}", own)
            found[f"{name}, seed {seed}"] = list_headline_rows(own, options.releases, seed)
    without, with_review = (
        {name: rows[rows.reviewed == reviewed] for name, rows in found.items()} for reviewed in (False, True)
    )
    for name, rows in without.items():
        _tell_rows(name, rows)
    _tell_worst(without)
    print("\nAfter a clerical review:")
    _tell_worst(with_review)
    _tell_review(linked, without, with_review)


def _get_hand(name: str) -> str:
    return name.split(",")[0]


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--children", type=int, default=26_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--releases", type=int, default=8)
    parser.add_argument(
        "--made",
        type=_make,
        nargs="+",
        default=[],
        help="gecko=FOLDER or pseudopeople=FOLDER: a folder a seed",
    )
    parser.add_argument("--only", nargs="+", default=[], help="names of populations")
    return parser.parse_args()


def _make(option: str) -> tuple[str, Path]:
    name, _, folder = option.partition("=")
    return name, Path(folder)


@dataclass(frozen=True)
class Linked:
    """Pupils, and what a clerical review draws from.

    `pupils` has one row each. Columns: council, true child and cell; for each service and the school census, whether it
    truly has the pupil and whether it was found to; and the pupil's characteristics, in truth and as found. `known` has
    the children of which a council's service has a record: source, council, child.
    """

    pupils: pd.DataFrame
    links: pa.Table
    pairs: ReviewPairs
    known: pd.DataFrame

    def draw_review(self, key: bytes, children: int | None = None) -> pd.DataFrame:
        """Return the rows of a review's sample, with `match`: whether the service knows the child."""
        rows = self.pairs.sample(self.links, children or len(self.pupils), key).to_pandas()
        rows = rows.merge(self.pupils[["child_id", "child"]], on="child_id")
        asked = rows.rename(columns={"other_source": "source"})[["source", "other_council", "child"]]
        known = pd.MultiIndex.from_frame(self.known)
        return rows.assign(match=pd.MultiIndex.from_frame(asked).isin(known))

    def count_cells(self) -> Array:
        return np.bincount(self.pupils.cell, minlength=len(CELLS)).astype(float)

    @property
    def of_rates(self) -> tuple[Array, Array]:
        """The number of links missed and the number of children they are counted among, in the order of `RATES`."""
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


_NEAR_CELLS = [CELLS.index(cell) for cell in NEAR_CELLS]
_ENOUGH_NEAR = 40
_ENOUGH_POINTS = 6
"""Populations are fitted to if this many missed links are near, and if there are this many of them."""
_VISIBLE_SD = 0.2
"""Standard deviation between populations of the share near, beside chance, for their weights in the fit."""


def _fit_visible(populations: Sequence[Linked]) -> tuple[float, float] | None:
    """Return `missed.VISIBLE`, its first number from the share of missed links that are near in these populations."""
    a, weights = [], []
    for each in populations:
        counts, lost = each.count_cells(), each.of_rates[0]
        seen_by = [float((each.pupils.found_health & each.pupils.found_setting).sum()), 1.0, 1.0, 1.0]
        net, share = missed.count_net(counts, np.zeros(len(CELLS)), np.array(seen_by))[::2]
        for of, part in (([0, 1, 3], share), ([0, 2, 4], 1.0)):
            near, all_missed = float(net[of].sum()), float(lost[of].sum()) / part
            if near >= _ENOUGH_NEAR:
                a.append(-np.log(near / all_missed) - missed.VISIBLE[1] * np.log(near / len(each.pupils)))
                weights.append(1 / (1 / near + _VISIBLE_SD**2))
    return (float(np.average(a, weights=weights)), missed.VISIBLE[1]) if len(a) >= _ENOUGH_POINTS else None


def _count_wider(linked: Linked) -> tuple[int, int]:
    """Return, of pupils linked to one service whose link to the other is missed and not near, those near at the
    review's lower weight, and all."""
    p, rows = linked.pupils, linked.draw_review(b"", children=1)
    far = p.health & p.setting & (p.found_health ^ p.found_setting) & ~p.cell.isin(_NEAR_CELLS)
    strata = [name_stratum(service, NEAR) for service in (NO_REVIEW, NO_SETTING)]
    return int((far & p.child_id.isin(rows.child_id[rows.stratum.isin(strata)])).sum()), int(far.sum())


def link_frames(frames: Frames) -> Linked:
    agreement, pairs = RecordAgreement(), ReviewPairs()
    with tempfile.TemporaryDirectory() as folder:
        keys = KeyRing.create(Path(folder) / "keys")
        result = link(tokenise_frames(frames, keys), children=len(frames[_PUPILS]), watchers=(agreement, pairs))
    pupils = describe(frames, result.links.to_pandas(), agreement.count_children(result.links).to_pandas())
    held = [frames[source].assign(source=source)[["source", "council", "child"]] for source in (_SETTINGS, _HEALTH)]
    return Linked(pupils, result.links, pairs, pd.concat(held).drop_duplicates())


def describe(frames: Frames, links: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return the pupils as in `Linked`."""
    frames = {**frames, _HEALTH: select_two_year_reviews(frames), _CENSUS: _add_characteristics(frames[_CENSUS])}
    rows = {s: links[links.source == s].merge(f, on=["council", "row_key"]) for s, f in frames.items()}
    pupils = rows[_PUPILS].drop_duplicates("child_id")[["child_id", "council", "child"]].reset_index(drop=True)
    for name, source in (("health", _HEALTH), ("setting", _SETTINGS), ("census", _CENSUS)):
        pupils[name] = pupils.child.isin(rows[source].child)
        pupils[f"found_{name}"] = pupils.child_id.isin(rows[source].child_id)
    for name in _OF_CENSUS:
        for prefix, key in (("", "child"), ("found_", "child_id")):
            said = rows[_CENSUS].drop_duplicates(key).set_index(key)[name]
            pupils[prefix + name] = pupils[key].map(said).fillna(UNKNOWN)
    told = cells.set_index("child_id").reindex(pupils.child_id).reset_index(drop=True)
    pupils["cell"] = told.cell.fillna(0).astype(int)
    pupils["joined"] = told.joined.fillna(0).astype(int)
    pupils["numbered"] = told.numbered.fillna(0).astype(int)
    pupils["too_little"] = told.too_little.fillna(False).astype(bool)
    return pupils


def _add_characteristics(census: pd.DataFrame) -> pd.DataFrame:
    """Return pupils' characteristics in words, drawn at random per child if a population has none."""
    names = {}
    for number, (name, (column, words, shares)) in enumerate(_OF_CENSUS.items()):
        categories = pupil.FAMILY.get_attribute(name).categories[:-1]
        if column in census:
            said = census[column].map(words)
            other = categories[-1] if name == "first_language" else UNKNOWN
            names[name] = said.fillna(census[column].notna().map({True: other, False: UNKNOWN}))
        else:
            rng = np.random.default_rng(number)
            drawn = rng.choice(np.array(categories), int(census.child.max()) + 1, p=shares)
            names[name] = pd.Series(drawn[census.child], census.index)
    return census[["council", "row_key", "child"]].assign(**names)


def _tell_rates(name: str, linked: Linked) -> None:
    p = linked.pupils
    counted = ((p.cell, CELLS), (p.joined, JOINS), (p.numbered, NUMBERED))
    counts = [np.bincount(each, minlength=len(names)).astype(float) for each, names in counted]
    evidence = missed.Evidence(*(missed.Counted(each, np.zeros_like(each)) for each in counts))
    seen = (p.found_health & p.found_setting, p.found_health & ~p.found_setting, p.found_setting & ~p.found_health)
    seen_by = np.array([*(float(each.sum()) for each in seen), float((~p.found_health & ~p.found_setting).sum())])
    found, apart = missed.estimate_rates(evidence, seen_by)
    lost, of = linked.of_rates
    deviations = np.sqrt(np.diag(found.covariance))
    lines = [*zip(RATES, lost, found.rates * of, deviations * of, strict=True)]
    rows = counts[1][1:].sum()
    not_found = float((p.census & ~p.found_census).sum())
    lines.append(("school census row not found", not_found, apart.share * rows, apart.deviation * rows))
    print(f"\n{name}: {len(linked.pupils):,} pupils\n")
    print("| links | missed | estimated | standard deviation |\n|---|---|---|---|")
    for rate, here, estimate, deviation in lines:
        print(f"| {rate} | {here:.0f} | {estimate:.1f} | {deviation:.1f} |")
    unseen = [(~p[name], ~p[name] & p[f"found_{name}"]) for name in ("health", "setting")]
    false, of_unseen = sum(int(found.sum()) for _, found in unseen), sum(int(those.sum()) for those, _ in unseen)
    print(f"\nLinked to a service that had not seen the child: {false} of {of_unseen:,}")


def list_headline_rows(linked: Linked, releases: int, seed: int) -> pd.DataFrame:
    """Return every headline row of each release: row, truth, as_linked, published, held, half_width."""
    councils = sorted(linked.pupils.council.unique())
    plan = plan_family("pupil", councils, load_policy())
    truth = Estimates(plan, measure(plan, count_cells(_build_table(linked, seed, ""), plan), NoNoise()))
    counts = count_cells(_build_table(linked, seed, "found_"), plan)
    blocks = [(name, block, _compute_figures(block, plan, councils)) for name, block in _iter_headline_blocks()]
    found = []
    for release in range(releases):
        as_linked = Estimates(plan, measure(plan, counts, OpenDPNoise(compute_charge(plan))))
        review = _measure_review(linked, f"{seed}/{release}".encode())
        for reviewed in (False, True):
            published = Remembered(correct_estimates(plan.family, as_linked, review if reviewed else None))
            rows = [row for block in blocks for row in _iter_rows(*block, truth, as_linked, published)]
            found.append(pd.DataFrame(rows, columns=_ROW_COLUMNS).assign(reviewed=reviewed))
    return pd.concat(found, ignore_index=True)


def _measure_review(linked: Linked, key: bytes) -> Review:
    """Return a review drawn with this key: its plan and noisy tallies."""
    policy, drawn = load_policy(), linked.draw_review(key)
    overlooked = np.random.default_rng([*key]).random(len(drawn)) < _OVERLOOKED
    drawn["decision"] = np.where(drawn.match & ~overlooked, Decision.MATCH, Decision.OTHER)
    with open_in_memory() as con:
        con.register("pairs", drawn.drop(columns="decision"))
        con.register("decided", drawn[["pair", "decision"]])
        con.register("children", linked.pupils[["child_id"]])
        table = con.sql(build_reviewed_sql()).to_arrow_table()
    plan = plan_review(len(linked.pupils), policy.review_rho, policy.delta, 1)
    return plan, measure(plan, count_cells(table, plan), OpenDPNoise(compute_charge(plan)))


def _iter_headline_blocks() -> Iterator[tuple[str, Block]]:
    """Yield the blocks that hold the headline rows, with a name for their rows."""
    yield from (("Seen by", block) for block in pupil.JOINED_DOTS.blocks[:2])
    yield "Two-year-old entitlement", pupil.FUNDED_ENTITLEMENT.blocks[0]
    for block in pupil.LINKAGE_QUALITY.blocks[::2]:
        if block.constants["breakdown_topic"] in ("Total", pupil.ETHNIC.label, FSM.label):
            yield "With a review", block
    topics = [pupil.FAMILY.get_attribute(name).label for name in _OF_CENSUS]
    for block in pupil.GLD_HEADLINE.blocks:
        if block.constants["breakdown_topic"] in topics:
            yield "Children", block


def _compute_figures(block: Block, plan: Plan, councils: Sequence[str]) -> BlockFigures:
    figures = build_block_figures(block, plan.family, councils)
    assert figures is not None
    return figures


_Row = tuple[str, float, float, float, bool, float]
_ROW_COLUMNS = ["row", "truth", "as_linked", "published", "held", "half_width"]


def _iter_rows(
    name: str, block: Block, figures: BlockFigures, truth: Moments, as_linked: Moments, published: Moments
) -> Iterator[_Row]:
    """Yield the rows of a block's first axis, with the other axes at their total.

    A row is the count of children, or the percentage if that is the headline figure.
    """
    shares = name == "With a review" or isinstance(block, ShareBlock)
    if shares:
        (numerator, denominator), _ = next(iter(figures.ratios.values()))
        found = compute_published_ratios(
            published, numerator, denominator, load_policy().reliability, largest=1.0, unit=100.0
        )
        lower, upper = found.lower, found.upper
        values = [
            100 * each.compute_values(numerator) / each.compute_values(denominator)
            for each in (truth, as_linked, published)
        ]
    else:
        cube = figures.counts["children_count"]
        counted = compute_published_counts(published, cube)
        lower, upper = counted.lower, counted.upper
        values = [each.compute_values(cube) for each in (truth, as_linked, published)]
    labels = [level.label for level in block.axes[0].selections] if block.axes else ["all"]
    for at, area in enumerate(figures.areas):
        if area.name not in _AREAS:
            continue
        for level, label in enumerate(labels):
            here = (at, level, *(0 for _ in block.axes[1:])) if block.axes else (at,)
            true, linked_so, shown = (float(each[here]) for each in values)
            held = lower[here] - _ROUNDING <= true <= upper[here] + _ROUNDING
            row = f"{name}: {label}{', %' if shares else ''}, {area.name}"
            yield row, true, linked_so, shown, bool(held), float(upper[here] - lower[here]) / 2


def _tell_rows(name: str, found: pd.DataFrame) -> None:
    """Print means over releases, with the bias as a percentage of the truth."""
    print(f"\n### {name}\n\n| row | truth | as linked | published | bias | held | half-width |\n" + "|---" * 7 + "|")
    for row, own in found.groupby("row", sort=False):
        truth, as_linked, published, held, half_width = own.drop(columns=["row", "reviewed"]).mean()
        bias = f"{published / truth - 1:+.1%}" if truth >= 1 else ""
        shown = " | ".join(f"{number:,.1f}" for number in (truth, as_linked, published))
        print(f"| {row} | {shown} | {bias} | {held:.1%} | {half_width:.1f} |")


def _tell_worst(by_population: dict[str, pd.DataFrame]) -> None:
    """Print the headline rows over all populations, and the populations with the worst coverage and bias, worst first.

    The half-width is the mean, as a percentage of the truth.
    """
    pooled = pd.concat([table.assign(population=name) for name, table in by_population.items()])
    print(f"\n### Worst population of each row, of {len(by_population)}\n")
    print("| row | held | least held | in | worst bias | in | median bias | half-width |\n" + "|---" * 8 + "|")
    lines = []
    for row, own in pooled[pooled.row.isin(_HEADLINE)].groupby("row", sort=False):
        means = own.groupby("population")[["truth", "published", "held", "half_width"]].mean()
        off, wide = means.published / means.truth - 1, means.half_width / means.truth
        least, worst = str(means.held.idxmin()), str(off.abs().idxmax())
        held = f"{own.held.mean():.1%} | {means.held[least]:.0%} | {least}"
        bias = f"{off[worst]:+.1%} | {worst} | {off.abs().median():.1%}"
        lines.append((means.held[least], f"| {row} | {held} | {bias} | {wide.mean():.1%} |"))
    print("\n".join(line for _, line in sorted(lines)))


def _tell_review(
    linked: Mapping[tuple[str, int], Linked],
    without: Mapping[str, pd.DataFrame],
    with_review: Mapping[str, pd.DataFrame],
) -> None:
    """Print the size of a review in each population and, by row, what it does to bias, coverage and half-width."""
    print("\n### What a clerical review does\n\nBefore, after.\n\n| population | pairs | children | row |", end="")
    print(" bias and held | after | half-width after | relative |\n" + "|---" * 8 + "|")
    for (name, before), after, own in zip(without.items(), with_review.values(), linked.values(), strict=True):
        drawn = own.draw_review(b"")
        searched = drawn.stratum.str.endswith(OTHER)
        size = f"{(~searched).sum()} | {drawn.child_id[searched].nunique()}"
        for row in before.row[before.row.isin(_HEADLINE)].unique():
            means = [
                each[each.row == row][["truth", "published", "held", "half_width"]].mean() for each in (before, after)
            ]
            shown = [f"{each.published / each.truth - 1:+.1%}, {each.held:.0%}" for each in means]
            ratio = means[1].half_width / means[0].half_width
            print(f"| {name} | {size} | {row} | {shown[0]} | {shown[1]} | {means[1].half_width:.1f} | {ratio:.2f} |")


def _build_table(linked: Linked, seed: int, prefix: str) -> pa.Table:
    """Return the child table in truth (no `prefix`) or as found; attributes unrelated to linkage are random per
    child."""
    p, number = linked.pupils, pd.factorize(linked.pupils.child)[0]
    rng, size = np.random.default_rng(seed), len(p)
    columns = {a.name: rng.choice(np.array(a.categories), size)[number] for a in pupil.FAMILY.attributes}
    concerns = {name: rng.random(size)[number] < share for name, share in (("health", 0.25), ("setting", 0.2))}
    health, setting = (p[f"{prefix}{name}"].to_numpy() for name in ("health", "setting"))
    little = p.too_little.to_numpy() & ~p.found_health.to_numpy() & ~p.found_setting.to_numpy()
    seen = np.where(little, UNSEARCHABLE, _label_services(health, setting, NEITHER))
    concern = np.where(little, NONE, _label_services(health & concerns["health"], setting & concerns["setting"], NONE))
    outcome = rng.choice(np.array(pupil.LINKED), size)[number]
    taken = np.where(rng.random(size)[number] < 0.2, *pupil.ENTITLEMENT.categories[:2])
    columns |= {name: p[f"{prefix}{name}"].to_numpy().astype(str) for name in _OF_CENSUS}
    columns["dots"] = np.array([pupil.format_dots_category(s, c) for s, c in zip(seen, concern, strict=True)])
    columns["asq3"] = np.where(little, UNSEARCHABLE, np.where(health, outcome, pupil.NO_REVIEW))
    columns["entitlement"] = np.where(little, UNSEARCHABLE, np.where(setting, taken, pupil.NOT_LINKED_TO_SETTING))
    columns[pupil.AGREEMENT.name] = np.array(CELLS)[p.cell]
    columns[pupil.DIFFERENCES.name] = np.array(KIND_OF)[p.cell]
    columns[pupil.CENSUS_JOIN.name] = np.array(JOINS)[p.joined]
    columns[pupil.SHARED_NUMBER.name] = np.array(NUMBERED)[p.numbered]
    columns["council"] = p.council.to_numpy().astype(str)
    return pa.table({"child_id": np.arange(size), **columns})


def _label_services(health: NDArray[np.bool_], setting: NDArray[np.bool_], nobody: str) -> NDArray[np.str_]:
    return np.select([health & setting, health, setting], [BOTH, HV_ONLY, SETTING_ONLY], nobody)


if __name__ == "__main__":
    main()
