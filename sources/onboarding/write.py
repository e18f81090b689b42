"""Drafts of council files, made from samples; whatever a person must decide is marked TODO."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import yaml

from privacy.doors.sql import quote_text
from sources.contracts import CONTRACTS, Column, Kind, Role, SourceContract
from sources.councils.dialect import CONTRACT_DIALECT, Derived
from sources.councils.known_headings import find_code
from sources.diagnosis.column_guesses import DateForm, Guess, Guesser, TextSample
from sources.extract.landed import Landed
from sources.extract.match import is_in_contract_form
from sources.extract.table import TextTable, build_whole_sql, take_first_rows
from sources.onboarding.sample import MAX_ROWS, MIN_ROWS, detect_encoding, open_sample_table, select_shown_values

_MAX_CODES = 40
# Many YAML parsers read these as booleans or null.
_YAML_WORDS = ("y", "n", "yes", "no", "true", "false", "null", "on", "off")
_TODO = "TODO"


@dataclass
class Draft:
    """The lines of one source in a council file; `needed` is False for a sample already in contract form."""

    source: str
    needed: bool
    guesses: Mapping[str, Guess] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    @property
    def decisions(self) -> int:
        """Number of decisions left to a person."""
        return sum(f"# {_TODO}" in line for line in self.lines)


def draft_source(con: duckdb.DuckDBPyConnection, landed: Landed, valid: Mapping[str, str]) -> Draft:
    """Draft one source of a council file; raises `ExtractStopped` for a sample that cannot be read."""
    contract = CONTRACTS[landed.source]
    table = open_sample_table(landed, CONTRACT_DIALECT)
    # A council file would add nothing: such an extract is read in contract form whatever the file says.
    if is_in_contract_form(contract, table.header):
        return Draft(landed.source, needed=False)
    sample = TextSample(con, table.header, take_first_rows(table.read(table.header), MAX_ROWS))
    guesser = Guesser(sample, contract, valid)
    guesses = guesser.guess_columns()
    lines = [
        f"  {landed.source}:",
        *_iter_form_lines(landed, table),
        *_iter_date_lines(contract, guesser, guesses),
        *_iter_column_lines(contract, sample, guesses),
        *_iter_derived_lines(guesses),
        *_iter_code_maps(con, contract, guesser, guesses),
    ]
    return Draft(landed.source, True, guesses, lines)


def build_council_file(council: str, drafts: Sequence[Draft]) -> str:
    """Return the text of the council file."""
    needed = [draft for draft in drafts if draft.needed]
    head = [
        f"# {council}: drafted from samples by `readiness council new`. Lines with TODO wait for a decision.",
        "# The contract's name is left of the colon, the name in the council's files right of it. Then run",
        f"# `readiness council check {council}.yaml --sample <source>=<file>`; every key: docs/council-files.md.",
        f"council: {council}",
        "sources:" if needed else "sources: {}",
    ]
    return "\n".join([*head, *(line for draft in needed for line in draft.lines)]) + "\n"


def _iter_form_lines(landed: Landed, table: TextTable) -> Iterator[str]:
    if (sheet := table.sheet) and sheet.left_aside:
        others = f"other sheets left aside: {sheet.left_aside}"
        yield f"    # sheet: NAME   # sheet {sheet.number} has most columns; {others}; give its name to keep it"
    elif sheet:
        yield "    # read from the one visible sheet"
    if not table.delimiter:
        return
    yield f"    delimiter: {format_scalar(table.delimiter)}"
    if (encoding := detect_encoding(landed.path)) == "windows-1252":
        yield "    encoding: windows-1252   # not UTF-8; check a name with an accent, or else try iso-8859-15 or cp850"
    else:
        yield f"    encoding: {encoding}"


def _iter_date_lines(contract: SourceContract, guesser: Guesser, guesses: Mapping[str, Guess]) -> Iterator[str]:
    """Yield the most common date format for the file, and other formats by column."""
    forms: dict[str, DateForm] = {}
    unread = []
    for column in contract.columns:
        heading = guesses[column.name].heading if column.name in guesses else None
        if column.kind is Kind.DATE and heading and guesser.sample.filled[heading]:
            form = guesser.dates[heading]
            if form:
                forms[column.name] = form
            else:
                unread.append(column.name)
    written = [form.form for form in forms.values()]
    usual = max(written, key=written.count, default="%Y-%m-%d")
    if usual != "%Y-%m-%d":
        # One column with a day above 12 shows the order for all that are written alike.
        settled = any(form.form == usual and not form.exchanged for form in forms.values())
        doubt = "" if settled else f"   # {_TODO}: no date in the sample shows whether the day or the month is first"
        yield f"    date_format: {format_scalar(usual)}{doubt}" + _pivot(usual)
    others = {name: form for name, form in forms.items() if form.form != usual}
    if others or unread:
        yield "    date_formats:" if others else f"    # {_TODO} date_formats:"
    for name, form in others.items():
        doubt = f"   # {_TODO}: is the day first?" if form.exchanged else ""
        yield f"      {name}: {format_scalar(form.form)}{doubt}" + _pivot(form.form)
    for name in unread:
        yield f'      # {_TODO} {name}: no format reads most of its dates; write one such as "%d/%m/%Y", or a list'


def _pivot(form: str) -> str:
    return "   # two-digit years: 00 to 68 are 2000 to 2068" if "%y" in form else ""


def _iter_column_lines(contract: SourceContract, sample: TextSample, guesses: Mapping[str, Guess]) -> Iterator[str]:
    used = {guess.heading for guess in guesses.values()}
    used |= {heading for guess in guesses.values() if guess.derived for heading in guess.derived.inputs}
    spare = [heading for heading in sample.headings if heading not in used]
    mapped = [guess for guess in guesses.values() if guess.heading]
    missing = [column for column in contract.columns if column.name not in guesses]
    yield "    columns:" if mapped else "    # columns:"
    for column in contract.columns:
        guess = guesses.get(column.name)
        if guess and guess.heading:
            note = "" if guess.sure else f"   # {_TODO} check: {guess.why}"
            yield f"      {column.name}: {format_scalar(guess.heading)}{note}"
    for column in missing:
        if column.required:
            yield f"      # {_TODO} {column.name}: required, no heading found ({column.description})"
    optional = [column.name for column in missing if not column.required]
    if optional:
        yield f"      # not found, not required: {', '.join(optional)}"
    if spare:
        yield f"      # headings not used: {', '.join(map(format_scalar, spare))}"


def _iter_derived_lines(guesses: Mapping[str, Guess]) -> Iterator[str]:
    made = [guess for guess in guesses.values() if guess.derived]
    if made:
        yield "    derived:"
    for guess in made:
        assert guess.derived
        mark = "" if guess.sure else f"{_TODO} check: "
        yield f"      {guess.column}: {format_operation(guess.derived)}   # {mark}{guess.why}"


def _iter_code_maps(
    con: duckdb.DuckDBPyConnection, contract: SourceContract, guesser: Guesser, guesses: Mapping[str, Guess]
) -> Iterator[str]:
    """Yield a map for each coded column whose values are not the contract's; equal maps are shared by a YAML anchor."""
    named: dict[tuple[str, ...], str] = {}
    lines: list[str] = []
    for column in contract.columns:
        guess = guesses.get(column.name)
        if not guess or not guess.heading or column.kind is not Kind.CODE or column.role is not Role.PAYLOAD:
            continue
        entries = tuple(_iter_code_lines(con, contract, guesser, column, guess.heading))
        if not entries:
            continue
        has_map = any(not entry.startswith("#") for entry in entries)
        if has_map and entries in named:
            lines.append(f"      {column.name}: *{named[entries]}")
            continue
        if has_map:
            named[entries] = column.name
        lines.append(f"      {column.name}: &{column.name}" if has_map else f"      # {column.name}:")
        lines += [f"        {entry}" for entry in entries]
    if lines:
        real = any(not line.lstrip().startswith("#") for line in lines)
        yield "    codes:" if real else "    # codes:"
    # An anchor that nothing refers to would only puzzle the reader of the file.
    again = set(re.findall(r"\*(\w+)$", "\n".join(lines), re.MULTILINE))
    for line in lines:
        anchor = re.search(r": &(\w+)$", line)
        yield line if not anchor or anchor[1] in again else line[: anchor.start() + 1]


def _iter_code_lines(
    con: duckdb.DuckDBPyConnection, contract: SourceContract, guesser: Guesser, column: Column, heading: str
) -> Iterator[str]:
    own = sorted({code.lower() for code in column.codes or ()})
    text = guesser.sample.get_column_name(heading)
    # Compared as the intake reads codes: without letter case, and 2.0 as 2.
    foreign = f"lower({build_whole_sql(text)}) NOT IN ({', '.join(map(quote_text, own))})"
    shown, others = select_shown_values(
        con, guesser.sample.relation, text, foreign, contract, column, (heading,), most=_MAX_CODES
    )
    accepted = ", ".join(column.codes or ())
    for value, _ in shown:
        match find_code(column, value):
            case (code, True):
                yield f"{format_scalar(value)}: {format_scalar(code)}"
            case (code, False):
                yield f"{format_scalar(value)}: {format_scalar(code)}   # {_TODO} check: guessed"
            case None:
                yield f'# {_TODO} {format_scalar(value)}: one of {accepted}, or "" if it means that nothing is known'
    if others:
        few = f"not shown because in fewer than {MIN_ROWS} rows or not like codes"
        yield f"# {_TODO}: distinct values that are {few}: {others}"


def format_scalar(text: str) -> str:
    """Return text as a YAML scalar: plain if every YAML parser reads it back unchanged, otherwise in double quotes."""
    plain = re.fullmatch(r"[A-Za-z]([\w /().&+-]*[\w).])?", text) and text.lower() not in _YAML_WORDS
    return text if plain else str(yaml.dump(text, default_style='"', width=10_000, allow_unicode=True)).strip()


def format_operation(derived: Derived) -> str:
    """Return an operation of a draft, which is a pattern, `filled` or a join, as written in a council file."""
    headings, values = list(map(format_scalar, derived.inputs)), list(map(format_scalar, derived.arguments))
    match derived.operation:
        case "pattern":
            # In single quotes, where YAML leaves backslashes alone.
            keys = {"from": headings[0], "pattern": "'" + derived.arguments[0].replace("'", "''") + "'"}
        case "filled":
            keys = {"from": headings[0], "filled": values[0], "blank": values[1]}
        case _:
            keys = {"join": f"[{', '.join(headings)}]", "with": values[0]}
    return "{" + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}"
