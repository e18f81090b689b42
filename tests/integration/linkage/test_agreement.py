"""How well the records of linked children agree, observed while they are linked."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from privacy.keys import KeyRing
from privacy.linkage.agreement import RecordAgreement
from privacy.linkage.cells import ALL_AGREE, CELLS, DIFFERS, JOINS, NAMES, NOT_LINKED, NUMBERED, SEVERAL, Differs
from privacy.linkage.link import link
from privacy.linkage.missed import estimate_missed
from tests.support.daily import mark_slow_after
from tests.support.extracts import make_nhs_number
from tests.support.linkage import stress
from tests.support.linkage.populations import Frames, tokenise_frames

CHILD = {
    "council": "leeds",
    "surname": "Thornbury",
    "forename": "Wilhelmina",
    "date_of_birth": "2020-03-14",
    "postcode": "LS6 2AB",
    "sex": "F",
}
OTHER_DATE, OTHER_HOME = {"date_of_birth": "2020-11-02"}, {"postcode": "LS17 9XY"}
Linked = Callable[[Frames], pd.DataFrame]


@pytest.fixture(scope="module")
def linked(keys: KeyRing) -> Linked:
    """The rows of a population with child_id, and the facts of its child."""

    def found(frames: Frames) -> pd.DataFrame:
        agreement = RecordAgreement()
        links = link(tokenise_frames(frames, keys), children=26_000, watchers=(agreement,)).links
        facts = agreement.count_children(links).to_pandas()
        assert facts.child_id.is_unique
        return links.to_pandas().merge(facts, on="child_id", how="left")

    return found


def link_rows(linked: Linked, rows: dict[str, dict[str, Any]]) -> pd.Series:
    """The facts of a child's Profile row, linked with rows that differ in this from the child."""
    found = linked({source: pd.DataFrame([CHILD | row | {"row_key": 1}]) for source, row in rows.items()})
    known = found[found.source == "eyfsp"].fillna({"cell": 0, "joined": 0, "numbered": 0, "too_little": False})
    return known.astype({"cell": int, "joined": int, "numbered": int, "too_little": bool}).iloc[0]


def differs(field: str, record: str, *sizes: str) -> set[str]:
    return {str(Differs(field, record, size)) for size in sizes}


OTHERWISE = {"surname": "Dornpely", "forename": "Filelmine"}
EXCHANGED = {"surname": CHILD["forename"], "forename": CHILD["surname"]}
TYPED = {"surname": "Thornbery"}
PUPIL, VISITOR, SETTING, EVERY = DIFFERS


@pytest.mark.parametrize(
    ("pupil", "review", "setting", "expected"),
    mark_slow_after(
        3,
        [
            ({}, {}, {}, set(ALL_AGREE)),
            ({}, OTHERWISE, {}, differs(NAMES, VISITOR, "middle", "far")),
            ({}, {}, None, {NOT_LINKED[2]}),
            (OTHER_DATE, {}, {}, differs("date_of_birth", PUPIL, "near", "far")),
            ({}, {}, EXCHANGED, differs(NAMES, SETTING, "near")),
            ({}, OTHER_HOME, TYPED, {SEVERAL}),
            ({}, OTHER_DATE, {}, differs("date_of_birth", VISITOR, "near", "far")),
            ({}, {}, OTHER_DATE, differs("date_of_birth", SETTING, "near", "far")),
            ({}, OTHER_DATE, {"date_of_birth": "2020-07-27"}, differs("date_of_birth", EVERY, "near", "far")),
            (OTHER_HOME, {}, {}, differs("postcode", PUPIL, "")),
            ({}, TYPED, {}, differs("surname", VISITOR, "near")),
        ],
    ),
)
def test_the_cell_of_a_child_in_three_services(
    linked: Linked, pupil: dict[str, str], review: dict[str, str], setting: dict[str, str] | None, expected: set[str]
) -> None:
    rows = {"eyfsp": pupil, "hv_reviews": review} | ({} if setting is None else {"early_years_census": setting})
    assert CELLS[link_rows(linked, rows).cell] in expected


ONE_UPN, OTHER_UPN = (str(each) for each in stress.make_upns(np.array([1, 2])))


@pytest.mark.parametrize(
    ("census", "joined"),
    mark_slow_after(
        2, [(None, 0), ({"upn": ONE_UPN}, 1), ({"upn": ONE_UPN, "postcode": "LS17 9XY"}, 2), ({"upn": OTHER_UPN}, 3)]
    ),
)
def test_how_a_census_row_was_found(linked: Linked, census: dict[str, str] | None, joined: int) -> None:
    rows = {"eyfsp": {"upn": ONE_UPN}} | ({} if census is None else {"school_census": census})
    assert JOINS[link_rows(linked, rows).joined] == JOINS[joined]


NUMBER = {"nhs_number": make_nhs_number(1)}
COMMON, ELSEWHERE = {"surname": "Smith", "forename": "Amelia"}, {"surname": "Jones", "postcode": "M1 4BT"}
"""A record of a child with this name at another address under another surname is too unlike to be linked."""


@pytest.mark.parametrize(
    ("pupil", "review", "setting", "expected"),
    mark_slow_after(
        3,
        [
            (NUMBER, NUMBER, {}, 1),
            (NUMBER, NUMBER | ELSEWHERE, None, 2),
            ({}, NUMBER | ELSEWHERE, NUMBER, 8),
            ({}, NUMBER, {}, 0),
            (NUMBER, {}, NUMBER, 3),
            (NUMBER, {}, NUMBER | ELSEWHERE, 4),
            ({}, NUMBER, NUMBER, 7),
            ({}, NUMBER, NUMBER | ELSEWHERE, 0),
            (NUMBER, NUMBER, NUMBER, 5),
            (NUMBER, NUMBER, NUMBER | ELSEWHERE, 6),
        ],
    ),
)
def test_records_known_by_number_are_alike_or_not(
    linked: Linked, pupil: dict[str, str], review: dict[str, str], setting: dict[str, str] | None, expected: int
) -> None:
    rows = {"eyfsp": pupil, "hv_reviews": review} | ({} if setting is None else {"early_years_census": setting})
    found = link_rows(linked, {source: COMMON | row for source, row in rows.items()})
    assert NUMBERED[found.numbered] == NUMBERED[expected]


@pytest.mark.slow
def test_a_record_with_next_to_nothing_cannot_be_searched_for(linked: Linked) -> None:
    nothing = dict.fromkeys(("date_of_birth", "postcode", "forename"))
    assert link_rows(linked, {"eyfsp": nothing, "hv_reviews": {}, "early_years_census": {}}).too_little


@pytest.mark.slow
def test_the_order_of_rows_and_other_children_change_no_cell(linked: Linked) -> None:
    sent = stress.draw_extracts(600, seed=9)
    mirrored = {source: frame.iloc[::-1] for source, frame in sent.items()}
    first, second = (found.set_index(["source", "council", "row_key"]).cell for found in map(linked, (sent, mirrored)))
    pd.testing.assert_series_equal(first.sort_index(), second.sort_index())
    half = {source: frame[frame.council == "leeds"] for source, frame in sent.items()}
    alone = linked(half).set_index(["source", "council", "row_key"]).cell
    assert (alone.fillna(0) == first.loc[alone.index].fillna(0)).mean() > 0.98


@pytest.mark.slow
@pytest.mark.parametrize("slips", [1.0, 3.0])
def test_the_estimate_is_near_the_truth(linked: Linked, slips: float) -> None:
    """Seeds on which nothing was chosen. Bounds are three times the estimate's own deviation."""
    sent = stress.draw_extracts(26_000, seed=31, slips=slips)
    found = linked(sent)
    cells = found.drop_duplicates("child_id").cell.fillna(0).astype(int)
    counts = np.bincount(cells, minlength=len(CELLS)).astype(float)
    estimate = estimate_missed(counts, np.zeros(len(CELLS)))
    pupils, health, setting = (
        found[found.source == source].merge(sent[source][["council", "row_key", "child"]])
        for source in ("eyfsp", "hv_reviews", "early_years_census")
    )
    seen = pupils.child.isin(health.child) & pupils.child.isin(setting.child)
    lost = seen & ~pupils.child_id.isin(health.child_id) & pupils.child_id.isin(setting.child_id)
    deviation = float(np.sqrt(estimate.covariance[1, 1] + estimate.rates[1] / seen.sum()))
    assert lost.sum() / seen.sum() == pytest.approx(estimate.rates[1], abs=3 * deviation)
