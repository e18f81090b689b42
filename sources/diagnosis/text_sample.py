"""First rows of a file as text, and the share of a column's values that meet a condition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from sources.contracts.people import WRITTEN_AS_A_POSTCODE
from sources.councils.date_formats import USUAL_FORMATS, date_sql, likeliest, plausible
from sources.extract.table import trimmed

_MAYBE_DATE = "length(cell) BETWEEN 5 AND 25 AND regexp_matches(cell, '[0-9].*[0-9]')"


@dataclass(frozen=True)
class DateForm:
    """A date format, and the same with day and month exchanged if it reads as many dates."""

    form: str
    exchanged: str | None


class TextSample:
    """The first rows of a file in a temporary table of `con`, with every cell trimmed and blank cells NULL.

    Conditions are SQL over `cell`. The table may contain identifiers: `close` drops it.
    """

    relation = "text_sample"

    def __init__(
        self, con: duckdb.DuckDBPyConnection, headings: Sequence[str], batches: Iterable[pa.RecordBatch]
    ) -> None:
        self.con, self.headings = con, tuple(headings)
        names = [self.column(heading) for heading in headings]
        rows = [batch.select(range(len(names))).rename_columns(names) for batch in batches]
        con.register("text_rows", pa.Table.from_batches(rows, pa.schema([(name, pa.string()) for name in names])))
        cells = ", ".join(f"{trimmed(name)} AS {name}" for name in names)
        con.execute(f"CREATE OR REPLACE TEMP TABLE {self.relation} AS SELECT {cells} FROM text_rows").fetchall()
        con.unregister("text_rows")
        counts = ", ".join(["count(*)", *(f"count({name})" for name in names)])
        self.rows, *filled = con.execute(f"SELECT {counts} FROM {self.relation}").fetchall()[0]
        self.filled: dict[str, int] = dict(zip(headings, filled, strict=True))

    def close(self) -> None:
        self.con.execute(f"DROP TABLE {self.relation}").fetchall()

    def column(self, heading: str) -> str:
        """Return the column name in `relation` of a heading."""
        return f"column_{self.headings.index(heading)}"

    def share(self, heading: str, condition: str) -> float:
        """Return the share of filled cells under a heading that meet a condition."""
        return self._shares(heading, [condition])[0]

    def date_form(self, heading: str, least: float) -> DateForm | None:
        """Return the usual date format that reads at least the share `least` of the filled cells; None if none does."""
        if self.share(heading, _MAYBE_DATE) < least:
            return None
        shares = self._shares(heading, [plausible(date_sql("cell", (form,))) for form in USUAL_FORMATS])
        by_form = dict(zip(USUAL_FORMATS, shares, strict=True))
        best, exchanged = likeliest(by_form)
        return DateForm(best, exchanged) if by_form[best] >= least else None

    def values(self, heading: str, most: int) -> dict[str, int]:
        """Return the distinct values under a heading with their row counts; empty if there are more than `most`."""
        column = self.column(heading)
        rows = self.con.execute(
            f"SELECT {column}, count(*) FROM {self.relation} WHERE {column} IS NOT NULL"
            f" GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {most + 1}"
        ).fetchall()
        return dict(rows) if len(rows) <= most else {}

    def _shares(self, heading: str, conditions: Sequence[str]) -> list[float]:
        counts = ", ".join(f"count(*) FILTER ({condition})" for condition in conditions)
        cells = f"SELECT {self.column(heading)} AS cell FROM {self.relation}"
        found = self.con.execute(f"SELECT {counts} FROM ({cells}) WHERE cell IS NOT NULL").fetchall()[0]
        return [count / max(self.filled[heading], 1) for count in found]


def identifier_forms(valid: Mapping[str, str]) -> dict[str, str]:
    """Return the SQL condition, by column, of values in the form of an identifier: `valid` ones, and postcodes.

    `valid` has conditions on `{}` for identifiers with a check digit.
    """
    return {name: form.format("cell") for name, form in {**valid, "postcode": WRITTEN_AS_A_POSTCODE}.items()}
