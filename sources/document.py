"""The contracts as a page for those who send extracts: `python -m sources.document > docs/sources.md`."""

from __future__ import annotations

from collections.abc import Iterable

from sources.contracts import CONTRACTS
from sources.contracts.extract_rules import MIN_COMPLETE_SHARE, ROW_COUNT_RULES, ExtractRule
from sources.contracts.model import Column, Rule, SourceContract
from sources.extract.rules import FILE_RULES
from sources.reference.cohorts import Cohort

_EXAMPLE = Cohort("202425")

_INTRODUCTION = """# What each extract holds

Made from the source contracts by `make docs`.

An extract is one file of one source from one council for one cohort: `landing/<council>/<source>/<cohort>.csv`, or a
workbook, Parquet file or packed file as [files.md](files.md) says, with a header line. The Profile may come as the XML
return and health visiting as the tables of the Community Services Data Set ([formats.md](formats.md)); a sender that
replaces identifiers itself sends `<cohort>.tokens.parquet` ([at-the-council.md](at-the-council.md)).

A file with the column names below is taken from any council as it is, in any order, with further columns ignored; a
council's own names and codes are mapped by its council file. Dates are written `2020-02-29`.

Identifiers become tokens while the file is read and are written nowhere. *Checked* columns are read by the rules and
dropped. A value that breaks a rule of severity *warn* counts as missing and the row is kept; *reject* puts the row into
quarantine; *stop* leaves the whole extract out and the one before it in place.
"""
_EXTRACTS = f"""## Rules about every extract

Each column has the rules `<column>-blank` and `<column>-invalid`, of the severity that its table says; a required date
that is wrong in more than half of the rows stops the extract, for it is written in another form. A required column that
may be blank has `<column>-thin` (warn), when fewer than {MIN_COMPLETE_SHARE:.0%} of the rows have a usable value.
Of the extract as a whole:

"""
_FILES = """## Rules about the file

Of every source, whatever its columns hold.

"""


def render() -> str:
    """The whole page, Markdown."""
    sources = (_source(contract) for contract in CONTRACTS.values())
    return "\n".join([_INTRODUCTION, *sources, _EXTRACTS + _rules(ROW_COUNT_RULES), _FILES + _rules(FILE_RULES)])


def _source(contract: SourceContract) -> str:
    due = contract.due.on(_EXAMPLE)
    columns = "\n".join(map(_column, contract.columns))
    return f"""## `{contract.name}`: {contract.title}

One row per {contract.row_per}. Due {due.day} {due:%B %Y} for cohort {_EXAMPLE.label}: {contract.due.reason}.

| column | becomes | required | blank | wrong value | what it is |
|---|---|---|---|---|---|
{columns}

Rules across columns:

{_rules((*contract.rules, contract.repeated))}"""


def _rules(rules: Iterable[Rule | ExtractRule]) -> str:
    return "".join(f"{_rule(rule)}\n" for rule in rules)


def _rule(rule: Rule | ExtractRule) -> str:
    share = rule.stop_share if isinstance(rule, Rule) else None
    often = f" In more than {share:.0%} of the rows: stop." if share else ""
    return f"- `{rule.id}` ({rule.severity}): {rule.sentence}{often}"


def _column(column: Column) -> str:
    becomes = {"identifier": "token", "payload": "kept", "check": "checked"}[column.role]
    blank = column.blank or "allowed"
    codes = f" ({', '.join(f'`{code}` {label}' for code, label in column.codes.items())})" if column.codes else ""
    required = "yes" if column.required else "no"
    return f"| `{column.name}` | {becomes} | {required} | {blank} | {column.invalid} | {column.description}{codes} |"


if __name__ == "__main__":
    print(render(), end="")
