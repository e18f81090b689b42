"""Whose children a file looks to hold: by dates of birth, authority codes and pupil numbers."""

import pyarrow as pa
import pytest

from sources.diagnosis.wrong_rows import BORN, LA_CODE, UPN_AREA, OriginCounter, OtherOrigin


def found(**columns: list[object]) -> tuple[OtherOrigin, ...]:
    """What is said of rows of Leeds for 2024/25, seen in two chunks."""
    whose, rows = OriginCounter(), pa.table(dict(columns))
    for chunk in (rows.slice(0, 7), rows.slice(7)):
        whose.see(chunk)
    return whose.find_other_origins("leeds", "202425")


@pytest.mark.parametrize(
    ("earlier", "said"),
    [
        *((100, "This looks like 2023/24: 100 of 100"), (51, "This looks like 2023/24: 51 of 100")),
        *((50, "Part of this looks like 2023/24: 50 of 100"), (11, "Part of this looks like 2023/24: 11 of 100")),
        (10, ""),
    ],
)
def test_another_year(earlier: int, said: str) -> None:
    years = found(**{BORN: [2023] * earlier + [2024] * (100 - earlier) + [None] * 30})
    assert (years[0].for_sender if years else "")[: len(said)] == said
    assert bool(years) == bool(said)


def test_what_is_told_to_others_has_no_number() -> None:
    (year,) = found(**{BORN: [2023] * 60 + [2024] * 40})
    assert year.looks_like == "this looks like 2023/24, not 2024/25"
    (council,) = found(**{UPN_AREA: ["344"] * 60 + ["383"] * 40})
    assert council.looks_like == "this looks like Wirral’s, not Leeds"


def test_another_council_by_its_code_before_pupil_numbers() -> None:
    by_code, by_number = {LA_CODE: ["344"] * 30}, {UPN_AREA: ["340"] * 30}
    assert [each.name for each in found(**by_code, **by_number)] == ["Wirral"]
    assert found(**by_code)[0].for_sender.startswith("This looks like Wirral’s: 30 of 30 rows have its local authority")
    assert found(**by_number)[0].for_sender == (
        "This looks like Knowsley’s: 30 of 30 pupil numbers (UPN) were given out there, 0 of Leeds’s own."
    )


@pytest.mark.parametrize(
    "areas",
    [
        ["344"] * 50 + ["383"] * 50,
        ["344"] * 19,
        ["383"] * 100,
        ["999"] * 100,
        ["344"] * 40 + ["340"] * 40 + ["383"] * 20,
    ],
)
def test_what_does_not_show_another_council(areas: list[object]) -> None:
    """Half of the numbers, a handful of rows, its own, codes of no authority, and two others together."""
    assert not found(**{UPN_AREA: areas})
