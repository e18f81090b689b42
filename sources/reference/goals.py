"""Early learning goals, the subset that defines a good level of development, and targets for it."""

from dataclasses import dataclass
from functools import cache

from sources.reference import FOLDER, read_rows

_ROWS = read_rows(FOLDER / "goals.csv")
GOALS = {row["goal"]: row["label"] for row in _ROWS}
"""The 17 early learning goals of the EYFS statutory framework in force since September 2021."""

# Goals 1 to 12 are those of the prime areas, literacy and mathematics.
GLD_GOALS = tuple(goal for goal in GOALS if int(goal[-2:]) <= 12)
"""A good level of development is "expected" in all of these (DfE, EYFSP methodology)."""

AREAS_OF_LEARNING = {row["goal"][:3]: row["area_of_learning"] for row in _ROWS}
"""The seven areas, by the prefix of their goals' column names."""


@dataclass(frozen=True)
class Target:
    """Percentage of an area's children who should reach a good level of development in a year.

    `year` is the one in which the academic year ends; a target without `area_code` is for every area.
    """

    area_code: str | None
    percent: float
    year: int
    name: str
    source: str


@cache
def load_targets() -> tuple[Target, ...]:
    """Return the targets in file order."""
    return tuple(
        Target(row["area_code"] or None, float(row["percent"]), int(row["year"]), row["name"], row["source"])
        for row in read_rows(FOLDER / "gld_targets.csv")
    )
