"""Measures how one record more or less changes the children's table of a linked cohort, for worst-case records.

    python -m bench.linkage.one_record [--children 1000] [--records 200] [--seeds 1 2 3]

The guarantee of a release covers one row of the children's table. One record sent is not always one row: it can take
another child's partner, or turn one child into two. For each cohort, this many records are added or left out, one at a
time; each time the cohort is linked and its children's table derived again. For each kind of record, prints the number
of other rows that changed (a changed row counts once), and the rho of all changes under the plan of a release, beside
the rho charged. The rho is the sum over measured marginals of the squared change in each cell, divided by twice the
variance of its noise.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from assets.linkage.children import build_confidential_tables
from assets.release.planning import plan_family
from privacy.keys import KeyRing
from privacy.linkage.agreement import RecordAgreement
from privacy.linkage.link import link
from privacy.linkage.rows import CROWD_CHILDREN, MAX_CHILDREN_A_NUMBER
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from sources.contracts import CONTRACTS
from sources.reference import cohorts
from sources.reference.code_lists import DOMAINS
from sources.reference.places import PILOT
from tests.support.linkage import stress
from tests.support.linkage.linked_home import add_payload
from tests.support.linkage.populations import Frames, tokenise_frames

_PLANTED_NUMBERS = 4
_HOSTEL, _RESIDENTS, _RESIDENTS_BORN = "LS2 9JT", CROWD_CHILDREN + 4, pd.Timestamp("2020-03-01")
_ADDED = 1_000_000
"""Row number, in its extract, of the added record."""
Row: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """A change of one record: `row` is added, or the record of `source` at this position is removed."""

    kind: str
    source: str
    row: pd.Series | int

    @property
    def added(self) -> bool:
        return isinstance(self.row, pd.Series)


@dataclass(frozen=True)
class Effect:
    """The effect of a change: other `rows` of the children's table that changed, and the `rho` of the whole change."""

    kind: str
    added: bool
    rows: int
    rho: float


class Cohort:
    """A cohort of synthetic children in eight councils, and its children's table after any one change."""

    def __init__(self, children: int, seed: int, keys: KeyRing, folder: Path) -> None:
        self._keys, self._folder, self._children = keys, folder, children
        self.frames = _crowd_postcode(_share_numbers(stress.draw_extracts(children, seed, nhs_on_education=0.5)))
        self.tokens = tokenise_frames(self.frames, keys)
        self._sent: dict[str, list[Path]] = {source: [] for source in CONTRACTS}
        rng = np.random.default_rng(seed)
        for source, frame in self.frames.items():
            rows = pd.concat([frame, frame.drop_duplicates("council").assign(row_key=_ADDED)])
            places = pa.table({"council": rows.council, "sex": rows.sex.fillna("F"), "row_key": rows.row_key})
            self._sent[source] = [folder / f"{source}.parquet"]
            pq.write_table(_randomise(add_payload(source, places, rng), rng), self._sent[source][0])
        links, agreement = self._link(self.tokens)
        self.links = links.to_pandas()
        self._before = self._count_rows(links, agreement)

    def measure_effect(self, change: Change) -> Effect:
        """Return the effect of a change on the children's table."""
        tokens = self.tokens | {change.source: self.apply_change(change)}
        after = self._count_rows(*self._link(tokens))
        less, more = self._before - after, after - self._before
        own = (1 if change.added else -1) if change.source == "eyfsp" else 0
        others = max(less.total() - max(-own, 0), more.total() - max(own, 0))
        return Effect(change.kind, change.added, others, compute_rho(more, less))

    def apply_change(self, change: Change) -> pa.Table:
        """Return the tokens of the change's source after it."""
        frame = self.frames[change.source]
        if isinstance(change.row, pd.Series):
            more = change.row.to_frame().T.assign(row_key=_ADDED)
            return self._tokenise(change.source, pd.concat([frame, more], ignore_index=True).astype(frame.dtypes))
        return self._tokenise(change.source, frame.drop(index=change.row))

    def _tokenise(self, source: str, frame: pd.DataFrame) -> pa.Table:
        return tokenise_frames({source: frame}, self._keys)[source]

    def _link(self, tokens: Mapping[str, pa.Table]) -> tuple[pa.Table, pa.Table]:
        """Return the links, and how well the records of children agree."""
        agreement = RecordAgreement()
        links = link(tokens, children=self._children, watchers=(agreement,)).links
        return links, agreement.count_children(links)

    def _count_rows(self, links: pa.Table, agreement: pa.Table) -> Counter[Row]:
        found, agrees, out = (self._folder / f"{name}.parquet" for name in ("links", "agreement", "children"))
        pq.write_table(links, found)
        pq.write_table(agreement, agrees)
        build_confidential_tables(cohorts.Cohort("202425"), found, agrees, self._sent, {"pupil": out})
        columns = pq.read_table(out, columns=list(plan().family.columns)).columns
        return Counter(zip(*(column.to_pylist() for column in columns), strict=True))


@cache
def plan() -> Plan:
    """Return the plan for the pupil tables of a release of the pilot's councils."""
    return plan_family("pupil", PILOT, load_policy())


def compute_rho(more: Counter[Row], less: Counter[Row]) -> float:
    """Return the rho of added and removed rows under the plan."""
    rows = pd.DataFrame([*more.elements(), *less.elements()], columns=list(plan().family.columns))
    sign = np.repeat([1, -1], [more.total(), less.total()])
    return sum(
        float((pd.Series(sign).groupby([rows[name] for name in marginal]).sum() ** 2).sum()) / (2 * sigma**2)
        for marginal, sigma in plan().sigmas.items()
    )


def _randomise(extract: pa.Table, rng: np.random.Generator) -> pa.Table:
    """Return the extract with random scores, concerns and languages, so that hardly any two records are identical."""
    size = extract.num_rows
    said = {domain: rng.uniform(10, 60, size) for domain in DOMAINS} | {
        "asq3_months": np.full(size, "24"),
        "concern": rng.choice(["Y", "N"], size),
        "progress_check_outcome": rng.choice(["concern", "no_concern"], size),
        "first_language": rng.choice(["ENG", "POL"], size),
    }
    for name in said.keys() & set(extract.column_names):
        extract = extract.set_column(extract.column_names.index(name), name, pa.array(said[name]))
    return extract


def _share_numbers(frames: Frames) -> Frames:
    """Put each of some NHS numbers on the reviews of as many children as may share one.

    Nothing else joins the two reviews of a child: the second has another child's surname and postcode.
    """
    health = frames["hv_reviews"].copy()
    said = health.groupby("child")[["forename", "date_of_birth"]].nunique().max(axis=1)
    alike = said.index[(said == 1) & (health.groupby("child").size() == 2)]
    children = sorted(alike)[: MAX_CHILDREN_A_NUMBER * _PLANTED_NUMBERS]
    numbers = stress.make_nhs_numbers(_ADDED + np.arange(_PLANTED_NUMBERS)).repeat(MAX_CHILDREN_A_NUMBER)
    chosen = health.child.isin(children)
    health["nhs_number"] = health.child.map(dict(zip(children, numbers, strict=True))).fillna(health.nhs_number)
    health["local_patient_id"] = health.local_patient_id.mask(chosen)
    second = health.index[chosen & health.child.duplicated()]
    health.loc[second, ["surname", "postcode"]] = health.loc[np.roll(second, 1), ["surname", "postcode"]].to_numpy()
    return frames | {"hv_reviews": health}


def _crowd_postcode(frames: Frames) -> Frames:
    """Move some children born in one month to one postcode, with all names wrong in health.

    They can be linked only by date of birth and postcode.
    """
    health = frames["hv_reviews"]
    born = health.date_of_birth.between(_RESIDENTS_BORN, _RESIDENTS_BORN + pd.offsets.MonthEnd())
    numbered = health.child[health.groupby("nhs_number").child.transform("nunique") > 1]
    there = born & health.child.isin(frames["eyfsp"].child) & ~health.child.isin(numbered)
    residents = sorted(health.child[there].unique())[:_RESIDENTS]
    settled = {
        source: frame.assign(postcode=frame.postcode.mask(frame.child.isin(residents), _HOSTEL))
        for source, frame in frames.items()
    }
    health = settled["hv_reviews"].copy()
    theirs = health.index[health.child.isin(residents)]
    health.loc[theirs, ["forename", "nhs_number", "local_patient_id"]] = None
    health.loc[theirs, "surname"] = np.roll(health.surname[theirs], len(theirs) // 2)
    return settled | {"hv_reviews": health}


def iter_changes(cohort: Cohort, records: int, seed: int) -> Iterator[Change]:
    """Yield worst-case changes, each kind in turn, with two additions for each removal."""
    rng = np.random.default_rng(seed)
    for number in range(records):
        kinds = _LEFT_OUT if number % 3 == 2 else _ADDED_KINDS
        yield kinds[number // 3 % len(kinds) if number % 3 == 2 else (number - number // 3) % len(kinds)](cohort, rng)


def _pick_row(frame: pd.DataFrame, rng: np.random.Generator) -> pd.Series:
    return frame.iloc[rng.integers(len(frame))].copy()


def _pick_pair(cohort: Cohort, rng: np.random.Generator, source: str, near: str) -> tuple[pd.Series, pd.Series]:
    """Return a row of a source, and one of another child who is near it by postcode, date of birth or surname."""
    frame = cohort.frames[source]
    while True:
        one = _pick_row(frame, rng)
        others = frame[(frame[near] == one[near]) & (frame.child != one.child)]
        if len(others):
            return one, _pick_row(others, rng)


def _remove_numbers(row: pd.Series) -> pd.Series:
    for number in {"nhs_number", "upn", "local_patient_id"} & set(row.index):
        row[number] = None
    return row


def _add_rival(cohort: Cohort, rng: np.random.Generator) -> Change:
    row = _pick_row(cohort.frames["eyfsp"], rng)
    rival = _pick_row(cohort.frames["hv_reviews"], rng)
    said = ["surname", "forename", "sex", "date_of_birth", "postcode"]
    rival[said] = row[said]
    return Change("the same as a child's Profile, in health", "hv_reviews", _remove_numbers(rival))


def _add_co_twin(cohort: Cohort, rng: np.random.Generator) -> Change:
    one, other = (_pick_row(cohort.frames["hv_reviews"], rng) for _ in range(2))
    return Change("a twin of a child", "hv_reviews", _remove_numbers(one.copy()).where(one.index != "forename", other))


def _add_namesake_at_home(cohort: Cohort, rng: np.random.Generator) -> Change:
    one, other = (_pick_row(cohort.frames["hv_reviews"], rng) for _ in range(2))
    mixed = _remove_numbers(one.copy()).where(~one.index.isin(["forename", "date_of_birth"]), other)
    return Change("surname and postcode of a child", "hv_reviews", mixed)


def _add_namesake(cohort: Cohort, rng: np.random.Generator) -> Change:
    source = str(rng.choice(["eyfsp", "hv_reviews"]))
    one, other = (_pick_row(cohort.frames[source], rng) for _ in range(2))
    names = one.index.isin(["forename", "surname", "council"])
    mixed = other.where(~names, one)
    if source == "eyfsp":
        mixed["upn"] = stress.make_upns(np.array([9_000_000]))[0]
    return Change(
        "both names of a child, in its extract", source, mixed if source == "eyfsp" else _remove_numbers(mixed)
    )


def _add_default_date(cohort: Cohort, rng: np.random.Generator) -> Change:
    row = _remove_numbers(_pick_row(cohort.frames["hv_reviews"], rng))
    row["date_of_birth"] = pd.Timestamp("2020-01-01")
    return Change("a child under 1 January", "hv_reviews", row)


def _add_bridge_in_health(cohort: Cohort, rng: np.random.Generator) -> Change:
    one, other = _pick_pair(cohort, rng, "hv_reviews", str(rng.choice(["council", "date_of_birth", "postcode"])))
    bridge = other.copy()
    bridge[["nhs_number", "surname", "postcode"]] = one[["nhs_number", "surname", "postcode"]]
    return Change("two children's numbers, in health", "hv_reviews", bridge)


def _add_bridge_in_education(cohort: Cohort, rng: np.random.Generator) -> Change:
    frame = cohort.frames["school_census"]
    one, other = _pick_row(frame, rng), _pick_row(frame[frame.nhs_number.notna()], rng)
    bridge = one.copy()
    bridge[["nhs_number", "surname", "postcode"]] = other[["nhs_number", "surname", "postcode"]]
    return Change("two children's numbers, in education", "school_census", bridge)


def _add_child(cohort: Cohort, rng: np.random.Generator) -> Change:
    health = cohort.frames["hv_reviews"]
    children = health.groupby("nhs_number").child.nunique()
    row = _pick_row(health, rng)
    row["nhs_number"] = str(rng.choice(children.index[children == MAX_CHILDREN_A_NUMBER]))
    return Change("one child too many with a number", "hv_reviews", row)


def _add_resident(cohort: Cohort, rng: np.random.Generator) -> Change:
    row = _remove_numbers(_pick_row(cohort.frames["hv_reviews"], rng))
    row["postcode"], row["date_of_birth"] = _HOSTEL, _RESIDENTS_BORN + pd.Timedelta(days=int(rng.integers(31)))
    return Change("one child more at a crowd's postcode", "hv_reviews", row)


def _add_nearly(cohort: Cohort, rng: np.random.Generator) -> Change:
    """Return a record near every threshold: a child's record with one field wrong, in a service that already has
    another."""
    source = str(rng.choice(["hv_reviews", "early_years_census"]))
    row, other = (_pick_row(cohort.frames[source], rng) for _ in range(2))
    wrong = str(rng.choice(["surname", "forename", "date_of_birth", "postcode"]))
    row[wrong] = other[wrong]
    row["council"] = other.council
    return Change("a child's record with one thing wrong", source, _remove_numbers(row))


def _leave_out_at_random(cohort: Cohort, rng: np.random.Generator) -> Change:
    source = str(rng.choice(list(cohort.frames)))
    return Change("any record", source, int(rng.integers(len(cohort.frames[source]))))


def _leave_out_twin(cohort: Cohort, rng: np.random.Generator) -> Change:
    source = str(rng.choice(list(cohort.frames)))
    frame = cohort.frames[source]
    return Change("a twin's record", source, int(rng.choice(np.flatnonzero(frame.twin))))


def _leave_out_unsure(cohort: Cohort, rng: np.random.Generator) -> Change:
    """Return the removal of a record whose link is among the least certain."""
    unsure = cohort.links.nsmallest(50, "match_probability")
    unsure = unsure[unsure.match_rule == "probabilistic"]
    link_ = unsure.iloc[rng.integers(len(unsure))]
    frame = cohort.frames[link_.source]
    at = (frame.council == link_.council) & (frame.row_key == link_.row_key)
    return Change("a record whose link is least sure", link_.source, int(np.flatnonzero(at)[0]))


_ADDED_KINDS = (
    _add_rival, _add_co_twin, _add_namesake_at_home, _add_namesake, _add_default_date,
    _add_bridge_in_health, _add_bridge_in_education,
    _add_child, _add_resident, _add_nearly,
)  # fmt: skip
_LEFT_OUT = (_leave_out_at_random, _leave_out_twin, _leave_out_unsure)


def main() -> None:
    options = _read_options()
    effects = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as scratch:
            cohort = Cohort(options.children, seed, KeyRing.create(Path(scratch) / "keys"), Path(scratch))
            effects += [cohort.measure_effect(change) for change in iter_changes(cohort, options.records, seed)]
    print("\n".join(iter_lines(effects)))


def iter_lines(effects: Sequence[Effect]) -> Iterator[str]:
    """Yield a Markdown table with one row per kind.

    Columns: the number of records, how many of them change 0, 1, 2, ... other rows, and the greatest rho.
    """
    most = max(effect.rows for effect in effects)
    found = pd.DataFrame(effects)
    yield f"| record | of them | {' | '.join(f'{rows} rows' for rows in range(most + 1))} | rho at most |"
    yield "|---|---|" + "---|" * (most + 2)
    for (added, kind), group in [*found.groupby(["added", "kind"], sort=False), ((None, "all"), found)]:
        counts = group.rows.value_counts()
        shown = " | ".join(str(counts.get(rows, 0)) for rows in range(most + 1))
        word = {True: "added: ", False: "left out: ", None: ""}[added]
        yield f"| {word}{kind} | {len(group)} | {shown} | {group.rho.max():.3f} |"


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--children", type=int, default=1_000)
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    return parser.parse_args()


if __name__ == "__main__":
    main()
