"""Samples of extracts: the first rows, opened in memory by the intake's readers. Council files are drafted from them.

What may be disclosed about values is decided here: shapes, and codes that many rows share. Whatever a person must
decide in a draft is marked TODO.
"""

import codecs
import re
from collections.abc import Container, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import yaml

from privacy.doors.sql import quote_text
from sources.contracts import CONTRACTS, Column, Kind, Role, SourceContract
from sources.councils.dialect import CONTRACT_DIALECT, Derived, Dialect
from sources.councils.known_headings import find_code, is_identifier_heading, score_heading
from sources.diagnosis.column_guesses import DateForm, Guess, Guesser, TextSample
from sources.errors import ExtractStopped, build_error
from sources.extract.landing import Landed, is_cohort
from sources.extract.open import open_table
from sources.extract.readers.content import get_content
from sources.extract.readers.delimited import detect_utf_16
from sources.extract.table import VALUE, TextTable, build_whole_sql, is_in_contract_form, take_first_rows

MAX_ROWS = 10_000
MIN_ROWS = 5
"""A value or shape in fewer rows is not shown."""
MAX_VALUES = 10
MAX_LENGTH = 40
_MAX_DISTINCT = 40
_MAX_CODES = 40
_CODED_SHARE = 0.8
"""A column contains codes if values in `MIN_ROWS` rows or more make up this share of it."""
_NAMES = ("surname", "forename")
# Long numbers, dates, postcodes and e-mail addresses: never shown, however many rows have them.
_LIKE_IDENTIFIER = (
    r"[0-9]{5,}|[0-9]{1,4}[/.-][0-9]{1,2}[/.-][0-9]{2,4}|^[A-Za-z]{1,2}[0-9][0-9A-Za-z]? ?[0-9][A-Za-z]{2}$|@"
)
_MIB_SNIFFED = 64
"""Maximum size to which this process unpacks a file to detect its encoding."""
# Many YAML parsers read these as booleans or null.
_YAML_WORDS = ("y", "n", "yes", "no", "true", "false", "null", "on", "off")


def build_landed_sample(path: Path, council: str, source: str | None = None, cohort: str | None = None) -> Landed:
    """Return the sample as a landed file. By default its path or headings give the source, its name the cohort."""
    name = path.name.partition(".")[0]
    return Landed(council, source or _find_source(path, council), cohort or (name if is_cohort(name) else ""), path)


class _Plausible(Container[str]):
    """Contains every text with letters that does not look like a value; used while the headings are unknown."""

    def __contains__(self, heading: object) -> bool:
        text = str(heading)
        return any(map(str.isalpha, text)) and not VALUE.fullmatch(text.upper())


def open_sample_table(landed: Landed, dialect: Dialect) -> TextTable:
    """Open the sample as a table; raises `ExtractStopped`, quoting no value, if its first line is data."""
    known = None if dialect.columns or dialect.derived else _Plausible()
    table = open_table(landed, CONTRACTS[landed.source], dialect, known)
    data = sum(bool(VALUE.fullmatch(heading.strip())) for heading in table.header)
    numbers = sum(heading.strip().isdigit() for heading in table.header)
    if data or numbers > len(table.header) / 2:
        raise ExtractStopped(f"{landed.name}: the first line holds data, not headings; ask for a file with headings")
    # a header line that runs into a row may hold its values, which a draft would quote as headings
    if table.doubt:
        raise build_error(landed.name, table.doubt)
    return table


def _find_source(path: Path, council: str) -> str:
    # The file's own name first, then its folders from the inside out.
    for part in reversed((*path.parts[:-1], path.name.partition(".")[0])):
        if part in CONTRACTS:
            return part
    scores = {source: _score_likeness(Landed(council, source, "", path)) for source in CONTRACTS}
    best = max(scores, key=scores.__getitem__)
    if not scores[best]:
        raise ExtractStopped(f"{path.name}: no source is recognised in it; name it with --source")
    return best


def _score_likeness(landed: Landed) -> float:
    """Score the share of the source's required columns that the sample certainly has, by its headings."""
    contract = CONTRACTS[landed.source]
    header = open_sample_table(landed, CONTRACT_DIALECT).header
    found = [max(score_heading(contract[column], heading) for heading in header) for column in contract.required]
    return sum(score for score in found if score >= 0.9) / len(found)


def detect_encoding(path: Path) -> str:
    """Return the encoding of a text file: that of its byte-order mark, or UTF-16 or UTF-8 if the bytes fit.

    Otherwise it is windows-1252, the most common encoding of other exports.
    """
    with get_content(path.name, path).open() as stream:
        # At most `_MIB_SNIFFED` blocks of 1 MiB, so that a packed file cannot fill the memory.
        content = b"".join(islice(iter(lambda: stream.read(1 << 20), b""), _MIB_SNIFFED))
    if content.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if wide := detect_utf_16(content):
        return wide
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content)  # incremental: the last character may be cut
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8"


def build_shape_sql(column: Column, text: str) -> str:
    """Return the SQL of the shape of the SQL expression `text`: `AA9 9AA` for a postcode, a length band for a name."""
    # A shape would give the exact length of each part of a name.
    if column.name in _NAMES:
        return (
            f"CASE WHEN length({text}) <= 2 THEN '1-2 letters' WHEN length({text}) <= 12 THEN '3-12 letters'"
            " ELSE 'over 12 letters' END"
        )
    shape = text
    # Unicode classes, so that accented letters and letters of other scripts are hidden too.
    for characters, sign in ((r"\p{Lu}", "A"), (r"[\p{Ll}\p{Lm}\p{Lo}\p{Lt}\p{M}]", "a"), (r"\p{N}", "9")):
        shape = f"regexp_replace({shape}, '{characters}', '{sign}', 'g')"
    return f"left({shape}, {MAX_LENGTH})"


def find_common_shape(
    con: duckdb.DuckDBPyConnection, relation: str, column: Column, text: str, where: str
) -> str | None:
    """Return the most frequent shape of `text` in rows that meet `where`, if at least `MIN_ROWS` rows share it."""
    found = con.execute(
        f"SELECT {build_shape_sql(column, text)} AS shape FROM {relation} WHERE {text} IS NOT NULL AND ({where})"
        f" GROUP BY shape HAVING count(*) >= {MIN_ROWS} ORDER BY count(*) DESC, shape LIMIT 1"
    ).fetchall()
    return str(found[0][0]) if found else None


def select_shown_values(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    text: str,
    where: str,
    contract: SourceContract,
    column: Column,
    headings: tuple[str, ...],
    most: int = MAX_VALUES,
) -> tuple[list[tuple[str, int]], int]:
    """Return the values that may be shown, each with its number of rows, most frequent first, and how many distinct
    values are not shown.

    The values are those of `text` in rows that meet `where`, in a column read from `headings`. They are shown only for
    coded payload columns, and not if a heading is an identifier's or the file's column has many different values or
    mostly rare ones. A value that looks like a person's number, date or postcode is never shown.
    """
    # Judged over the whole column: whether it has codes must not depend on which rows meet `where`.
    distinct, frequent, filled = con.execute(
        f"SELECT count(*), coalesce(sum(n) FILTER (n >= {MIN_ROWS}), 0), coalesce(sum(n), 0)"
        f" FROM (SELECT count(*) AS n FROM {relation} WHERE {text} IS NOT NULL GROUP BY {text})"
    ).fetchall()[0]
    of_codes = distinct <= _MAX_DISTINCT and frequent >= _CODED_SHARE * filled
    coded = column.kind is Kind.CODE and column.role is Role.PAYLOAD
    hidden = any(is_identifier_heading(contract, heading) for heading in headings)
    rows = con.execute(
        f"SELECT {text}, count(*), regexp_matches({text}, {quote_text(_LIKE_IDENTIFIER)}) FROM {relation}"
        f" WHERE {text} IS NOT NULL AND ({where}) GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    if not (coded and of_codes) or hidden:
        return [], len(rows)
    may = [(str(value)[:MAX_LENGTH], int(n)) for value, n, personal in rows if n >= MIN_ROWS and not personal][:most]
    return may, len(rows) - len(may)


def draft_source(con: duckdb.DuckDBPyConnection, landed: Landed, valid: Mapping[str, str]) -> str | None:
    """Draft one source of a council file; None if in contract form. Raises `ExtractStopped` if it cannot be read."""
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
            if (heading := _get_heading(guesses, column)) and (found := _find_codes(guesser, column, heading))
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


def _find_codes(guesser: Guesser, column: Column, heading: str) -> dict[str, Any] | None:
    """Return the foreign values of a coded payload column; None if there are none.

    `codes` holds each value with its code and whether that is known, `others` the number of values not shown.
    `accepted` are the contract's codes if any value has no code, otherwise empty.
    """
    if column.kind is not Kind.CODE or column.role is not Role.PAYLOAD:
        return None
    own, text = sorted({code.lower() for code in column.codes or ()}), guesser.sample.get_column_name(heading)
    # Compared as the intake reads codes: ignoring letter case, and with 2.0 as 2.
    foreign = f"lower({build_whole_sql(text)}) NOT IN ({', '.join(map(quote_text, own))})"
    sample, contract = guesser.sample, guesser.contract
    shown, others = select_shown_values(
        sample.con, sample.relation, text, foreign, contract, column, (heading,), most=_MAX_CODES
    )
    if not shown and not others:
        return None
    codes = [(value, find_code(column, value)) for value, _ in shown]
    accepted = () if all(code for _, code in codes) else tuple(column.codes or ())
    return {"codes": codes, "accepted": accepted, "others": others, "is_map": any(code for _, code in codes)}


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
