"""Check of a sample: it is read with a council file as the intake would read it, and each column is reported."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa

from sources.contracts import CONTRACTS, Column, Kind, Role, Severity, people
from sources.contracts.extract_rules import MAX_REJECTED_SHARE
from sources.councils.dialect import Dialect
from sources.councils.known_headings import find_similar_column
from sources.extract import table
from sources.extract.landing import Landed
from sources.extract.open import open_extract
from sources.extract.project import Projection, project_extract
from sources.onboarding import sample
from sources.reference.cohorts import FIRST_COHORT, Cohort

LEGEND = (
    "Values are never shown, except in coded columns that are kept, for a value in at least"
    f" {sample.MIN_ROWS} rows. Shapes: A and a for letters, 9 for digits; for names, only how long most are."
)
_TABLE_HEAD = ("contract column", "read from", "required", "filled", "refused", "written", "refused values")
_MAX_CELL_WIDTH = 44


Facts = dict[str, Any]


def check_sample(
    con: duckdb.DuckDBPyConnection, landed: Landed, council_dialect: Dialect, valid: Mapping[str, str]
) -> Facts:
    """Return the facts of a sample's first rows; raises `ExtractStopped` if not even its headings can be read.

    `valid` has SQL conditions for identifiers with a check digit, whose macros are in `con`. If `landed` has no cohort,
    it is found from the dates of birth.
    """
    contract = CONTRACTS[landed.source]
    header = sample.open_sample_table(landed, council_dialect).header
    dialect = table.choose_dialect(contract, header, council_dialect)
    missing = table.find_missing_columns(contract, dialect, header)
    # The intake would stop a file with missing columns; here all its other columns are reported first.
    extract = open_extract(landed, contract, _relax_dialect(dialect, missing))
    reading = _Reading(con, extract, dialect, valid)
    columns = [reading.check_column(column) for column in contract.columns]
    unused = reading.list_unused(header)
    absent = (
        f"missing column {local!r}" + (f" (for {column})" if local != column else "")
        for local, column in missing.items()
    )
    return {
        "source": landed.source,
        "file": landed.path.name,
        "cohort": reading.cohort.code,
        "rows": reading.rows,
        "rejected": reading.rejected,
        "contract_form": table.is_in_contract_form(contract, header),
        "columns": columns,
        "rules": reading.check_rules(),
        "unused": unused,
        "stops": (*absent, *reading.list_stops()),
        "suggestions": _suggest_additions(columns, unused),
        "notes": reading.list_notes(),
    }


class _Reading:
    """A sample, as text and checked, in tables of the connection. Rows that could not be parsed count as rejected."""

    def __init__(
        self, con: duckdb.DuckDBPyConnection, extract: table.OpenExtract, dialect: Dialect, valid: Mapping[str, str]
    ) -> None:
        self.con, self.contract, self.dialect, self.valid = con, CONTRACTS[extract.landed.source], dialect, valid
        # Opened with blanks for missing columns; reported by the council's own dialect, in which they are missing.
        self.extract = replace(extract, dialect=dialect)
        rows = table.take_first_rows(extract.batches, sample.MAX_ROWS)
        con.register("sample_rows", pa.Table.from_batches(rows, extract.schema))
        self.cohort = Cohort(extract.landed.cohort) if extract.landed.cohort else self._find_cohort()
        self.projection = self._project(self.cohort)
        con.execute(f"CREATE OR REPLACE TEMP TABLE sample_read AS {self.projection.with_texts}")
        self.unreadable = sum(map(len, extract.set_aside.values()))
        self.rows = self._count("true") + self.unreadable
        rejecting = (check.found for check in self.projection.checks if check.rule.severity is Severity.REJECT)
        self.rejected = self._count(" OR ".join(rejecting) or "false") + self.unreadable

    def check_column(self, column: Column) -> Facts:
        """Return how a contract column is read.

        Shares are of the sample's rows; `refused` is of filled rows. `shape` is the most frequent shape,
        `refused_shape` that of refused values; coded payload columns have `refused_values` instead. `lost` counts rows
        in which a derived column is blank although all its inputs are filled.
        """
        name, text = column.name, f"raw_{column.name}"
        origin = self.extract.get_origin(name)
        headings = self.dialect.derived[name].inputs if origin == "derived" else ()
        if origin == "column":
            headings = (self.extract.headings[name],)
        wrong = f"{text} IS NOT NULL AND {name} IS NULL"
        filled, refused = self._count(f"{text} IS NOT NULL"), self._count(wrong)
        shape = refused_shape = shown = None
        if column.kind is not Kind.CODE or column.role is not Role.PAYLOAD:
            shape, refused_shape = (
                sample.find_common_shape(self.con, "sample_read", column, text, where) for where in ("true", wrong)
            )
        elif refused:
            values = sample.select_shown_values(self.con, "sample_read", text, wrong, self.contract, column, headings)
            shown = dict(zip(("values", "others"), values, strict=True))
        return {
            "column": name,
            "required": column.required,
            "origin": origin,
            "headings": headings,
            "filled": filled / self.rows if self.rows else 0.0,
            "refused": refused / filled if filled else 0.0,
            "refused_severity": str(column.invalid),
            "shape": shape,
            "refused_shape": refused_shape,
            "refused_values": shown,
            "lost": self._count_lost(name) if origin == "derived" else 0,
        }

    def check_rules(self) -> list[Facts]:
        """Return the broken cross-column rules; rules of one column are reported with the column."""
        across = {rule.id for rule in self.contract.rules}
        return [
            {"rule": rule.id, "severity": str(rule.severity), "rows": rows, "sentence": rule.sentence}
            for check in self.projection.checks
            if (rule := check.rule).id in across and (rows := self._count(check.found))
        ]

    def list_stops(self) -> list[str]:
        """Return the reasons why the intake would not accept the sample if it were the whole extract."""
        if self.rows == self.unreadable:
            return ["no usable row"]
        # Rules without a share never stop an extract, whatever they find.
        limits = {rule.id: rule.stop_share for rule in self.contract.rules if rule.stop_share is not None}
        found = [
            f"{rule['rows']} of {self.rows} rows break {rule['rule']}: {rule['sentence']} Is it the right file?"
            for rule in self.check_rules()
            if rule["rows"] > limits.get(rule["rule"], 1.0) * self.rows
        ]
        if self.rejected > MAX_REJECTED_SHARE * self.rows:
            found.append(f"{self.rejected} of {self.rows} rows would be rejected, more than {MAX_REJECTED_SHARE:.0%}")
        return found

    def list_unused(self, header: list[str]) -> tuple[tuple[str, str | None], ...]:
        """Return the unused headings, each with the contract column that it resembles."""
        inputs = set(map(table.normalise_heading, self.extract.inputs))
        unused = (name for name in header if table.normalise_heading(name) not in inputs)
        used = set(self.extract.headings.values())
        return tuple((name, find_similar_column(self.contract, name)) for name in unused if name not in used)

    def list_notes(self) -> tuple[str, ...]:
        notes = []
        if sheet := self.extract.table.sheet:
            if sheet.number:
                notes.append(f"read from sheet {sheet.number}; other sheets left aside: {sheet.left_aside}")
            if not sheet.formulas_checked:
                notes.append(table.FORMULAS_NOT_CHECKED)
        if self.rows >= sample.MAX_ROWS:
            notes.append(f"only the first {sample.MAX_ROWS:,} rows were read")
        if self.unreadable:
            notes.append(f"{self.unreadable} rows do not have as many fields as the header")
        formats = [form for many in (self.dialect.date_format, *self.dialect.date_formats.values()) for form in many]
        if any("%y" in form for form in formats):
            notes.append("two-digit years: 00 to 68 are read as 2000 to 2068, 69 to 99 as 1969 to 1999")
        return tuple(notes)

    def _count(self, condition: str, relation: str = "sample_read") -> int:
        return int(self.con.execute(f"SELECT count(*) FROM {relation} WHERE {condition}").fetchall()[0][0])

    def _count_lost(self, column: str) -> int:
        """Count the rows in which a derived column is blank although all its inputs are filled."""
        inputs = [self.extract.inputs[name] for name in self.dialect.derived[column].inputs]
        filled = " AND ".join(f"trim(sample_rows.{name}) <> ''" for name in inputs)
        return self._count(
            f"raw_{column} IS NULL AND {filled}", f"sample_read JOIN sample_rows USING ({table.SOURCE_ROW})"
        )

    def _project(self, cohort: Cohort) -> Projection:
        landed = replace(self.extract.landed, cohort=cohort.code)
        return project_extract("sample_rows", replace(self.extract, landed=landed), self.contract, self.valid)

    def _find_cohort(self) -> Cohort:
        """Return the cohort of most children in the sample; the first cohort if no row has a date of birth."""
        first = Cohort.build(FIRST_COHORT)
        if "date_of_birth" not in self.contract:
            return first
        rows = self.con.execute(
            f"SELECT {people.BORN_COHORT_SQL} AS start FROM ({self._project(first).sql})"
            f" WHERE start BETWEEN {FIRST_COHORT} AND 2098 GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
        ).fetchall()
        return Cohort.build(rows[0][0]) if rows else first


def _relax_dialect(dialect: Dialect, missing: Mapping[str, str]) -> Dialect:
    """Return the dialect with blank constants for missing columns, so that a file without them can be opened."""
    lacking = set(missing.values())
    derived = {name: derived for name, derived in dialect.derived.items() if name not in lacking}
    constants = {**dialect.constants, **dict.fromkeys(lacking, "")}
    return dialect.model_copy(update={"constants": constants, "derived": derived})


def _suggest_additions(columns: Sequence[Facts], unused: tuple[tuple[str, str | None], ...]) -> tuple[str, ...]:
    """Suggest additions to the council file."""
    without = {check["column"] for check in columns if check["origin"] == "missing"}
    found = [
        f"{heading!r} looks like {column}: add `{column}: {sample.format_scalar(heading)}` under columns"
        for heading, column in unused
        if column in without
    ]
    if unmapped := [check["column"] for check in columns if check["refused_values"]]:
        found.append(f"map the refused values, under codes, of {', '.join(unmapped)}")
    for check in columns:
        if check["lost"]:
            inputs = ", ".join(check["headings"])
            found.append(
                f"{check['column']} is blank in {check['lost']} rows though {inputs} is filled: does the pattern fit"
                " all forms?"
            )
        if check["refused"] and check["refused_shape"] and check["column"].endswith(("date", "date_of_birth")):
            found.append(f"dates of {check['column']} are also written {check['refused_shape']}: add the format")
    return tuple(found)


def render_check(check: Facts) -> str:
    """Render the report of one sample (`check.txt.j2`); cells of all columns but the last are cut to a width."""
    rows, most = [_TABLE_HEAD, *map(_format_row, check["columns"])], _MAX_CELL_WIDTH
    cells = [[cell if len(cell) <= most else f"{cell[: most - 1]}…" for cell in row[:-1]] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    form = "  ".join(f"{{:{width}}}" for width in widths)
    lines = (f"{form.format(*cut)}  {row[-1]}".rstrip() for cut, row in zip(cells, rows, strict=True))
    return sample.render("check.txt.j2", check=check, table=lines)


def _format_row(check: Facts) -> tuple[str, ...]:
    headings = ", ".join(check["headings"])
    origin = {
        "column": headings,
        "derived": f"made from {headings}",
        "constant": "the same in every row",
        "missing": "MISSING" if check["required"] else "-",
    }
    return (
        check["column"],
        origin[check["origin"]],
        "yes" if check["required"] else "no",
        f"{check['filled']:.1%}" if check["origin"] != "missing" else "",
        f"{check['refused']:.1%} {check['refused_severity']}" if check["refused"] else "",
        check["shape"] or "",
        _format_refused(check),
    )


def _format_refused(check: Facts) -> str:
    if check["refused_values"] is None:
        return check["refused_shape"] or ""
    shown = ", ".join(f"{value} ({rows:,})" for value, rows in check["refused_values"]["values"])
    others = check["refused_values"]["others"]
    more = f"{others} other value{'s' if others > 1 else ''}" if others else ""
    return "; ".join(filter(None, (shown, more)))
