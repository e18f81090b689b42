"""Expected number of rows of an extract: the published number of children, or a number that the operator sets in
`landing/reference/expected_rows.csv` (`council,source,cohort,rows`).

The operator's number takes precedence, for any source. It covers cases that publications cannot: a moved boundary, a
provider's number of reviews, a demonstration of another size.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from sources.reference import rows_of
from sources.reference.cohorts import Cohort
from sources.reference.places import place
from sources.reference.profile_results import PUBLISHED_COHORT, number_of_children

FILE = "expected_rows.csv"
SOURCES_OF_CHILDREN = ("eyfsp", "school_census")
"""Sources with a row for every child of the cohort."""
_COLUMNS = ("council", "source", "cohort", "rows")

ExpectedRows = Mapping[tuple[str, str, str], int]
"""Number of rows by source, cohort and council."""


class InvalidExpectedRows(Exception):
    """The file of expected rows is invalid; the message names the line."""


def read(path: Path) -> ExpectedRows:
    """Read the operator's numbers; empty if there is no file. Raises `InvalidExpectedRows`."""
    found: dict[tuple[str, str, str], int] = {}
    for line, row in enumerate(rows_of(path) if path.exists() else [], 2):
        try:
            council, source, cohort, rows = (row[name].strip() for name in _COLUMNS)
            found[source, Cohort.parse(cohort).code, place(council).council] = int(rows)
        except (KeyError, AttributeError, ValueError, TypeError):
            raise InvalidExpectedRows(f"{path.name}, line {line}: it needs {', '.join(_COLUMNS)}") from None
    return found


def write(path: Path, rows: ExpectedRows) -> None:
    """Add these numbers to the file, keeping those of other extracts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = {**read(path), **rows}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows((council, source, cohort, lines[source, cohort, council]) for source, cohort, council in lines)


def published_rows(source: str, council: str) -> int | None:
    """Return the newest published number of children of the council if the source has one row per child."""
    figure = number_of_children(place(council), Cohort(PUBLISHED_COHORT)) if source in SOURCES_OF_CHILDREN else None
    return round(figure.value) if figure else None
