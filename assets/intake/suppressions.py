"""The list of what must not come back: rows that were removed on request, and marks of children who object.

A row is known by the MAC of its delivery and its number, so that the same file gives it never again. An objection adds
marks (`privacy.marks`), so that later deliveries are taken without the child. Neither holds a token or an identifier.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from pydantic import TypeAdapter

from assets.home.paths import Home
from assets.intake.one_pass import RuleCount, Staged, TableWriter
from assets.intake.quality import Finding
from privacy import marks
from privacy.doors.database import in_memory
from privacy.doors.files import write_json
from privacy.doors.sql import parquet
from privacy.keys import KeyRing
from sources.contracts import Severity
from sources.extract.landed import Landed
from sources.extract.table import SOURCE_ROW

FORGOTTEN = RuleCount(
    "forgotten",
    Severity.REJECT.value,
    "The rows are of children whose records are not held, on request; their numbers are not listed.",
    (),
    0,
    (),
)
OTHER_KEYS = Finding(
    "objections-of-other-keys",
    "objections",
    None,
    "warning",
    passed=False,
    unexpected_rows=None,
    sentence="Objections are on the list that were made under other keys or versions and cannot be recognised here:"
    " `readiness doctor` says what to do.",
)


@dataclass(frozen=True)
class Suppressed:
    """One row of one delivery; `objection` is the id of the objection that it belongs to, or empty."""

    file_mac: str
    source_row: int
    objection: str = ""


@dataclass(frozen=True)
class Objection:
    """Marks of one child, made under one set of keys and versions; `id` is random. `marks` are (kind, mark)."""

    id: str
    cohort: str
    made_under: dict[str, object]
    marks: tuple[tuple[str, str], ...]


_SUPPRESSED, _OBJECTION = TypeAdapter(list[Suppressed]), TypeAdapter(Objection)


def suppressed(home: Home, source: str, cohort: str, council: str) -> list[Suppressed]:
    """Rows of the deliveries of an extract that were removed."""
    path = home.forgotten(source, cohort, council)
    return _SUPPRESSED.validate_json(path.read_bytes()) if path.exists() else []


def suppress(home: Home, source: str, cohort: str, council: str, rows: Collection[Suppressed]) -> None:
    """Add rows to the list, durable on return."""
    known = {(row.file_mac, row.source_row): row for row in suppressed(home, source, cohort, council)}
    for row in rows:
        earlier = known.get((row.file_mac, row.source_row))
        known[row.file_mac, row.source_row] = earlier if earlier and earlier.objection else row
    ordered = [asdict(known[key]) for key in sorted(known)]
    write_json(home.forgotten(source, cohort, council), ordered)


def objections(home: Home) -> list[Objection]:
    """Every objection; one of several epochs of keys stands there once for each."""
    return [objection_in(path) for path in sorted(home.objections.glob("*.json"))]


def objection_in(path: Path) -> Objection:
    """The objection that a file holds."""
    return _OBJECTION.validate_json(path.read_bytes())


def add_objection(home: Home, objection: Objection) -> None:
    """Keep the marks, durable on return. The name says what they are of, so that nothing is kept twice."""
    said = json.dumps(asdict(objection), sort_keys=True)
    write_json(
        home.objections / f"{objection.id}-{hashlib.sha256(said.encode()).hexdigest()[:16]}.json", asdict(objection)
    )


def out_of_reach(home: Home, keys: KeyRing) -> list[str]:
    """Ids of objections without marks under these keys and versions: a new delivery would bring the child back."""
    if not (found := objections(home)):
        return []
    now = marks.made_under(keys)
    return sorted({entry.id for entry in found} - {entry.id for entry in found if entry.made_under == now})


@contextmanager
def prepared(keys: KeyRing) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that can make marks."""
    with in_memory() as con:
        marks.prepare(con, keys)
        yield con


def marks_of(con: duckdb.DuckDBPyConnection, kept: Path, rows: Iterable[int]) -> list[tuple[str, str]]:
    """(kind, mark) of the given rows of a pseudonymised extract, over a connection that is `prepared`."""
    con.register("wanted", pa.table({SOURCE_ROW: pa.array(sorted(rows), pa.int64())}))
    sql = _marks_sql(kept, f"WHERE {SOURCE_ROW} IN (FROM wanted)")
    found = con.execute(
        f"SELECT DISTINCT kind, mark FROM (UNPIVOT ({sql}) ON {', '.join(marks.KINDS)} INTO NAME kind VALUE mark)"
        " ORDER BY ALL"
    ).fetchall()
    con.unregister("wanted")
    return found


def objected(con: duckdb.DuckDBPyConnection, known: Sequence[Objection], kept: Path) -> list[int]:
    """Numbers of the rows of a pseudonymised extract that objections are about, over a connection that is `prepared`.

    The objections must be made under the keys of the connection.
    """
    lines = [{"objection": entry.id, "kind": kind, "mark": mark} for entry in known for kind, mark in entry.marks]
    if not lines:
        return []
    con.register("objections", pa.Table.from_pylist(lines))
    con.execute(f"CREATE OR REPLACE TEMP TABLE marked AS {_marks_sql(kept)}").fetchall()
    found = con.execute(marks.matching_sql("marked", "objections")).fetchall()
    con.execute("DROP TABLE marked").fetchall()
    con.unregister("objections")
    return [row for (row,) in found]


def left_out(home: Home, keys: KeyRing, landed: Landed, mac: str, staged: Staged) -> Staged:
    """A staged extract without the rows that must not come back; counted under `FORGOTTEN`, not listed.

    Where a removed row belongs to an objection, the marks that it has under the keys now in use are kept first.
    """
    listed = [row for row in suppressed(home, landed.source, landed.cohort, landed.council) if row.file_mac == mac]
    rows = {row.source_row for row in listed}
    if any(home.objections.glob("*.json")):
        with prepared(keys) as con:
            _renew(con, home, keys, landed.cohort, staged.kept, listed)
            now = marks.made_under(keys)
            known = [e for e in objections(home) if (e.made_under, e.cohort) == (now, landed.cohort)]
            rows |= set(objected(con, known, staged.kept))
    if not rows:
        return staged
    kept, quarantine = (path.with_name(f"held-{path.name}") for path in (staged.kept, staged.quarantine))
    without(staged.kept, kept, rows)
    without(staged.quarantine, quarantine, rows)
    return replace(
        staged,
        kept=kept,
        quarantine=quarantine,
        rows_kept=pyarrow.parquet.read_metadata(kept).num_rows,
        rows_forgotten=len(rows),
        rules=without_rows(staged.rules, rows),
    )


def without(path: Path, out: Path, rows: Collection[int]) -> None:
    """Copy a Parquet file of the intake but for the rows of these numbers."""
    file = pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)
    gone = pa.array(sorted(rows), pa.int64())
    metadata = {key.decode(): value.decode() for key, value in (file.metadata.metadata or {}).items()}
    with TableWriter(out, {key: value for key, value in metadata.items() if key != "ARROW:schema"}) as writer:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            writer.write(table.filter(pc.invert(pc.is_in(table[SOURCE_ROW], value_set=gone))))
        if not file.num_row_groups:
            writer.write(file.schema_arrow.empty_table())


def holds_any(path: Path, rows: Collection[int]) -> bool:
    """Whether a Parquet file of the intake has a row of one of these numbers."""
    gone = pa.array(sorted(rows), pa.int64())
    found = pyarrow.parquet.read_table(path, columns=[SOURCE_ROW])[SOURCE_ROW]
    return bool(pc.any(pc.is_in(found, value_set=gone), min_count=0).as_py())


def without_rows(rules: Iterable[RuleCount], rows: Collection[int]) -> tuple[RuleCount, ...]:
    """Counts of broken rules that no longer name these rows, and the count of them as forgotten."""
    kept = [
        replace(rule, first_rows=tuple(row for row in rule.first_rows if row not in rows))
        for rule in rules
        if rule.rule != FORGOTTEN.rule
    ]
    return (*kept, replace(FORGOTTEN, rows=len(rows)))


def _renew(
    con: duckdb.DuckDBPyConnection, home: Home, keys: KeyRing, cohort: str, kept: Path, listed: list[Suppressed]
) -> None:
    missing = set(out_of_reach(home, keys)) if any(row.objection for row in listed) else set()
    for objection in sorted(missing):
        rows = [row.source_row for row in listed if row.objection == objection]
        if found := marks_of(con, kept, rows):
            add_objection(home, Objection(objection, cohort, marks.made_under(keys), tuple(found)))


def _marks_sql(kept: Path, where: str = "") -> str:
    relation = f"(SELECT * FROM {parquet(kept, hive_partitioning=False)} {where})"
    return marks.marks_sql(relation, list(pyarrow.parquet.read_schema(kept).names))
