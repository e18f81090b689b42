"""Case by case: which rows are one child's, and which must not be.

Each case is linked among 1,500 other children, so that the prior and the rivals are those of a real cohort.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from privacy.linkage.link import LinkResult, link
from privacy.pseudonyms import TOKEN_COLUMNS
from tests.support.daily import mark_slow_after
from tests.support.linkage import stress

Frames = dict[str, pd.DataFrame]
Tokenise = Callable[[Frames], dict[str, pa.Table]]
Rows = dict[str, tuple[str, dict[str, Any]]]
"""The source of each row, and how it differs from `BASE`."""
Children = Callable[[Rows], dict[str, str]]
CHILDREN = 1_500
FIRST_ROW = 10_000_000
BASE = {
    "surname": "Fenwick", "forename": "Oliver", "sex": "M", "date_of_birth": "2020-03-09",
    "postcode": "LS6 3XY", "council": "leeds",
}  # fmt: skip
NHS = stress.make_nhs_numbers(pd.RangeIndex(400_000, 400_020).to_numpy())
UPN = stress.make_upns(pd.RangeIndex(900_000, 900_020).to_numpy())
TEMPORARY_UPN = stress.make_upns(pd.RangeIndex(910_000, 910_020).to_numpy(), temporary=True)


def record(source: str, upn: int | None = None, **changes: Any) -> tuple[str, dict[str, Any]]:
    return source, changes if upn is None else {"upn": UPN[upn]} | changes


profile, census = partial(record, "eyfsp"), partial(record, "school_census")
review, setting = partial(record, "hv_reviews"), partial(record, "early_years_census")


@pytest.fixture(scope="module")
def crowd() -> Frames:
    return stress.draw_extracts(CHILDREN, seed=7)


@pytest.fixture(scope="module")
def children(crowd: Frames, tokenise: Tokenise) -> Children:
    """The child_id that each row got, by name."""
    crowd_tokens = tokenise(crowd)

    def run(rows: Rows) -> dict[str, str]:
        people = pd.DataFrame([{"source": source, **BASE, **changes} for source, changes in rows.values()])
        people["row_key"] = FIRST_ROW + people.index
        people["date_of_birth"] = pd.to_datetime(people.date_of_birth)
        added = tokenise({str(source): frame for source, frame in people.groupby("source")})
        tables = {
            source: pa.concat_tables([table, added[source]], promote_options="default") if source in added else table
            for source, table in crowd_tokens.items()
        }
        links = link(tables).links.to_pandas()
        ours = links[links.row_key >= FIRST_ROW].sort_values("row_key").child_id
        strangers = links[links.row_key < FIRST_ROW].child_id
        assert not set(ours) & set(strangers), "a case row was linked to a stranger"
        return dict(zip(rows, ours, strict=True))

    return run


SAME_CHILD: dict[str, dict[str, Any]] = {
    "the same in every respect": {},
    "moved, reviewed in another council": {"postcode": "L3 5TF", "council": "liverpool"},
    "day and month exchanged": {"date_of_birth": "2020-09-03"},
    "names exchanged": {"surname": "Oliver", "forename": "Fenwick"},
    "pet name": {"forename": "Ollie"},
    "apostrophe and case": {"surname": "FEN'WICK"},
    "typing error in the surname": {"surname": "Fenwik"},
    "typing error in the forename": {"forename": "Olvier"},
    "first letter of the surname wrong": {"surname": "Renwick"},
    "1900-01-01": {"date_of_birth": "1900-01-01"},
    "ZZ99": {"postcode": "ZZ99 3VZ"},
    "Baby": {"forename": "Baby"},
    "another surname": {"surname": "Yarwood"},
    "sex wrong": {"sex": "F"},
    "sex missing": {"sex": None},
    "double-barrelled at one service": {"surname": "Fenwick-Yarwood"},
    "second word alone": {"surname": "Yarwood-Fenwick"},
    "second forename written too": {"forename": "Oliver James"},
    "an initial": {"forename": "O"},
    "another forename, and nobody else it could be": {"forename": "George"},
    "moved within the town, and two typing errors": {"surname": "Fenwik", "forename": "Olivr", "postcode": "LS6 4AA"},
    "another day of birth and a typing error": {"surname": "Fenwik", "date_of_birth": "2020-03-19"},
    "an uncommon name, moved, no date of birth": {"postcode": "LS6 4AA", "date_of_birth": None},
    "only a name, which nobody else of the extract bears": {"date_of_birth": None, "postcode": None},
}


NAMES: list[tuple[dict[str, str], dict[str, str]]] = [
    ({"forename": "Łukasz", "surname": "Wójcik"}, {"forename": "Lukasz", "surname": "Wojcik"}),
    ({"forename": "伟", "surname": "李"}, {"forename": "伟", "surname": "李", "postcode": "W6 9JU"}),
    ({"forename": "Mohammed", "surname": "Al-Hassan"}, {"forename": "Muhammad", "surname": "Hassan"}),
    ({"forename": "Ahmed", "surname": "Ahmed"}, {"forename": "Ahmed", "surname": "Ahmed", "postcode": "W6 9JU"}),
    ({"forename": "Siân", "surname": "O’Neill"}, {"forename": "Sian", "surname": "ONeill"}),
]
DIFFERENT_CHILD: dict[str, dict[str, Any]] = {
    "an absent twin sister": {"forename": "Amelia", "sex": "F"},
    "a sibling": {"forename": "George", "date_of_birth": "2019-10-02"},
    "a neighbour": {"surname": "Okafor", "forename": "George", "date_of_birth": "2019-10-02"},
    "nobody": {"surname": "Unknown", "forename": "Baby", "date_of_birth": "1900-01-01", "postcode": "ZZ99 3VZ"},
    "at the same address, born on the day that day and month make when exchanged": {
        "surname": "Fenn", "forename": "George", "date_of_birth": "2020-09-03",
    },
    "at the same address before, with a surname that ends the same": {
        "surname": "Warwick", "date_of_birth": "2020-06-21",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("pupil", "other", "is_same"),
    [
        *mark_slow_after(1, [pytest.param({}, changes, True, id=name) for name, changes in SAME_CHILD.items()]),
        *mark_slow_after(1, [pytest.param(*both, True, id=both[0]["forename"]) for both in NAMES]),
        *mark_slow_after(1, [pytest.param({}, changes, False, id=name) for name, changes in DIFFERENT_CHILD.items()]),
    ],
)
def test_a_profile_and_a_review(
    children: Children, pupil: dict[str, Any], other: dict[str, Any], is_same: bool
) -> None:
    ids = children({"profile": profile(0, **pupil), "other": review(**other)})
    assert (ids["profile"] == ids["other"]) == is_same


@pytest.mark.slow
def test_who_shares_a_hostel_and_a_birthday_is_another_child(children: Children) -> None:
    both = {"profile": profile(0), "other": review(surname="Okafor", forename="Peter")}
    ids = children(both)
    assert ids["profile"] == ids["other"], "at a home, where a surname was replaced and a forename mistyped"
    names = [{"surname": f"{a}okeby", "forename": f"{a}{b}alda"} for a in "BCDF" for b in "eiouy"]
    days = [{"date_of_birth": f"2020-03-{day}"} for day in range(10, 30)]
    residents = {f"resident {n}": review(**name, **day) for n, (name, day) in enumerate(zip(names, days, strict=True))}
    ids = children(both | residents)
    assert ids["profile"] != ids["other"]


AWAY = {"postcode": "L3 5TF", "council": "liverpool"}
ELSEWHERE = {"date_of_birth": "2020-07-21", "postcode": "L3 5TF"}
STRANGER = {"surname": "Okafor", "forename": "Amelia"} | ELSEWHERE
GEORGE, ADA = {"forename": "George"}, {"surname": "Okafor", "forename": "Ada"}
EZRA = {"surname": "Halsall", "forename": "Ezra", "date_of_birth": "2020-02-06"}
NO_HOME: dict[str, Any] = {"date_of_birth": None, "postcode": None}
TWINS = {"a": profile(0), "b": profile(1, **GEORGE)}
OTHER_FAMILY = {"surname": "Yarwood", "date_of_birth": "2020-01-05", "postcode": "LS1 2AB"}


def name_twins(one: str, other: str) -> Rows:
    """Twins whose forenames are forms of one name."""
    return {
        "a": profile(0, forename=one),
        "b": profile(1, forename=other),
        "seen_b": review(forename=other),
        "seen_a": review(forename=one),
    }


CASES: dict[str, tuple[str, Rows]] = {
    "twins": ("a a_seen | b b_seen", TWINS | {"a_seen": review(forename="Ollie"), "b_seen": review(forename="Goerge")}),
    "a twin without a forename": ("a | b | unnamed", TWINS | {"unnamed": review(forename="Baby")}),
    "only a common name, in another council": (
        "profile | other",
        {
            "profile": profile(0, surname="Smith"),
            "other": review(surname="Smith", **NO_HOME | {"council": "liverpool"}),
        },
    ),
    "one name and birthday in two councils": (
        "a a_seen | b b_seen",
        {
            "a": profile(0),
            "b": profile(1, **AWAY),
            "a_seen": review(nhs_number=NHS[0]),
            "b_seen": review(nhs_number=NHS[1], **AWAY),
        },
    ),
    "a temporary UPN, then a permanent one": (
        "census profile",
        {"census": ("school_census", {"upn": TEMPORARY_UPN[0]}), "profile": profile(0, postcode="LS6 3XZ")},
    ),
    "one permanent UPN, the date wrong and the address another": (
        "profile census | exchanged exchanged_census | renamed renamed_census",
        {
            "profile": profile(0),
            "census": census(0, **ELSEWHERE),
            "exchanged": profile(1, **EZRA),
            "exchanged_census": census(1, **EZRA | {"surname": "Ezra", "forename": "Halsall", "postcode": "LS1 2AB"}),
            "renamed": profile(2, surname="Yarwood", forename="Jude", **ELSEWHERE),
            "renamed_census": census(2, surname="Pickering", sex=None),
        },
    ),
    "one UPN on records of two children": (
        "boy | girl | has_another | census her_profile | in_both in_both_census | copied",
        {
            "boy": profile(0),
            "girl": census(0, sex="F", **STRANGER),
            "has_another": profile(1, surname="Yarwood", date_of_birth="2020-01-05"),
            "census": census(1, **ADA, **ELSEWHERE),
            "her_profile": profile(2, **ADA, **ELSEWHERE),
            "in_both": profile(3, surname="Halsall", date_of_birth="2020-02-06"),
            "in_both_census": census(3, surname="Halsall", date_of_birth="2020-02-06"),
            "copied": census(3, surname="Blundell", forename="Ezra", postcode="WA7 1AA"),
        },
    ),
    "one NHS number on an education record": (
        "profile seen",
        {"profile": profile(0, nhs_number=NHS[0]), "seen": review(surname="Yarwood", nhs_number=NHS[0], **AWAY)},
    ),
    "an NHS number of somebody else": (
        "profile | seen",
        {
            "profile": profile(0, nhs_number=NHS[0]),
            "seen": review(sex="F", nhs_number=NHS[0], **STRANGER | {"date_of_birth": "2019-11-30"}),
        },
    ),
    "reviews of one patient of one provider": (
        "a b | other",
        {
            "a": review(local_patient_id="77", nhs_number=NHS[0]),
            "b": review(local_patient_id="77", postcode="LS7 1AA"),
            "other": review(local_patient_id="77", council="wirral", **ADA),
        },
    ),
    "two settings with a typing error": (
        "profile one two seen",
        {"profile": profile(0), "one": setting(), "two": setting(surname="Fenwik"), "seen": review()},
    ),
    "a record sent twice without its forename does not compete with its copy": (
        "profile once again | twin | co_twin | either",
        {
            "profile": profile(0),
            "once": setting(forename="O"),
            "again": setting(forename="O"),
            "twin": profile(1, **OTHER_FAMILY),
            "co_twin": profile(2, **GEORGE, **OTHER_FAMILY),
            "either": setting(forename="O", **OTHER_FAMILY),
            "other": setting(forename="G", **OTHER_FAMILY),
        },
    ),
    **{
        f"twins called {' and '.join(names)}": ("a seen_a | b seen_b", name_twins(*names))
        for names in (("Mohammed", "Muhammad"), ("Millie", "Amelia"), ("Elizabeth", "Beth"))
    },
    "only a name, which two children bear": (
        "a | b | seen",
        {"a": profile(0), "b": profile(1, postcode="LS7 4AA", date_of_birth="2019-12-01"), "seen": review(**NO_HOME)},
    ),
    "an absent twin": ("a | b seen", TWINS | {"seen": review(**GEORGE)}),
    "a temporary UPN of two councils": (
        "a | b",
        {
            "a": ("eyfsp", {"upn": TEMPORARY_UPN[0]}),
            "b": ("eyfsp", AWAY | {"upn": TEMPORARY_UPN[0], "surname": "Okafor"}),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("expected", "rows"), mark_slow_after(3, [pytest.param(*case, id=name) for name, case in CASES.items()])
)
def test_rows_of_a_child(children: Children, expected: str, rows: Rows) -> None:
    """`expected` lists the rows of each child, with a bar between children; other rows may be anybody's."""
    ids = children(rows)
    groups = [names.split() for names in expected.split("|")]
    assert [len({ids[name] for name in names}) for names in groups] == [1] * len(groups)
    assert len({ids[names[0]] for names in groups}) == len(groups)


@pytest.mark.parametrize("every", mark_slow_after(1, [10, 1]))
def test_a_default_nhs_number_makes_no_child_of_many(
    crowd: Frames, linked: Callable[[Frames], LinkResult], every: int
) -> None:
    health = crowd["hv_reviews"]
    health = health.assign(nhs_number=health.nhs_number.where(health.child % every != 0, NHS[5]))
    sizes = linked({"hv_reviews": health}).links.group_by("child_id").aggregate([([], "count_all")])
    assert max(sizes["count_all"].to_pylist()) <= 4


def test_the_same_file_sent_twice(crowd: Frames, linked: Callable[[Frames], LinkResult]) -> None:
    once = crowd["hv_reviews"].drop_duplicates("child")
    twice = once.assign(row_key=once.row_key + 1_000_000)
    links = linked({"hv_reviews": pd.concat([once, twice])}).links.to_pandas()
    links["row"] = links.row_key % 1_000_000
    whole = once.dropna(subset=["nhs_number"]).set_index(["council", "row_key"]).index
    children = links.groupby(["council", "row"]).child_id.nunique()
    assert (children.loc[whole.intersection(children.index)] == 1).all()


def test_a_row_without_anything_still_has_a_child_and_unknown_sources_are_refused() -> None:
    table = pa.table(
        {"council": ["leeds"] * 2, "row_key": [1, 2], **{t: pa.nulls(2, pa.uint64()) for t in TOKEN_COLUMNS}}
    )
    links = link({"eyfsp": table}).links
    assert len(set(links["child_id"].to_pylist())) == 2
    assert links["match_rule"].to_pylist() == ["none", "none"]
    assert links["match_probability"].to_pylist() == [None, None]
    with pytest.raises(ValueError, match="parent_experience"):
        link({"parent_experience": pa.table({"council": ["leeds"]})})
