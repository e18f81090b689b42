"""One record can only change the links of records that a chain of shared tokens connects with it.

The linkage is given the published number of children and estimates no size, share or prior from the cohort. Its counts
(children with one number, children of one month at one postcode) are among records that share that token. A cohort
therefore splits into parts that share no token, and each is linked as if it were alone.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bench.linkage.one_record import Cohort, iter_changes
from privacy.doors.database import open_in_memory
from privacy.keys import KeyRing
from privacy.linkage.assignment import label_components
from privacy.linkage.link import link
from privacy.linkage.rows import CROWD_CHILDREN, load as load_rows
from privacy.pseudonyms import BANDED_DOMAINS, TOKENS
from tests.support.daily import mark_slow_after
from tests.support.linkage import stress
from tests.support.linkage.populations import Frames, tokenise_frames

KEY = "row_key"
PLACE = ["source", "council", KEY]
Tables = Mapping[str, pa.Table]
BY_DOMAIN = {domain: [token for token in TOKENS if token.domain == domain] for domain in {t.domain for t in TOKENS}}
JUST_UNDER_A_DOUBLING = 45
"""Number of children of a service at which one more rounds to another power of two."""
MOST_ROWS = 7
"""Rows of children whose count one record changes: the limit of children per number, plus one."""


def of_few(children: int, seed: int) -> Frames:
    """Return a small cohort in which every child is seen by all services."""
    frames = stress.draw_extracts(1_000, seed)
    there = set.intersection(*(set(frame.child) for frame in frames.values()))
    chosen = sorted(there)[:children]
    return {source: frame[frame.child.isin(chosen)].reset_index(drop=True) for source, frame in frames.items()}


def parts(tables: Tables) -> pd.DataFrame:
    """Return the rows (source, council, key) and their part; the rows of a part are connected by shared tokens."""
    rows, values = [], []
    for source, table in tables.items():
        frame = table.to_pandas(types_mapper={pa.uint64(): pd.UInt64Dtype()}.get).assign(source=source)
        rows.append(frame[PLACE])
        for domain, tokens in BY_DOMAIN.items():
            clear = np.uint64(2**64 - 64) if domain in BANDED_DOMAINS else np.uint64(2**64 - 1)
            for token in (token.name for token in tokens if token.name in frame):
                there = frame[frame[token].notna()]
                bare = there[token].astype(np.uint64).to_numpy() & clear
                values.append(there[PLACE].assign(value=[f"{domain}:{value}" for value in bare]))
    placed = pd.concat(rows, ignore_index=True).reset_index(names="row")
    shared = pd.concat(values).merge(placed, on=PLACE)
    first = shared.groupby("value").row.transform("min")
    return placed.assign(part=label_components(shared.row.to_numpy(), first.to_numpy(), len(placed)))


def linked(tables: Tables) -> pd.DataFrame:
    """Return each row with the rule and probability of its link, and the rows of its child."""
    links = link(tables).links.to_pandas()
    place = links[PLACE].astype(str).agg("/".join, axis=1)
    together = place.groupby(links.child_id).transform(lambda rows: " ".join(sorted(rows)))
    found = links[["match_rule", "match_probability"]].assign(together=together, place=place).set_index("place")
    return found.sort_index()


def only(tables: Tables, rows: pd.DataFrame) -> dict[str, pa.Table]:
    chosen = {}
    for source, table in tables.items():
        keep = pa.Table.from_pandas(rows.loc[rows.source == source, ["council", KEY]], preserve_index=False)
        chosen[source] = table.join(
            keep.cast(table.select(["council", KEY]).schema), ["council", KEY], join_type="left semi"
        )
    return chosen


@pytest.mark.slow
def test_parts_that_share_no_token_are_linked_as_if_each_were_alone(keys: KeyRing) -> None:
    tables = tokenise_frames(stress.draw_extracts(300, seed=3), keys)
    rows = parts(tables)
    half = rows.part % 2 == 0
    assert 0.2 < half.mean() < 0.8
    whole, halves = linked(tables), pd.concat([linked(only(tables, rows[side])) for side in (half, ~half)])
    pd.testing.assert_frame_equal(whole, halves.sort_index())


@pytest.mark.parametrize("source", mark_slow_after(1, ["hv_reviews", "eyfsp"]))
def test_a_stranger_who_makes_the_cohort_a_size_larger_changes_no_link(keys: KeyRing, source: str) -> None:
    frames = of_few(JUST_UNDER_A_DOUBLING, seed=1)
    unlike = {"surname": "Quillfeather", "forename": "Zebedee", "postcode": "ZE2 9XX", "council": "wirral"}
    stranger = frames[source].head(1).assign(row_key=9_999, date_of_birth=pd.Timestamp("2020-02-29"), **unlike)
    stranger[list({"upn", "nhs_number", "local_patient_id"} & set(stranger))] = None
    larger = frames | {source: pd.concat([frames[source], stranger], ignore_index=True)}
    before, after = (linked(tokenise_frames(each, keys)) for each in (frames, larger))
    pd.testing.assert_frame_equal(before, after.loc[before.index])


@pytest.mark.slow
def test_the_first_postcode_of_a_service_changes_no_other_link(keys: KeyRing) -> None:
    frames = {source: frame.assign(postcode=None) for source, frame in of_few(60, seed=2).items()}
    health = frames["hv_reviews"]
    nameless = health.assign(date_of_birth=None).iloc[::2]
    frames["hv_reviews"] = pd.concat([nameless, health.iloc[1::2]], ignore_index=True).astype(health.dtypes)
    first = stress.draw_extracts(1_000, seed=9)["hv_reviews"].head(1).assign(row_key=9_999)
    before, after = (
        linked(tokenise_frames(frames | {"hv_reviews": each}, keys))
        for each in (frames["hv_reviews"], pd.concat([frames["hv_reviews"], first], ignore_index=True))
    )
    pd.testing.assert_frame_equal(before, after.loc[before.index])


def crowded(tokens: np.ndarray) -> dict[int, bool]:
    """Return children of one month at one postcode, by a token of their forename (a multiple of 64, which clears its
    bands), and whether they belong to a crowd."""
    count = len(tokens)
    columns = {"t_month_postcode": np.ones(count), "t_dob_postcode": np.arange(count), "t_forename_dob": tokens}
    columns |= {"row_key": np.arange(count)}
    table = pa.table(
        {name: values.astype(np.uint64) for name, values in columns.items()} | {"council": ["leeds"] * count}
    )
    with open_in_memory() as con:
        load_rows(con, {"hv_reviews": table})
        return dict(con.execute("SELECT t_forename_dob, crowded FROM patterns").fetchall())


@pytest.mark.parametrize("children", [1, CROWD_CHILDREN - 1, CROWD_CHILDREN, CROWD_CHILDREN + 3, 2 * CROWD_CHILDREN])
def test_a_child_more_at_a_postcode_puts_few_others_into_its_crowd(children: int) -> None:
    for seed in range(4):
        tokens = np.random.default_rng([children, seed]).permutation(1000)[: children + 1] * 64
        before, after = crowded(tokens[:-1]), crowded(tokens)
        assert any(before.values()) == (children > CROWD_CHILDREN)
        assert all(after.values()) == (children + 1 >= 2 * CROWD_CHILDREN)
        assert sum(after[child] != crowd for child, crowd in before.items()) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_one_record_changes_only_the_part_that_it_is_in(keys: KeyRing, tmp_path: Path, seed: int) -> None:
    cohort = Cohort(400, seed, keys, tmp_path)
    before = linked(cohort.tokens)
    for change in iter_changes(cohort, records=6, seed=seed * 6):
        was, now = cohort.tokens[change.source], cohort.apply_change(change)
        after = linked(cohort.tokens | {change.source: now})
        rows = parts(cohort.tokens | {change.source: pa.concat_tables([was, now], promote_options="default")})
        place = rows[PLACE].astype(str).agg("/".join, axis=1)
        of_the_record = rows.part[place.isin(before.index.symmetric_difference(after.index))]
        others = before.index.intersection(after.index)
        differ = (before.loc[others].fillna(-1) != after.loc[others].fillna(-1)).any(axis=1)
        touched = set(rows.part[place.isin(others[differ])])
        assert touched <= {*of_the_record, *rows.part[place.isin(lost_their_names(was, now, change.source))]}


def lost_their_names(was: pa.Table, now: pa.Table, source: str) -> list[str]:
    """Return the rows that gained or lost a token of two names because a single child has both."""
    names = [table.select(["council", KEY, "t_names"]).to_pandas() for table in (was, now)]
    both = names[0].merge(names[1], on=["council", KEY])
    changed = both[both.t_names_x.isna() != both.t_names_y.isna()]
    return [f"{source}/{council}/{key}" for council, key in zip(changed.council, changed[KEY], strict=True)]


@pytest.mark.slow
def test_a_record_chosen_to_hurt_changes_few_rows_of_the_childrens_table(keys: KeyRing, tmp_path: Path) -> None:
    cohort = Cohort(1_000, 1, keys, tmp_path)
    effects = [cohort.measure_effect(change) for change in iter_changes(cohort, records=30, seed=1)]
    rows = np.array([effect.rows for effect in effects])
    assert rows.max() <= MOST_ROWS
    assert (rows <= 1).mean() >= 0.75
