"""Builder of test extracts: rows that break no rule, under contract column names.

Columns and codes come from `sources.contracts`, so a new contract column gets a valid value in every row without a
change to any test. A test names only the values that it is about. For a whole population with a known truth,
independent of the pipeline and the synthetic generator, see `independent`.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sources.contracts import CONTRACTS, Column, Kind
from sources.extract.landing import REFERENCE, mark_as_synthetic, read_synthetic_hashes
from sources.reference.code_lists import DOMAINS, GOALS

COHORT = "202425"
Row = dict[str, str]

UPN_LETTERS = "ABCDEFGHJKLMNPQRTUVWXYZ"


def make_upn(number: int) -> str:
    """Return the unique pupil number with these twelve digits, preceded by its check letter."""
    return add_check_letter(f"{number:012d}")


def add_check_letter(upn: str) -> str:
    """Return twelve characters of a unique pupil number, of which the last may be a letter, with their check letter."""
    values = (UPN_LETTERS.index(each) if each.isalpha() else int(each) for each in upn)
    return UPN_LETTERS[sum(weight * value for weight, value in enumerate(values, 2)) % 23] + upn


def make_nhs_number(number: int) -> str | None:
    """Return the NHS number of 999 and these six digits, which nobody has; None if the check digit would be 10."""
    return add_check_digit(f"999{number:06d}")


def add_check_digit(nhs_number: str) -> str | None:
    """Return nine digits of an NHS number with their check digit; None if that would be 10."""
    check = -sum((10 - at) * int(digit) for at, digit in enumerate(nhs_number)) % 11
    return None if check == 10 else f"{nhs_number}{check}"


PERSON: Row = {
    "surname": "Thornton",
    "forename": "Amelia",
    "sex": "F",
    "date_of_birth": "2020-02-29",
    "postcode": "LS1 4AP",
}
USUAL: Row = (
    {"la_code": "383", "estab": "2001", "urn": "100001", "academic_year": COHORT}
    | {"upn": make_upn(800_000_000_005), "nhs_number_status": "01"}
    | dict.fromkeys(GOALS, "2")
    | {"ethnicity": "WBRI", "fsm_eligible": "N", "sen_provision": "N", "first_language": "ENG"}
    | {"setting_urn": "EY1", "entitlement": "UNI", "progress_check_date": "2022-03-01"}
    | {"review": "2-2.5Y", "review_date": "2022-04-02", "asq3_months": "27", "concern": "N", "referral": "N"}
    | dict.fromkeys(DOMAINS, "50")
    | {"wave": "1"}
)
"""Values of a valid row. Other columns are empty if they may be, or have their first code."""


def list_columns(source: str) -> list[str]:
    return [column.name for column in CONTRACTS[source].columns]


def build_row(source: str, *changes: Mapping[str, str], **change: str) -> Row:
    """Return a valid row with some values changed; raises KeyError if the contract has no such column."""
    made = {column.name: _build_value(column) for column in CONTRACTS[source].columns}
    for changed in (*changes, change):
        if unknown := set(changed) - set(made):
            raise KeyError(f"{source} has no column {', '.join(sorted(unknown))}")
        made |= changed
    return made


def format_rows(rows: Iterable[Mapping[str, str]], header: Sequence[str] | None = None, delimiter: str = ",") -> str:
    """Return rows as the text of an extract; `header` orders the columns, usually those of the first row."""
    there = list(rows)
    names = list(header or there[0])
    return _format_lines([names, *([each.get(name, "") for name in names] for each in there)], delimiter)


def format_line(path: Path, values: Mapping[str, str]) -> str:
    """Return a row as a line of a landed text file, in its column order; raises KeyError if a value has no column."""
    with path.open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    if lost := {name for name, value in values.items() if value} - set(header):
        raise KeyError(f"{path} has no column {', '.join(sorted(lost))}")
    return _format_lines([[values.get(name, "") for name in header]])


def mark_synthetic(landing: Path) -> None:
    """Mark all files in landing as synthetic, as the generator does."""
    folders = (folder for folder in landing.iterdir() if folder.name != REFERENCE)
    mark_as_synthetic(landing, [path for folder in folders for path in folder.rglob("*") if path.is_file()])


def append(path: Path, *rows: Mapping[str, str]) -> None:
    added = "".join(format_line(path, values) for values in rows)
    with path.open("a", encoding="utf-8") as file:
        file.write(added)
    mark_again(path)


def mark_again(path: Path) -> None:
    """Mark a changed landed file as synthetic, if landing is marked."""
    landing = path.parents[2]
    if read_synthetic_hashes(landing):
        mark_as_synthetic(landing, [path])


def prepend(path: Path, *rows: Mapping[str, str], drop_last: bool = False) -> None:
    """Insert rows before the first row of a landed text file, and optionally drop its last row."""
    first, *rest = path.read_text(encoding="utf-8").splitlines(keepends=True)
    added = [format_line(path, values) for values in rows]
    path.write_text("".join([first, *added, *(rest[:-1] if drop_last else rest)]), encoding="utf-8")
    mark_again(path)


def _build_value(column: Column) -> str:
    if column.name in PERSON:
        return PERSON[column.name]
    if column.name in USUAL or not column.required:
        return USUAL.get(column.name, "")
    if column.codes:
        return next(iter(column.codes))
    if column.kind is Kind.DATE:
        return "2022-04-02"
    return str(int(column.minimum or 0)) if column.kind in (Kind.INTEGER, Kind.DECIMAL) else "x"


def _format_lines(cells: Iterable[Sequence[str]], delimiter: str = ",") -> str:
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=delimiter, lineterminator="\n").writerows(cells)
    return written.getvalue()
