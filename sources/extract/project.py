"""SQL that converts an opened extract to the contract's types and finds broken rules row by row."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from privacy.doors.sql import quote_text
from sources.contracts import Column, Kind, Role, Rule, SourceContract, people
from sources.contracts.sources import YEAR_DIGITS_SQL
from sources.councils.dialect import build_date_sql, build_mended_date_sql, build_plausible_sql, format_in_words
from sources.extract.landing import Landed
from sources.extract.table import SOURCE_ROW, OpenExtract, build_whole_sql
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

_WRONG_DATES_STOP = 0.5
"""If a required date is wrong in more than this share of rows, it is in another format: the extract is stopped."""
DELETED = "deleted"
"""Name of the column that marks rows which delete a record."""
DECIMALS = 2
"""Decimal places kept: as many as the ASQ-3 cut-offs have."""
_LA_CODES = "old_la_code", "new_la_code"
PLACE_COLUMNS = ("council", "cohort", *_LA_CODES)
BITS = 62
"""Number of results in one BIGINT."""


@dataclass(frozen=True)
class Check:
    """A rule and the bit position of its result in the projected rows."""

    rule: Rule
    position: int

    @property
    def found(self) -> str:
        """SQL condition over the projected rows."""
        return f"(issues_{self.position // BITS} & {1 << self.position % BITS}) <> 0"


@dataclass(frozen=True)
class Projection:
    """SQL of an extract in contract form.

    `sql` selects `source_row`, every contract column with its type, and the `issues_*` columns (BIGINT bit masks).
    `with_texts` also selects, as `raw_<column>`, the text of each contract column before conversion.
    """

    sql: str
    with_texts: str
    checks: tuple[Check, ...]
    issue_columns: tuple[str, ...]


def build_place_columns(landed: Landed) -> dict[str, str]:
    """Return the columns that distinguish the extracts of several councils in one relation, with their values."""
    council = get_place(landed.council)
    values = landed.council, landed.cohort, council.old_la_code, council.new_la_code
    return dict(zip(PLACE_COLUMNS, values, strict=True))


def project_extract(
    relation: str,
    extract: OpenExtract,
    contract: SourceContract,
    valid: Mapping[str, str],
    carried: Collection[str] = (),
) -> Projection:
    """Build the SQL over `relation`, whose rows are the batches of `extract`.

    `valid` maps identifiers with a check digit to an SQL condition on the column `{}` that is true for a usable value.
    The `carried` columns of `relation` are selected too; if they include `PLACE_COLUMNS`, the rows may belong to
    several extracts of one cohort with the same dialect.
    """
    landed, shared = extract.landed, set(PLACE_COLUMNS) <= set(carried)
    cohort, of_council = Cohort(landed.cohort), build_place_columns(landed)
    la_codes = [name if shared else quote_text(of_council[name]) for name in _LA_CODES]
    raw = ", ".join(f"{_build_raw_sql(column, extract)} AS raw_{column.name}" for column in contract.columns)
    typed = ", ".join(
        f"{_build_column_sql(column, extract, valid, cohort)} AS {column.name}" for column in contract.columns
    )
    checks = tuple(Check(rule, position) for position, rule in enumerate(_build_rules(contract, extract, valid)))
    masks = [checks[start : start + BITS] for start in range(0, len(checks), BITS)]
    issues = [f"{_build_mask_sql(group, cohort, la_codes)} AS issues_{index}" for index, group in enumerate(masks)]
    deleted = f", {_build_deleted_sql(extract)} AS {DELETED}" if extract.dialect.deleted else ""
    passed = [SOURCE_ROW, *carried]
    rows = f"SELECT {', '.join(passed)}, {raw}{deleted} FROM {relation}"
    dated = _add_dates_sql(rows, contract, extract, valid)
    kept = [*passed, *(column.name for column in contract.columns), *([DELETED] if deleted else []), *issues]
    columns, texts = ", ".join(kept), ", ".join(f"raw_{column.name}" for column in contract.columns)
    converted = f"FROM (SELECT *, {typed} FROM ({dated}))"
    names = tuple(f"issues_{index}" for index in range(len(masks)))
    return Projection(f"SELECT {columns} {converted}", f"SELECT {columns}, {texts} {converted}", checks, names)


def _build_rules(contract: SourceContract, extract: OpenExtract, valid: Mapping[str, str]) -> list[Rule]:
    """Return the rules that follow from the columns, then the contract's own."""
    rules: list[Rule] = []
    for column in contract.columns:
        # a missing column has no rules, because every row would break the one about blank values
        if extract.get_origin(column.name) == "missing":
            continue
        name, raw = column.name, f"raw_{column.name}"
        called = _name_column(name, extract)
        if column.blank:
            rules.append(Rule(f"{name}-blank", f"{called} is blank.", (name,), f"{raw} IS NULL", severity=column.blank))
        if column.kind is not Kind.TEXT or column.pattern or name in valid:
            sentence = f"{called} {_describe_expectation(column, extract)}."
            broken = f"{raw} IS NOT NULL AND {_name_read_column(column)} IS NULL"
            share = _WRONG_DATES_STOP if column.kind is Kind.DATE and column.required else None
            rules.append(Rule(f"{name}-invalid", sentence, (name,), broken, severity=column.invalid, stop_share=share))
    return [*rules, *contract.rules]


def _describe_expectation(column: Column, extract: OpenExtract) -> str:
    note = f"; {column.note}" if column.note else ""
    match column.kind:
        case Kind.CODE:
            return f"must be one of {', '.join(column.codes or ())} or a value that the council file maps{note}"
        case Kind.DATE:
            forms = extract.dialect.get_formats(column.name)
            return f"must be a date written {' or '.join(map(format_in_words, forms))}{note}"
        case Kind.INTEGER | Kind.DECIMAL:
            limits = (("at least", column.minimum), ("at most", column.maximum))
            bounds = [f"{words} {bound:g}" for words, bound in limits if bound is not None]
            return " ".join(["must be a number", " and ".join(bounds)]).strip()
        case Kind.TEXT:
            return f"must be {column.note}" if column.pattern else "does not pass its check digit"


def _name_column(column: str, extract: OpenExtract) -> str:
    """Return a column's name in messages: the council's own heading."""
    if derived := extract.dialect.derived.get(column):
        return f"{column} (from {', '.join(derived.inputs)})"
    return extract.dialect.get_local_name(column)


def _build_raw_sql(column: Column, extract: OpenExtract) -> str:
    dialect = extract.dialect
    match extract.get_origin(column.name):
        case "column":
            text = f"nullif({column.name}, '')"
        case "derived":
            inputs = {local: f"nullif({name}, '')" for local, name in extract.inputs.items()}
            text = f"nullif(trim({dialect.derived[column.name].build_sql(inputs)}), '')"
        case "constant":
            return quote_text(dialect.constants[column.name])
        case "missing":
            return "NULL::VARCHAR"
    codes = {**column.also, **dialect.codes.get(column.name, {})}
    blank = [quote_text(value.lower()) for value, code in codes.items() if not code]
    compared = build_whole_sql(text) if column.kind is Kind.CODE else text
    return f"CASE WHEN lower({compared}) IN ({', '.join(blank)}) THEN NULL ELSE {text} END" if blank else text


def _build_deleted_sql(extract: OpenExtract) -> str:
    """Return the SQL condition of rows that delete a record, as defined in the council file; `false` if the file has
    no such column."""
    for heading in extract.dialect.deleted.keys() & extract.inputs.keys():
        values = ", ".join(quote_text(value.lower()) for value in extract.dialect.deleted[heading])
        return f"coalesce(lower({extract.inputs[heading]}) IN ({values}), false)"
    return "false"


def _add_dates_sql(rows: str, contract: SourceContract, extract: OpenExtract, valid: Mapping[str, str]) -> str:
    """Add columns for dates that may be repaired: `read_<column>` as written and, if that is not a date,
    `mended_<column>`. Each is in a separate SELECT, because otherwise a date would be parsed again wherever its
    column is mentioned."""
    dates = [column for column in contract.columns if _is_mended(column)]
    read = [f"{build_typed_sql(column, extract, valid)} AS {_name_read_column(column)}" for column in dates]
    forms = {column.name: extract.dialect.get_formats(column.name) for column in dates}
    mended = [
        f"CASE WHEN {_name_read_column(column)} IS NULL THEN"
        f" {build_mended_date_sql(f'raw_{column.name}', forms[column.name])} END AS mended_{column.name}"
        for column in dates
    ]
    return f"SELECT {', '.join(['*', *mended])} FROM (SELECT {', '.join(['*', *read])} FROM ({rows}))"


def _build_column_sql(column: Column, extract: OpenExtract, valid: Mapping[str, str], cohort: Cohort) -> str:
    """Return the SQL of the typed column. A repaired date must be within a year of the cohort: a guess must not cause
    the row to be rejected."""
    if not _is_mended(column):
        return build_typed_sql(column, extract, valid)
    low, high = f"DATE '{cohort.born_from}' - INTERVAL 1 YEAR", f"DATE '{cohort.born_to}' + INTERVAL 1 YEAR"
    mended = f"mended_{column.name}"
    return f"coalesce({_name_read_column(column)}, CASE WHEN {mended} BETWEEN {low} AND {high} THEN {mended} END)"


def _is_mended(column: Column) -> bool:
    """Return whether a date may be repaired: only identifiers may."""
    return column.kind is Kind.DATE and column.role is Role.IDENTIFIER


def _name_read_column(column: Column) -> str:
    return f"read_{column.name}" if _is_mended(column) else column.name


def build_typed_sql(column: Column, extract: OpenExtract, valid: Mapping[str, str]) -> str:
    """Return the SQL of the typed value of `raw_<column>`; NULL if it is invalid. `valid` as in `project_extract`."""
    raw, dialect = f"raw_{column.name}", extract.dialect
    match column.kind:
        case Kind.CODE:
            return _build_code_sql(column, dialect.codes.get(column.name, {}))
        case Kind.DATE:
            date = build_date_sql(raw, dialect.get_formats(column.name))
            return date if column.role is Role.IDENTIFIER else f"CASE WHEN {build_plausible_sql(date)} THEN {date} END"
        case Kind.INTEGER:
            return _build_bounded_sql(column, f"try_cast({raw} AS INTEGER)")
        case Kind.DECIMAL:
            return _build_bounded_sql(column, f"round(try_cast({raw} AS DOUBLE), {DECIMALS})")
        case Kind.TEXT:
            mapped = _build_mapped_sql(raw, dialect.codes.get(column.name, {}), otherwise=raw)
            if column.pattern:
                pattern = quote_text(column.pattern)
                return f"CASE WHEN regexp_full_match(upper({mapped}), {pattern}) THEN upper({mapped}) END"
            return f"CASE WHEN {valid[column.name].format(raw)} THEN {raw} END" if column.name in valid else mapped


def _build_code_sql(column: Column, local: Mapping[str, str]) -> str:
    """Return the SQL of a value's contract code: by the council's map, then the contract's codes, ignoring case.

    Exact spellings, which nearly all values have, are matched first, at a tenth of the cost of the others.
    """
    own = {value: column.find_code(code.upper() if column.other else code) for value, code in local.items()}
    mapping = {**{code: code for code in column.codes or ()}, **column.also, **own}
    folded = {value.lower(): code for value, code in mapping.items()}
    raw, exact = f"raw_{column.name}", {value: folded[value.lower()] for value in mapping}
    matches = f"regexp_full_match(upper({raw}), {quote_text(column.pattern or '')})"
    other = f"CASE WHEN {matches} THEN {quote_text(column.other)} END" if column.other else "NULL"
    return _build_cases_sql(raw, exact, otherwise=_build_mapped_sql(build_whole_sql(raw), mapping, otherwise=other))


def _build_mapped_sql(raw: str, mapping: Mapping[str, str | None], otherwise: str) -> str:
    return _build_cases_sql(f"lower({raw})", {value.lower(): code for value, code in mapping.items()}, otherwise)


def _build_cases_sql(text: str, mapping: Mapping[str, str | None], otherwise: str) -> str:
    cases = " ".join(f"WHEN {quote_text(value)} THEN {quote_text(code)}" for value, code in mapping.items() if code)
    return f"CASE {text} {cases} ELSE {otherwise} END" if cases else otherwise


def _build_bounded_sql(column: Column, number: str) -> str:
    # `inf` and `nan` are numbers to DuckDB
    bounds = [f"isfinite({number})"] if column.kind is Kind.DECIMAL else []
    bounds += [
        f"{number} {operator} {bound:g}"
        for operator, bound in ((">=", column.minimum), ("<=", column.maximum))
        if bound is not None
    ]
    return f"CASE WHEN {' AND '.join(bounds)} THEN {number} END" if bounds else number


def fill_parameters(condition: str, cohort: Cohort, la_codes: Sequence[str] = ()) -> str:
    """Return a rule's condition with its parameters filled in; `$la_codes` only if the council's codes are given."""
    values = {
        "$cohort_start": f"DATE '{cohort.born_from}'",
        "$cohort_end": f"DATE '{cohort.born_to}'",
        # after the two names above, which begin with `$cohort`
        "$cohort": quote_text(cohort.code),
    }
    if la_codes:
        values["$la_codes"] = f"({', '.join(la_codes)})"
    for name, value in values.items():
        condition = condition.replace(name, value)
    return condition


def _build_mask_sql(checks: tuple[Check, ...], cohort: Cohort, la_codes: Sequence[str]) -> str:
    broken = {1 << check.position % BITS: fill_parameters(check.rule.broken, cohort, la_codes) for check in checks}
    terms = [f"CASE WHEN {condition} THEN {bit}::BIGINT ELSE 0 END" for bit, condition in broken.items()]
    return " + ".join(terms)


def build_first_year_sql(contract: SourceContract) -> str:
    """Return SQL, over typed rows, for the first year of a row's cohort; NULL if the row gives no cohort."""
    # `2024/25`, `202425` and `2024.0` all begin with the first year, once only digits are left
    year = f"try_cast(left({YEAR_DIGITS_SQL}, 4) AS INTEGER)" if "academic_year" in contract else "NULL::INTEGER"
    # 1900-01-01 is a placeholder for an unknown date of birth
    born = f"CASE WHEN year(date_of_birth) > 1900 THEN {people.BORN_COHORT_SQL} END"
    near = f"abs({year} - ({born})) <= 1"  # as for a child who starts school a year late
    return f"CASE WHEN ({born}) IS NULL OR coalesce({near}, false) THEN coalesce({year}, {born}) ELSE {born} END"
