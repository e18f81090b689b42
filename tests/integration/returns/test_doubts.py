"""Pairs of children that may be one: what the linkage left apart, and what hides it."""

from __future__ import annotations

import pandas as pd
import pytest

from privacy.keys import KeyRing
from privacy.linkage.link import link
from privacy.returns.facts import Doubts
from tests.support.linkage import stress
from tests.support.linkage.populations import tokenised

Pairs = dict[frozenset[int], bool]
CHILDREN = 400
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.create(tmp_path_factory.mktemp("keys") / "set")


def doubted(keys: KeyRing, education: pd.DataFrame, health: pd.DataFrame) -> Pairs:
    """The true children of each doubtful pair of rows, and whether it is likely."""
    frames = {"eyfsp": education, "hv_reviews": health}
    watcher = Doubts()
    links = link(tokenised(frames, keys), watchers=[watcher]).links
    truth = pd.concat([frame.assign(source=source) for source, frame in frames.items()])
    child_of = links.to_pandas().merge(truth, on=["source", "council", "row_key"])[["child_id", "child"]]
    named = dict(child_of.drop_duplicates("child_id").itertuples(index=False))
    found = watcher.children(links).to_pylist()
    assert {(pair["other_child_id"], pair["child_id"]) for pair in found} == {
        (pair["child_id"], pair["other_child_id"]) for pair in found
    }
    return {frozenset({named[pair["child_id"]], named[pair["other_child_id"]]}): pair["likely"] for pair in found}


def population() -> pd.DataFrame:
    """Children of Leeds who look alike in nothing; the first two are twins of one sex."""
    people = stress.population(CHILDREN, seed=5)
    people = people[~people.twin].assign(council="leeds").reset_index(drop=True)
    people.loc[1, ["surname", "date_of_birth", "postcode"]] = people.loc[0, ["surname", "date_of_birth", "postcode"]]
    people.loc[[0, 1], "sex"] = "F"
    people.loc[[0, 1], "forename"] = ["Olivia", "Harriet"]
    return people.assign(child=people.index, row_key=people.index + 1).drop(columns=["family", "twin"])


def written(people: pd.DataFrame, *, health: bool) -> pd.DataFrame:
    columns = {"upn": None} if health else {"nhs_number": None}
    return people.assign(**columns, row_key=range(1, len(people) + 1))


def test_a_twin_whose_partner_is_taken_is_in_doubt_and_not_likely(keys: KeyRing) -> None:
    people = population()
    found = doubted(keys, written(people, health=False), written(people[people.child != 1], health=True))
    assert found[frozenset({0, 1})] is False


def test_one_number_on_records_that_agree_in_nothing_is_a_doubt(keys: KeyRing) -> None:
    people = population()
    health = written(people, health=True)
    assert frozenset({7, 8}) not in doubted(keys, written(people, health=False), health)
    health.loc[8, "nhs_number"] = health.loc[7, "nhs_number"]
    assert frozenset({7, 8}) in doubted(keys, written(people, health=False), health)


def test_where_everybody_is_found_few_look_alike_and_none_is_likely(keys: KeyRing) -> None:
    people = population()[2:]
    found = doubted(keys, written(people, health=False), written(people, health=True))
    assert not any(found.values())
    assert len(found) < CHILDREN / 20
