"""The builder of test extracts: rows that break no rule, under the contracts' own names.

Columns and codes come from `sources.contracts`: what a contract gains is in every row that is built here, with a value
that it accepts, and no test changes. A test names the values that it is about. For a whole population with a known
truth, which asks neither the pipeline nor the synthetic generator, see `independent`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sources.contracts import CONTRACTS, Column, Kind
from sources.extract.landed import REFERENCE, mark_as_synthetic, synthetic_hashes
from sources.reference.asq3 import DOMAINS
from sources.reference.goals import GOALS

COHORT = "202425"
Row = dict[str, str]

UPN_LETTERS = "ABCDEFGHJKLMNPQRTUVWXYZ"


def upn(number: int) -> str:
    """The unique pupil number of these twelve digits: its check letter stands first."""
    digits = f"{number:012d}"
    return UPN_LETTERS[sum((i + 2) * int(d) for i, d in enumerate(digits)) % 23] + digits


def nhs_number(number: int) -> str | None:
    """The NHS number of 999 and these six digits, which no person has; None where the check digit would be 10."""
    digits = f"999{number:06d}"
    check = 11 - sum((10 - i) * int(d) for i, d in enumerate(digits)) % 11
    return None if check == 10 else digits + str(0 if check == 11 else check)


PERSON: Row = {
    "surname": "Thornton",
    "forename": "Amelia",
    "sex": "F",
    "date_of_birth": "2020-02-29",
    "postcode": "LS1 4AP",
}
USUAL: Row = (
    {"la_code": "383", "estab": "2001", "urn": "100001", "academic_year": COHORT}
    | {"upn": upn(800_000_000_005), "nhs_number_status": "01"}
    | dict.fromkeys(GOALS, "2")
    | {"ethnicity": "WBRI", "fsm_eligible": "N", "sen_provision": "N", "first_language": "ENG"}
    | {"setting_urn": "EY1", "entitlement": "UNI", "funded_hours": "15", "eypp": "N"}
    | {"progress_check_date": "2022-03-01"}
    | {"review": "2-2.5Y", "review_date": "2022-04-02", "asq3_months": "27", "concern": "N", "referral": "N"}
    | dict.fromkeys(DOMAINS, "50")
    | {"asq_se2_score": "20", "wave": "1"}
)
"""What a sound row says. Of other columns, those that may be missing are empty, and the rest have their first code."""


def columns(source: str) -> list[str]:
    """The names of a source's columns, in the order of its contract."""
    return [column.name for column in CONTRACTS[source].columns]


def row(source: str, *changes: Mapping[str, str], **change: str) -> Row:
    """A sound row with some values changed; KeyError where the contract has no such column."""
    made = {column.name: _sound(column) for column in CONTRACTS[source].columns}
    for changed in (*changes, change):
        if unknown := set(changed) - set(made):
            raise KeyError(f"{source} has no column {', '.join(sorted(unknown))}")
        made |= changed
    return made


def text(rows: Iterable[Mapping[str, str]], header: Sequence[str] | None = None, delimiter: str = ",") -> str:
    """Rows as the text of an extract; `header` chooses and orders the columns, which the first row does otherwise."""
    there = list(rows)
    names = list(header or there[0])
    return _lines([names, *([each.get(name, "") for name in names] for each in there)], delimiter)


def line(path: Path, values: Mapping[str, str]) -> str:
    """A row as a line of a landed text file, in the order of its columns; KeyError where a value has no column."""
    with path.open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    if lost := {name for name, value in values.items() if value} - set(header):
        raise KeyError(f"{path} has no column {', '.join(sorted(lost))}")
    return _lines([[values.get(name, "") for name in header]])


def mark_synthetic(landing: Path) -> None:
    """Mark all that lies in landing as synthetic, as the generator marks what it writes."""
    folders = (folder for folder in landing.iterdir() if folder.name != REFERENCE)
    mark_as_synthetic(landing, [path for folder in folders for path in folder.rglob("*") if path.is_file()])


def append(path: Path, *rows: Mapping[str, str]) -> None:
    """Add rows at the end of a landed text file."""
    added = "".join(line(path, values) for values in rows)
    with path.open("a", encoding="utf-8") as file:
        file.write(added)
    mark_again(path)


def mark_again(path: Path) -> None:
    """Mark a landed file that was changed as synthetic, if landing is marked."""
    landing = path.parents[2]
    if synthetic_hashes(landing):
        mark_as_synthetic(landing, [path])


def prepend(path: Path, *rows: Mapping[str, str], drop_last: bool = False) -> None:
    """Add rows before the first of a landed text file, with or without its last."""
    first, *rest = path.read_text(encoding="utf-8").splitlines(keepends=True)
    added = [line(path, values) for values in rows]
    path.write_text("".join([first, *added, *(rest[:-1] if drop_last else rest)]), encoding="utf-8")
    mark_again(path)


def _sound(column: Column) -> str:
    """A value that a column accepts."""
    if column.name in PERSON:
        return PERSON[column.name]
    if column.name in USUAL or not column.required:
        return USUAL.get(column.name, "")
    if column.codes:
        return next(iter(column.codes))
    if column.kind is Kind.DATE:
        return "2022-04-02"
    return str(int(column.minimum or 0)) if column.kind in (Kind.INTEGER, Kind.DECIMAL) else "x"


def _lines(cells: Iterable[Sequence[str]], delimiter: str = ",") -> str:
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=delimiter, lineterminator="\n").writerows(cells)
    return written.getvalue()
