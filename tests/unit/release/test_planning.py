"""At which detail a plan measures and publishes: by public sizes and the policy alone, where a figure can be read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assets.release.expected_accuracy import check_accuracy, expected_accuracy
from assets.release.expected_widths import expected_widths
from assets.release.planning import plan_family
from ndl_export.tables import FAMILIES, TABLES
from ndl_export.tables.detail import Detail, detail_of
from ndl_export.tables.geography import ALL_TOGETHER, DEVOLVED, LOCAL_AUTHORITY, Geography, geographies
from ndl_export.tables.rows import layout
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from sources.reference.places import PILOT, places

TOTAL = ("Total", "Total")
REGION = "Liverpool City Region"


def detail(family: str, councils: tuple[str, ...] = PILOT) -> Detail:
    return Detail.of(plan_family(family, councils, load_policy()).detail)


def area(name: str) -> Geography:
    """A council, or another area by its name."""
    found = (
        each for each in geographies(PILOT) if each.councils == (name,) or (each.level, each.name) == (DEVOLVED, name)
    )
    return next(found)


def test_the_decision_is_part_of_the_hashed_plan() -> None:
    plan = plan_family("parents", PILOT, load_policy())
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert detail_of(plan.to_json()).document() == plan.detail
    assert replace(plan, detail={}).sha256 != plan.sha256
    assert detail_of(replace(plan, detail={}).to_json()) is None


def test_every_question_to_parents_is_told_where_it_can_be_read() -> None:
    """For all councils, the Liverpool City Region and the largest councils; of the others no row is there."""
    decided, councils = detail("parents"), {"leeds", "liverpool"}
    for row in layout(TABLES["parent_experience"], {"202425": geographies(PILOT)}).rows:
        if row.levels[2:] == TOTAL:
            assert decided.publishes("parent_experience", row.levels, geographies(PILOT)[0])
            assert decided.publishes("parent_experience", row.levels, area(REGION))
            published = {each for each in PILOT if decided.publishes("parent_experience", row.levels, area(each))}
            assert published == councils


def test_what_cannot_be_read_by_council_is_not_measured_by_council() -> None:
    """Answers by the child's age: nowhere in the pilot, and for regions in England."""
    policy = load_policy()
    pilot, england = (set(plan_family("parents", c, policy).sigmas) for c in (PILOT, tuple(places())))
    assert not any("child_age_band" in names for names in pilot)
    assert any({"region", "child_age_band"} <= set(names) for names in england)
    assert not any({"council", "child_age_band"} <= set(names) for names in england)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_published_is_expected_to_be_read(family: str) -> None:
    """But for what stands for every area; and whatever could be read at this detail is published."""
    policy = load_policy()
    plan = plan_family(family, PILOT, policy)
    decided = Detail.of(plan.detail)
    for each in expected_widths(plan, PILOT):
        for place, widths in zip(each.areas, each.judged, strict=True):
            for levels, half_width in zip(each.levels, widths, strict=True):
                published = decided.publishes(each.table.name, levels, place)
                if each.block.everywhere:
                    assert published
                elif place.level in (ALL_TOGETHER, DEVOLVED):
                    assert published >= (half_width <= policy.readable_half_width)


def test_the_figures_that_a_release_is_about_stand_for_every_council() -> None:
    decided = detail("pupil")
    for each in geographies(PILOT):
        assert decided.publishes("gld_headline", ("Total", "Total", "Total"), each)
        assert decided.publishes("joined_dots", ("Neither", "Total"), each)
        assert decided.publishes("linkage_quality", ("Total", "Total", "Total"), each)


def test_nobody_unknown_has_a_row() -> None:
    for table in TABLES.values():
        for row in layout(table, {"202425": geographies(PILOT)}).rows:
            assert "Unknown" not in row.levels


def test_all_councils_keep_their_rows_where_a_few_send_nothing() -> None:
    decided = detail("pupil")
    together, without = (geographies(PILOT, absent)[0] for absent in ((), ("halton",)))
    assert without.level == ALL_TOGETHER
    assert decided.publishes(
        "gld_headline", ("Free school meal eligibility", "Eligible for free school meals", "Total"), without
    )
    assert decided.size(without) < decided.size(together)


def test_a_larger_council_has_every_row_of_a_smaller_one() -> None:
    decided = detail("pupil")
    rows = [(table, levels) for table, by_levels in decided.least.items() for levels in by_levels]
    halton, leeds = ({row for row in rows if decided.publishes(*row, area(council))} for council in ("halton", "leeds"))
    assert halton < leeds
    assert all(LOCAL_AUTHORITY in decided.least[table][levels] for table, levels in leeds)


def test_every_table_has_a_row_even_where_nothing_can_be_read() -> None:
    councils = ("halton",)
    decided = detail("parents", councils)
    assert any(
        decided.publishes("parent_experience", levels, geographies(councils)[0])
        for levels in decided.least["parent_experience"]
    )
    policy = load_policy()
    with pytest.raises(Exception, match="the tables of parents are not worth their budget"):
        check_accuracy("parents", plan_family("parents", councils, policy), councils, policy)


def test_the_minimum_counts_every_published_rate() -> None:
    found = expected_accuracy(PILOT)
    rates = sum(row["rates"] for row in found["tables"])
    assert sum(entry["rates"] for entry in found["minimum_accuracy"]) == rates > 1000
    assert all(entry["met"] for entry in found["minimum_accuracy"])
