"""What is disclosed about a row, on small tables: sure and doubtful links, movers, two rows of one child, new rows."""

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from privacy.doors.database import open_in_memory
from privacy.keys import KeyRing
from privacy.pseudonyms import BAND_BITS, TOKENS
from privacy.returns.agreement import First, NewChildren, Permitted, Sender
from privacy.returns.facts import (
    ALIKE_TOKENS,
    Absence,
    build_identity_sql,
    build_names_sql,
    drop_rows,
    find_facts,
    prepare_marks,
    record_overdue_reviews,
    select_left_out,
)
from privacy.services import SERVICES, Fact

SCHOOL = Sender("leeds", "education")
HEALTH, SETTINGS = Sender("leeds", "health"), Sender("leeds", "settings")
ALL = frozenset(Fact)
EVERYBODY: Permitted = {HEALTH: ALL, SETTINGS: ALL}
RULE = NewChildren(without_number=ALL)
NO_REVIEWS = Absence((), "not agreed")
REVIEWS = Absence((HEALTH,), None, ("12M", "2-2.5Y"))


Row = dict[str, Any]
SCHEMA = pa.schema(
    [
        *(
            (name, pa.string())
            for name in ("source", "council", "service", "child_id", "last_contact", "concern_month", "review", "sex")
        ),
        *((name, pa.bool_()) for name in ("concern", "findable", "numbered", "waiting")),
        *((name, pa.uint64()) for name in ("row_key", "t_upn", "t_nhs", *ALIKE_TOKENS)),
        ("row", pa.int64()),
        ("probability", pa.float64()),
    ]
)
PAIRS = pa.schema([("child_id", pa.string()), ("other_child_id", pa.string()), ("likely", pa.bool_())])


def record(
    source: str,
    row: int,
    child: str,
    probability: float = 1.0,
    council: str = "leeds",
    forename: int | None = None,
    **more: Any,
) -> Row:
    said = {
        "review": None,
        "last_contact": "2022-05",
        "concern": False,
        "concern_month": None,
        "findable": True,
        "sex": "F",
        "numbered": True,
        "waiting": False,
    }
    row_of = {"source": source, "council": council, "service": SERVICES[source], "row_key": row, "row": row}
    return said | row_of | {"child_id": child, "probability": probability, "t_forename_dob": forename} | more


def disclose(
    records: Sequence[Row],
    allowed: Permitted = EVERYBODY,
    doubts: Sequence[tuple[str, str, bool]] = (),
    scope: Absence | None = None,
    rule: NewChildren = RULE,
    reviews: Absence = NO_REVIEWS,
) -> dict[int, Any]:
    """Facts by row of the EYFS Profile of Leeds."""
    both = [*doubts, *((b, a, likely) for a, b, likely in doubts)]
    with duckdb.connect() as con:
        con.register("records", pa.Table.from_pylist(list(records), SCHEMA))
        con.register(
            "doubts", pa.Table.from_pylist([dict(zip(PAIRS.names, pair, strict=True)) for pair in both], PAIRS)
        )
        scope = scope or Absence(tuple(allowed), None)
        facts = find_facts(con, SCHOOL, "eyfsp", allowed, scope, reviews, rule)
    return {fact.pop("row"): fact for fact in map(json.loads, facts)}


def contact(**more: Any) -> dict[str, Any]:
    return {"council": "leeds", "service": "health"} | more


def test_a_sure_link_is_told_and_one_below_or_two_in_a_row_below_are_not() -> None:
    school = record("eyfsp", 1, "a")
    for probability, is_told in ((1.0, True), (0.95, True), (0.9499, False), (0.7, False)):
        found = disclose([school, record("hv_reviews", 1, "a", probability)])
        assert found == ({1: {"known_to": [contact(last_contact="2022-05", concern=False)]}} if is_told else {})
    assert disclose([record("eyfsp", 1, "a", 0.96), record("hv_reviews", 1, "a", 0.96)]) == {}


def test_every_fact_is_switched_on_by_itself() -> None:
    rows = [record("eyfsp", 1, "a"), record("hv_reviews", 1, "a", concern=True), record("eyfsp", 2, "b")]
    more: dict[Fact, dict[str, Any]] = {
        Fact.KNOWN_TO: {},
        Fact.LAST_CONTACT: {"last_contact": "2022-05"},
        Fact.CONCERN: {"concern": True},
    }
    for fact, said in more.items():
        allowed = {HEALTH: frozenset({Fact.KNOWN_TO, fact})}
        assert disclose(rows, allowed, scope=Absence((), "not agreed")) == {1: {"known_to": [contact(**said)]}}
    assert disclose(rows)[2] == {"known_to_no_other": True}


def test_several_records_of_a_service_are_one_contact() -> None:
    rows = [
        record("eyfsp", 1, "a"),
        record("hv_reviews", 1, "a", last_contact="2020-10"),
        record("hv_reviews", 2, "a", last_contact="2022-06", concern=True),
    ]
    assert disclose(rows) == {1: {"known_to": [contact(last_contact="2022-06", concern=True)]}}


def test_a_less_sure_record_leaves_date_and_no_concern_open_but_not_a_concern() -> None:
    school, sure = record("eyfsp", 1, "a"), record("hv_reviews", 1, "a")
    assert disclose([school, sure, record("hv_reviews", 2, "a", 0.8)]) == {1: {"known_to": [contact()]}}
    worried = record("hv_reviews", 1, "a", concern=True)
    assert disclose([school, worried, record("hv_reviews", 2, "a", 0.8)]) == {1: {"known_to": [contact(concern=True)]}}
    maybe = disclose([school, sure, record("hv_reviews", 2, "b")], doubts=[("a", "b", True)])
    assert maybe == {1: {"known_to": [contact()]}}
    for other, known in (
        ({}, contact(last_contact="2022-05", concern=False)),  # a twin
        ({"last_contact": "2022-04"}, contact(last_contact="2022-05", concern=False)),
        ({"last_contact": "2022-06"}, contact(concern=False)),
        ({"concern": True}, contact(last_contact="2022-05", concern=False)),
        ({"last_contact": "2022-06", "concern": True}, contact()),
    ):
        apart = disclose([school, sure, record("hv_reviews", 2, "b", **other)], doubts=[("a", "b", False)])
        assert apart == {1: {"known_to": [known]}}


def test_the_month_of_a_concern_is_told_unless_a_record_could_change_it() -> None:
    old = record("hv_reviews", 1, "a", last_contact="2020-10", concern=True, concern_month="2020-10")
    new = record("hv_reviews", 2, "a", last_contact="2022-06")
    rows = [record("eyfsp", 1, "a"), old, new]
    said = contact(last_contact="2022-06", concern=True)
    when = {"concern_month": "2020-10", "concern_is_latest": False}
    assert disclose(rows) == {1: {"known_to": [said | when]}}
    worse = {"last_contact": "2022-06", "concern": True, "concern_month": "2022-06"}
    assert disclose([*rows[:2], new | worse])[1]["known_to"] == [
        said | {"concern_month": "2022-06", "concern_is_latest": True}
    ]
    for silent in (
        disclose(rows, {HEALTH: ALL - {Fact.CONCERN_MONTH}}, scope=Absence((), "not agreed")),
        disclose([*rows[:2], new | worse | {"concern_month": None}]),  # a concern without a date
        disclose([*rows, record("hv_reviews", 3, "b", **worse)], doubts=[("a", "b", False)]),
        disclose([*rows, record("hv_reviews", 3, "a", 0.8)]),
    ):
        assert "concern_month" not in silent[1]["known_to"][0]
        assert silent[1]["known_to"][0]["concern"]


def test_no_other_is_not_said_where_a_record_could_be_the_childs() -> None:
    school, other = record("eyfsp", 1, "a"), record("hv_reviews", 9, "b")
    assert disclose([school, other, record("school_census", 1, "a")]) == {1: {"known_to_no_other": True}}
    for likely in (True, False):
        assert disclose([school, other], doubts=[("a", "b", likely)]) == {}
    assert disclose([school, record("hv_reviews", 9, "a", 0.6)]) == {}
    assert disclose([record("eyfsp", 1, "a", findable=False), other]) == {}
    assert disclose([school, other], scope=Absence((), "not every extract is in")) == {}


def test_no_other_is_not_said_where_it_would_be_of_hardly_any_row() -> None:
    """Then a missed link is too often the reason."""
    found = [record("eyfsp", row, f"c{row}") for row in range(2, 50)]
    reviews = [record("hv_reviews", row, f"c{row}") for row in range(2, 60)]
    alone = record("eyfsp", 1, "a")
    assert disclose([alone, *found, *reviews])[1] == {"known_to_no_other": True}
    assert 1 not in disclose([alone, *found, record("eyfsp", 50, "c50"), record("eyfsp", 51, "c51"), *reviews])


@pytest.mark.parametrize("token", ALIKE_TOKENS)
def test_no_other_is_not_said_beside_a_stranger_who_agrees_in_two_things(token: str) -> None:
    school = record("eyfsp", 1, "a", **{token: 8})
    nobody = {1: {"known_to_no_other": True}}
    assert disclose([school, record("hv_reviews", 9, "b", **{token: 9})]) == nobody
    assert disclose([school, record("hv_reviews", 9, "b", **{token: 8})]) == {}
    assert disclose([school, record("hv_reviews", 9, "b", **{token: 8}, sex=None)]) == {}
    assert disclose([school, record("hv_reviews", 9, "b", **{token: 8}, sex="M")]) == nobody
    assert disclose([school, record("eyfsp", 2, "b"), record("hv_reviews", 9, "b", **{token: 8})])[1] == nobody[1]


def test_a_stranger_whom_the_receivers_service_knows_elsewhere_is_another_child() -> None:
    rows = [record("eyfsp", 1, "a", forename=8), record("hv_reviews", 9, "b", council="wirral", forename=8)]
    there, nobody = record("eyfsp", 3, "b", council="wirral"), {1: {"known_to_no_other": True}}
    health = EVERYBODY | {Sender("wirral", "health"): ALL}
    both = health | {Sender("wirral", "education"): ALL}
    assert disclose(rows, both) == {}
    assert disclose([*rows, there], health) == {}  # a service that discloses nothing changes nothing
    assert disclose([*rows, there | {"waiting": True}], both) == {}
    assert disclose([*rows, there], both) == nobody


def test_a_number_tells_two_children_of_one_service_apart() -> None:
    school, known = record("eyfsp", 1, "a", t_upn=1), record("eyfsp", 2, "b", t_upn=2)
    nobody = {"known_to_no_other": True}
    for agrees, doubts in ((8, []), (None, [("a", "b", True)])):
        rows = [school | {"t_forename_dob": 8}, record("hv_reviews", 9, "b", forename=agrees)]
        assert disclose([*rows, known], doubts=doubts)[1] == nobody
        for unsure in ({"probability": 0.9}, {"waiting": True}, {"numbered": False, "t_upn": None}):
            assert 1 not in disclose([*rows, known | unsure], doubts=doubts)
        bare = rows[0] | {"numbered": False, "t_upn": None}
        assert 1 not in disclose([bare, rows[1], known], doubts=doubts)
    assert 1 not in disclose([*rows, known | {"t_upn": 1}], doubts=doubts)


def test_both_rows_of_one_child_are_told_the_same_and_no_row_of_others() -> None:
    rows = [record("eyfsp", 1, "a"), record("eyfsp", 4, "a"), record("eyfsp", 1, "a", council="wirral")]
    found = disclose([*rows, record("hv_reviews", 1, "a")])
    assert set(found) == {1, 4}
    assert found[1] == found[4]


def test_a_mover_is_told_of_the_other_council_where_it_may_tell() -> None:
    rows = [record("eyfsp", 1, "a"), record("hv_reviews", 7, "a", council="wirral")]
    away = Sender("wirral", "health")
    assert disclose(rows) == {1: {"known_to_no_other": True}}  # said of health and settings in Leeds alone
    assert disclose(rows, EVERYBODY | {away: ALL})[1]["known_to"][0]["council"] == "wirral"


def others(known: int, row: int = 100) -> list[Row]:
    """Children of the school with every review, so that a review is missing of few."""
    rows = range(row, row + known)
    school = [record("eyfsp", each, f"other {each}") for each in rows]
    reviews = [
        record("hv_reviews", 2 * each + number, f"other {each}", review=code)
        for each in rows
        for number, code in enumerate(("12M", "2-2.5Y"))
    ]
    return [*school, *reviews]


MISSING = {"reviews_not_recorded": ["12M"]}


def test_a_review_that_no_record_could_be_of_is_said_to_be_missing() -> None:
    mine, done = record("eyfsp", 1, "a"), record("hv_reviews", 1, "a", review="2-2.5Y")
    found = disclose([mine, done, *others(5)], reviews=REVIEWS)
    assert found[1] == {"known_to": [contact(last_contact="2022-05", concern=False)]} | MISSING
    assert not any("reviews_not_recorded" in found[row] for row in range(100, 105))
    assert disclose([mine, done, *others(5)])[1].keys() == {"known_to"}
    assert disclose([mine, *others(5)], reviews=REVIEWS)[1] == {
        "known_to_no_other": True,
        "reviews_not_recorded": ["12M", "2-2.5Y"],
    }


@pytest.mark.parametrize(
    ("rows", "doubts"),
    [
        ([record("hv_reviews", 2, "a", 0.6, review="NBV")], []),
        ([record("hv_reviews", 2, "b", review="12M")], [("a", "b", False)]),
        ([record("hv_reviews", 2, "b", review="12M", forename=8)], []),
        ([record("hv_reviews", 2, "a", review="12M")], []),
    ],
    ids=["a record is not sure", "it may be of another child", "a stranger agrees", "it is recorded"],
)
def test_a_review_is_not_said_to_be_missing_where_a_record_could_be_the_childs(
    rows: list[Row], doubts: list[tuple[str, str, bool]]
) -> None:
    mine, done = record("eyfsp", 1, "a", forename=8), record("hv_reviews", 1, "a", review="2-2.5Y")
    assert "reviews_not_recorded" not in disclose([mine, done, *rows, *others(5)], doubts=doubts, reviews=REVIEWS)[1]


def test_a_review_is_said_to_be_missing_neither_of_hardly_any_child_nor_of_most() -> None:
    """Of hardly any, a missed link is too often the reason; of most, an extract that lacks it."""
    mine, done = record("eyfsp", 1, "a"), record("hv_reviews", 1, "a", review="2-2.5Y")
    assert "reviews_not_recorded" in disclose([mine, done, *others(49)], reviews=REVIEWS)[1]
    assert "reviews_not_recorded" not in disclose([mine, done, *others(50)], reviews=REVIEWS)[1]
    assert "reviews_not_recorded" in disclose([mine, done, *others(1)], reviews=REVIEWS)[1]
    assert "reviews_not_recorded" not in disclose([mine, done], reviews=REVIEWS)[1]


def test_a_review_is_not_said_to_be_missing_of_new_rows_or_without_a_number() -> None:
    for which in ({"waiting": True}, {"numbered": False}):
        mine, done = record("eyfsp", 1, "a", **which), record("hv_reviews", 1, "a", review="2-2.5Y")
        found = disclose([mine, done, *others(5)], reviews=REVIEWS, rule=NewChildren())
        assert "reviews_not_recorded" not in found.get(1, {})


CHILDREN = st.sampled_from("abcd")
RECORDS = st.lists(
    st.builds(
        record,
        st.sampled_from(list(SERVICES)),
        st.integers(1, 5),
        CHILDREN,
        st.sampled_from([1.0, 0.99, 0.9, 0.6]),
        st.sampled_from(["leeds", "wirral"]),
        concern=st.booleans(),
        concern_month=st.sampled_from([None, "2021-10", "2022-05"]),
        review=st.sampled_from([None, "12M", "2-2.5Y"]),
        findable=st.booleans(),
        forename=st.integers(1, 3),
        sex=st.sampled_from(["F", "M", None]),
        waiting=st.sampled_from([False, False, False, True]),
        numbered=st.booleans(),
        t_upn=st.sampled_from([None, 1, 2]),
    ),
    max_size=12,
    unique_by=lambda row: (row["source"], row["council"], row["row_key"]),
)
DOUBTS = st.lists(st.tuples(CHILDREN, CHILDREN, st.booleans()).filter(lambda pair: pair[0] != pair[1]), max_size=3)


@pytest.mark.slow
@given(RECORDS, DOUBTS, st.sets(st.sampled_from([HEALTH, SETTINGS, Sender("wirral", "education")])))
def test_a_service_that_may_tell_nothing_changes_nothing(
    records: list[Row], doubts: list[tuple[str, str, bool]], tellers: set[Sender]
) -> None:
    """What is returned is the same, to the byte, whether the records of the others are there or not."""
    mine = [record("eyfsp", 77, "d"), *records]
    allowed = dict.fromkeys(sorted(tellers), ALL)
    seen = [row for row in mine if Sender(row["council"], row["service"]) in {SCHOOL, *tellers}]
    reviews = Absence(tuple(each for each in allowed if each == HEALTH), None, REVIEWS.reviews)
    assert disclose(mine, allowed, doubts, reviews=reviews) == disclose(seen, allowed, doubts, reviews=reviews)


@pytest.mark.slow
@given(RECORDS, DOUBTS, st.sampled_from(["leeds", "wirral"]), st.sampled_from(["12M", "2-2.5Y"]))
def test_a_further_record_never_makes_a_review_missing(
    records: list[Row], doubts: list[tuple[str, str, bool]], council: str, review: str
) -> None:
    """Of a child with a review on record, at whichever team, no return says that it is missing."""
    found = disclose(
        [*records, record("eyfsp", 77, "a"), record("hv_reviews", 88, "a", council=council, review=review)],
        EVERYBODY | {Sender("wirral", "health"): ALL},
        doubts,
        reviews=Absence((HEALTH, Sender("wirral", "health")), None, REVIEWS.reviews),
    )
    assert review not in found.get(77, {}).get("reviews_not_recorded", ())


def test_about_a_new_row_nothing_is_told_or_who_knows_the_child_at_most() -> None:
    """A new row of the service that tells holds nothing back."""
    new = [record("eyfsp", row, child, waiting=True) for row, child in ((1, "a"), (2, "b"))]
    rows = [*new, record("hv_reviews", 1, "a", concern=True)]
    assert disclose(rows) == disclose(new) == {}
    only = NewChildren(until_then=frozenset({Fact.KNOWN_TO}))
    assert disclose(rows, rule=only) == {1: {"known_to": [contact()]}}
    mine, fresh = record("eyfsp", 1, "a"), record("hv_reviews", 1, "a", waiting=True)
    assert disclose([mine, fresh])[1]["known_to"] == [contact(last_contact="2022-05", concern=False)]


def test_without_a_number_of_its_own_a_row_is_told_less() -> None:
    rows = [record("eyfsp", 1, "a", numbered=False), record("hv_reviews", 1, "a", concern=True)]
    assert disclose(rows, rule=NewChildren()) == {1: {"known_to": [contact()]}}
    assert disclose(rows, rule=NewChildren(without_number=frozenset())) == {}
    assert disclose([record("eyfsp", 1, "a", numbered=False)], rule=NewChildren()) == {}


ON = dt.date(2026, 11, 26)


def judge(
    rule: NewChildren, stood: int | None = 100, deliveries: int = 1, at_start: bool = False, council: str = "leeds"
) -> tuple[bool, bool]:
    """Whether a row waits, and whether it is left out of the linkage for its service."""
    first_day = None if stood is None else ON - dt.timedelta(days=stood)
    columns = {
        "source": ["eyfsp"],
        "council": [council],
        "service": ["education"],
        "row_key": pa.array([1], pa.uint64()),
        "first_day": pa.array([first_day], pa.date32()),
        "deliveries": [deliveries],
        "at_start": [at_start],
    }
    with duckdb.connect() as con:
        con.register("sent", pa.table(columns))
        con.execute("CREATE TEMP TABLE records AS FROM sent")
        record_overdue_reviews(con, {SCHOOL: rule}, ON)
        ((waiting,),) = con.execute("SELECT waiting FROM all_records").fetchall()
        assert select_left_out(con, "health").num_rows == 0
        return waiting, bool(select_left_out(con, "education").num_rows)


NEW = {"stood": 0}
FIRST = NEW | {"at_start": True}
AT_ONCE = NewChildren(first_delivery=First.AT_ONCE)
TWICE = NewChildren(after_deliveries=2)


@pytest.mark.parametrize(
    ("rule", "row", "waits", "is_left_out"),
    [
        (TWICE, {"stood": 28, "deliveries": 2}, False, False),
        (TWICE, {"stood": 27, "deliveries": 2}, True, True),
        (TWICE, {"stood": 28, "deliveries": 1}, True, True),
        (TWICE, {"stood": 400, "deliveries": 9}, False, False),
        (TWICE, {"stood": None, "deliveries": 0}, True, True),
        (NewChildren(), FIRST, True, True),
        (AT_ONCE, FIRST, False, False),
        (AT_ONCE, NEW, True, True),
        (NewChildren(until_then=frozenset({Fact.KNOWN_TO})), NEW, True, False),
        (NewChildren(), {"stood": None, "council": "wirral"}, False, False),
    ],
)
def test_a_row_waits_by_the_rule_of_its_sender_who_receives_something(
    rule: NewChildren, row: dict[str, Any], waits: bool, is_left_out: bool
) -> None:
    assert judge(rule, **row) == (waits, is_left_out)


def test_a_namesake_that_is_left_out_leaves_no_trace_in_the_tokens_of_others() -> None:
    """The token of two common names is there while one child bears them: a new namesake would take it away."""
    rare, common = (0xABCD << 2 * BAND_BITS) + 2 ** (2 * BAND_BITS) - 1, 0xABCD << 2 * BAND_BITS

    def sent(keys: list[int], names: list[int | None]) -> pa.RecordBatchReader:
        columns = {"council": ["leeds"] * len(keys), "row_key": pa.array(keys, pa.uint64())}
        return pa.table(columns | {"t_names": pa.array(names, pa.uint64())}).to_reader()

    new = pa.table({"council": ["leeds"], "row_key": pa.array([3], pa.uint64())})
    without = drop_rows(sent([1, 2], [common, rare]), new.slice(1))
    assert drop_rows(sent([1, 2, 3], [None, rare, None]), new).sort_by("row_key") == without.sort_by("row_key")
    assert without["t_names"].to_pylist() == [None, rare]


@pytest.mark.parametrize("changed", ["sex", *(token.name for token in TOKENS)])
def test_a_row_with_another_token_has_another_mark(tmp_path: Path, changed: str) -> None:
    """Before, `t_names` was in none where another token of a name was: whoever wrote a tokens file could change it."""
    row = {token.name: number << 3 * BAND_BITS for number, token in enumerate(TOKENS, 1)}
    texts = pa.array(["F", "M" if changed == "sex" else "F"])
    tokens = {name: pa.array([value, value << (name == changed)], pa.uint64()) for name, value in row.items()}
    with open_in_memory() as con:
        prepare_marks(con, KeyRing.create(tmp_path / "keys"))
        con.register("sent", pa.table({"sex": texts, **tokens}))
        marks = f"{build_identity_sql(row)}, {build_names_sql(row)}"
        before, after = con.sql(f"SELECT {marks} FROM sent, identity_pads").fetchall()
    assert before != after
    assert (before[0] == after[0]) == (changed == "t_names")
