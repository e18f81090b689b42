"""Profiles the kept rows of an extract: the filled rows of each payload column, and the distribution of its values.

One aggregate query does it. Groups come from the contract or this module, never from the data: a code, a tenth of a
public range, or a month of a public window. No value of a row is stored.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet

from privacy.doors.sql import quote_parquet, quote_text
from privacy.row_keys import ROW_KEY
from sources.contracts import Column, Kind, Role, SourceContract, extract_rules
from sources.extract.project import fill_parameters
from sources.reference.code_lists import AREAS_OF_LEARNING, DOMAINS, GLD_GOALS, GOALS, TWO_YEAR_REVIEW
from sources.reference.cohorts import Cohort

BINS = 10
BEFORE, AFTER = "before", "after"
"""Groups of dates outside the window of `list_months`."""


@dataclass(frozen=True)
class Share:
    """A share: `rows` out of `of`."""

    rows: int
    of: int

    @property
    def value(self) -> float | None:
        return self.rows / self.of if self.of else None


@dataclass(frozen=True)
class ColumnProfile:
    """Number of filled rows of a column, and how they divide into groups. Free text has no groups.

    A group is a code, the lower end of a bin, a month (`2022-05`), `before` or `after`.
    """

    filled: int
    groups: dict[str, int]


@dataclass(frozen=True)
class Profile:
    """Counts of the kept rows of one extract.

    `measures` counts rows that meet a condition across columns; `breaking` counts, by rule id, rows that break a rule
    across payload columns.
    """

    rows: int
    columns: dict[str, ColumnProfile]
    measures: dict[str, Share]
    breaking: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Uncounted:
    """Request to count the kept rows of an extract (a Parquet file)."""

    contract: SourceContract
    cohort: str
    kept: Path

    @property
    def batch(self) -> tuple[str, str]:
        """Key that is equal for requests that one statement can count."""
        return self.contract.name, self.cohort


def count(con: duckdb.DuckDBPyConnection, extracts: Sequence[Uncounted]) -> list[Profile]:
    """Profile extracts of one batch by one statement, because planning costs the same for any number of rows."""
    contract, cohort = extracts[0].contract, Cohort(extracts[0].cohort)
    measures, rules = _build_measures_sql(contract), extract_rules.select_payload_rules(contract)
    columns = {column.name: _build_group_sql(column, cohort) for column in contract.select_role(Role.PAYLOAD)}
    columns |= {each.name: (f"{each.name}::VARCHAR", each.groups) for each in contract.derived}
    terms = []
    for name, (group, keys) in columns.items():
        # no histogram of free text, whose groups would be values of rows
        terms += [f"count({name})", f"histogram({group})" if keys else "NULL"]
    terms += [_count_sql(condition) for pair in measures.values() for condition in pair]
    terms += [_count_sql(fill_parameters(rule.broken, cohort)) for rule in rules]
    found = []
    for rows, *values in _fetch_counts(con, extracts, terms):
        counted, profiles = iter(values), dict[str, ColumnProfile]()
        for name, (_, keys) in columns.items():
            filled, histogram = next(counted), next(counted) or {}
            profiles[name] = ColumnProfile(filled, {key: histogram.get(key, 0) for key in keys})
        shares = {name: Share(next(counted), next(counted)) for name in measures}
        found.append(Profile(rows, profiles, shares, {rule.id: next(counted) for rule in rules}))
    return found


def _fetch_counts(con: duckdb.DuckDBPyConnection, extracts: Sequence[Uncounted], terms: list[str]) -> list[list[Any]]:
    """Return, for each extract, the number of rows and the values of the SQL aggregates `terms`."""
    files = quote_parquet([extract.kept for extract in extracts], hive_partitioning=False, filename=True)
    counted = f"count(*), {', '.join(terms)} FROM {files}"
    found = {file: values for file, *values in con.execute(f"SELECT filename, {counted} GROUP BY filename").fetchall()}
    if len(found) < len(extracts):  # GROUP BY returns no row for an empty file
        empty = [extract.kept for extract in extracts if not pyarrow.parquet.read_metadata(extract.kept).num_rows]
        (of_no_rows,) = con.execute(f"SELECT {counted} WHERE false").fetchall()
        found |= {str(file): list(of_no_rows) for file in empty}
    return [found[str(extract.kept)] for extract in extracts]


def count_warned_rows(quarantine: Path) -> int:
    """Return the number of kept rows with at least one warning, from the extract's quarantine file."""
    found = pyarrow.parquet.ParquetFile(quarantine).read(columns=[ROW_KEY, "row_kept"])
    return len(pc.unique(found[ROW_KEY].filter(found["row_kept"])))


def compute_bin_edges(column: Column) -> tuple[float, ...]:
    """Return the bin edges of a number column: each lower end, and the upper end of the last bin."""
    low, high = column.minimum, column.maximum
    if low is None or high is None:
        raise ValueError(f"{column.name} needs a minimum and a maximum in its contract")
    return tuple(low + (high - low) * step / BINS for step in range(BINS + 1))


def list_months(cohort: Cohort) -> tuple[dt.date, ...]:
    """Return the first of each month from nine months before the oldest birth to the end of the academic year."""
    start = cohort.born_from.year * 12 + cohort.born_from.month - 1 - 9  # months since year 0
    end = (cohort.first_year + 1) * 12 + 8  # September, exclusive
    return tuple(dt.date(month // 12, month % 12 + 1, 1) for month in range(start, end))


def _build_group_sql(column: Column, cohort: Cohort) -> tuple[str, tuple[str, ...]]:
    """Return SQL for the group of a row's value, and all groups in order."""
    name = column.name
    match column.kind:
        case Kind.CODE:
            return name, tuple(column.codes or ())
        case Kind.DATE:
            window = [f"{month:%Y-%m}" for month in list_months(cohort)]
            month = f"strftime({name}, '%Y-%m')"
            outside = f"WHEN {month} < {quote_text(window[0])} THEN {quote_text(BEFORE)}"
            outside += f" WHEN {month} > {quote_text(window[-1])} THEN {quote_text(AFTER)}"
            return f"CASE {outside} ELSE {month} END", (BEFORE, *window, AFTER)
        case Kind.INTEGER | Kind.DECIMAL:
            lower = [f"{low:g}" for low in compute_bin_edges(column)[:-1]]
            cases = " ".join(f"WHEN {name} >= {low} THEN {quote_text(low)}" for low in reversed(lower))
            return f"CASE {cases} END", tuple(lower)
        case Kind.TEXT:
            return name, ()


def _build_measures_sql(contract: SourceContract) -> dict[str, tuple[str, str]]:
    """Return, by measure, SQL conditions for the rows counted and for the denominator."""
    if contract.name == "eyfsp":
        goals = {"gld": GLD_GOALS, "all_goals": tuple(GOALS)}
        goals |= {area: tuple(goal for goal in GOALS if goal.startswith(area)) for area in AREAS_OF_LEARNING}
        return {name: (" AND ".join(f"{goal} = '2'" for goal in members), "true") for name, members in goals.items()}
    if contract.name == "hv_reviews":
        reviewed = f"review = '{TWO_YEAR_REVIEW}'"
        scored = " AND ".join(f"{domain} IS NOT NULL" for domain in ("asq3_months", *DOMAINS))
        return {"asq3_complete": (f"{reviewed} AND {scored}", reviewed)}
    return {}


def _count_sql(condition: str) -> str:
    """Return SQL that counts rows meeting a condition. `count_if` is NULL if the condition is NULL in every row."""
    return f"coalesce(count_if({condition}), 0)"
