"""A growing world: its deliveries are possible, and what was sent by a day is taken in as its truth says."""

import datetime as dt
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from assets.home.paths import Home
from assets.intake.deliveries import ExtractQuality
from assets.intake.ingest import Intake
from privacy.keys import KeyRing
from sources.extract.landing import find
from sources.synthetic.growing import GrowingWorld, Sent, find_census_day, find_day_sent
from sources.synthetic.lives import OUTSIDE
from sources.synthetic.returns import REVIEWS
from tests.support.daily import limit_examples

COHORTS = ("202425", "202526")


@pytest.mark.slow
def test_two_open_cohorts_are_taken_in_and_ended_records_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing, home, keys = tmp_path / "landing", Home(tmp_path / "home"), KeyRing.create(tmp_path / "keys")
    world = GrowingWorld.draw(COHORTS[0], len(COHORTS), scale=0.04)
    world.write(landing, dt.date(2022, 4, 21))
    truth = pd.read_parquet(tmp_path / "truth_rows.parquet")
    monkeypatch.setenv("READINESS_COUNCILS", str(tmp_path / "councils"))
    intake = Intake(landing, home, keys)
    deleted = 0
    for source, cohorts in {"hv_reviews": COHORTS, "early_years_census": COHORTS[:1]}.items():
        for cohort in cohorts:
            landed = find(landing, "leeds", source, cohort)
            assert landed
            (outcome,) = intake.ingest_all([landed])
            assert isinstance(outcome, ExtractQuality), outcome
            assert outcome.parts.how == "changes"
            sent = truth[(truth.source == source) & (truth.council == "leeds") & (truth.cohort == cohort)]
            parts = outcome.parts.parts
            # Some rows have no date of birth by which their cohort is known, or a wrong one.
            assert abs(sum(part.rows_read for part in parts) - len(sent)) <= 0.02 * len(sent) + 1
            assert abs(sum(part.deletions for part in parts) - sent.deletes.sum()) <= 1
            assert sum(part.of_nothing for part in parts) <= 1
            ended = sent.person_id.isin(sent.person_id[sent.deletes])
            kept = pq.read_metadata(home.get_extract(source, cohort, "leeds").pseudonymised).num_rows
            assert abs(kept - (~ended).sum()) <= 0.02 * len(sent) + 1
            deleted += int(sent.deletes.sum())
    assert deleted
    assert not intake.list_needing_intake(COHORTS[1], ["leeds"])


SEEDS = st.sampled_from(range(12))
YOUNGEST = {"NBV": 10, "6-8W": 42, "12M": 320, "2-2.5Y": 705}
"""Days of age before which nobody has a review."""


@cache
def draw(seed: int) -> GrowingWorld:
    return GrowingWorld.draw("202425", 2, scale=0.02, seed=seed, contract_names=True)


@limit_examples(6)
@given(seed=SEEDS)
def test_no_row_follows_the_end_of_an_identity_and_all_before_it_are_deleted(seed: int) -> None:
    world = draw(seed)
    for source, of_cohorts in world.sent.items():
        for living, sent in zip(world.cohorts, of_cohorts, strict=True):
            ended = living.lives.ended[sent.person]
            before = ~sent.deletes
            assert not (ended <= find_day_sent(source, sent.month))[before].any()
            assert (sent.deletes | (ended != ended) | np.isin(sent.person, sent.person[sent.deletes])).all()
            assert sent.deletes.sum() == (before & (ended == ended)).sum(), source
            assert (sent.month[sent.deletes] == ended[sent.deletes].astype("datetime64[M]")).all()
    assert all(
        ((living.lives.ended == living.lives.ended) & (living.lives.later_identity < 0)).any()
        for living in world.cohorts
    )


@limit_examples(6)
@given(seed=SEEDS)
def test_nothing_sent_joins_the_identities_of_an_adopted_child(seed: int) -> None:
    world = draw(seed)
    for index, living in enumerate(world.cohorts):
        earlier = np.flatnonzero(living.lives.later_identity >= 0)
        later = living.lives.later_identity[earlier]
        people, lives = living.world.people, living.lives
        assert len(earlier)
        assert (people.born[earlier] == people.born[later]).all()
        for name in ("nhs_number", "surname", "forename"):
            assert (getattr(people, name)[earlier] != getattr(people, name)[later]).all()
        assert not np.isin(lives.renamed[later], lives.renamed[earlier]).any()
        for of_cohorts in world.sent.values():
            _check_apart(of_cohorts[index], earlier, later)


def _check_apart(sent: Sent, earlier: np.ndarray, later: np.ndarray) -> None:
    for one, other in zip(earlier, later, strict=True):
        rows = [sent.table.filter(sent.person == person) for person in (one, other)]
        for name in set(sent.table.column_names) & {"nhs_number", "upn", "local_patient_id"}:
            numbers = [set(pc.drop_null(table[name]).to_pylist()) for table in rows]
            assert not numbers[0] & numbers[1]
        names = [set(zip(table["surname"].to_pylist(), table["forename"].to_pylist(), strict=True)) for table in rows]
        assert not names[0] & names[1]


@limit_examples(6)
@given(seed=SEEDS)
def test_each_record_is_made_where_the_child_lives_and_not_before_its_age(seed: int) -> None:
    world = draw(seed)
    for living, reviews, places in zip(
        world.cohorts, world.sent["hv_reviews"], world.sent["early_years_census"], strict=True
    ):
        dates = reviews.table["review_date"].to_numpy().astype("datetime64[D]")
        kind = reviews.table["review"].to_pylist()
        assert set(kind) == set(REVIEWS)
        age = (dates - living.world.people.born[reviews.person]).astype(int)
        assert (age >= np.array([YOUNGEST[each] for each in kind])).all()
        assert (dates.astype("datetime64[M]") <= reviews.month)[~reviews.deletes].all()
        assert (living.lives.council[living.lives.find_home(reviews.person, dates)] == reviews.council).all()
        seen = ~places.deletes
        day = np.array([find_census_day(month.year) for month in places.month[seen].tolist()])
        assert (day.astype("datetime64[M]") == places.month[seen]).all()
        born = living.world.people.born[places.person[seen]]
        assert ((day - born).astype(int) >= 2 * 365).all()
        home = living.lives.find_home(places.person[seen], day)
        assert (living.lives.council[home] == places.council[seen]).all()


@limit_examples(6)
@given(seed=SEEDS)
def test_a_move_leaves_one_council_and_enters_another(seed: int) -> None:
    for living in draw(seed).cohorts:
        lives, people = living.lives, living.world.people
        same = lives.child[1:] == lives.child[:-1]
        assert (np.diff(lives.since.astype(int))[same] > 0).all()
        assert set(lives.child) == set(range(len(people)))
        # Nobody moves from outside to outside, and few stay where they were.
        outside = lives.council == OUTSIDE
        assert not (outside[1:] & outside[:-1] & same).any()
        stayed = same & (lives.postcode[1:] == lives.postcode[:-1]) & (lives.council[1:] == lives.council[:-1])
        assert stayed.sum() <= 0.01 * same.sum()
        last = np.append(~same, True)
        pupils = people.pupil[lives.child]
        assert (lives.council[last & pupils] == people.council[lives.child[last & pupils]]).all()
        assert (lives.postcode[last & pupils] == people.postcode[lives.child[last & pupils]]).all()
        joined, left = (same & outside[:-1]).sum(), (same & outside[1:]).sum()
        assert 0 < joined < 0.4 * len(people)
        assert 0 < left < 0.4 * len(people)


def test_no_two_children_of_a_world_have_one_number() -> None:
    numbers = np.concatenate([living.world.people.nhs_number for living in draw(1).cohorts])
    assert len(numbers) == len(set(numbers))


def test_census_day_is_the_third_thursday_of_january() -> None:
    # The early years census guides of these years.
    days = {2022: "2022-01-20", 2023: "2023-01-19", 2024: "2024-01-18", 2026: "2026-01-15"}
    assert {year: str(find_census_day(year)) for year in days} == days


def test_same_seed_same_bytes_however_often_it_is_written(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        world = GrowingWorld.draw("202425", 1, scale=0.0025, seed=seed)
        for until in (dt.date(2020, 6, 30), dt.date(2021, 1, 31)) if name == "a" else (dt.date(2021, 1, 31),):
            world.write(tmp_path / name / "landing", until)
    content = {
        name: {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in "abc"
    }
    assert content["a"] == content["b"]
    assert content["a"] != content["c"]
    assert not [path for path in content["a"] if "truth" in path.name and "landing" in path.parts]


@pytest.mark.parametrize("scale", [0, -1])
def test_scale_must_be_positive(scale: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        GrowingWorld.draw("202425", 1, scale=scale)
