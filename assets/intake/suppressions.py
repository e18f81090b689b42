"""Suppression list: rows removed on request, and marks of children with an objection.

A removed row is identified by its delivery's MAC and its row number, so that the same file cannot bring it back. An
objection adds marks (`privacy.marks`), so that later deliveries are ingested without the child. The list holds no
tokens and no identifiers.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from pydantic import TypeAdapter

from assets.home.paths import ExtractStore, Home
from assets.intake.quality import Finding
from assets.pseudonymise.findings import RuleCount, Staged
from assets.pseudonymise.split_writer import TableWriter
from privacy import marks, pseudonyms
from privacy.doors import database, files, sealed
from privacy.keys import KeyRing
from privacy.row_keys import ROW_KEY, RowKeys, number_rows
from sources.contracts import Severity
from sources.extract.landing import Landed
from sources.extract.table import SOURCE_ROW

FORGOTTEN = RuleCount(
    "forgotten",
    Severity.REJECT.value,
    "The rows are of children whose records were removed, on request or as out of date; their numbers are not listed.",
    (),
    0,
    (),
)
OTHER_KEYS = Finding(
    "objections-of-other-keys",
    None,
    "warning",
    "Objections are on the list that were made under other keys or versions and cannot be recognised here:"
    " `readiness doctor` says what to do.",
    "objections",
)


@dataclass(frozen=True)
class Suppressed:
    """A removed row of one delivery. `objection` is the id of its objection, or empty."""

    file_mac: str
    source_row: int
    objection: str = ""


@dataclass(frozen=True)
class Objection:
    """Marks of one child under one set of keys and versions. `id` is random; `marks` are (kind, mark) pairs.

    It applies to every cohort, because a wrong or corrected date of birth puts a child's rows into another one. It is
    stored once for each cohort that had rows of the child, and kept as long as that cohort's records may be.
    """

    id: str
    cohort: str
    made_under: dict[str, object]
    marks: tuple[tuple[str, str], ...]


_SUPPRESSED, _OBJECTION = TypeAdapter(list[Suppressed]), TypeAdapter(Objection)


def read_suppressed(store: ExtractStore) -> list[Suppressed]:
    """Return the removed rows of an extract's deliveries."""
    path = store.forgotten
    return _SUPPRESSED.validate_json(path.read_bytes()) if path.exists() else []


def list_suppressed(store: ExtractStore, parts: Mapping[str, int]) -> list[Suppressed]:
    """Return the removed rows with their numbers in the whole extract. `parts` maps file MACs to part numbers."""
    rows = [row for row in read_suppressed(store) if row.file_mac in parts]
    return [replace(row, source_row=int(number_rows(parts[row.file_mac], np.array(row.source_row)))) for row in rows]


def suppress(store: ExtractStore, rows: Collection[Suppressed]) -> None:
    """Add rows to the suppression list, durable on return."""
    known = read_suppressed(store)
    with_objection = [row for row in known if row.objection]  # last, so that a row keeps its objection
    found = {(row.file_mac, row.source_row): row for row in (*known, *rows, *with_objection)}
    files.write_json(store.forgotten, [asdict(found[key]) for key in sorted(found)])


def read_objections(home: Home) -> list[Objection]:
    """Return every objection. An objection renewed under other keys appears once for each set of keys."""
    return [read_objection(path) for path in sorted(home.objections.glob("*.json"))]


def read_objection(path: Path) -> Objection:
    """Read an objection from a file."""
    return _OBJECTION.validate_json(path.read_bytes())


def add_objection(home: Home, objection: Objection) -> None:
    """Store an objection, durable on return. The file name is a hash of the content, so that none is stored twice."""
    content = asdict(objection)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    files.write_json(home.objections / f"{objection.id}-{digest[:16]}.json", content)


def list_out_of_reach(home: Home, keys: KeyRing) -> list[str]:
    """Return ids of objections without marks under these keys: a new delivery would bring these children back."""
    found, now = read_objections(home), marks.get_mark_versions(keys)
    return sorted({entry.id for entry in found} - {entry.id for entry in found if entry.made_under == now})


@contextmanager
def open_mark_database(keys: KeyRing) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory database that can make marks."""
    with database.open_in_memory() as con:
        marks.prepare(con, keys)
        yield con


def compute_marks(con: duckdb.DuckDBPyConnection, tokens: pa.Table) -> list[tuple[str, str]]:
    """Return the distinct (kind, mark) pairs of rows with tokens and council. `con` is from `open_mark_database`."""
    con.register("tokens", tokens)
    of_rows = f"({marks.build_marks_sql('tokens', tokens.column_names)}) ON {', '.join(marks.KINDS)}"
    found = con.execute(
        f"SELECT DISTINCT kind, mark FROM (UNPIVOT {of_rows} INTO NAME kind VALUE mark) ORDER BY ALL"
    ).fetchall()
    con.unregister("tokens")
    return found


def match_objections(con: duckdb.DuckDBPyConnection, known: Sequence[Objection], tokens: pa.Table) -> np.ndarray:
    """Return a mask of the rows of `tokens` that match an objection under the keys of `con` (`open_mark_database`)."""
    mask = np.zeros(tokens.num_rows, bool)
    lines = [{"objection": entry.id, "kind": kind, "mark": mark} for entry in known for kind, mark in entry.marks]
    if not lines or not set(tokens.column_names) & set(pseudonyms.TOKEN_COLUMNS):
        return mask
    tokens = tokens.append_column(marks.PLACE, pa.array(np.arange(tokens.num_rows)))
    con.register("objections", pa.Table.from_pylist(lines))
    con.register("tokens", tokens)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE marked AS {marks.build_marks_sql('tokens', tokens.column_names)}"
    ).fetchall()
    found = con.sql(marks.build_matching_sql("marked", "objections")).to_arrow_table()
    mask[found.column(0).to_numpy()] = True
    con.execute("DROP TABLE marked").fetchall()
    con.unregister("tokens")
    con.unregister("objections")
    return mask


class HeldBack:
    """Finds a delivery's rows that are on the suppression list, one table at a time.

    `parts` maps file MACs to part numbers; 0 for a whole file. If a removed row belongs to an objection without marks
    under the current keys, those marks are stored first.
    """

    def __init__(self, home: Home, keys: KeyRing, landed: Landed, parts: Mapping[str, int]) -> None:
        self._home, self._keys, self._cohort = home, keys, landed.cohort
        self._listed = list_suppressed(home.get_extract(*landed.key), parts)
        self._any_objection = any(home.objections.glob("*.json"))
        self.rows: set[int] = set()
        """Row numbers found so far."""

    def mask(self, table: pa.Table) -> np.ndarray:
        """Return a mask of the suppressed rows of a table with `source_row`, council and tokens."""
        rows = table[SOURCE_ROW].to_numpy()
        suppressed_rows = np.isin(rows, [row.source_row for row in self._listed])
        if self._any_objection:
            with open_mark_database(self._keys) as con:
                # before matching: an objection made under other keys first gets marks under these, from its listed rows
                self._renew(con, table)
                now = marks.get_mark_versions(self._keys)
                # marks are comparable only under the same keys and versions
                known = [entry for entry in read_objections(self._home) if entry.made_under == now]
                if (found := match_objections(con, known, table)).any():
                    suppressed_rows |= found
                    self._extend(con, known, table)
        self.rows |= set(rows[suppressed_rows].tolist())
        return suppressed_rows

    def _extend(self, con: duckdb.DuckDBPyConnection, known: Sequence[Objection], table: pa.Table) -> None:
        """Store matching objections from other cohorts for this one too, so that they last as long as its records."""
        here = {entry.id for entry in known if entry.cohort == self._cohort}
        for entry in known:
            if entry.id not in here and match_objections(con, [entry], table).any():
                add_objection(self._home, replace(entry, cohort=self._cohort))

    def _renew(self, con: duckdb.DuckDBPyConnection, table: pa.Table) -> None:
        listed = {row.objection for row in self._listed if row.objection}
        for objection in listed and sorted(listed.intersection(list_out_of_reach(self._home, self._keys))):
            rows = pa.array([row.source_row for row in self._listed if row.objection == objection], pa.int64())
            of_child = table.filter(pc.is_in(table[SOURCE_ROW], value_set=rows))
            if of_child.num_rows and (found := compute_marks(con, of_child)):
                made_under = marks.get_mark_versions(self._keys)
                add_objection(self._home, Objection(objection, self._cohort, made_under, tuple(found)))


def leave_out_suppressed(staged: Staged, keys: RowKeys, rows: Collection[int]) -> Staged:
    """Return a staged extract without the suppressed rows, which are counted under `FORGOTTEN` but not listed."""
    if not rows:
        return staged
    quarantine = staged.quarantine.with_name(f"held-{staged.quarantine.name}")
    gone = keys.derive_keys(np.array(sorted(rows)))
    _copy_without(open_unsealed(staged.quarantine), quarantine, lambda own: np.isin(own, gone))
    return replace(
        staged, quarantine=quarantine, rows_forgotten=len(rows), rules=remove_row_numbers(staged.rules, rows)
    )


Gone: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Function from row keys to a mask of the rows that are to be removed."""


def write_without(home: Home, keys: KeyRing, holders: Mapping[Path, str], gone: Gone) -> None:
    """Rewrite the existing files of an extract, leaving out the rows that are `gone`.

    `holders` gives the name of the key that opens each file, or an empty name if the file is not encrypted. Raises
    `KeyProblem` if a key is missing.
    """
    with home.open_staging() as staging:
        # each file is replaced whole, so that this can be repeated after an interruption
        for path, holder in holders.items():
            if path.exists():
                file = sealed.open_sealed(path, keys.get_private_key(holder)) if holder else open_unsealed(path)
                if gone(file.read([ROW_KEY])[ROW_KEY].to_numpy()).any():
                    encryption = sealed.build_encryption(keys.get_public_key(holder)) if holder else None
                    _copy_without(file, staging / path.name, gone, encryption)
                    files.promote(staging / path.name, path)


def open_unsealed(path: Path) -> pyarrow.parquet.ParquetFile:
    """Open a payload or quarantine file for reading."""
    return pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)


def _copy_without(file: pyarrow.parquet.ParquetFile, out: Path, gone: Gone, encryption: Any = None) -> None:
    """Copy a Parquet file of the intake without the rows that are `gone`."""
    with TableWriter(out, sealed.read_metadata(file), encryption) as writer:
        if not file.num_row_groups:
            writer.write(sealed.read_schema(file).empty_table())
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            writer.write(table.filter(pa.array(~gone(table[ROW_KEY].to_numpy()))))


def remove_row_numbers(rules: Iterable[RuleCount], rows: Collection[int]) -> tuple[RuleCount, ...]:
    """Return counts of broken rules without these row numbers, and a count of the rows as forgotten."""
    kept = [
        replace(rule, first_rows=tuple(row for row in rule.first_rows if row not in rows))
        for rule in rules
        if rule.rule != FORGOTTEN.rule
    ]
    return (*kept, replace(FORGOTTEN, rows=len(rows)))
