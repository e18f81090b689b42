"""Which areas a release has rows for."""

from __future__ import annotations

import pytest

from ndl_export.tables.geography import list_geographies
from sources.reference.places import PILOT, UnknownCouncil, load_places

EVERYWHERE = tuple(load_places())
LIVERPOOL_CITY_REGION = {"halton", "knowsley", "liverpool", "sefton", "st-helens", "wirral"}


def test_the_pilot_has_a_total_a_devolved_area_and_its_councils() -> None:
    areas = list_geographies(PILOT)
    assert [area.level for area in areas] == ["Pilot councils", "English devolved area", *["Local authority"] * 8]
    assert set(areas[0].councils) == set(PILOT)
    assert set(areas[1].councils) == LIVERPOOL_CITY_REGION
    assert (areas[1].code, areas[1].name) == ("E47000004", "Liverpool City Region")


def test_order_does_not_depend_on_the_order_given() -> None:
    assert list_geographies(PILOT) == list_geographies(tuple(reversed(PILOT)))


def test_a_devolved_area_needs_all_of_its_councils() -> None:
    assert "English devolved area" not in {area.level for area in list_geographies(set(PILOT) - {"wirral"})}


def test_more_than_twenty_councils_bring_the_regions_that_are_whole() -> None:
    london = [name for name, entry in load_places().items() if entry.region_name == "London"]
    areas = list_geographies([*london, "leeds"])
    assert [area.name for area in areas if area.level == "Regional"] == ["London"]
    assert areas[0].level == "Pilot councils"
    assert "Regional" not in {area.level for area in list_geographies(london[:20])}


def test_all_councils_are_england() -> None:
    areas = list_geographies(EVERYWHERE)
    assert (areas[0].level, areas[0].name, areas[0].code) == ("National", "England", "E92000001")
    assert sum(area.level == "Regional" for area in areas) == 9
    assert sum(area.level == "Local authority" for area in areas) == 153


def test_a_council_lies_in_its_region_and_leaves_other_areas_blank() -> None:
    leeds = list_geographies(["leeds"])[-1]
    assert {name: value for name, value in leeds.columns.items() if value} == {
        "geographic_level": "Local authority",
        "area_code": "E08000035",
        "area_name": "Leeds",
        "country_code": "E92000001",
        "country_name": "England",
        "region_code": "E12000003",
        "region_name": "Yorkshire and The Humber",
        "old_la_code": "383",
        "new_la_code": "E08000035",
        "la_name": "Leeds",
    }


def test_unknown_and_no_councils_are_refused() -> None:
    with pytest.raises(UnknownCouncil, match="atlantis"):
        list_geographies(["atlantis"])
    with pytest.raises(ValueError, match="at least one council"):
        list_geographies([])


def test_a_council_without_the_source_is_in_its_own_area_alone() -> None:
    areas = list_geographies(PILOT, ["halton"])
    assert [area.level for area in areas] == ["Pilot councils", *["Local authority"] * 8]
    assert "halton" not in areas[0].councils
    assert [area.name for area in areas if not area.available] == ["Halton"]
    everywhere = list_geographies(EVERYWHERE, ["halton"])
    assert (everywhere[0].level, len(everywhere[0].councils)) == ("Pilot councils", 152)
    regions = {entry.region_name for entry in load_places().values()}
    assert {area.name for area in everywhere if area.level == "Regional"} == regions - {"North West"}
    assert not list_geographies(["leeds"], ["leeds"])[0].available
