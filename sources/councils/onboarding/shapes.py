"""What may be said of the values of an identifiable extract: their shapes, and codes that many rows share."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from sources.contracts import Column, Kind, Role, SourceContract
from sources.councils.onboarding.known import of_identifier

MIN_ROWS = 5
"""A value or shape in fewer rows is not shown."""
MAX_VALUES = 10
MAX_LENGTH = 40
_MAX_DISTINCT = 40
_CODED_SHARE = 0.8
"""A column is one of codes if values of `MIN_ROWS` rows or more make up this share of it."""
_NAMES = ("surname", "forename")
_LIKE_IDENTIFIER = (
    r"[0-9]{5,}|[0-9]{1,4}[/.-][0-9]{1,2}[/.-][0-9]{2,4}|^[A-Za-z]{1,2}[0-9][0-9A-Za-z]? ?[0-9][A-Za-z]{2}$|@"
)


@dataclass(frozen=True)
class Shown:
    """Values with their rows, most frequent first, and the number of distinct ones that are not shown."""

    values: tuple[tuple[str, int], ...]
    others: int


def shape_sql(column: Column, text: str) -> str:
    """SQL of the shape of the SQL expression `text`: `AA9 9AA` for a postcode; for a name, how long it is."""
    if column.name in _NAMES:
        return (
            f"CASE WHEN length({text}) <= 2 THEN '1-2 letters' WHEN length({text}) <= 12 THEN '3-12 letters'"
            " ELSE 'over 12 letters' END"
        )
    shape = text
    for characters, sign in ((r"\p{Lu}", "A"), (r"[\p{Ll}\p{Lm}\p{Lo}\p{Lt}\p{M}]", "a"), (r"\p{N}", "9")):
        shape = f"regexp_replace({shape}, '{characters}', '{sign}', 'g')"
    return f"left({shape}, {MAX_LENGTH})"


def common_shape(con: duckdb.DuckDBPyConnection, relation: str, column: Column, text: str, where: str) -> str | None:
    """The most frequent shape of `text` among rows that meet `where`, if enough rows share it."""
    found = con.execute(
        f"SELECT {shape_sql(column, text)} AS shape FROM {relation} WHERE {text} IS NOT NULL AND ({where})"
        f" GROUP BY shape HAVING count(*) >= {MIN_ROWS} ORDER BY count(*) DESC, shape LIMIT 1"
    ).fetchall()
    return str(found[0][0]) if found else None


def shown_values(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    text: str,
    where: str,
    contract: SourceContract,
    column: Column,
    headings: tuple[str, ...],
    most: int = MAX_VALUES,
) -> Shown:
    """Values of `text` among rows that meet `where` that may be shown, for a column read from `headings`.

    Only of coded payload columns; none where the file's column is one of identifiers by its heading, holds many
    different values, or holds mostly rare ones; no value that looks like a number, date or postcode of a person.
    """
    distinct, frequent, filled = con.execute(
        f"SELECT count(*), coalesce(sum(n) FILTER (n >= {MIN_ROWS}), 0), coalesce(sum(n), 0)"
        f" FROM (SELECT count(*) AS n FROM {relation} WHERE {text} IS NOT NULL GROUP BY {text})"
    ).fetchall()[0]
    of_codes = distinct <= _MAX_DISTINCT and frequent >= _CODED_SHARE * filled
    coded = column.kind is Kind.CODE and column.role is Role.PAYLOAD
    hidden = any(of_identifier(contract, heading) for heading in headings)
    rows = con.execute(
        f"SELECT {text}, count(*), regexp_matches({text}, '{_LIKE_IDENTIFIER}') FROM {relation}"
        f" WHERE {text} IS NOT NULL AND ({where}) GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    if not (coded and of_codes) or hidden:
        return Shown((), len(rows))
    may = [(str(value)[:MAX_LENGTH], int(n)) for value, n, personal in rows if n >= MIN_ROWS and not personal][:most]
    return Shown(tuple(may), len(rows) - len(may))
