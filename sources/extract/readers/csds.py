"""Health-visitor reviews from the tables of the Community Services Data Set, joined in memory.

A review is one care contact of a child at which ASQ-3 was scored or a mandated review was recorded. Its number, where
a data officer is to find it, is the data row in CYP202 of the contact's first activity that says so; a review that is
known from CYP609 alone is numbered 609 000 000 and its data row there. Files of one table count on, in order of name.
docs/formats.md says what is read and why.

`ITEMS` gives, for each item, its name in the NHS Data Dictionary, then the names in extracts of the national processing
service (`Contact_Date`), then those of the sister data sets' extracts (`CareContDate`, `PersScore`). Letter case,
spaces, underscores and brackets do not matter. CSDS carries no names of persons: family and given name are a local
addition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import duckdb
import numpy as np
import pyarrow as pa

from privacy.doors.database import in_memory
from sources.contracts import CONTRACTS, Rule
from sources.contracts.model import reject
from sources.councils.council_file import CONTRACT_DIALECT
from sources.errors import ExtractStopped
from sources.extract.landed import Landed
from sources.extract.match import key
from sources.extract.readers import csds_sql
from sources.extract.readers.content import Content, Format, content_of
from sources.extract.readers.delimited import open_delimited
from sources.extract.readers.parquet import open_parquet
from sources.extract.readers.workbook import Workbook, open_sheet
from sources.extract.rules import LINK, OTHER_FORMAT, stopped
from sources.extract.table import SOURCE_ROW, TextTable
from sources.reference.cohorts import Cohort

RECENCY = {
    "record_number": ("RECORD NUMBER",),
    "effective_from": ("EFFECTIVE FROM",),
}
"""What tells a later row of the same thing from an earlier one; a table may have neither."""

ITEMS: dict[str, dict[str, tuple[str, ...]]] = {
    "CYP001": {
        "patient": ("LOCAL PATIENT IDENTIFIER (EXTENDED)", "LOCAL PATIENT IDENTIFIER", "LocalPatientID"),
        "nhs_number": ("NHS NUMBER",),
        "nhs_number_status": ("NHS NUMBER STATUS INDICATOR CODE", "NHSNumber_Status"),
        "surname": ("PERSON FAMILY NAME", "FAMILY NAME", "SURNAME"),
        "forename": ("PERSON GIVEN NAME", "GIVEN NAME", "FORENAME"),
        "gender": ("PERSON STATED GENDER CODE", "PERSON STATED GENDER", "GENDER"),
        "date_of_birth": ("PERSON BIRTH DATE", "DATE OF BIRTH"),
        "postcode": ("POSTCODE OF USUAL ADDRESS", "POSTCODE"),
    },
    "CYP101": {
        "referral": ("SERVICE REQUEST IDENTIFIER", "ServiceRequestID"),
        "patient": ("LOCAL PATIENT IDENTIFIER (EXTENDED)", "LOCAL PATIENT IDENTIFIER", "LocalPatientID"),
    },
    "CYP201": {
        "contact": ("CARE CONTACT IDENTIFIER", "CareContactID"),
        "referral": ("SERVICE REQUEST IDENTIFIER", "ServiceRequestID"),
        "contact_date": ("CARE CONTACT DATE", "Contact_Date", "CareContDate"),
        "attendance": ("ATTENDANCE STATUS", "AttendStatus"),
        "attended_or_not": ("ATTENDED OR DID NOT ATTEND CODE", "AttendOrNot", "AttendOrDNACode"),
    },
    "CYP202": {
        "activity": ("CARE ACTIVITY IDENTIFIER", "CareActivityID", "CareActID"),
        "contact": ("CARE CONTACT IDENTIFIER", "CareContactID"),
        "activity_type": ("COMMUNITY CARE ACTIVITY TYPE CODE", "Activity_Type", "CareActType"),
        "older_activity_type": ("COMMUNITY CARE ACTIVITY TYPE",),
    },
    "CYP609": {
        "referral": ("SERVICE REQUEST IDENTIFIER", "ServiceRequestID"),
        "tool": ("CODED ASSESSMENT TOOL TYPE (SNOMED CT)", "SNOMED_ID", "CodedAssToolType"),
        "score": ("PERSON SCORE", "Score", "PersScore"),
        "completed": ("ASSESSMENT TOOL COMPLETION DATE", "AssessmentCompletion_Date", "AssToolCompDate"),
    },
    "CYP612": {
        "activity": ("CARE ACTIVITY IDENTIFIER", "CareActivityID", "CareActID"),
        "tool": ("CODED ASSESSMENT TOOL TYPE (SNOMED CT)", "SNOMED_ID", "CodedAssToolType"),
        "score": ("PERSON SCORE", "Score", "PersScore"),
    },
}
MAY_BE_ABSENT = frozenset(
    {
        *RECENCY,
        "surname",
        "forename",
        "nhs_number",
        "nhs_number_status",
        "attendance",
        "attended_or_not",
        "activity_type",
        "older_activity_type",
    }
)
TABLES_NEEDED = ("CYP001", "CYP101", "CYP201", "CYP202", "CYP612")
"""CYP609 is for those who record assessments against the referral."""

_TABLE = re.compile(r"(?<![A-Z])CYP[ _-]?([0-9]{3})(?![0-9])", re.IGNORECASE)


def table_of(name: str) -> str | None:
    """`CYP001` of a file or sheet called `2024-05 CYP001mpi.csv`; None for a table that no review is made of."""
    found = _TABLE.search(name)
    table = f"CYP{found[1]}" if found else ""
    return table if table in ITEMS else None


def known_headings(table: str) -> set[str]:
    """Headings of a table as they are commonly written, by which its header line is found."""
    names = {name for accepted in (ITEMS[table] | RECENCY).values() for name in accepted}
    plain = {re.sub("[^A-Za-z0-9_ ]", "", name) for name in names}
    return {key(form) for name in names | plain for form in (name, name.replace(" ", ""))}


def columns_of(name: str, table: str, header: Sequence[str]) -> dict[str, str]:
    """Heading of each item that a file of `table` has; raises `ExtractStopped` where one is missing or there twice.

    `name` is how messages call the file.
    """
    headings: dict[str, list[str]] = {}
    for heading in header:
        headings.setdefault(_key(heading), []).append(heading)
    columns = {}
    for item, names in (ITEMS[table] | RECENCY).items():
        for accepted in names:
            found = headings.get(_key(accepted), [])
            if len(found) > 1:
                raise ExtractStopped(f"{name}: {accepted} stands twice in the header")
            if found:
                columns[item] = found[0]
                break
        else:
            if item not in MAY_BE_ABSENT:
                raise ExtractStopped(f"{name}: {table} has no column {names[0]}")
    return columns


def _key(heading: str) -> str:
    return re.sub("[^A-Z0-9]", "", heading.upper())


NOT_CARRIED = ("concern", "referral")
"""What the reviewer thought and did is not in these tables."""
COLUMNS = [column.name for column in CONTRACTS["hv_reviews"].columns if column.name not in NOT_CARRIED]

_BATCH_ROWS = 64 << 10


def _orphan(id: str, sentence: str, table: str) -> Rule:
    return reject(id, f"{sentence} The number is the data row of {table}.")


ORPHANS = {
    view: _orphan(view.replace("_", "-"), sentence, table)
    for view, table, sentence in (
        ("assessment_without_activity", "CYP612", "The care activity of these ASQ-3 scores is not in CYP202."),
        ("activity_without_contact", "CYP202", "The care contact of this review's activity is not in CYP201."),
        ("contact_not_attended", "CYP202", "ASQ-3 was scored at a care contact that was not attended."),
        ("contact_without_referral", "CYP201", "The referral of this review's care contact is not in CYP101."),
        ("assessment_without_referral", "CYP609", "The referral of these ASQ-3 scores is not in CYP101."),
        ("referral_without_person", "CYP101", "The person of this review's referral is not in CYP001."),
    )
}
"""View of `csds_sql` that finds a review with a broken link -> its rule."""


@dataclass(frozen=True)
class TablePart:
    """One file, member or sheet that holds rows of a table; `name` is how messages call it."""

    table: str
    name: str
    open: Callable[[], TextTable]


def csds_parts(contents: Iterable[Content]) -> list[TablePart]:
    """The files, members of an archive and sheets that are named after a table, in order of name."""
    found = [part for content in contents for part in _parts(content)]
    return sorted(found, key=lambda part: part.name.casefold())


def folder_contents(landed: Landed) -> list[Content]:
    """The files of a landed folder that are named after a table; raises `ExtractStopped`.

    A link is followed within its council's folder only.
    """
    paths = [path for path in landed.path.iterdir() if table_of(path.name) and not path.name.startswith(".")]
    council = landed.path.parent.parent.resolve()
    for path in paths:
        if not path.resolve().is_relative_to(council):
            raise stopped(f"{landed.name}/{path.name}", LINK)
    return [content_of(f"{landed.name}/{path.name}", path) for path in paths]


def open_csds(name: str, parts: list[TablePart], cohort: Cohort) -> TextTable:
    """Open a set of tables; raises `ExtractStopped`, at once where a table is missing, or while batches are read.

    `name` is how messages call the set.
    """
    missing = [table for table in TABLES_NEEDED if table not in {part.table for part in parts}]
    if missing:
        raise ExtractStopped(
            f"{name}: no {' and no '.join(missing)}; reviews need {', '.join(TABLES_NEEDED)} and, where"
            " assessments are recorded against the referral, CYP609"
        )
    set_aside: dict[Rule, list[int]] = {}
    return TextTable(COLUMNS, lambda names: _batches(name, parts, cohort, set_aside, names), set_aside, True)


def _parts(content: Content) -> Iterator[TablePart]:
    inner = content.name.rpartition("!" if "!" in content.name else "/")[2]
    table = table_of(inner)
    if content.format is Format.WORKBOOK:
        book = Workbook(content)
        for sheet in book.sheets:
            if of_sheet := table_of(sheet.name):
                name = f"{content.name}!{sheet.name}"
                yield TablePart(of_sheet, name, partial(open_sheet, book, sheet, known_headings(of_sheet)))
    elif table:
        yield TablePart(table, content.name, partial(_open_file, content, table))


def _open_file(content: Content, table: str) -> TextTable:
    match content.format:
        case Format.PARQUET:
            return open_parquet(content)
        case Format.TEXT:
            return open_delimited(content, known_headings(table), CONTRACT_DIALECT)
        case _:
            raise stopped(content.name, OTHER_FORMAT, f"it is {content.format}")


def _batches(
    name: str, parts: list[TablePart], cohort: Cohort, set_aside: dict[Rule, list[int]], names: list[str]
) -> Iterator[pa.RecordBatch]:
    try:
        with in_memory() as con:
            con.execute(csds_sql.CODES)
            for table in csds_sql.ORDER:
                _load(con, table, [part for part in parts if part.table == table], set_aside)
            con.execute(csds_sql.views(cohort))
            for view, rule in ORPHANS.items():
                if rows := [row for (row,) in con.execute(f"SELECT DISTINCT row FROM {view} ORDER BY 1").fetchall()]:
                    set_aside[rule] = rows
            reviews = con.sql(f"SELECT {', '.join((*names, SOURCE_ROW))} FROM reviews ORDER BY {SOURCE_ROW}")
            found = reviews.to_arrow_table()
    except duckdb.Error as error:
        kind = type(error).__name__
        raise ExtractStopped(f"{name}: the tables could not be joined ({kind}); please report this") from None
    yield from found.to_batches(max_chunksize=_BATCH_ROWS)


def _load(con: duckdb.DuckDBPyConnection, table: str, parts: list[TablePart], set_aside: dict[Rule, list[int]]) -> None:
    """Keep the rows of a table that a review can need, as text, with their running number."""
    items = (*ITEMS[table], *RECENCY)
    con.execute(f"CREATE TABLE all_{table} (row BIGINT, {', '.join(f'{item} VARCHAR' for item in items)})")
    passed = 0
    for part in parts:
        opened = part.open()
        columns = columns_of(part.name, table, opened.header)
        wanted = list(dict.fromkeys(columns.values()))
        last = 0
        for batch in opened.read(wanted):
            by_item = {item: batch.column(heading) for item, heading in columns.items()}
            absent = pa.nulls(batch.num_rows, pa.string())
            numbers = np.asarray(batch.column(SOURCE_ROW))
            last = int(numbers[-1]) if len(numbers) else last
            incoming = pa.table(
                {"row": pa.array(numbers + passed), **{item: by_item.get(item, absent) for item in items}}
            )
            con.register("incoming", incoming)
            con.execute(f"INSERT INTO all_{table} {csds_sql.keep(table, items)}")
            con.unregister("incoming")
        for rule, rows in opened.set_aside.items():
            if rows:
                set_aside.setdefault(_of_table(rule, table), []).extend(row + passed for row in rows)
                last = max(last, *rows)
        passed += last
    con.execute(csds_sql.current(table))


def _of_table(rule: Rule, table: str) -> Rule:
    return _orphan(f"{rule.id}-{table.lower()}", rule.sentence, table)
