"""Early learning goals, the subset that defines a good level of development, and targets for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sources.reference import FOLDER, read_rows
from sources.reference.places import load_places

_ROWS = read_rows(FOLDER / "goals.csv")
GOALS = {row["goal"]: row["label"] for row in _ROWS}
"""The 17 early learning goals of the EYFS statutory framework in force since September 2021."""

# Goals 1 to 12 are those of the prime areas, literacy and mathematics.
GLD_GOALS = tuple(goal for goal in GOALS if int(goal[-2:]) <= 12)
"""A good level of development is "expected" in all of these (DfE, EYFSP methodology)."""

AREAS_OF_LEARNING = {row["goal"][:3]: row["area_of_learning"] for row in _ROWS}
"""The seven areas, by the prefix of their goals' column names."""

_TARGETS = FOLDER / "gld_targets.csv"


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
def load_targets(file: Path = _TARGETS) -> tuple[Target, ...]:
    """Read the targets in file order. Raises ValueError with the line number if one is not valid."""
    return tuple(_target(number, row) for number, row in enumerate(read_rows(file), start=2))


def _target(line: int, row: dict[str, str]) -> Target:
    codes = {code for place in load_places().values() for code in (place.new_la_code, place.region_code)}
    codes |= {place.english_devolved_area_code for place in load_places().values()}
    if row["area_code"] and row["area_code"] not in codes:
        raise ValueError(f"{_TARGETS.name}, line {line}: area_code is that of no area of England")
    try:
        percent, year = float(row["percent"]), int(row["year"])
    except ValueError:
        raise ValueError(f"{_TARGETS.name}, line {line}: percent and year are numbers") from None
    if not 0 < percent <= 100 or not row["name"] or not row["source"]:
        raise ValueError(f"{_TARGETS.name}, line {line}: percent is 0 to 100, and a target has a name and a source")
    return Target(row["area_code"] or None, percent, year, row["name"], row["source"])
