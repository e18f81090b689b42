"""Drafts of council files, made from samples; whatever a person must decide is marked TODO."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import yaml

from privacy.doors.sql import quote_text
from sources.contracts import CONTRACTS, Column, Kind, Role, SourceContract
from sources.councils.dialect import CONTRACT_DIALECT, Derived
from sources.councils.known_headings import find_code
from sources.diagnosis.column_guesses import DateForm, Guess, Guesser, TextSample
from sources.extract.landing import Landed
from sources.extract.table import build_whole_sql, is_in_contract_form, take_first_rows
from sources.onboarding.sample import MAX_ROWS, MIN_ROWS, detect_encoding, open_sample_table, select_shown_values

_MAX_CODES = 40
# Many YAML parsers read these as booleans or null.
_YAML_WORDS = ("y", "n", "yes", "no", "true", "false", "null", "on", "off")


def draft_source(con: duckdb.DuckDBPyConnection, landed: Landed, valid: Mapping[str, str]) -> str | None:
    """Draft one source of a council file; None for a sample in contract form, which needs none.

    Raises `ExtractStopped` for a sample that cannot be read.
    """
    contract = CONTRACTS[landed.source]
    table = open_sample_table(landed, CONTRACT_DIALECT)
    # A council file would add nothing: such an extract is read in contract form whatever the file says.
    if is_in_contract_form(contract, table.header):
        return None
    sample = TextSample(con, table.header, take_first_rows(table.read(table.header), MAX_ROWS))
    guesser = Guesser(sample, contract, valid)
    guesses = guesser.guess_columns()
    mapped = [guesses[column.name] for column in contract.columns if _get_heading(guesses, column)]
    derived = {guess: guess.derived.inputs for guess in guesses.values() if guess.derived}
    used = {guess.heading for guess in mapped}.union(*derived.values())
    return render(
        "council_file.yaml.j2",
        source=landed.source,
        sheet=table.sheet,
        delimiter=table.delimiter,
        encoding=detect_encoding(landed.path) if table.delimiter else "",
        **_find_date_forms(contract, guesser, guesses),
        mapped=mapped,
        missing=[column for column in contract.columns if column.name not in guesses],
        spare=[heading for heading in sample.headings if heading not in used],
        derived=derived,
        codes={
            column.name: found
            for column in contract.columns
            if (heading := _get_heading(guesses, column)) and (found := _find_codes(con, guesser, column, heading))
        },
        min_rows=MIN_ROWS,
    )


def build_council_file(council: str, drafts: Iterable[str]) -> str:
    """Return the text of the council file with these drafts of sources."""
    sources = "".join(drafts)
    return (
        f"# {council}: drafted from samples by `readiness council new`. Lines with TODO wait for a decision.\n"
        "# The contract's name is left of the colon, the name in the council's files right of it. Then run\n"
        f"# `readiness council check {council}.yaml --sample <source>=<file>`; every key: docs/council-files.md.\n"
        f"council: {council}\n"
        f"{'sources:' if sources else 'sources: {}'}\n{sources}"
    )


def render(template: str, **facts: Any) -> str:
    """Render a template of this folder."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": "{:,}".format, "scalar": format_scalar, "operation": format_operation}
    return environment.get_template(template).render(facts)


def _get_heading(guesses: Mapping[str, Guess], column: Column) -> str | None:
    return guesses[column.name].heading if column.name in guesses else None


def _find_date_forms(contract: SourceContract, guesser: Guesser, guesses: Mapping[str, Guess]) -> dict[str, Any]:
    """Return the most common date format, whether it is settled, other formats by column, and columns without one."""
    forms: dict[str, DateForm] = {}
    unread = []
    for column in contract.columns:
        heading = _get_heading(guesses, column)
        if column.kind is Kind.DATE and heading and guesser.sample.filled[heading]:
            if form := guesser.dates[heading]:
                forms[column.name] = form
            else:
                unread.append(column.name)
    written = [form.form for form in forms.values()]
    usual = max(written, key=written.count, default="%Y-%m-%d")
    return {
        "usual": usual,
        # One column with a day above 12 shows the order for all columns in the same format.
        "settled": any(form.form == usual and not form.exchanged for form in forms.values()),
        "other_forms": {name: form for name, form in forms.items() if form.form != usual},
        "unread": unread,
    }


@dataclass(frozen=True)
class _Codes:
    """Foreign values of a column, each with its code and whether that is known, and the number of values not shown.

    `accepted` are the contract's codes if any value has no code, otherwise empty.
    """

    codes: tuple[tuple[str, tuple[str, bool] | None], ...]
    accepted: tuple[str, ...]
    others: int

    @property
    def is_map(self) -> bool:
        return any(code for _, code in self.codes)


def _find_codes(con: duckdb.DuckDBPyConnection, guesser: Guesser, column: Column, heading: str) -> _Codes | None:
    """Return the foreign values of a coded payload column; None if there are none."""
    if column.kind is not Kind.CODE or column.role is not Role.PAYLOAD:
        return None
    own, text = sorted({code.lower() for code in column.codes or ()}), guesser.sample.get_column_name(heading)
    # Compared as the intake reads codes: ignoring letter case, and with 2.0 as 2.
    foreign = f"lower({build_whole_sql(text)}) NOT IN ({', '.join(map(quote_text, own))})"
    shown, others = select_shown_values(
        con, guesser.sample.relation, text, foreign, guesser.contract, column, (heading,), most=_MAX_CODES
    )
    codes = tuple((value, find_code(column, value)) for value, _ in shown)
    accepted = () if all(code for _, code in codes) else tuple(column.codes or ())
    return _Codes(codes, accepted, others) if codes or others else None


def format_scalar(text: str) -> str:
    """Return text as a YAML scalar: plain if every YAML parser reads it back unchanged, otherwise in double quotes."""
    plain = re.fullmatch(r"[A-Za-z]([\w /().&+-]*[\w).])?", text) and text.lower() not in _YAML_WORDS
    return text if plain else str(yaml.dump(text, default_style='"', width=10_000, allow_unicode=True)).strip()


def format_operation(derived: Derived) -> str:
    """Return an operation of a draft as written in a council file."""
    keys = derived.model_dump(by_alias=True, exclude_unset=True)
    return "{" + ", ".join(f"{key}: {_format_value(key, value)}" for key, value in keys.items()) + "}"


def _format_value(key: str, value: str | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(format_scalar, value))}]"
    # In single quotes YAML leaves backslashes alone.
    return "'" + value.replace("'", "''") + "'" if key == "pattern" else format_scalar(value)
