"""Public reference data: places, cohorts, code lists, cut-offs and published figures; README.md has their sources."""

import csv
from pathlib import Path

FOLDER = Path(__file__).parent


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file as dictionaries by heading."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
