"""Public reference data fits the codes of the contracts."""

from sources.reference.ethnicity import ETHNICITY_CODES, MAJOR_GROUP


def test_every_code_of_an_ethnicity_has_a_major_group_unless_it_says_nothing() -> None:
    assert set(ETHNICITY_CODES) - set(MAJOR_GROUP) == {"REFU", "NOBT"}
    assert set(MAJOR_GROUP) <= set(ETHNICITY_CODES)
