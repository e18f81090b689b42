"""The one pass over an identifiable file: read, check, normalise and tokenise, a chunk of rows at a time.

What is written holds tokens, payload and row numbers only. Memory does not grow with the file, but for eight bytes a
row that tell whether it repeats an earlier one. Connections live in memory and cannot spill: identifiers pass through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from privacy import normalise, pseudonyms
from privacy.keys import KeyRing
from sources.contracts import Role, Rule, Severity, SourceContract
from sources.contracts.extract_rules import MANY_ROWS
from sources.extract.errors import ExtractStopped
from sources.extract.landed import Landed
from sources.extract.open import OpenExtract
from sources.extract.project import BITS, Projection, project_extract
from sources.extract.rules import MOVED_COLUMNS, stopped
from sources.extract.suspects import Suspicion, suspicions
from sources.extract.table import SOURCE_ROW
from sources.sql import in_memory, quoted

TERMS = ("Autumn-born", "Spring-born", "Summer-born")
TERM_OF_BIRTH = (
    "CASE WHEN month(birth_date(date_of_birth)) >= 9 THEN 'Autumn-born'"
    " WHEN month(birth_date(date_of_birth)) <= 3 THEN 'Spring-born'"
    " WHEN month(birth_date(date_of_birth)) <= 8 THEN 'Summer-born' END"
)
"""September to December, January to March, April to August (DfE); the date itself is not kept."""

MAX_EXAMPLE_ROWS = 100
_MOSTLY = 0.5
_FEW = 5
"""Rows that break a rule without showing that the whole file is wrong."""
CHUNK_ROWS = 3 << 15
"""Rows in work at once, and in a row group of what is written."""
_ROW_HASH = "row_hash"
QUARANTINE = pa.schema(
    {
        SOURCE_ROW: pa.int64(),
        "rule": pa.string(),
        "columns": pa.string(),
        "severity": pa.string(),
        "row_kept": pa.bool_(),
    }
)
"""One line for each row and rule broken, whether the row was rejected or kept."""


@dataclass(frozen=True)
class RuleCount:
    """How often a rule was broken, with the first rows by number."""

    rule: str
    severity: str
    sentence: str
    columns: tuple[str, ...]
    rows: int
    first_rows: tuple[int, ...]


@dataclass(frozen=True)
class Staged:
    """What the pass found and where it wrote: `kept` (tokens, payload) and `quarantine` (row numbers and rules)."""

    kept: Path
    quarantine: Path
    headings: Mapping[str, str]
    rows_read: int
    rows_kept: int
    rules: tuple[RuleCount, ...]
    stop_shares: Mapping[str, float]
    suspicions: tuple[Suspicion, ...] = ()
    rows_forgotten: int = 0

    @property
    def rows_rejected(self) -> int:
        return self.rows_read - self.rows_kept

    @property
    def rejected_share(self) -> float | None:
        """Of the rows read, where so many were rejected that it can say something of the file; rows that were forgotten
        on request say nothing of it."""
        wrong = self.rows_rejected - self.rows_forgotten
        return wrong / self.rows_read if wrong >= MANY_ROWS else None

    @property
    def hints(self) -> str:
        """What columns that are mostly wrong may be, for the end of a sentence; empty where there is nothing to say."""
        return "".join(f" {suspicion.sentence}" for suspicion in self.suspicions)

    @property
    def why_rejected(self) -> str:
        """The rule that most of the rejected rows break, and the hints, for the end of a sentence."""
        rejecting = [count for count in self.rules if count.severity == Severity.REJECT]
        most = max(rejecting, key=lambda count: count.rows, default=None)
        said = f" {most.rows} of {self.rows_read} rows break {most.rule}: {most.sentence}" if most else ""
        return said + self.hints

    @property
    def too_often(self) -> RuleCount | None:
        """The rule, if any, that is broken in more rows than an extract may have."""
        limits = self.stop_shares
        found = (count for count in self.rules if count.rule in limits)
        return next((count for count in found if count.rows > max(limits[count.rule] * self.rows_read, _FEW)), None)


def connect(keys: KeyRing, postcode_directory: Path | None) -> duckdb.DuckDBPyConnection:
    """A connection with keys, normaliser and the look-up of deprivation quintiles by postcode."""
    con = in_memory()
    con.execute("SET enable_progress_bar = false; SET preserve_insertion_order = false")
    pseudonyms.prepare(con, keys)
    rows = "(SELECT NULL::VARCHAR AS postcode, NULL AS imd_decile)"
    if postcode_directory:
        rows = f"read_csv({quoted(str(postcode_directory))}, all_varchar = true)"
    con.execute(
        "CREATE TEMP TABLE imd AS SELECT letters_and_digits(postcode) AS imd_postcode,"
        " min((try_cast(imd_decile AS INTEGER) + 1) // 2) AS imd_quintile"
        f" FROM {rows} WHERE postcode IS NOT NULL GROUP BY 1"
    )
    return con


def stage(
    con: duckdb.DuckDBPyConnection,
    extract: OpenExtract,
    contract: SourceContract,
    folder: Path,
    metadata: Mapping[str, str],
    *,
    second_keying: bool = True,
) -> Staged:
    """Write an extract, pseudonymised, to `folder`; `metadata` goes into the Parquet file's own.

    Raises `ExtractStopped` where the file breaks off.
    """
    landed = extract.landed
    projection = project_extract("extract", extract, contract, normalise.VALID)
    sql = _pass_sql(projection, contract, landed.council, second_keying)
    findings = _Findings(projection, contract)
    kept, quarantine = folder / "kept.parquet", folder / "quarantine.parquet"
    with TableWriter(kept, {**metadata, "source": contract.name}) as rows, TableWriter(quarantine) as found:
        for result in _ahead(_results(con, sql, _ahead(_chunks(extract)))):
            good = findings.add(result, found)
            result = result.drop_columns([_ROW_HASH, *projection.issue_columns])
            rows.write(result if pc.all(good).as_py() else result.filter(good))
        findings.set_aside(extract.set_aside, found)
        found.write(QUARANTINE.empty_table())
    return Staged(
        kept,
        quarantine,
        extract.headings,
        findings.rows_read,
        rows.rows,
        findings.counts(),
        findings.stop_shares,
        suspicions(con, extract, contract, normalise.VALID, wrong)
        if (wrong := findings.mostly_wrong(contract))
        else (),
    )


def stop_if_wrong(landed: Landed, staged: Staged, *, moved: bool) -> None:
    """Raise `ExtractStopped` where the file `moved` during the pass, or a rule shows that it is the wrong one, or that
    its columns stand under headings of others."""
    if moved:
        raise ExtractStopped(f"{landed.name}: the file changed while it was read; run again when it has arrived whole")
    if count := staged.too_often:
        raise ExtractStopped(
            f"{landed.name}: {count.rows} of {staged.rows_read} rows break {count.rule}: {count.sentence}"
            f" Is it the right file? First row: {count.first_rows[0]}.{staged.hints}"
        )
    if any(suspicion.moved for suspicion in staged.suspicions):
        raise stopped(landed.name, MOVED_COLUMNS, staged.hints.strip())


def _pass_sql(projection: Projection, contract: SourceContract, council: str, second_keying: bool) -> str:
    payload = [column.name for column in contract.with_role(Role.PAYLOAD)]
    identifiers = {column.name for column in contract.with_role(Role.IDENTIFIER)}
    kept = ["council", SOURCE_ROW, *payload, *projection.issue_columns, _ROW_HASH]
    rows = f"SELECT '{council}' AS council, *, {_row_hash(contract)} AS {_ROW_HASH} FROM ({projection.sql})"
    if "date_of_birth" not in identifiers:
        return f"SELECT {', '.join(kept)} FROM ({rows})"
    rows = (
        f"SELECT typed.*, {TERM_OF_BIRTH} AS term_of_birth, imd_quintile FROM ({rows}) AS typed"
        " LEFT JOIN imd ON imd_postcode = letters_and_digits(postcode)"
    )
    kept += ["term_of_birth", "imd_quintile"]
    return pseudonyms.tokenise_sql(f"({rows})", identifiers, council, kept, second_keying=second_keying)


def _row_hash(contract: SourceContract) -> str:
    if keys := contract.repeated.columns:
        return f"CASE WHEN {keys[0]} IS NOT NULL THEN hash({', '.join(keys)}) END"
    return f"hash({', '.join(column.name for column in contract.columns)})"


def _chunks(extract: OpenExtract) -> Iterator[pa.Table]:
    """The file in tables of about `CHUNK_ROWS` rows; one empty table where it has none."""
    waiting: list[pa.RecordBatch] = []
    given = False
    for batch in extract.batches:
        waiting.append(batch)
        if sum(part.num_rows for part in waiting) >= CHUNK_ROWS:
            yield pa.Table.from_batches(waiting, extract.schema)
            waiting, given = [], True
    if waiting or not given:
        yield pa.Table.from_batches(waiting, extract.schema)


def _results(con: duckdb.DuckDBPyConnection, sql: str, chunks: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """What `sql` makes of each chunk as the relation `extract`; planned once, which costs as much as many rows."""
    first = next(chunks)
    extract = _Chunk(first)
    con.register("extract", extract)
    con.execute(f"PREPARE of_chunk AS {sql}")
    for chunk in chain([first], chunks):
        extract.table = chunk
        yield in_order(con.sql("EXECUTE of_chunk").to_arrow_table())
    con.execute("DEALLOCATE of_chunk")
    con.unregister("extract")


class _Chunk:
    """The table in work, for DuckDB: an object that has another one each time that it is scanned."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_schema__(self) -> object:
        return self.table.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


def _ahead(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same tables, each made in a thread of its own while the one before it is in use."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, tables, None)
        while (table := coming.result()) is not None:
            coming = pool.submit(next, tables, None)
            yield table


def in_order(table: pa.Table) -> pa.Table:
    """The rows by `source_row`."""
    rows = table[SOURCE_ROW].to_numpy()
    return table if (np.diff(rows) > 0).all() else table.take(pa.array(np.argsort(rows)))


class TableWriter:
    """A Parquet file that is written a table at a time; it exists once a table, if an empty one, was written."""

    def __init__(self, path: Path, metadata: Mapping[str, str] | None = None) -> None:
        self._path, self._metadata = path, metadata or {}
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self.rows = 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            text = [field.name for field in table.schema if pa.types.is_string(field.type)]
            tokens = set(pseudonyms.TOKEN_COLUMNS)
            self._writer = pyarrow.parquet.ParquetWriter(
                self._path,
                table.schema,
                compression={name: "none" if name in tokens else "zstd" for name in table.column_names},
                use_dictionary=text,
                store_schema=False,
                write_statistics=[SOURCE_ROW],
                write_page_checksum=True,
            )
            self._writer.add_key_value_metadata(self._metadata)
        self._writer.write_table(table)
        self.rows += table.num_rows


class _Findings:
    """Counts of broken rules and their first rows, added up over the chunks of one file."""

    def __init__(self, projection: Projection, contract: SourceContract) -> None:
        self._projection, self._repeated = projection, contract.repeated
        rules = [*(check.rule for check in projection.checks), contract.repeated]
        self._rules = {rule.id: rule for rule in rules}
        self._totals: dict[str, int] = {}
        self._first: dict[str, list[int]] = {}
        self._seen = np.empty(0, np.uint64)
        self.rows_read = 0
        self.stop_shares = {rule.id: rule.stop_share for rule in rules if rule.stop_share is not None}

    def add(self, chunk: pa.Table, quarantine: TableWriter) -> pa.ChunkedArray:
        """Count what is wrong in `chunk`, write it to `quarantine`; True for each row that is kept."""
        self.rows_read += chunk.num_rows
        rows = chunk[SOURCE_ROW].to_numpy()
        masks = [chunk[name].to_numpy() for name in self._projection.issue_columns]
        present = [int(np.bitwise_or.reduce(mask)) for mask in masks]
        broken = {}
        for check in self._projection.checks:
            mask, bit = check.position // BITS, 1 << check.position % BITS
            if present[mask] & bit:
                broken[check.rule] = masks[mask] & bit != 0
        rejects = [found for rule, found in broken.items() if rule.severity is Severity.REJECT]
        rejected = reduce(np.logical_or, rejects, np.zeros(len(rows), bool))
        if (repeats := self._repeats(chunk[_ROW_HASH]) & ~rejected).any():
            broken[self._repeated] = repeats
            rejected |= repeats & (self._repeated.severity is Severity.REJECT)
        for rule, found in broken.items():
            self._note(rule, rows[found], ~rejected[found], quarantine)
        return pa.chunked_array([pa.array(~rejected)])

    def set_aside(self, rows: Mapping[Rule, list[int]], quarantine: TableWriter) -> None:
        """Add the rows that the reader could not give."""
        for rule, numbers in rows.items():
            self.rows_read += len(numbers)
            self._rules[rule.id] = rule
            self._note(rule, np.array(numbers, np.int64), np.zeros(len(numbers), bool), quarantine)

    def counts(self) -> tuple[RuleCount, ...]:
        """Rules that were broken, in the order of the contract."""
        return tuple(
            RuleCount(
                rule.id, rule.severity, rule.sentence, rule.columns, self._totals[rule.id], tuple(self._first[rule.id])
            )
            for rule in self._rules.values()
            if self._totals.get(rule.id)
        )

    def mostly_wrong(self, contract: SourceContract) -> tuple[str, ...]:
        """Contract columns that are wrong in most of the rows where they are filled.

        That is by the rule of their own values, or by one about them alone of which few may be broken.
        """
        blank = {name: self._totals.get(f"{name}-blank", 0) for name in (column.name for column in contract.columns)}
        return tuple(
            name for name, empty in blank.items() if self._wrong(name) > max(_MOSTLY * (self.rows_read - empty), _FEW)
        )

    def _wrong(self, column: str) -> int:
        own = {f"{column}-invalid", f"{column}-malformed"}
        own |= {rule.id for rule in self._rules.values() if rule.columns == (column,) and rule.stop_share is not None}
        return max(self._totals.get(rule, 0) for rule in own)

    def _note(self, rule: Rule, rows: np.ndarray, kept: np.ndarray, quarantine: TableWriter) -> None:
        self._totals[rule.id] = self._totals.get(rule.id, 0) + len(rows)
        first = self._first.setdefault(rule.id, [])
        first += rows[: MAX_EXAMPLE_ROWS - len(first)].tolist()
        same = [pa.repeat(text, len(rows)) for text in (rule.id, ", ".join(rule.columns), rule.severity.value)]
        quarantine.write(pa.table([pa.array(rows), *same, pa.array(kept)], schema=QUARANTINE))

    def _repeats(self, hashes: pa.ChunkedArray) -> np.ndarray:
        """True for rows whose hash was seen in an earlier row; two different rows share one with chance 2**-64."""
        known, values = hashes.is_valid().to_numpy(), hashes.fill_null(0).to_numpy()
        seen, self._seen = self._seen, np.concatenate([self._seen, np.sort(values[known])])
        self._seen.sort(kind="stable")  # merges the two sorted parts
        if not (self._seen[1:] == self._seen[:-1]).any():
            return np.zeros(len(values), bool)
        self._seen = np.unique(self._seen)
        first = np.zeros(len(values), bool)
        first[np.unique(values, return_index=True)[1]] = True
        return known & ~(first & ~np.isin(values, seen))
