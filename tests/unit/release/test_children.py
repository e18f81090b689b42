"""The rules that turn linked rows into one row a child, each shown on a child or two."""

import datetime as dt
import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.home.errors import Refused
from assets.linkage.children import build_confidential_tables, get_derivations
from ndl_export.tables import FAMILIES, health, parents, pupil
from privacy.linkage.cells import CELLS, JOINS, KIND_OF, NUMBERED
from sources.contracts import CONTRACTS, Kind, Role
from sources.reference.code_lists import GOALS
from sources.reference.cohorts import Cohort

ARROW = {Kind.TEXT: pa.string(), Kind.CODE: pa.string(), Kind.DATE: pa.date32(), Kind.DECIMAL: pa.float64()}
ARROW[Kind.INTEGER] = pa.int32()
COHORT = Cohort("202425")
ALL_EXPECTED = dict.fromkeys(GOALS, "2")
ABOVE = {
    "asq3_communication": 60.0,
    "asq3_gross_motor": 60.0,
    "asq3_fine_motor": 60.0,
    "asq3_problem_solving": 60.0,
    "asq3_personal_social": 60.0,
}
REVIEW = {"review": "2-2.5Y", "review_date": dt.date(2022, 4, 1), "asq3_months": "27", "concern": "N", "referral": "N"}

Rows = list[dict[str, Any]]


class Case:
    """Rows by source, each with the `child` it is linked to; `council` is Leeds unless said. `agreement` says how well
    the records of some children agree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agreement: Rows = []

    def tables(self, **rows: Rows) -> dict[str, Rows]:
        links: Rows = []
        extracts: dict[str, list[Path]] = {source: [] for source in CONTRACTS}
        place = {"council": pa.string(), "row_key": pa.uint64()}
        for source in (source for source in rows if rows[source]):
            written = [{"council": "leeds", "row_key": n} | row for n, row in enumerate(rows[source], 1)]
            links += [row | {"source": source, "child_id": row.get("child", "?")} for row in written]
            columns = (*CONTRACTS[source].select_role(Role.PAYLOAD), *CONTRACTS[source].derived)
            extracts[source] = [self._write(source, written, place | {each.name: ARROW[each.kind] for each in columns})]
        linked = self._write("links", links, {"source": pa.string(), **place, "child_id": pa.string()})
        kinds = {
            "child_id": pa.string(),
            "cell": pa.uint8(),
            "too_little": pa.bool_(),
            "joined": pa.uint8(),
            "numbered": pa.uint8(),
        }
        agreement = self._write("agreement", self.agreement, kinds)
        out = {family: self.folder / f"{family}.parquet" for family in FAMILIES}
        build_confidential_tables(COHORT, linked, agreement, extracts, out)
        return {family: pq.read_table(path).to_pylist() for family, path in out.items()}

    def _write(self, name: str, rows: Rows, kinds: dict[str, pa.DataType]) -> Path:
        path = self.folder / f"{name}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(kinds.items()))), path)
        return path


@pytest.fixture
def case(tmp_path: Path) -> Case:
    folder = tmp_path / "O'Brien's 100% höme"
    folder.mkdir()
    return Case(folder)


def profile(child: str, **more: Any) -> dict[str, Any]:
    return {"child": child, "sex": "F", "term_of_birth": "Autumn-born", "imd_quintile": 1} | ALL_EXPECTED | more


def test_a_child_with_nothing_linked(case: Case) -> None:
    (child,) = case.tables(eyfsp=[profile("a", sex=None, term_of_birth=None, imd_quintile=None)])["pupil"]
    assert (child["sex"], child["fsm"], child["ethnic_group"]) == ("Unknown",) * 3
    assert (child["sen_provision"], child["first_language"]) == ("Unknown",) * 2
    assert (child["term_of_birth"], child["imd_quintile"]) == ("Unknown",) * 2
    assert child["asq3"] == pupil.NO_REVIEW
    assert child["entitlement"] == pupil.NOT_LINKED_TO_SETTING
    assert child["dots"] == pupil.format_dots_category("Neither", "None")
    assert child["gld"] == "Yes"


def test_of_a_child_who_cannot_be_looked_for_nobody_says_that_nobody_had_seen_it(case: Case) -> None:
    case.agreement = [{"child_id": child, "cell": 0, "too_little": True} for child in ("a", "b")]
    review = {"child": "b"} | REVIEW | ABOVE
    unsearchable, found = case.tables(eyfsp=[profile("a"), profile("b")], hv_reviews=[review])["pupil"]
    assert unsearchable["asq3"] == unsearchable["entitlement"] == pupil.UNSEARCHABLE
    assert unsearchable["dots"] == pupil.format_dots_category(pupil.UNSEARCHABLE, "None")
    assert found["dots"] == pupil.format_dots_category("Health visitor only", "None")


def test_the_cell_of_a_child_is_that_of_its_records(case: Case) -> None:
    case.agreement = [{"child_id": "a", "cell": len(CELLS) - 1, "too_little": False, "joined": 2, "numbered": 5}]
    made = case.tables(eyfsp=[profile("a"), profile("b")])["pupil"]
    assert [child["linkage_agreement"] for child in made] == [CELLS[-1], CELLS[0]]
    assert [child["linkage_differences"] for child in made] == [KIND_OF[-1], KIND_OF[0]]
    assert [child["census_join"] for child in made] == [JOINS[2], JOINS[0]]
    assert [child["shared_nhs_number"] for child in made] == [NUMBERED[5], NUMBERED[0]]


@pytest.mark.parametrize(
    ("changes", "gld"),
    [
        ({}, "Yes"),
        ({"utw_e13": "1", "exp_e17": "1"}, "Yes"),
        ({"mat_e12": "1"}, "No"),
        (dict.fromkeys(GOALS, "A"), "No"),
    ],
)
def test_a_good_level_of_development_is_twelve_goals(case: Case, changes: dict[str, str], gld: str) -> None:
    (child,) = case.tables(eyfsp=[profile("a", **changes)])["pupil"]
    assert child["gld"] == gld


@pytest.mark.parametrize(
    ("met", "band"),
    [(0, "0 to 4"), (4, "0 to 4"), (5, "5 to 8"), (9, "9 to 12"), (12, "9 to 12"), (16, "13 to 16"), (17, "17")],
)
def test_the_number_of_goals_is_in_a_band(case: Case, met: int, band: str) -> None:
    """A goal that was not assessed is not met."""
    missed = dict.fromkeys(list(GOALS)[met:], "A" if met == 0 else "1")
    (child,) = case.tables(eyfsp=[profile("a", **missed)])["pupil"]
    assert child["goals_expected"] == band


def test_a_child_counts_once_by_an_assessed_profile_wherever_it_stands(case: Case) -> None:
    rows = [profile("a", com_e01="1"), profile("a"), profile("a", **dict.fromkeys(GOALS, "A"))]
    found = {json.dumps(case.tables(eyfsp=list(order))["pupil"]) for order in permutations(rows)}
    (child,) = json.loads(found.pop())
    assert not found
    assert child["com_e02"] == pupil.EXPECTED


def test_the_census_reaches_the_child(case: Case) -> None:
    census = {"child": "a", "ethnicity": "CHNE", "fsm_eligible": "N", "sen_provision": "K", "first_language": "URD"}
    (child,) = case.tables(
        eyfsp=[profile("a")], school_census=[census, census | {"fsm_eligible": "Y", "ethnicity": None}]
    )["pupil"]
    assert child["fsm"] == "Eligible for free school meals"
    assert child["ethnic_group"] == "Asian / Asian British"
    assert child["sen_provision"] == "SEN support / SEN without an EHC plan"
    assert child["first_language"] == "Other than English"


@pytest.mark.parametrize(
    ("scores", "asq3", "communication", "concern"),
    [
        (ABOVE, pupil.ASQ3.categories[0], health.AT_OR_ABOVE, "None"),
        (ABOVE | {"asq3_communication": 24.02}, pupil.ASQ3.categories[0], health.AT_OR_ABOVE, "None"),
        (ABOVE | {"asq3_communication": 24.01}, pupil.ASQ3.categories[1], health.BELOW, "Health visitor only"),
        (dict.fromkeys(ABOVE, 1.0), pupil.ASQ3.categories[2], health.BELOW, "Health visitor only"),
        ({}, "Review without ASQ-3", health.NO_SCORE, "None"),
        (ABOVE | {"asq3_months": None}, "Review without ASQ-3", health.NO_SCORE, "None"),
    ],
)
def test_asq3_bands(case: Case, scores: dict[str, Any], asq3: str, communication: str, concern: str) -> None:
    made = case.tables(eyfsp=[profile("a")], hv_reviews=[{"child": "a"} | REVIEW | scores])
    assert made["pupil"][0]["asq3"] == asq3
    assert made["pupil"][0]["dots"] == pupil.format_dots_category("Health visitor only", concern)
    assert made["health"][0]["asq3_communication"] == communication


def test_only_the_two_year_review_counts_and_a_child_once(case: Case) -> None:
    review = {"child": "a"} | REVIEW | ABOVE
    made = case.tables(
        eyfsp=[profile("a"), profile("b")],
        hv_reviews=[review, review, {"child": "b"} | REVIEW | {"review": "12M"}, {"child": "c"} | REVIEW],
    )
    assert [child["asq3"] for child in made["pupil"]] == [pupil.ASQ3.categories[0], pupil.NO_REVIEW]
    assert len(made["health"]) == 2


def test_settings_give_entitlement_and_concern(case: Case) -> None:
    made = case.tables(
        eyfsp=[profile("a"), profile("b")],
        hv_reviews=[{"child": "a"} | REVIEW | ABOVE],
        early_years_census=[
            {"child": "a", "entitlement": "UNI", "progress_check_outcome": "on_track", "sen_provision": "N"},
            {"child": "a", "entitlement": "2YO", "progress_check_outcome": "concern"},
            {"child": "b", "entitlement": "WP", "sen_provision": "K"},
        ],
    )["pupil"]
    assert [child["entitlement"] for child in made] == ["Taken", "Not taken"]
    assert [child["dots"] for child in made] == [
        pupil.format_dots_category("Both", "Setting only"),
        pupil.format_dots_category("Setting only", "Setting only"),
    ]


def on(year: int, month: int = 1, **more: Any) -> dict[str, Any]:
    """A review in this month with a concern."""
    return {"review": "12M", "review_date": dt.date(year, month, 1), "concern": "Y"} | more


def checked(year: int | None, outcome: str = "concern", **more: Any) -> dict[str, Any]:
    """A census row with a progress check in January of this year."""
    day = dt.date(year, 1, 1) if year else None
    return {"progress_check_date": day, "progress_check_outcome": outcome, "sen_provision": "N"} | more


TWO, ONE, LESS = pupil.YEARS_BEFORE


@pytest.mark.parametrize(
    ("reviews", "settings", "expected"),
    [
        ([], [], pupil.NO_CONCERN),
        ([on(2020, concern="N")], [checked(2022, "on_track")], pupil.NO_CONCERN),
        ([on(2020)], [], (pupil.BY_HV, TWO, pupil.NEVER)),
        ([on(2022, 9)], [], (pupil.BY_HV, TWO, pupil.NEVER)),
        ([on(2022, 10)], [], (pupil.BY_HV, ONE, pupil.NEVER)),
        ([on(2023, 10)], [], (pupil.BY_HV, LESS, pupil.NEVER)),
        ([on(2025, 1)], [], (pupil.BY_HV, LESS, pupil.NEVER)),
        ([on(2020)], [checked(2022, "on_track")], (pupil.BY_HV, TWO, pupil.LATER)),
        ([on(2022, 2)], [checked(2022, "on_track")], (pupil.BY_HV, TWO, pupil.BY_THEN)),
        # In the same month it counts as the health visitor's, and the setting knew.
        ([on(2022)], [checked(2022)], (pupil.BY_HV, TWO, pupil.BY_THEN)),
        ([on(2023)], [checked(2022)], (pupil.BY_SETTING, TWO, pupil.LATER)),
        ([on(2021, concern="N")], [checked(2022)], (pupil.BY_SETTING, TWO, pupil.BY_THEN)),
        ([], [checked(2023)], (pupil.BY_SETTING, ONE, pupil.NEVER)),
        # Special educational needs have no date.
        ([], [checked(None, "not_done", sen_provision="K")], pupil.UNDATED),
        ([], [checked(2022, "on_track", sen_provision="K")], pupil.UNDATED),
        ([on(2023)], [checked(None, "not_done", sen_provision="E")], (pupil.BY_HV, ONE, pupil.LATER)),
        ([on(2024, 2, concern="N", referral="Y")], [checked(None, "not_done")], (pupil.BY_HV, LESS, pupil.BY_THEN)),
        ([], [checked(None)], pupil.UNDATED),
        ([on(2020, review_date=None)], [], pupil.UNDATED),
        ([on(2020, review_date=None), on(2021)], [], (pupil.BY_HV, TWO, pupil.NEVER)),
    ],
)
def test_when_a_service_first_recorded_a_concern(
    case: Case, reviews: Rows, settings: Rows, expected: str | tuple[str, str, str]
) -> None:
    """Of a child who starts Reception in September 2024."""
    (child,) = case.tables(
        eyfsp=[profile("a")],
        hv_reviews=[{"child": "a"} | each for each in reviews],
        early_years_census=[{"child": "a"} | each for each in settings],
    )["pupil"]
    assert child["first_concern"] == (
        expected if isinstance(expected, str) else pupil.format_concern_category(*expected)
    )


def test_the_best_of_a_childs_reviews_says_whether_it_was_on_time(case: Case) -> None:
    made = case.tables(
        eyfsp=[profile("a")],
        hv_reviews=[
            {"child": "a", "review": "NBV", "review_on_time": "N"},
            {"child": "a", "review": "NBV", "review_on_time": "Y"},
            {"child": "a", "review": "6-8W", "review_on_time": "N"},
            {"child": "a", "review": "12M"},
        ],
    )["pupil"][0]
    assert made["new_birth_visit"] == pupil.ON_TIME
    assert made["six_to_eight_week_review"] == pupil.LATE
    assert made["twelve_month_review"] == pupil.NO_TIMING
    assert made["two_year_review"] == made["antenatal_visit"] == pupil.NO_REVIEW


def test_responses_are_labelled_and_blanks_are_not_answered(case: Case) -> None:
    (response,) = case.tables(parent_experience=[{"child_age_band": "3", "main_barrier": "10"}])["parents"]
    assert (response["child_age_band"], response["main_barrier"]) == ("Two", "Other")
    assert response["wait_band"] == parents.NOT_ANSWERED


def test_every_value_is_of_the_public_domain(case: Case) -> None:
    made = case.tables(
        eyfsp=[profile("a"), profile("b", sex="M")],
        hv_reviews=[{"child": "a"} | REVIEW | ABOVE],
        parent_experience=[{"child_age_band": "6"}],
    )
    for family, rows in made.items():
        assert rows
        for attribute in FAMILIES[family].attributes:
            assert {row[attribute.name] for row in rows} <= set(attribute.categories), attribute.name


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_column_is_made_of_is_in_the_extracts(family: str) -> None:
    """The catalogue says of each attribute where it comes from."""
    found = get_derivations(family)
    assert list(found) == [attribute.name for attribute in FAMILIES[family].attributes]
    for name, each in found.items():
        for source, columns in each.made_of.items():
            contract = CONTRACTS[source]
            kept = {column.name for column in (*contract.select_role(Role.PAYLOAD), *contract.derived)}
            assert set(columns) <= kept, name
            assert source in FAMILIES[family].sources


def test_an_attribute_without_a_derivation_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    family = FAMILIES["health"]
    unknown = replace(family, attributes=(*family.attributes, pupil.FAMILY.get_attribute("gld")))
    monkeypatch.setitem(FAMILIES, "health", unknown)
    with pytest.raises(Refused, match="gld of family health: no derivation"):
        get_derivations("health")
