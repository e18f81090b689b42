"""Reader of health-visitor reviews from the tables of the Community Services Data Set, joined in memory.

docs/formats.md says what is read and why, and how reviews are numbered. `csds_items.csv` gives, for each item, its name
in the NHS Data Dictionary, then the names in extracts of the national processing service (`Contact_Date`), then those
in extracts of the sister data sets (`CareContDate`, `PersScore`). Family and given name are a local addition.

Tables are loaded in the order of `_WANTED`, so that each keeps only the rows that earlier tables refer to.
`all_<table>` holds those rows as sent, `<table>` the latest row of each identifier: the one with the highest record
number, then the latest effective date, then the last row sent. `csds.sql.j2` builds reviews from them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import duckdb
import jinja2
import numpy as np
import pyarrow as pa

from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_text
from sources.contracts import CONTRACTS, Rule, model
from sources.councils.dialect import CONTRACT_DIALECT
from sources.errors import ExtractStopped, build_error
from sources.extract.landing import TABLE_NAME, Landed, list_arrived
from sources.extract.readers import delimited, parquet, workbooks
from sources.extract.readers.content import Content, Format, get_content
from sources.extract.table import (
    SOURCE_ROW,
    SheetTaken,
    TextTable,
    build_trimmed_sql,
    build_whole_sql,
    normalise_heading,
)
from sources.reference import read_rows
from sources.reference.code_lists import DOMAINS, load_snomed_codes
from sources.reference.cohorts import Cohort

TABLES_NEEDED = ("CYP001", "CYP101", "CYP201", "CYP202", "CYP612")
"""CYP609 is optional: only senders who record assessments against the referral have it."""
TABLES = (*TABLES_NEEDED, "CYP609")


@dataclass(frozen=True)
class Item:
    """An item of a table, and the names that its column may have, most usual first.

    `key` items identify a row; if the first is blank, the row is kept as a separate record. `coded` items are codes
    that spreadsheets may turn into numbers: `2.0` is read as 2. Items with the table `every` belong to all tables and
    order the rows of one identifier.
    """

    table: str
    item: str
    names: tuple[str, ...]
    key: bool
    required: bool
    coded: bool


@cache
def load_items() -> dict[str, list[Item]]:
    """Return the items of each table in the order of `csds_items.csv`, those of every table last."""
    flags = ("key", "required", "coded")
    items = [
        Item(row["table"], row["item"], tuple(row["names"].split("|")), **{flag: row[flag] == "yes" for flag in flags})
        for row in read_rows(Path(__file__).with_name("csds_items.csv"))
    ]
    return {table: [item for of in (table, "every") for item in items if item.table == of] for table in TABLES}


def find_table(name: str) -> str | None:
    """Return the table of a file or sheet, `CYP001` for `2024-05 CYP001mpi.csv`; None if no review needs it."""
    found = TABLE_NAME.search(name)
    return f"CYP{found[1]}" if found and f"CYP{found[1]}" in TABLES else None


def list_known_headings(table: str) -> set[str]:
    """Return the usual spellings of a table's headings, used to find its header line."""
    names = {name for item in load_items()[table] for name in item.names}
    plain = {re.sub("[^A-Za-z0-9_ ]", "", name) for name in names}
    return {normalise_heading(form) for name in names | plain for form in (name, name.replace(" ", ""))}


def find_columns(name: str, table: str, header: Sequence[str]) -> dict[str, str]:
    """Return each item's heading in a file; raises `ExtractStopped` if one is repeated or a required one missing."""
    headings: dict[str, list[str]] = {}
    for heading in header:
        headings.setdefault(_normalise_heading(heading), []).append(heading)
    columns = {}
    for item in load_items()[table]:
        for accepted in item.names:
            found = headings.get(_normalise_heading(accepted), [])
            if len(found) > 1:
                raise ExtractStopped(f"{name}: {accepted} occurs twice in the header")
            if found:
                columns[item.item] = found[0]
                break
        else:
            if item.required:
                raise ExtractStopped(f"{name}: {table} has no column {item.names[0]}")
    return columns


def _normalise_heading(heading: str) -> str:
    return re.sub("[^A-Z0-9]", "", heading.upper())


NOT_CARRIED = ("concern", "referral")
"""Contract columns that these tables do not have: the reviewer's concern and referral."""
COLUMNS = [column.name for column in CONTRACTS["hv_reviews"].columns if column.name not in NOT_CARRIED]

_BATCH_ROWS, _LONGEST = 32 << 10, 500
"""Rows per batch; maximum characters kept of a value, which is repeated in each of a person's reviews."""
_MAX_MEMORY = "768MiB"
"""Memory for the tables of one sender: a million rows that reviews need take a third of it."""
_REVIEW_OF_ACTIVITY = {"08": "NBV", "09": "6-8W", "10": "12M", "11": "2-2.5Y"}
"""Community care activity type code of a mandated health-visitor review -> contract code."""
_MANDATED = f"({', '.join(map(quote_text, _REVIEW_OF_ACTIVITY))})"
_WANTED = {
    "CYP612": "tool IN (SELECT tool FROM codes)",
    "CYP609": "tool IN (SELECT tool FROM codes)",
    "CYP202": f"activity_type IN {_MANDATED} OR activity IN (SELECT activity FROM CYP612)",
    "CYP201": "contact IN (SELECT contact FROM CYP202)",
    "CYP101": "referral IN (SELECT referral FROM CYP201 UNION ALL SELECT referral FROM CYP609)",
    "CYP001": "patient IN (SELECT patient FROM CYP101)",
}


def _build_orphan_rule(id: str, sentence: str, table: str) -> Rule:
    return model.reject(id, f"{sentence} The number is the data row of {table}.")


ORPHANS = {
    view: _build_orphan_rule(view.replace("_", "-"), sentence, table)
    for view, table, sentence in (
        ("assessment_without_activity", "CYP612", "The care activity of these ASQ-3 scores is not in CYP202."),
        ("activity_without_contact", "CYP202", "The care contact of this review's activity is not in CYP201."),
        ("contact_not_attended", "CYP202", "ASQ-3 was scored at a care contact that was not attended."),
        ("contact_without_referral", "CYP201", "The referral of this review's care contact is not in CYP101."),
        ("assessment_without_referral", "CYP609", "The referral of these ASQ-3 scores is not in CYP101."),
        ("referral_without_person", "CYP101", "The person of this review's referral is not in CYP001."),
    )
}
"""View of `csds.sql.j2` that finds reviews with a broken link -> its rule."""


@dataclass(frozen=True)
class TablePart:
    """A file or sheet of a table: its `name` in messages, and the sender's (`called`)."""

    table: str
    name: str
    called: str
    open: Callable[[], TextTable]
    formulas_checked: bool = True


def list_csds_parts(contents: Iterable[Content]) -> list[TablePart]:
    """List the files, archive members and sheets that are named after a table, by name."""
    found = [part for content in contents for part in _iter_parts(content)]
    return sorted(found, key=lambda part: part.called.casefold())


def list_folder_contents(landed: Landed) -> list[Content]:
    """List a folder's files named after a table; raises `ExtractStopped`, as at links out of the council's folder."""
    paths = [path for path in list_arrived(landed.path) if find_table(path.name)]
    within = landed.within or landed.path.parent.parent
    return [
        get_content(f"{landed.name}, file {number}", path, path.name, within) for number, path in enumerate(paths, 1)
    ]


def open_csds(name: str, parts: list[TablePart], cohort: Cohort) -> TextTable:
    """Open a set of tables as one table of reviews; raises `ExtractStopped` if one is missing or cannot be read."""
    missing = [table for table in TABLES_NEEDED if table not in {part.table for part in parts}]
    if missing:
        raise ExtractStopped(
            f"{name}: no {' and no '.join(missing)}; reviews need {', '.join(TABLES_NEEDED)} and, where"
            " assessments are recorded against the referral, CYP609"
        )
    set_aside: dict[Rule, list[int]] = {}
    is_checked = all(part.formulas_checked for part in parts)
    return TextTable(
        COLUMNS,
        lambda names: _iter_batches(name, parts, cohort, set_aside, names),
        set_aside,
        in_contract_form=True,
        sheet=None if is_checked else SheetTaken(0, 0, 0, is_checked),
    )


def _iter_parts(content: Content) -> Iterator[TablePart]:
    if book := workbooks.open_workbook(content):
        for sheet in book.sheets:
            if table := find_table(sheet.called):
                name, called = f"{content.name}, sheet {sheet.number}", f"{content.called}!{sheet.called}"
                opened = partial(workbooks.open_sheet, book, sheet, list_known_headings(table))
                yield TablePart(table, name, called, opened, book.formulas_checked)
    elif table := find_table(content.called):
        named = replace(content, name=f"{content.name} ({table})")
        yield TablePart(table, named.name, content.called, partial(_open_file, named, table))


def _open_file(content: Content, table: str) -> TextTable:
    match content.format:
        case Format.PARQUET:
            return parquet.open_parquet(content)
        case Format.TEXT:
            return delimited.open_delimited(content, list_known_headings(table), CONTRACT_DIALECT)
        case _:
            raise build_error(content.name, "other-format", f"it is {content.format}")


def _iter_batches(
    name: str, parts: list[TablePart], cohort: Cohort, set_aside: dict[Rule, list[int]], names: list[str]
) -> Iterator[pa.RecordBatch]:
    try:
        with open_in_memory(memory_limit=_MAX_MEMORY) as con:
            con.execute("CREATE TABLE codes (tool VARCHAR, measure VARCHAR, months INTEGER)")
            con.executemany(
                "INSERT INTO codes VALUES (?, ?, ?)", [(code, *of) for code, of in load_snomed_codes().items()]
            )
            for table in _WANTED:
                _load(con, table, [part for part in parts if part.table == table], set_aside)
            con.execute(_build_views_sql(cohort))
            for view, rule in ORPHANS.items():
                if rows := [row for (row,) in con.execute(f"SELECT DISTINCT row FROM {view} ORDER BY 1").fetchall()]:
                    set_aside[rule] = rows
            reviews = con.sql(f"SELECT {', '.join((*names, SOURCE_ROW))} FROM reviews ORDER BY {SOURCE_ROW}")
            yield from reviews.to_arrow_reader(_BATCH_ROWS)
    except duckdb.OutOfMemoryException:
        raise build_error(name, "tables-too-large") from None
    except duckdb.Error as error:
        # the message of the error may quote a value
        kind = type(error).__name__
        raise ExtractStopped(f"{name}: the tables could not be joined ({kind}); please report this") from None


def _load(con: duckdb.DuckDBPyConnection, table: str, parts: list[TablePart], set_aside: dict[Rule, list[int]]) -> None:
    """Load the rows of a table that a review may need, as text, with their row number."""
    items = load_items()[table]
    con.execute(f"CREATE TABLE all_{table} (row BIGINT, {', '.join(f'{item.item} VARCHAR' for item in items)})")
    passed = 0
    for part in parts:
        opened = part.open()
        columns = find_columns(part.name, table, opened.header)
        wanted = list(dict.fromkeys(columns.values()))
        last = 0
        for batch in opened.read(wanted):
            by_item = {item: batch.column(heading) for item, heading in columns.items()}
            absent = pa.nulls(batch.num_rows, pa.string())
            numbers = np.asarray(batch.column(SOURCE_ROW))
            last = int(numbers[-1]) if len(numbers) else last
            texts = {item.item: by_item.get(item.item, absent) for item in items}
            con.register("incoming", pa.table({"row": pa.array(numbers + passed), **texts}))
            con.execute(f"INSERT INTO all_{table} {_build_kept_sql(table)}")
            con.unregister("incoming")
        for rule, rows in opened.set_aside.items():
            of_table = _build_orphan_rule(f"{rule.id}-{table.lower()}", rule.sentence, table)
            set_aside.setdefault(of_table, []).extend(row + passed for row in rows)
            # unusable rows are counted too, so that numbering continues correctly in the next file
            last = max([last, *rows])
        passed += last
    identifier = [item.item for item in items if item.key]
    # rows without an identifier are not versions of each other
    alone = f"CASE WHEN {identifier[0]} IS NULL THEN row END"
    latest = _build_latest_sql(", ".join((*identifier, alone)))
    con.execute(f"CREATE TABLE {table} AS SELECT * FROM all_{table} {latest}")


def _build_kept_sql(table: str) -> str:
    """Return the SQL of the rows of `incoming` that a review may need, trimmed."""
    texts = {item: f"left({build_trimmed_sql(item.item)}, {_LONGEST})" for item in load_items()[table]}
    cleaned = {item.item: build_whole_sql(text) if item.coded else text for item, text in texts.items()}
    columns = ", ".join(f"{text} AS {name}" for name, text in cleaned.items())
    activity_type = ""
    if table == "CYP202":
        # a spreadsheet reads code 08 as the number 8
        activity_type = " REPLACE (lpad(coalesce(activity_type, older_activity_type), 2, '0') AS activity_type)"
    return f"SELECT * FROM (SELECT *{activity_type} FROM (SELECT row, {columns} FROM incoming)) WHERE {_WANTED[table]}"


def _build_latest_sql(partition: str, *first: str) -> str:
    order = ", ".join(
        (*first, "try_cast(record_number AS DECIMAL(38, 0)) DESC NULLS LAST", "effective_from DESC NULLS LAST")
    )
    return f"QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY {order}, row DESC) = 1"


def _build_views_sql(cohort: Cohort) -> str:
    """Render the statements of `csds.sql.j2`."""
    text = Path(__file__).with_name("csds.sql.j2").read_text(encoding="utf-8")
    template = jinja2.Template(text, undefined=jinja2.StrictUndefined)
    return template.render(
        cohort=cohort, reviews=_REVIEW_OF_ACTIVITY, mandated=_MANDATED, domains=list(DOMAINS), latest=_build_latest_sql
    )
