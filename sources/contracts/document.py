"""The contracts as a page for those who send extracts: `python -m sources.contracts.document > docs/sources.md`."""

from __future__ import annotations

from sources.contracts import CONTRACTS
from sources.contracts.model import Column, SourceContract
from sources.reference.cohorts import Cohort

_EXAMPLE = Cohort("202425")

_INTRODUCTION = """# What each extract holds

Made from the source contracts by `make docs`.

An extract is one file of one source from one council for one cohort: `landing/<council>/<source>/<cohort>.csv`,
`.csv.gz` or `.parquet`, with a header line. A file with the column names below is taken from any council as it is, in
any order, with further columns ignored; a council's own names and codes are mapped by its council file. Dates are
written `2020-02-29`.

Identifiers become tokens while the file is read and are written nowhere. *Checked* columns are read by the rules and
dropped. A value that breaks a rule of severity *warn* counts as missing and the row is kept; *reject* puts the row into
quarantine; *stop* leaves the whole extract out and the one before it in place.
"""


def render() -> str:
    """The whole page, Markdown."""
    return "\n".join([_INTRODUCTION, *(_source(contract) for contract in CONTRACTS.values())])


def _source(contract: SourceContract) -> str:
    rows = [_column(column) for column in contract.columns]
    rules = [f"- `{rule.id}` ({rule.severity}): {rule.sentence}" for rule in contract.rules]
    return "\n".join(
        [
            f"## `{contract.name}`: {contract.title}",
            "",
            f"One row per {contract.row_per}. Due {_day(contract)} for cohort {_EXAMPLE.label}: {contract.due.reason}.",
            "",
            "| column | becomes | required | blank | wrong value | what it is |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            *(["Rules across columns:", "", *rules, ""] if rules else []),
        ]
    )


def _day(contract: SourceContract) -> str:
    day = contract.due.on(_EXAMPLE)
    return f"{day.day} {day:%B %Y}"


def _column(column: Column) -> str:
    becomes = {"identifier": "token", "payload": "kept", "check": "checked"}[column.role]
    blank = column.blank or "allowed"
    codes = f" ({', '.join(f'`{code}` {label}' for code, label in column.codes.items())})" if column.codes else ""
    required = "yes" if column.required else "no"
    return f"| `{column.name}` | {becomes} | {required} | {blank} | {column.invalid} | {column.description}{codes} |"


if __name__ == "__main__":
    print(render(), end="")
