"""Case by case: who is linked to whom, and who must not be.

A case stands among 1,500 other children, so that the prior and the rivals are those of a real cohort.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from privacy.linkage.link import LinkResult, link
from privacy.pseudonyms import TOKEN_COLUMNS
from tests.support.daily import first
from tests.support.linkage import stress

Frames = dict[str, pd.DataFrame]
CHILDREN = 1_500
FIRST_ROW = 10_000_000
BASE = {
    "surname": "Fenwick", "forename": "Oliver", "sex": "M", "date_of_birth": "2020-03-09",
    "postcode": "LS6 3XY", "council": "leeds",
}  # fmt: skip
NHS = stress.nhs_numbers(pd.RangeIndex(400_000, 400_020).to_numpy())
UPN = stress.upns(pd.RangeIndex(900_000, 900_020).to_numpy())
TEMPORARY_UPN = stress.upns(pd.RangeIndex(910_000, 910_020).to_numpy(), temporary=True)


@pytest.fixture(scope="module")
def crowd() -> Frames:
    return stress.extracts(CHILDREN, seed=7)


@pytest.fixture(scope="module")
def crowd_tokens(crowd: Frames, tokenise: Callable[[Frames], dict[str, pa.Table]]) -> dict[str, pa.Table]:
    return tokenise(crowd)


@pytest.fixture
def case(
    crowd_tokens: dict[str, pa.Table], tokenise: Callable[[Frames], dict[str, pa.Table]]
) -> Callable[..., dict[str, str]]:
    """Rows `name=(source, changes to BASE)` -> the child_id each row got, by name."""

    def run(**rows: tuple[str, dict[str, Any]]) -> dict[str, str]:
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


@pytest.mark.parametrize("changes", first(2, SAME_CHILD.values()), ids=SAME_CHILD)
def test_the_same_child(case: Callable[..., dict[str, str]], changes: dict[str, Any]) -> None:
    ids = case(profile=("eyfsp", {"upn": UPN[0]}), other=("hv_reviews", changes))
    assert ids["profile"] == ids["other"]


@pytest.mark.parametrize(
    ("profile", "other"),
    first(
        2,
        [
            ({"forename": "Łukasz", "surname": "Wójcik"}, {"forename": "Lukasz", "surname": "Wojcik"}),
            ({"forename": "伟", "surname": "李"}, {"forename": "伟", "surname": "李", "postcode": "W6 9JU"}),
            ({"forename": "Mohammed", "surname": "Al-Hassan"}, {"forename": "Muhammad", "surname": "Hassan"}),
            (
                {"forename": "Ahmed", "surname": "Ahmed"},
                {"forename": "Ahmed", "surname": "Ahmed", "postcode": "W6 9JU"},
            ),
            ({"forename": "Siân", "surname": "O’Neill"}, {"forename": "Sian", "surname": "ONeill"}),
        ],
    ),
)
def test_names_of_every_kind(
    case: Callable[..., dict[str, str]], profile: dict[str, Any], other: dict[str, Any]
) -> None:
    ids = case(profile=("eyfsp", {"upn": UPN[0]} | profile), other=("hv_reviews", other))
    assert ids["profile"] == ids["other"]


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


@pytest.mark.parametrize("changes", first(2, DIFFERENT_CHILD.values()), ids=DIFFERENT_CHILD)
def test_another_child(case: Callable[..., dict[str, str]], changes: dict[str, Any]) -> None:
    ids = case(profile=("eyfsp", {"upn": UPN[0]}), other=("hv_reviews", changes))
    assert ids["profile"] != ids["other"]


@pytest.mark.slow
def test_who_shares_a_hostel_and_a_birthday_is_another_child(case: Callable[..., dict[str, str]]) -> None:
    likeness = {"surname": "Okafor", "forename": "Peter"}
    ids = case(profile=("eyfsp", {"upn": UPN[0]}), other=("hv_reviews", likeness))
    assert ids["profile"] == ids["other"], "at a home, where a surname was replaced and a forename mistyped"
    names = [{"surname": f"{a}okeby", "forename": f"{a}{b}alda"} for a in "BCDF" for b in "eiouy"]
    days = [{"date_of_birth": f"2020-03-{day}"} for day in range(10, 30)]
    residents = {
        f"resident {n}": ("hv_reviews", name | day) for n, (name, day) in enumerate(zip(names, days, strict=True))
    }
    ids = case(profile=("eyfsp", {"upn": UPN[0]}), other=("hv_reviews", likeness), **residents)
    assert ids["profile"] != ids["other"]


def test_twins_go_to_themselves(case: Callable[..., dict[str, str]]) -> None:
    ids = case(
        a=("eyfsp", {"upn": UPN[0]}), b=("eyfsp", {"upn": UPN[1], "forename": "George"}),
        a_seen=("hv_reviews", {"forename": "Ollie"}), b_seen=("hv_reviews", {"forename": "Goerge"}),
    )  # fmt: skip
    assert ids["a"] == ids["a_seen"] != ids["b"] == ids["b_seen"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other"), first(1, [("Mohammed", "Muhammad"), ("Millie", "Amelia"), ("Elizabeth", "Beth")])
)
def test_twins_whose_names_are_forms_of_one_go_to_themselves(
    case: Callable[..., dict[str, str]], one: str, other: str
) -> None:
    first, second = {"forename": one}, {"forename": other}
    found = case(a=("eyfsp", first), b=("eyfsp", second), x=("hv_reviews", second), y=("hv_reviews", first))
    assert found["a"] == found["y"]
    assert found["b"] == found["x"]
    assert found["a"] != found["b"]


def test_only_a_common_name_says_nothing_in_another_council(case: Callable[..., dict[str, str]]) -> None:
    smith = {"surname": "Smith"}
    alone = smith | {"date_of_birth": None, "postcode": None, "council": "liverpool"}
    ids = case(profile=("eyfsp", {"upn": UPN[0]} | smith), other=("hv_reviews", alone))
    assert ids["profile"] != ids["other"]


@pytest.mark.slow
def test_only_a_name_that_two_children_bear_is_not_guessed(case: Callable[..., dict[str, str]]) -> None:
    other = {"upn": UPN[1], "postcode": "LS7 4AA", "date_of_birth": "2019-12-01"}
    ids = case(
        a=("eyfsp", {"upn": UPN[0]}), b=("eyfsp", other),
        seen=("hv_reviews", {"date_of_birth": None, "postcode": None}),
    )  # fmt: skip
    assert len(set(ids.values())) == 3


@pytest.mark.slow
def test_an_absent_twin(case: Callable[..., dict[str, str]]) -> None:
    twins = {"a": ("eyfsp", {"upn": UPN[0]}), "b": ("eyfsp", {"upn": UPN[1], "forename": "George"})}
    ids = case(**twins, seen=("hv_reviews", {"forename": "George"}))
    assert ids["a"] != ids["b"] == ids["seen"]


def test_a_twin_without_a_forename_is_not_guessed(case: Callable[..., dict[str, str]]) -> None:
    ids = case(
        a=("eyfsp", {"upn": UPN[0]}),
        b=("eyfsp", {"upn": UPN[1], "forename": "George"}),
        unnamed=("hv_reviews", {"forename": "Baby"}),
    )
    assert len(set(ids.values())) == 3


def test_same_name_and_birthday_in_two_councils(case: Callable[..., dict[str, str]]) -> None:
    there = {"postcode": "L3 5TF", "council": "liverpool"}
    ids = case(
        a=("eyfsp", {"upn": UPN[0]}), b=("eyfsp", {"upn": UPN[1]} | there),
        a_seen=("hv_reviews", {"nhs_number": NHS[0]}), b_seen=("hv_reviews", {"nhs_number": NHS[1]} | there),
    )  # fmt: skip
    assert ids["a"] == ids["a_seen"] != ids["b"] == ids["b_seen"]


def test_temporary_then_permanent_upn(case: Callable[..., dict[str, str]]) -> None:
    ids = case(
        census=("school_census", {"upn": TEMPORARY_UPN[0]}),
        profile=("eyfsp", {"upn": UPN[0], "postcode": "LS6 3XZ"}),
    )
    assert ids["census"] == ids["profile"]


ELSEWHERE = {"date_of_birth": "2020-07-21", "postcode": "L3 5TF"}
STRANGER = ELSEWHERE | {"surname": "Okafor", "forename": "Amelia"}


def test_a_permanent_upn_joins_profile_and_census_though_the_date_is_wrong_and_the_address_another(
    case: Callable[..., dict[str, str]],
) -> None:
    other = {"surname": "Halsall", "forename": "Ezra", "date_of_birth": "2020-02-06"}
    exchanged = other | {"surname": "Ezra", "forename": "Halsall", "postcode": "LS1 2AB"}
    ids = case(
        profile=("eyfsp", {"upn": UPN[0]}),
        census=("school_census", {"upn": UPN[0]} | ELSEWHERE),
        exchanged_in_profile=("eyfsp", {"upn": UPN[1]} | other),
        exchanged_in_census=("school_census", {"upn": UPN[1]} | exchanged),
        renamed=("eyfsp", {"upn": UPN[2], "surname": "Yarwood", "forename": "Jude"} | ELSEWHERE),
        renamed_in_census=("school_census", {"upn": UPN[2], "surname": "Pickering", "sex": None}),
    )
    assert ids["profile"] == ids["census"]
    assert ids["exchanged_in_profile"] == ids["exchanged_in_census"]
    assert ids["renamed"] == ids["renamed_in_census"]
    assert len(set(ids.values())) == 3


def test_a_upn_on_records_of_two_children_joins_none(case: Callable[..., dict[str, str]]) -> None:
    ids = case(
        other_sex=("eyfsp", {"upn": UPN[0]}),
        other_sex_in_census=("school_census", {"upn": UPN[0], "sex": "F"} | STRANGER),
        has_another=("eyfsp", {"upn": UPN[1], "surname": "Yarwood", "date_of_birth": "2020-01-05"}),
        has_another_in_census=("school_census", {"upn": UPN[1], "surname": "Okafor", "forename": "Ada"} | ELSEWHERE),
        her_profile=("eyfsp", {"upn": UPN[2], "surname": "Okafor", "forename": "Ada"} | ELSEWHERE),
        in_both=("eyfsp", {"upn": UPN[3], "surname": "Halsall", "date_of_birth": "2020-02-06"}),
        in_both_in_census=("school_census", {"upn": UPN[3], "surname": "Halsall", "date_of_birth": "2020-02-06"}),
        copied=("school_census", {"upn": UPN[3], "surname": "Blundell", "forename": "Ezra", "postcode": "WA7 1AA"}),
    )
    assert ids["other_sex"] != ids["other_sex_in_census"]
    assert ids["has_another"] != ids["has_another_in_census"]
    assert ids["in_both"] == ids["in_both_in_census"] != ids["copied"]


@pytest.mark.slow
def test_a_temporary_upn_is_no_key_in_another_council(case: Callable[..., dict[str, str]]) -> None:
    ids = case(
        a=("eyfsp", {"upn": TEMPORARY_UPN[0]}),
        b=("eyfsp", {"upn": TEMPORARY_UPN[0], "surname": "Okafor", "postcode": "L3 5TF", "council": "liverpool"}),
    )
    assert ids["a"] != ids["b"]


def test_nhs_number_on_an_education_record(case: Callable[..., dict[str, str]]) -> None:
    moved = {"surname": "Yarwood", "postcode": "L3 5TF", "council": "liverpool", "nhs_number": NHS[0]}
    ids = case(profile=("eyfsp", {"upn": UPN[0], "nhs_number": NHS[0]}), seen=("hv_reviews", moved))
    assert ids["profile"] == ids["seen"]


def test_an_nhs_number_of_someone_else_is_not_enough(case: Callable[..., dict[str, str]]) -> None:
    other = {"surname": "Okafor", "forename": "Amelia", "sex": "F", "date_of_birth": "2019-11-30", "postcode": "L3 5TF"}
    ids = case(
        profile=("eyfsp", {"upn": UPN[0], "nhs_number": NHS[0]}), seen=("hv_reviews", other | {"nhs_number": NHS[0]})
    )
    assert ids["profile"] != ids["seen"]


@pytest.mark.parametrize("every", [10, 1])
def test_a_default_nhs_number_makes_no_child_of_many(
    crowd: Frames, linked: Callable[[Frames], LinkResult], every: int
) -> None:
    health = crowd["hv_reviews"].copy()
    health.loc[health.child % every == 0, "nhs_number"] = NHS[5]
    sizes = linked({"hv_reviews": health}).links.group_by("child_id").aggregate([([], "count_all")])
    assert max(sizes["count_all"].to_pylist()) <= 4


def test_reviews_of_one_patient_at_one_provider(case: Callable[..., dict[str, str]]) -> None:
    ids = case(
        a=("hv_reviews", {"local_patient_id": "77", "nhs_number": NHS[0]}),
        b=("hv_reviews", {"local_patient_id": "77", "postcode": "LS7 1AA"}),
        other=("hv_reviews", {"local_patient_id": "77", "surname": "Okafor", "forename": "Ada", "council": "wirral"}),
    )  # fmt: skip
    assert ids["a"] == ids["b"] != ids["other"]


def test_two_settings_with_a_typing_error(case: Callable[..., dict[str, str]]) -> None:
    ids = case(
        profile=("eyfsp", {"upn": UPN[0]}),
        first=("early_years_census", {}),
        second=("early_years_census", {"surname": "Fenwik"}),
        seen=("hv_reviews", {}),
    )
    assert len(set(ids.values())) == 1


def test_a_record_sent_twice_without_its_forename_does_not_compete_with_its_copy(
    case: Callable[..., dict[str, str]],
) -> None:
    elsewhere = {"surname": "Yarwood", "date_of_birth": "2020-01-05", "postcode": "LS1 2AB"}
    ids = case(
        profile=("eyfsp", {"upn": UPN[0]}),
        once=("early_years_census", {"forename": "O"}),
        again=("early_years_census", {"forename": "O"}),
        twin=("eyfsp", {"upn": UPN[1]} | elsewhere),
        co_twin=("eyfsp", {"upn": UPN[2], "forename": "George"} | elsewhere),
        either=("early_years_census", {"forename": "O"} | elsewhere),
        other=("early_years_census", {"forename": "G"} | elsewhere),
    )
    assert ids["profile"] == ids["once"] == ids["again"]
    assert len({ids["twin"], ids["co_twin"], ids["either"]}) == 3


def test_the_same_file_sent_twice(crowd: Frames, linked: Callable[[Frames], LinkResult]) -> None:
    once = crowd["hv_reviews"].drop_duplicates("child")
    twice = once.assign(row_key=once.row_key + 1_000_000)
    links = linked({"hv_reviews": pd.concat([once, twice])}).links.to_pandas()
    links["row"] = links.row_key % 1_000_000
    whole = once.dropna(subset=["nhs_number"]).set_index(["council", "row_key"]).index
    children = links.groupby(["council", "row"]).child_id.nunique()
    assert (children.loc[whole.intersection(children.index)] == 1).all()


def test_a_row_without_anything_still_has_a_child() -> None:
    table = pa.table(
        {"council": ["leeds"] * 2, "row_key": [1, 2], **{t: pa.nulls(2, pa.uint64()) for t in TOKEN_COLUMNS}}
    )
    links = link({"eyfsp": table}).links
    assert len(set(links["child_id"].to_pylist())) == 2
    assert links["match_rule"].to_pylist() == ["none", "none"]
    assert links["match_probability"].to_pylist() == [None, None]


def test_unknown_sources_are_refused() -> None:
    with pytest.raises(ValueError, match="parent_experience"):
        link({"parent_experience": pa.table({"council": ["leeds"]})})
