"""The ranges of shares that a plan is judged over: each of a category that there is, and stated once."""

import pytest

from ndl_export.tables import FAMILIES
from ndl_export.tables.model import Attribute
from sources.reference import read_rows
from sources.reference.places import PILOT, get_place
from sources.reference.published_figures import PLAUSIBLE_SHARES, get_plausible_shares
from tests.support.release.accuracy import get_public_shares

ROWS = read_rows(PLAUSIBLE_SHARES)
ATTRIBUTES = {attribute.name: attribute for family in FAMILIES.values() for attribute in family.attributes}


def test_every_line_has_a_source_and_a_range() -> None:
    assert all(row["source"] for row in ROWS)
    assert all(0 <= float(row["least"]) < float(row["most"]) < 1.1 for row in ROWS)


def test_every_category_of_a_stated_attribute_is_stated_once() -> None:
    stated: dict[str, list[str]] = {}
    for row in ROWS:
        for name in row["what"].split() if row["what"] not in ("rows per child", "any other") else ():
            stated.setdefault(name, []).append(row["category"])
    assert stated
    for name, categories in stated.items():
        assert sorted(categories) == sorted(ATTRIBUTES[name].categories), name


@pytest.mark.parametrize("attribute", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_the_middle_is_inside_its_range_and_everybody_is_somewhere(attribute: Attribute) -> None:
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
