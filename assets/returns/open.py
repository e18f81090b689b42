"""Opens returns and receipts at the sender: takes a return and its extract, and writes tables and a page for the
team."""

import datetime as dt
import json
from collections.abc import Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from assets.returns import team_files
from privacy.doors import files
from privacy.doors.database import open_in_memory
from privacy.keys import compute_sender_mac
from privacy.returns import seal
from privacy.returns.seal import Header, ReturnProblem
from privacy.row_keys import format_row_number, number_rows, split_number
from privacy.services import SERVICES
from sources.contracts import CONTRACTS, RecordOnDay, Role, SourceContract
from sources.councils.council_file import load_council_file, read_council_file
from sources.councils.dialect import Dialect
from sources.errors import ExtractStopped, wrap_error
from sources.extract.landing import Landed, hash_content, list_arrived
from sources.extract.open import open_extract
from sources.extract.project import DELETED, build_first_year_sql, project_extract
from sources.extract.table import SOURCE_ROW, OpenExtract, join_parts
from sources.reference.cohorts import Cohort

_LINES = Path(__file__).with_name("lines.sql")


def open_return(
    file: Path, extract: Path, key: Path, signer: Path, council_file: Path | None, out: Path, today: dt.date
) -> tuple[list[Path], list[str]]:
    """Write the page, workbook and CSV of a return into `out`, and return them and warnings to check before use.

    Raises `ReturnProblem` and `ExtractStopped` before writing.
    """
    opened = seal.unseal(file, key, signer)
    header = opened.header
    landed = Landed(header.council, header.source, header.cohort, extract)
    if landed.holds_tokens:
        raise ReturnProblem(f"{extract.name}: holds tokens; give the extract that they were made from")
    if header.parts:
        parts = _find_parts(extract, header)
    elif _compute_mac(header, extract) == header.sender_mac:
        parts = {0: landed}
    else:
        raise ReturnProblem(
            f"{extract.name}: is not the file that {file.name} is about, which is {header.source} of"
            f" {header.council}, cohort {header.cohort}, to the byte; give that extract as it was sent (saving it again"
            " in a spreadsheet program changes it)"
        )
    lines = _read_lines(parts, _load_dialect(header, council_file), opened)
    newest = _update_newest_serial(key, header)
    name = f"{header.council}-{header.source}-{header.cohort}"
    page, workbook, csv = (out / f"{name}{suffix}" for suffix in (".html", ".xlsx", ".csv"))
    table = team_files.tabulate(lines)
    contents = {csv: team_files.render_csv(*table), workbook: team_files.render_workbook(*table)}
    _write(out, contents | {page: team_files.render_page(header, lines)})
    return [page, workbook, csv], _list_warnings(header, today, newest)


def _find_parts(given: Path, header: Header) -> dict[int, Landed]:
    """Find the parts that a return is about anywhere in a folder, or the only one as a file, and return them by number.

    Raises `ReturnProblem`.
    """
    of = f"{header.source} of {header.council}, cohort {header.cohort}"
    if not given.is_dir() and len(header.parts) > 1:
        raise ReturnProblem(f"{given.name}: the return is about {of}, which was sent in parts; give their folder")
    files = {_compute_mac(header, path): path for path in (list_arrived(given) if given.is_dir() else [given])}
    missing = sorted(number for mac, number in header.parts.items() if mac not in files)
    if missing:
        raise ReturnProblem(
            f"{given.name}: {'has no file that is' if given.is_dir() else 'is not'}, to the byte, part {missing[0]} of"
            f" {of}; give that file as it was sent"
        )
    return {
        number: Landed(header.council, header.source, header.cohort, files[mac], part=number)
        for mac, number in header.parts.items()
    }


def _compute_mac(header: Header, file: Path) -> str:
    return compute_sender_mac(bytes.fromhex(header.sender_key), hash_content(file))


def _update_newest_serial(key: Path, header: Header) -> int:
    """Return the highest serial number of this council, source and cohort opened with this key so far.

    It is stored beside the key, so a newer return that was never opened with the key is not known here.
    """
    path, name = key.with_name(f"{key.name}.serials.json"), f"{header.council}/{header.source}/{header.cohort}"
    try:
        seen: dict[str, int] = json.loads(path.read_bytes()) if path.exists() else {}
        newest = int(seen.get(name, 0))
        if header.serial > newest:
            files.write_json(path, seen | {name: header.serial})
    # Not ignored, because an older return would then pass for the newest.
    except (OSError, ValueError, TypeError, AttributeError):
        raise ReturnProblem(
            f"{path}: numbers of the returns that were opened with this key cannot be kept there; make it readable"
            " and writable, or move it away"
        ) from None
    return max(newest, header.serial)


def _list_warnings(header: Header, today: dt.date, newest: int) -> list[str]:
    ended, made = dt.date.fromisoformat(header.expires), dt.date.fromisoformat(header.made_on)
    found = []
    if header.serial < newest:
        found.append(
            f"it is number {header.serial}, and number {newest} was opened with this key before: a newer return exists,"
            " act on that one"
        )
    if today > ended:
        found.append(
            f"the agreement {header.reference} ended on {ended}: ask for a new one before anybody acts on this"
        )
    # Time zones differ by up to a day.
    if made > today + dt.timedelta(days=1):
        found.append(
            f"it was made on {made}, which is in the future by this machine's clock: find out whose clock is wrong"
        )
    return found


def _load_dialect(header: Header, council_file: Path | None) -> Dialect:
    if council_file is None:
        return load_council_file(header.council).get_dialect(header.source)
    found = read_council_file(council_file)
    if found.council != header.council:
        raise ReturnProblem(f"{council_file.name}: is the council file of {found.council}, not of {header.council}")
    return found.get_dialect(header.source)


def _read_lines(parts: Mapping[int, Landed], dialect: Dialect, opened: seal.Opened) -> list[team_files.TeamLine]:
    """Return a line for each row, most urgent first; rows of a sheet keep the sheet's numbers."""
    header = opened.header
    contract, landed = CONTRACTS[header.source], next(iter(parts.values()))
    present = {*dialect.derived, *dialect.constants}
    above: dict[int, int] = {}
    least = most = 0
    try:
        with open_in_memory() as con:
            for number, landed in parts.items():
                extract = open_extract(landed, contract, dialect)
                cohort = Cohort(header.cohort) if number in header.several else None
                _read(con, join_parts({number: extract}, number_rows), contract, cohort)
                # The pipeline counted unreadable rows too. If the file has several cohorts, theirs is unknown.
                aside = sum(map(len, extract.set_aside.values()))
                least, most = least + (0 if cohort else aside), most + aside
                present |= {*extract.headings}
                # Rows of a return count from the first data row; the team counts from the first row of the sheet.
                above[number] = extract.table.sheet.header_row if extract.table.sheet else 0
            ((sure, rows),) = con.execute("SELECT count(*) FILTER (of_cohort), count(*) FROM own").fetchall()
            # With another council file, facts could go to the wrong child.
            if not least + sure <= header.extract_rows <= most + rows:
                raise ReturnProblem(
                    f"{landed.path.name}: has {most + rows:,} rows as it is read here and had"
                    f" {header.extract_rows:,} at the pipeline; give the council file under which it was sent, with"
                    " --council-file"
                )
            lines = _join_facts(con, present, opened)
            return [replace(line, row=line.row + above[split_number(line.row)[0]]) for line in lines]
    except ExtractStopped:
        raise
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise wrap_error(landed.name, error) from None


def _read(
    con: duckdb.DuckDBPyConnection, extract: OpenExtract, contract: SourceContract, cohort: Cohort | None
) -> None:
    """Add a file to `own`: source_row, own columns as text under `raw_<column>`, whether the row records a concern, and
    when the child was born.

    Rows that delete a record are left out. If the file has several cohorts, so are rows of any but `cohort`. The column
    `of_cohort` says whether a row certainly belongs to the cohort.
    """
    con.register("streamed", pa.RecordBatchReader.from_batches(extract.schema, extract.batches))
    con.execute("CREATE OR REPLACE TEMP TABLE extract AS FROM streamed")
    projection, concern = project_extract("extract", extract, contract, {}), contract.concern or "false"
    of_cohort = f"({build_first_year_sql(contract)}) = {cohort.first_year}" if cohort else "true"
    deleted = DELETED if extract.dialect.deleted else "false"
    rows = (
        "SELECT * EXCLUDE (gone, stated), coalesce(stated, false) AS of_cohort"
        f" FROM (SELECT {SOURCE_ROW}, COLUMNS('^raw_'), {concern} AS concern, {deleted} AS gone,"
        # 1900-01-01 is a placeholder for an unknown date of birth
        " CASE WHEN year(date_of_birth) > 1900 THEN date_of_birth END AS born,"
        f" {of_cohort} AS stated FROM ({projection.with_texts})) WHERE NOT gone AND coalesce(stated, true)"
    )
    con.execute(f"CREATE TEMP TABLE IF NOT EXISTS own AS {rows} LIMIT 0")
    con.execute(f"INSERT INTO own BY NAME {rows}")


def _join_facts(
    con: duckdb.DuckDBPyConnection, present: Container[str], opened: seal.Opened
) -> list[team_files.TeamLine]:
    header, contract = opened.header, CONTRACTS[opened.header.source]
    shown = {
        name: label for name, label in team_files.WORDS["headings"].items() if name in contract and name in present
    }
    identity = [f"raw_{column.name}" for column in contract.select_role(Role.IDENTIFIER) if column.name in shown]
    con.register("returned", pa.table({"fact": pa.array(opened.facts, pa.string())}))
    con.register("expected", _list_expected(header))
    query = _LINES.read_text(encoding="utf-8").replace("IDENTITY", ", ".join(identity))
    rows = con.sql(
        query.replace("SHOWN", ", ".join(f"raw_{name}" for name in shown)),
        params={
            "made_on": header.made_on,
            "youngest": Cohort(header.cohort).born_to.isoformat(),
            "lately_months": team_files.LATELY_MONTHS,
            **{each.name.lower(): each.value for each in team_files.Situation},
        },
    )
    return [
        team_files.TeamLine(
            row=row[SOURCE_ROW],
            child=row["child"],
            own={label: row[f"raw_{name}"] or "" for name, label in shown.items()},
            situation=(situation := team_files.Situation(row["situation"])),
            why=team_files.explain(situation, row, header),
            calls=tuple(
                team_files.format_call(sender, header) for sender in team_files.list_to_call(situation, row, header)
            ),
            next_step=team_files.get_next_step(situation, header.service),
        )
        for row in rows.to_arrow_table().to_pylist()
    ]


def _list_expected(header: Header) -> pa.Table:
    """Return the records that services other than the receiver's make of every child: from when, and when due."""
    cohort, rows = Cohort(header.cohort), []
    for source, service in SERVICES.items():
        for record in CONTRACTS[source].expected if service != header.service else ():
            if isinstance(record, RecordOnDay):
                days = {"from_day": record.possible.find_date(cohort), "due_day": record.due.find_date(cohort)}
                rows.append({"service": service, **days})
            elif not record.with_mother:
                due = {"due_months": record.months + record.delivered_months, "due_days": record.days}
                rows.append({"service": service, "from_months": record.from_months, **due})
    return pa.Table.from_pylist(rows, _EXPECTED)


_EXPECTED = pa.schema(
    [
        ("service", pa.string()),
        *((name, pa.date32()) for name in ("from_day", "due_day")),
        *((name, pa.int32()) for name in ("from_months", "due_months", "due_days")),
    ]
)


def open_receipt(file: Path, key: Path, signer: Path, out: Path) -> tuple[Path, Path]:
    """Write a CSV of who received facts about which rows into `out`. Raises `ReturnProblem` before writing."""
    document, own = seal.unseal_document(seal.RECEIPT_FORMAT, file, key, signer)
    found: dict[str, Any] = json.loads(document)
    seal.check_recipient(file, found["recipient"], own)
    numbers = {each["receiver"]: each["children_about"] for each in found["receivers"]}
    receivers = [(who, ", ".join(facts), numbers.get(who, 0)) for who, facts in sorted(found["may_tell"].items())]
    rows = [
        (each["source"], format_row_number(each["row"]), each["receiver"], ", ".join(each["told"]))
        for each in found["rows"]
    ]
    name = f"{found['council']}-{found['service']}-{found['cohort']}"
    by_receiver, by_row = out / f"{name}-told-whom.csv", out / f"{name}-told-rows.csv"
    tables = {
        by_receiver: team_files.render_csv(("Receiver", "What it may be told", "Children, about"), receivers),
        by_row: team_files.render_csv(("Source", "Row", "Receiver", "What it was told"), rows),
    }
    _write(out, tables)
    return by_receiver, by_row


def _write(out: Path, contents: Mapping[Path, bytes]) -> None:
    try:
        files.write_all(contents)
    except OSError as error:
        raise ReturnProblem(f"{out}: cannot be written to ({error.strerror}); choose another --out") from None
