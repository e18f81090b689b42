"""Streams an identifiable file in one pass: reads, checks, normalises and tokenises it in chunks of rows.

The output, written by `split_writer`, holds no identifiers. Memory does not grow with the file, except for eight bytes
a row to detect repeats, and the hashes of numbers in `Findings`. Databases hold identifiers, so none spills to disk.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Self, TypeVar

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.pseudonymise.findings import HASHES, QUARANTINE, ROW_HASH, Findings, Staged, build_hashes_sql
from assets.pseudonymise.split_writer import CHUNK_ROWS, WHOLE, RowState, RowWriter, Scope
from privacy import normalise, pseudonyms, row_keys
from privacy.doors.database import fetch_rows, open_in_memory
from privacy.doors.sql import quote_csv
from privacy.keys import KeyRing
from sources.contracts import Role, SourceContract
from sources.contracts.people import IMD_QUINTILE
from sources.diagnosis.wrong_rows import COLUMNS, Suspicion, build_origin_sql, suspect_columns
from sources.errors import ExtractStopped
from sources.extract.project import DELETED, PLACE_COLUMNS, Projection, build_place_columns, project_extract
from sources.extract.table import SOURCE_ROW, OpenExtract
from sources.reference.code_lists import IMD_EDITION

T = TypeVar("T")

CHUNK_BYTES = 32 << 20
"""Bytes of text processed at once (32 MiB; ordinary chunks are smaller). Normalising takes about twenty times that."""
_PART, _POSTCODE, _PERSON = "part", "postcode_hash", "person_hash"
HASH_SQL = "CASE WHEN postcode IS NOT NULL THEN hash(letters_and_digits(postcode)) END"
"""SQL for the hash under which a row's postcode is looked up. Needs the normaliser's functions."""


@dataclass(frozen=True)
class Quintiles:
    """Sorted `hashes` (uint64) of postcodes, and the quintile (int32) of each; 1 is the most deprived.

    The cost of a look-up depends only on its own rows, while a join would read the whole directory for every extract.
    Two postcodes share a hash with probability 2**-64.
    """

    hashes: np.ndarray
    quintiles: np.ndarray

    @classmethod
    def read(cls, con: duckdb.DuckDBPyConnection, directory: Path | None) -> Self:
        """Read a CSV file with the columns `postcode` and `imd_decile`; without one, no postcode is known.

        Raises `duckdb.Error` if it cannot be read as such, and `ExtractStopped` if its column `imd_edition` differs
        from the published edition. This stops every extract whose rows get quintiles.
        """
        if directory is None:
            return cls(np.empty(0, np.uint64), np.empty(0, np.int32))
        file = quote_csv(directory, all_varchar=True)
        # without the column, assume the published edition
        if "imd_edition" in (name.lower() for name in con.sql(f"FROM {file} LIMIT 0").columns):
            others = f"SELECT count(DISTINCT trim(imd_edition)) FROM {file} WHERE trim(imd_edition) <> ?"
            [(number,)] = con.execute(others, [IMD_EDITION]).fetchall()
            if number:
                raise ExtractStopped(
                    f"{directory.name}: imd_edition is not {IMD_EDITION} in every row (there are {number} other"
                    f" values); releases say that quintiles are of the Indices of Deprivation {IMD_EDITION}, so make it"
                    " from those"
                )
        # deciles 1 and 2 are quintile 1
        rows = f"SELECT {HASH_SQL} AS postcode, (try_cast(imd_decile AS INTEGER) + 1) // 2 AS quintile"
        # min, because a postcode that is listed twice must get the same quintile in whatever order rows are read
        found = fetch_rows(
            con,
            f"SELECT postcode, min(quintile) AS quintile FROM ({rows} FROM {file})"
            " WHERE postcode IS NOT NULL AND quintile IS NOT NULL GROUP BY postcode ORDER BY postcode",
        )
        return cls(found["postcode"].to_numpy(), found["quintile"].to_numpy())

    def look_up(self, hashes: pa.ChunkedArray) -> pa.Array:
        """Return the quintile (int32) of each hash, or NULL if the directory does not have it."""
        wanted = hashes.fill_null(0).to_numpy()
        places = np.searchsorted(self.hashes, wanted)
        # a hash above all others gets a place past the end
        known = hashes.is_valid().to_numpy() & (places < len(self.hashes))
        known[known] = self.hashes[places[known]] == wanted[known]
        quintiles = np.zeros(len(wanted), np.int32)
        quintiles[known] = self.quintiles[places[known]]
        return pa.array(quintiles, mask=~known)


@dataclass(frozen=True)
class Tools:
    """Tools for the pass: a connection with the normaliser, deprivation quintiles by postcode, and keys.

    `second_keying` means that tokens also get the pipeline's keying.
    """

    con: duckdb.DuckDBPyConnection
    deprivation: Quintiles
    keys: KeyRing
    second_keying: bool


def make_tools(keys: KeyRing, postcode_directory: Path | None, *, second_keying: bool = True) -> Tools:
    """Return tools for a key ring, with deprivation quintiles from a postcode directory, if given."""
    return Tools(*build_look_ups(postcode_directory), keys, second_keying)


def build_look_ups(postcode_directory: Path | None) -> tuple[duckdb.DuckDBPyConnection, Quintiles]:
    """Return a connection with the normaliser, and deprivation quintiles by postcode.

    They are slow to build (a directory has about two million postcodes), and hold no keys and no data from an extract.
    """
    con = open_in_memory()
    # rows are put in order by `_split_by_part`
    con.execute("SET GLOBAL preserve_insertion_order = false")
    con.execute("SET GLOBAL threads = 1")  # statements run concurrently; threads within one double its processor time
    pseudonyms.prepare(con)
    return con, Quintiles.read(con, postcode_directory)


@dataclass(frozen=True)
class PayloadOnly:
    """Request to type rows with `sql` over the table `extract`, and to tokenise them: a small extract or a chunk."""

    contract: SourceContract
    sql: str
    rows: pa.Table
    scope: Scope = WHOLE

    @property
    def batch(self) -> tuple[Any, ...]:
        """Key that is equal for requests that can be tokenised together."""
        return self.contract.name, self.scope

    @property
    def form(self) -> tuple[Any, ...]:
        """Key that is equal for rows that one statement can type together."""
        return self.sql, *self.rows.column_names


def stream_extract(
    borrow_tools: Callable[[], AbstractContextManager[Tools]],
    extract: OpenExtract,
    contract: SourceContract,
    out: RowWriter,
) -> Generator[PayloadOnly, pa.Table, Staged]:
    """Read, check, type, tokenise and write one extract to `out`.

    A small extract yields its rows, to be tokenised together with other extracts, and receives them with tokens. A long
    one is tokenised alone, in chunks. Raises `ExtractStopped` if the file breaks off.
    """
    projection, chunks = _build_projection(extract, contract), _iter_chunks(extract)
    findings = Findings(projection, contract)
    # creates the quarantine even if no rule is broken
    out.note(QUARANTINE.empty_table())
    first, second = next(chunks), next(chunks, None)
    if second is None:  # a small extract, which fits into one chunk
        _write((yield _build_request(extract, contract, projection, first, out.scope)), findings, out)
    else:
        # reading, tokenising and writing overlap, each one chunk behind the step before it
        pieces = (
            _build_request(extract, contract, projection, chunk, replace(out.scope, whole=False))
            for chunk in prefetch(chain([first, second], chunks))
        )
        with borrow_tools() as tools:
            for chunk in prefetch(tokenise(tools, [piece])[0] for piece in pieces):
                _write(chunk, findings, out)
    findings.finish(extract.set_aside, out)
    hints: tuple[Suspicion, ...] = ()
    # this reads the first rows of the file again, so it is done only for columns that are mostly wrong
    if wrong := findings.find_mostly_wrong(contract):
        with borrow_tools() as tools:
            hints = suspect_columns(tools.con, extract, contract, normalise.VALID, wrong)
    return Staged(
        out.kept,
        out.tokens,
        out.quarantine,
        extract.headings,
        findings.rows_read,
        out.rows,
        findings.list_counts(),
        findings.stop_shares,
        hints,
        sheet=extract.table.sheet,
        other_origins=findings.origins.find_other_origins(extract.landed.council, extract.landed.cohort),
    )


def stream_alone(tools: Tools, extract: OpenExtract, contract: SourceContract, out: RowWriter) -> Staged:
    """Run `stream_extract` for a single extract, without batching."""
    steps = stream_extract(lambda: nullcontext(tools), extract, contract, out)
    rows = None
    while True:
        try:
            wanted = steps.send(rows)
        except StopIteration as end:
            return end.value
        (rows,) = tokenise(tools, [wanted])


def mark_rows(tools: Tools, extract: OpenExtract, contract: SourceContract, rows: pa.Table) -> pa.Table:
    """Return `source_row` and the `record` mark of some rows of an extract."""
    projection, scope = _build_projection(extract, contract), Scope(whole=False, marked=True)
    (made,) = tokenise(tools, [_build_request(extract, contract, projection, rows, scope)])
    return made.select([SOURCE_ROW, "record"])


def _build_projection(extract: OpenExtract, contract: SourceContract) -> Projection:
    return project_extract("extract", extract, contract, normalise.VALID, carried=(_PART, *PLACE_COLUMNS))


def _build_request(
    extract: OpenExtract, contract: SourceContract, projection: Projection, rows: pa.Table, scope: Scope
) -> PayloadOnly:
    """Build the request for some rows. Extracts of a cohort with the same format get the same SQL."""
    # columns and not literals, so that the extracts of several councils share one statement
    for name, value in build_place_columns(extract.landed).items():
        rows = rows.append_column(name, pa.repeat(value, len(rows)))
    # rows repeat each other only within a part: between parts, the intake resolves which row is in force
    part, keys = row_keys.build_part_sql(SOURCE_ROW), contract.repeated.columns
    row_hash = f"hash({', '.join((*(keys or (column.name for column in contract.columns)), part))})"
    if keys:
        row_hash = f"CASE WHEN {keys[0]} IS NOT NULL THEN {row_hash} END"
    terms = f"{row_hash} AS {ROW_HASH}{build_hashes_sql(contract)}{build_origin_sql(contract)}"
    if "date_of_birth" in contract:
        identifiers = (column.name for column in contract.select_role(Role.IDENTIFIER))
        derived = (f"{each.sql} AS {each.name}" for each in contract.derived if each.sql)
        terms += f", {', '.join(derived)}, {HASH_SQL} AS {_POSTCODE}"
        terms += f", hash({', '.join((_PART, *identifiers))}) AS {_PERSON}"
    return PayloadOnly(contract, f"SELECT *, {terms} FROM ({projection.sql})", rows, scope)


def _write(chunk: pa.Table, findings: Findings, out: RowWriter) -> None:
    """Count broken rules in tokenised rows, and write the rows to keep."""
    findings.see(chunk)
    if DELETED in chunk.column_names:
        deletions = chunk[DELETED]
        out.mark(chunk.filter(deletions), RowState.DELETED)
        chunk = chunk.filter(pc.invert(deletions)).drop_columns([DELETED])
    good = findings.add(chunk, out)
    looked_at = {ROW_HASH, *HASHES, *COLUMNS, *findings.issue_columns}
    chunk = chunk.drop_columns([name for name in chunk.column_names if name in looked_at])
    if pc.all(good, min_count=0).as_py():
        return out.write(chunk)
    out.write(chunk.filter(good))
    out.mark(chunk.filter(pc.invert(good)), RowState.REJECTED)


def tokenise(tools: Tools, wanted: Sequence[PayloadOnly]) -> list[pa.Table]:
    """Return, for each request, typed rows with tokens in place of identifiers, sorted by `source_row`.

    All requests must be of one batch. Planning a statement costs the same for any number of rows, so
    rows in the same format are typed together, and all rows are tokenised together.
    """
    contract, scope = wanted[0].contract, wanted[0].scope
    forms: dict[tuple[Any, ...], list[int]] = {}
    for part, entry in enumerate(wanted):
        forms.setdefault(entry.form, []).append(part)
    typed = [_type_rows(tools, {part: wanted[part] for part in parts}) for parts in forms.values()]
    payload = [column.name for column in contract.select_role(Role.PAYLOAD)]
    derived, of_findings = [each.name for each in contract.derived], (ROW_HASH, *HASHES, *COLUMNS, DELETED)
    kept = {}
    for form, table in zip(forms, typed, strict=True):
        found = [name for name in table.column_names if name.startswith("issues_") or name in of_findings]
        kept[form] = ["council", SOURCE_ROW, *payload, *found, *derived]
    rows = pa.concat_tables(typed, promote_options="default")
    passed = list(dict.fromkeys(chain([_PART], *kept.values())))
    if scope.marked or "date_of_birth" in contract:
        rows = _replace_identifiers(tools, rows, contract, passed, scope)
    else:
        rows = rows.select(passed)
    # columns that only rows in other formats have
    of_others = {form: [name for name in passed[1:] if name not in columns] for form, columns in kept.items()}
    parts = zip(wanted, _split_by_part(rows, len(wanted)), strict=True)
    return [part.drop_columns(of_others[entry.form]) for entry, part in parts]


def _replace_identifiers(
    tools: Tools, typed: pa.Table, contract: SourceContract, kept: list[str], scope: Scope
) -> pa.Table:
    """Return the `kept` columns of typed rows with tokens, and with marks if the scope is marked.

    Without marks, tokens are computed once for rows of one extract with the same identifiers: most reviews of a child
    share them. Different identifiers are confused with probability 2**-64.
    """
    identifiers = {column.name for column in contract.select_role(Role.IDENTIFIER)}
    people, passed = typed, kept
    marks: Sequence[pseudonyms.TokenColumn] = ()
    if scope.marked:
        columns = [column.name for column in contract.columns]
        marks = pseudonyms.list_row_marks(contract.name, contract.record, columns, identifiers)
    else:
        _, first, of_row = np.unique(typed[_PERSON].to_numpy(), return_index=True, return_inverse=True)
        people = typed.select([_PERSON, "council", "cohort", *identifiers]).take(pa.array(first))
        passed = [_PERSON]
    tools.con.register("people", people)
    rows = pseudonyms.tokenise(
        *(tools.con, "people", identifiers, passed, tools.keys),
        marks=marks,
        second_keying=tools.second_keying,
        whole=scope.whole,
    )
    tools.con.unregister("people")
    if scope.marked:
        return rows
    by_person = np.argsort(rows[_PERSON].to_numpy())
    tokens = rows.drop_columns([_PERSON]).take(pa.array(by_person[of_row]))
    return pa.table([*typed.select(kept).columns, *tokens.columns], names=[*kept, *tokens.column_names])


def _type_rows(tools: Tools, wanted: Mapping[int, PayloadOnly]) -> pa.Table:
    """Return the typed rows of requests with the same SQL. The column `part` holds the number of the request."""
    parts = [entry.rows.append_column(_PART, pa.repeat(part, len(entry.rows))) for part, entry in wanted.items()]
    (sql,) = {entry.sql for entry in wanted.values()}
    tools.con.register("extract", pa.concat_tables(parts))
    typed = fetch_rows(tools.con, sql)
    tools.con.unregister("extract")
    if _POSTCODE in typed.column_names:
        typed = typed.append_column(IMD_QUINTILE.name, tools.deprivation.look_up(typed[_POSTCODE]))
    return typed


def _split_by_part(rows: pa.Table, parts: int) -> list[pa.Table]:
    """Split rows by `part`, sorted by `source_row`."""
    rows = rows.take(pa.array(np.lexsort((rows[SOURCE_ROW].to_numpy(), rows[_PART].to_numpy()))))
    ends = np.searchsorted(rows[_PART].to_numpy(), np.arange(parts + 1))
    rows = rows.drop_columns([_PART])
    return [rows.slice(start, end - start) for start, end in pairwise(ends)]


def _iter_chunks(extract: OpenExtract) -> Iterator[pa.Table]:
    """Yield tables of about `CHUNK_ROWS` rows, or fewer if rows are long; one empty table if the file has no rows."""
    waiting: list[pa.RecordBatch] = []
    any_yielded = False
    for batch in chain.from_iterable(map(_split_batch, extract.batches)):
        waiting.append(batch)
        if sum(part.num_rows for part in waiting) >= CHUNK_ROWS or sum(part.nbytes for part in waiting) >= CHUNK_BYTES:
            yield pa.Table.from_batches(waiting, extract.schema)
            waiting, any_yielded = [], True
    if waiting or not any_yielded:
        yield pa.Table.from_batches(waiting, extract.schema)


def _split_batch(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Split a batch of long rows into batches of about `CHUNK_BYTES`."""
    pieces = max(batch.nbytes // CHUNK_BYTES, 0) + 1
    rows = -(-batch.num_rows // pieces)
    return (batch.slice(start, rows) for start in range(0, batch.num_rows, max(rows, 1)))


def prefetch(items: Iterator[T]) -> Iterator[T]:
    """Yield the same items, computing the next one in a thread while the last is in use. Items must not be None."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
