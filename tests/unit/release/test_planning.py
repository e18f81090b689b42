"""At which detail a plan measures: by public sizes, ranges of plausible shares and the policy alone."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from assets.release import planning
from assets.release.planning import NotAccurateEnough, check_accuracy, compute_expected_accuracy, plan_family
from ndl_export.tables import FAMILIES, TABLES, Table, geography, model, parents, rows
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from sources.reference import read_rows
from sources.reference.places import PILOT, get_place, load_places
from sources.reference.published_figures import PLAUSIBLE_SHARES, Range, get_plausible_shares
from tests.support.release.accuracy import get_public_shares

TOTAL = ("Total", "Total")


def detail(family: str, councils: tuple[str, ...] = PILOT) -> rows.Detail:
    return rows.Detail.from_document(plan_family(family, councils, load_policy()).detail)


def test_the_decision_is_part_of_the_hashed_plan() -> None:
    plan = plan_family("parents", PILOT, load_policy())
    again = Plan.from_json(plan.encode_json())
    assert again == plan
    assert rows.parse_detail(plan.encode_json()).build_document() == plan.detail
    assert replace(plan, detail={}).sha256 != plan.sha256
    assert rows.parse_detail(replace(plan, detail={}).encode_json()) is None


_ASIAN = ("Ethnic group", "Asian / Asian British", "Total")


def test_every_row_that_a_plausible_cohort_could_fill_is_there_whoever_turns_out_to_live_there() -> None:
    """Sefton's few Asian children as well as Leeds's many; but not Halton's, of whom there are about a dozen."""
    decided = detail("pupil")
    for each in (*geography.list_geographies(PILOT), geography.list_geographies(PILOT, ("halton",))[0]):
        for table, *levels in (
            *((("gld_headline", *_ASIAN),) if each.name != "Halton" else ()),
            ("gld_headline", "Total", "Total", "Total"),
            ("joined_dots", "Neither", "Total"),
            ("linkage_quality", "Total", "Total", "Total"),
        ):
            assert decided.is_row_published(table, tuple(levels), each)
    (halton,) = (each for each in geography.list_geographies(PILOT) if each.name == "Halton")
    assert not decided.is_row_published("gld_headline", _ASIAN, halton)
    assert decided.left_out["gld_headline"][_ASIAN] == [halton.code]
    of_parents = detail("parents")
    for row in rows.build_layout(TABLES["parent_experience"], {"202425": geography.list_geographies(PILOT)}).rows:
        for each in geography.list_geographies(PILOT):
            by_group = row.levels[2:] != TOTAL or row.levels[0] in {each.label for each in parents.WHO_ANSWERED}
            published = of_parents.is_row_published("parent_experience", row.levels, each)
            assert published == (each.level == geography.ALL_TOGETHER or not by_group)


def test_answers_by_group_are_measured_for_all_councils_or_regions() -> None:
    policy = load_policy()
    pilot, england = (set(plan_family("parents", c, policy).sigmas) for c in (PILOT, tuple(load_places())))
    for group in ("child_age_band", "fsm_or_funded"):
        assert any(group in names for names in pilot)
        assert not any({"council", group} <= set(names) for names in pilot | england)
        assert any({"region", group} <= set(names) for names in england)


@pytest.mark.parametrize("other", ["least", "most"])
def test_what_is_measured_does_not_depend_on_an_assumed_share(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    """Were every share that nobody knows taken to be at an end of its range: the same marginals, the same noise."""
    policy = load_policy()
    before = {family: plan_family(family, PILOT, policy).encode_json() for family in FAMILIES}
    drawn = planning._draw_shares

    def middle_moved(name: str, ranges: tuple[Range, ...]) -> NDArray[np.float64]:
        shares = drawn(name, ranges).copy()
        shares[0] = [getattr(each, other) for each in ranges]
        return shares

    monkeypatch.setattr(planning, "_draw_shares", middle_moved)
    for cached in (planning._estimate_public_sizes, planning._compute_expected_widths, planning._plan_family):
        cached.cache_clear()
    try:
        assert {family: plan_family(family, PILOT, policy).encode_json() for family in FAMILIES} == before
    finally:
        for cached in (planning._estimate_public_sizes, planning._compute_expected_widths, planning._plan_family):
            cached.cache_clear()


def test_a_figure_that_a_release_is_about_is_withheld_under_no_other_name() -> None:
    """Children whom nobody had seen, and whom nobody had seen and nobody was concerned about, are the same children."""
    for table in TABLES.values():
        blocks = {each: with_blocks(table, each) for each in (True, False)}
        about, others = (
            {one for figures in rows.collect_statements(part).values() for one in figures} for part in blocks.values()
        )
        assert not {figure for figure in about & others if figure[1] is not None}


def with_blocks(table: Table, everywhere: bool) -> Table:
    """The table with those of its blocks alone that a release is about, or the others."""
    return replace(table, blocks=tuple(each for each in table.blocks if each.everywhere == everywhere))


def test_nobody_unknown_has_a_row() -> None:
    for table in TABLES.values():
        for row in rows.build_layout(table, {"202425": geography.list_geographies(PILOT)}).rows:
            assert "Unknown" not in row.levels


def test_a_family_whose_figures_could_not_be_read_is_refused() -> None:
    councils, policy = ("rutland",), load_policy()
    with pytest.raises(NotAccurateEnough, match="the tables of parents are not worth their budget"):
        check_accuracy("parents", plan_family("parents", councils, policy), councils, policy)


def test_the_outlook_counts_every_rate_that_is_defined() -> None:
    found = compute_expected_accuracy(PILOT, load_policy())
    rates = sum(row["rates"] for row in found["tables"])
    assert sum(entry["rates"] for entry in found["minimum_accuracy"]) == rates > 3000
    assert sum(row["rates"] for row in found["by_table"]) == rates
    assert all(entry["met"] for entry in found["minimum_accuracy"])
    for row in (*found["by_table"], *found["tables"]):
        (fewest, most), (least_usable, most_usable) = row["published"], row["usable"]
        assert 0 <= fewest <= most <= row["rates"]
        assert least_usable <= fewest
        assert most_usable <= most


ROWS = read_rows(PLAUSIBLE_SHARES)
ATTRIBUTES = {attribute.name: attribute for family in FAMILIES.values() for attribute in family.attributes}


def test_every_category_of_a_stated_attribute_is_stated_once_with_a_source_and_a_range() -> None:
    assert all(row["source"] for row in ROWS)
    assert all(0 <= float(row["least"]) < float(row["most"]) < 1.1 for row in ROWS)
    stated: dict[str, list[str]] = {}
    for row in ROWS:
        for name in row["what"].split() if row["what"] not in ("rows per child", "any other") else ():
            stated.setdefault(name, []).append(row["category"])
    assert stated
    for name, categories in stated.items():
        assert sorted(categories) == sorted(ATTRIBUTES[name].categories), name


@pytest.mark.parametrize("attribute", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_the_middle_is_inside_its_range_and_everybody_is_somewhere(attribute: model.TableAttribute) -> None:
    for council in PILOT:
        found = get_plausible_shares(attribute.name, attribute.label, attribute.categories, get_place(council))
        assert sum(get_public_shares(attribute, council).values()) == pytest.approx(1)
        assert sum(each.least for each in found.values()) <= 1 <= sum(each.most for each in found.values())
        assert all(each.least <= each.middle <= each.most for each in found.values())


def test_whether_a_place_is_funded_is_not_assumed() -> None:
    """`No` was taken to be 65% of the responses and was a quarter of them."""
    funded = ATTRIBUTES["fsm_or_funded"]
    found = get_plausible_shares(funded.name, funded.label, funded.categories, get_place("leeds"))["No"]
    assert found.least <= 0.25 <= 0.8 <= found.most
