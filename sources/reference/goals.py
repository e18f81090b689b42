"""The early learning goals and the subset that defines a good level of development."""

from pathlib import Path

from sources.reference import rows_of

_ROWS = rows_of(Path(__file__).with_name("goals.csv"))
GOALS = {row["goal"]: row["label"] for row in _ROWS}
"""The 17 early learning goals of the EYFS statutory framework in force since September 2021."""

GLD_GOALS = tuple(goal for goal in GOALS if int(goal[-2:]) <= 12)
"""A good level of development is "expected" in all of these (DfE, EYFSP methodology)."""

AREAS_OF_LEARNING = {row["goal"][:3]: row["area_of_learning"] for row in _ROWS}
"""The seven areas, by the prefix of their goals' column names."""
