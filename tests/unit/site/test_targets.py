"""How far a figure is from what is to be reached, in words."""

from __future__ import annotations

import pytest

from ndl_export.site.figures import Figure
from ndl_export.site.panels import Line
from ndl_export.site.words import rate_and_targets
from ndl_export.tables.geography import geographies
from ndl_export.tables.pupil import GLD_PERCENT
from ndl_export.tables.schema import Flag

LEEDS = geographies(["leeds"])[-1]
AIM = "75% by 2028 (national ambition)"


def line(value: float | None, lower: float, upper: float, flag: Flag | None = None, number: float = 9000.0) -> Line:
    return Line("Leeds", LEEDS, (Figure(GLD_PERCENT, value, lower, upper, flag, number),))


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (
            line(63.8, 63.4, 64.2),
            "11.2 points away (95% interval 10.8 to 11.6): 1,008 more children in a year group of",
        ),
        (line(63.8, 63.4, 64.2), "of this size (972 to 1,044)."),
        (line(63.8, 63.4, 64.2, number=0.0), f"{AIM} is 11.2 points away (95% interval 10.8 to 11.6)."),
        (line(76.0, 75.0, 77.0), f"{AIM} is reached."),
        (line(76.0, 74.9, 77.0), f"Whether {AIM} is reached cannot be told from the noise."),
        (line(None, 40.0, 80.0, Flag.WITHHELD), f"Whether {AIM} is reached cannot be told from the noise."),
    ],
)
def test_distance_and_children_are_told_with_their_intervals(shown: Line, said: str) -> None:
    assert said in rate_and_targets(shown)


def test_of_a_figure_that_is_not_there_nothing_is_said() -> None:
    nothing = Line("Leeds", LEEDS, (Figure(GLD_PERCENT, None, None, None, Flag.NOT_AVAILABLE),))
    assert "75%" not in rate_and_targets(nothing)
