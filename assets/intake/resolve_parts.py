"""Resolves which rows of an extract's parts are in force, using only the marks of the rows, and builds one extract.

A record in a later part replaces the same record in an earlier part. If a later row repeats an earlier one, the earlier
row stays with its key, and the later one is counted and left out. Rows within a part have no order, as in a whole file:
several rows of one record all stay, except for `changes`, where the last row counts. Later steps read the files of the
extract as if it had been delivered as one file.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy

from assets.intake.deliveries import PARTS_KEY, FromParts, PartFile, PartRows
from assets.intake.parts import NUMBER, Part, PartStore, Sorted, group_by_stem
from assets.intake.suppressions import open_unsealed
from assets.pseudonymise.findings import MAX_EXAMPLE_ROWS, QUARANTINE, RuleCount, Staged
from assets.pseudonymise.split_writer import CHUNK_ROWS, KeyedWriter, RowState
from privacy import row_keys
from privacy.doors import database, sealed
from privacy.keys import KeyRing
from privacy.row_keys import ROW_KEY, split_number
from privacy.services import SERVICES
from sources.councils.dialect import Parts
from sources.errors import ExtractStopped
from sources.extract.part_names import are_comparable, parse_place

_RESOLVED_UNDER = "3"
"""Version of the rules that resolve parts. Raise it if they change."""
NEARLY_ALL = 0.95
"""Parts are cumulative if every part holds at least this share of the records of the part before it."""
MOSTLY = 0.5
"""A part replaces an earlier part of the same name if it holds at least this share of the earlier part's records."""
_SOLE = ("sole_names", "sole_born", "sole_home")
_TELLING = ("record_born", "record_surname", "record_forename")
_ODD = np.uint64(0x9E3779B97F4A7C15)
"""Multiplier that mixes two marks into one value: 2**64 over the golden ratio, as in splitmix64."""


@dataclass(frozen=True)
class Ordered:
    """Parts in order; `by` says of what. Those that cannot be ordered by name or run share a number in `ties`."""

    parts: tuple[Part, ...]
    ties: tuple[int, ...]
    by: str

    @property
    def with_rows(self) -> list[tuple[Part, int]]:
        """The parts that have rows, each with its number in `ties`."""
        return [(part, tie) for part, tie in zip(self.parts, self.ties, strict=True) if part.has_rows]


def order_parts(parts: Sequence[Part]) -> Ordered:
    """Sort parts by the dates or numbers in their names if all have one, else by run and then by name."""
    places = [parse_place(part.file) for part in parts]
    numbers = [place.numbers if place else () for place in places]
    keys: list[Any]
    if are_comparable(places):
        by_date = places and places[0] and places[0].form == "date"
        by = f"the {'dates' if by_date else 'numbers'} in their names"
        keys = [(own, part.arrived) for own, part in zip(numbers, parts, strict=True)]
    else:
        by = "when they came"
        runs = {
            part.arrived: [parse_place(other.file) for other in parts if other.arrived == part.arrived]
            for part in parts
        }
        apart = {run: are_comparable(of_run) for run, of_run in runs.items()}
        keys = [(part.arrived, own if apart[part.arrived] else ()) for own, part in zip(numbers, parts, strict=True)]
    ordered = sorted(zip(keys, parts, strict=True), key=lambda pair: (pair[0], pair[1].number))
    # reversed, so that the first place of each key is the one kept
    first = {key: place for place, (key, _) in reversed([*enumerate(ordered)])}
    return Ordered(tuple(part for _, part in ordered), tuple(first[key] for key, _ in ordered), by)


@dataclass(frozen=True)
class Resolved:
    """The rows in force (sorted by `row_key`, with `part`, `last_key` and `t_names`), and counts by part number.

    `last_key` is the key of the equal row in the last part that repeats it, or NULL. The counts are those of
    `PartRows`.
    `answered` holds the keys of rows set aside whose record is nevertheless in force. `seen` means `how` was inferred.
    """

    how: Parts
    seen: bool
    parts: Ordered
    rows: pa.Table
    answered: np.ndarray
    tallies: dict[int, dict[str, Any]]

    @property
    def counting(self) -> tuple[Part, ...]:
        """Parts whose rejected rows still count: the last one if parts are cumulative, else all."""
        own = tuple(part for part, _ in self.parts.with_rows)
        return own[-1:] if self.how is Parts.CUMULATIVE else own


def resolve(name: str, ordered: Ordered, marks: Mapping[int, pa.Table], stated: Parts | None) -> Resolved:
    """Resolve parts as `stated`, or as inferred if None. `marks` holds the marks of each part's rows, by part number.

    Raises `ExtractStopped` if parts that cannot be ordered contradict one another.
    """
    with database.open_in_memory() as con:
        con.register("entries", _build_entries(con, ordered, marks))
        con.execute(_LIVE.format(qualify=_LAST_OF_EACH_PART if stated is Parts.CHANGES else ""))
        con.execute(_STATES)
        how = stated or (Parts.CUMULATIVE if _are_cumulative(con, ordered) else Parts.INCREMENTAL)
        _stop_at_contradictions(con, name, ordered, how)
        # if parts are cumulative, only the last one with rows counts
        last = len(ordered.with_rows) - 1 if how is Parts.CUMULATIVE else 0
        con.execute(_FATES, {"last": last})
        con.execute(_SET_ASIDE, {"last": last})
        answered = con.sql("SELECT row_key FROM set_aside WHERE is_in_force").fetchnumpy()["row_key"]
        rows = con.execute(_IN_FORCE, {"most": CHUNK_ROWS}).to_arrow_table()
        tallies = dict(con.execute(_TALLIES).fetchall())
    return Resolved(how, stated is None, ordered, rows, np.asarray(answered), tallies)


_LAST_OF_EACH_PART = "QUALIFY row_number() OVER (PARTITION BY key, place ORDER BY number DESC) = 1"
_LIVE = """
CREATE TEMP TABLE live AS
SELECT *, row_number() OVER (PARTITION BY key, place, content, kept ORDER BY row_key) > 1 AS again
FROM (SELECT * FROM entries WHERE NOT rejected {qualify})
"""
"""Rows that were not set aside. `again` marks duplicates of a row within the same part and record."""
_STATES = """
CREATE TEMP TABLE states AS
WITH state AS (
    SELECT key, place, any_value(tie) AS tie, bool_or(NOT kept) AS gone, bool_or(kept) AS has_kept,
        coalesce(sum(hash(content)) FILTER (kept AND NOT again), 0) AS kept_hash
    FROM live GROUP BY key, place
)
SELECT *, last_value(kept_hash) OVER of_key AS final, max(place) OVER of_key AS ends,
    lag(kept_hash) OVER so_far AS before, lag(gone) OVER so_far AS gone_before
FROM state
WINDOW so_far AS (PARTITION BY key ORDER BY place),
    of_key AS (PARTITION BY key ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
"""
"""The state of each record in each part: a hash of its kept rows (`kept_hash`), or deleted (`gone`)."""
_FATES = """
CREATE TEMP TABLE fates AS
WITH since AS (
    SELECT key, place, ends, max(place) FILTER (kept_hash <> final OR gone) OVER (PARTITION BY key) AS changed
    FROM states
), counting AS (
    SELECT key, min(place) AS place FROM since WHERE place > coalesce(changed, -1) AND ends >= $last GROUP BY key
), latest AS (
    SELECT key, content, arg_max(row_key, place) AS last_key FROM live WHERE kept AND NOT again GROUP BY key, content
)
SELECT live.*, kept AND NOT again AND counting.key IS NOT NULL AS in_force, last_key,
    again OR coalesce(before = kept_hash AND NOT gone_before, false) AS repeats, before IS NULL AS first
FROM live JOIN states USING (key, place) LEFT JOIN latest USING (key, content) LEFT JOIN counting USING (key, place)
"""
"""The last state of a record is in force. Its rows are taken from the first part after the latest change to the record;
`last_key` is the equal row of the part that mentions it last. A record is not in force if no part from place `last` on
mentions it."""
_SET_ASIDE = """
CREATE TEMP TABLE set_aside AS
SELECT *, key IN (SELECT key FROM fates WHERE in_force) AS is_in_force FROM entries WHERE rejected AND place >= $last
"""
_IN_FORCE = """
WITH pool AS (
    SELECT sole_names, sole_born, sole_home FROM fates WHERE in_force
    UNION ALL SELECT sole_names, sole_born, sole_home FROM set_aside WHERE NOT is_in_force
), alone AS (
    SELECT sole_names FROM pool WHERE sole_names <> 0 GROUP BY sole_names
    HAVING count(DISTINCT nullif(sole_born, 0)) <= 1
        AND (min(sole_born) > 0 OR count(DISTINCT nullif(sole_home, 0)) <= 1)
        AND (SELECT count(*) FROM fates WHERE in_force) <= $most
)
SELECT row_key, part, nullif(last_key, row_key) AS last_key, alone.sole_names AS t_names
FROM fates LEFT JOIN alone USING (sole_names) WHERE in_force ORDER BY row_key
"""
"""The rows in force, with `t_names` if only one child of the extract has both names (see `pseudonyms`).

The search covers all rows that a whole file would contain. As for a whole file, it is skipped for long extracts."""
_TALLIES = """
SELECT part, {
    'in_force': count_if(in_force),
    'sent_last': count_if(row_key IN (SELECT last_key FROM fates WHERE in_force)),
    'repeated': count_if(kept AND NOT in_force AND repeats),
    'replaced': count_if(kept AND NOT in_force AND NOT repeats),
    'of_nothing': count_if(NOT kept AND first)
}
FROM fates GROUP BY part
"""


def _build_entries(con: duckdb.DuckDBPyConnection, ordered: Ordered, marks: Mapping[int, pa.Table]) -> pa.Table:
    """Return the rows of all parts with the `place` of the part and the `key` of the record. A missing mark is 0.

    If a row does not identify a record, its key is made from its content.
    """
    tables = [marks[part.number] for part in ordered.parts]
    numbers = [part.number for part in ordered.parts]
    table = pa.concat_tables(tables, promote_options="default")
    record, content = _get_marks(table, "record"), _get_marks(table, "content")
    key = _separate_children(
        con, np.where(record, record, _mix_bits(content)), [_get_marks(table, name) for name in _TELLING]
    )
    lengths = [each.num_rows for each in tables]
    # 0, 1, ... for parts with rows, and halfway between for a part without
    own = np.cumsum([part.has_rows for part in ordered.parts]) - 1
    places = [place + 0.5 * (not part.has_rows) for place, part in zip(own.tolist(), ordered.parts, strict=True)]
    part, place, tie = (np.repeat(values, lengths) for values in (numbers, places, ordered.ties))
    plain = {name: _get_marks(table, name) for name in ("row_key", NUMBER, *_SOLE)}
    states = {str(state): pc.equal(table["state"], str(state)) for state in (RowState.KEPT, RowState.REJECTED)}
    return pa.table({"part": part, "place": place, "tie": tie, "key": key, "content": content, **plain, **states})


def _get_marks(table: pa.Table, name: str) -> np.ndarray:
    """Return one mark of each row, or 0 if it is missing."""
    return table[name].fill_null(0).to_numpy() if name in table.column_names else np.zeros(table.num_rows, np.uint64)


def _mix_bits(values: np.ndarray) -> np.ndarray:
    """Spread values over 64 bits (the finaliser of splitmix64)."""
    mixed = values + _ODD
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _separate_children(con: duckdb.DuckDBPyConnection, key: np.ndarray, marks: Sequence[np.ndarray]) -> np.ndarray:
    """Give different keys to rows of different children who share a UPN, so that neither replaces the other.

    Rows belong to one child if they agree on at least two of date of birth, surname and forename, directly or through
    other rows.
    """
    if not marks[0].any():
        return key
    con.register("people", pa.table([key, *marks], names=["key", *_TELLING]))
    differ = " OR ".join(f"count(DISTINCT nullif({name}, 0)) > 1" for name in _TELLING)
    shared = con.sql(f"SELECT key FROM people WHERE {_TELLING[0]} <> 0 GROUP BY key HAVING {differ}").fetchnumpy()[
        "key"
    ]
    con.unregister("people")
    there = np.flatnonzero(np.isin(key, shared))
    if not len(there):
        return key
    known, keys = [values[there] for values in marks], key[there]
    # a missing value could be anyone's, so keys with one are not split
    silent = np.logical_or.reduce([values == 0 for values in known])
    pairs = [one * _ODD ^ other for one, other in combinations(known, 2)]
    child = _find_components([*pairs, np.where(np.isin(keys, keys[silent]), keys, 0)])
    apart = key.copy()
    apart[there] = _mix_bits(keys ^ _mix_bits(child.astype(np.uint64)))
    return apart


def _find_components(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Return the connected component of each row. An equal, non-zero value in any column connects two rows."""
    count = len(columns[0])
    # rows are connected through values, because the number of pairs of rows grows with the square of the rows
    rows, nodes, first = [], [], count
    for values in columns:
        there = np.flatnonzero(values)
        _, node = np.unique(values[there], return_inverse=True)
        rows.append(there)
        nodes.append(node + first)
        first += len(there)
    graph = scipy.sparse.coo_array(
        (np.ones(sum(map(len, rows)), np.int8), (np.concatenate(rows), np.concatenate(nodes))), (first, first)
    )
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1][:count].astype(np.int64)


def _are_cumulative(con: duckdb.DuckDBPyConnection, ordered: Ordered) -> bool:
    """Return whether every part after the first holds nearly all records of the part before it."""
    own = [tie for _, tie in ordered.with_rows]
    if len(own) < 2 or len(set(own)) < len(own):  # one part, or parts without an order
        return False
    found = con.execute(
        "WITH held AS (SELECT key, place FROM states WHERE has_kept) SELECT count(later.key) / count(*)"
        " FROM held AS one LEFT JOIN held AS later ON later.key = one.key AND later.place = one.place + 1"
        # whole numbers only: parts without rows have places in between
        f" WHERE one.place IN (SELECT unnest(range({len(own) - 1}))) GROUP BY one.place"
    ).fetchall()
    return len(found) == len(own) - 1 and all(share >= NEARLY_ALL for (share,) in found)


def _stop_at_contradictions(con: duckdb.DuckDBPyConnection, name: str, ordered: Ordered, how: Parts) -> None:
    own = ordered.with_rows
    if len({tie for _, tie in own}) == len(own):  # no ties: the order decides
        return
    places = con.execute(
        "SELECT DISTINCT place FROM states SEMI JOIN (SELECT key, tie FROM states GROUP BY key, tie"
        " HAVING min(kept_hash) <> max(kept_hash) OR bool_or(gone) <> bool_and(gone)) AS others"
        " USING (key, tie) ORDER BY place"
    ).fetchall()
    found = [int(place) for (place,) in places]
    if how is Parts.CUMULATIVE and sum(tie == own[-1][1] for _, tie in own) > 1:
        # the last part alone counts, and several could be the last
        found = [place for place, (_, tie) in enumerate(own) if tie == own[-1][1]]
    if found:
        *others, last = (str(own[place][0].number) for place in found)
        raise ExtractStopped(
            f"{name}: parts {', '.join(others)} and {last} contradict each other, and nothing shows which is the later;"
            " put a date into their names, such as 2026-05.csv"
        )


def find_sent_again(parts: Sequence[Part], marks: Mapping[int, pa.Table]) -> dict[int, int]:
    """Return, by part number, the later part of the same name that replaces it and holds most of its records."""

    def get_records(part: Part) -> np.ndarray:
        of_part = marks[part.number]
        # if no row of a part identifies its record, contents are compared
        named = of_part["record"].drop_null() if of_part["record"].null_count < len(of_part) else of_part["content"]
        return np.unique(named.to_numpy())

    found: dict[int, int] = {}
    for part in sorted(parts, key=lambda each: (each.arrived, each.number)):
        for earlier in parts:
            if earlier.file == part.file and earlier.arrived < part.arrived and earlier.number not in found:
                before = get_records(earlier)
                if len(before) and np.isin(before, get_records(part)).mean() >= MOSTLY:
                    found[earlier.number] = part.number
    return found


def hash_parts(parts: Sequence[Part], stated: Parts | None) -> str:
    """Return a SHA-256 of the inputs of an extract in parts."""
    # names and runs are inputs too, because they put the parts in order
    inputs = [[part.number, part.file_mac, part.file, part.arrived, part.kept_in] for part in parts]
    return hashlib.sha256(json.dumps([_RESOLVED_UNDER, stated, inputs]).encode()).hexdigest()


def write_resolved(
    folder: Path, store: PartStore, resolved: Resolved, keys: KeyRing, metadata: Mapping[str, str]
) -> Staged:
    """Write payload, quarantine and, for a linked source, an index of the tokens in force to `folder`.

    The tokens stay in their files, because the intake cannot read them.
    """
    folder.mkdir()
    source, parts = store.extract.source, resolved.parts.parts
    payload, quarantine, tokens = (folder / f"{name}.parquet" for name in ("payload", "quarantine", "tokens"))
    rows = resolved.rows
    # if no row is in force, one file is still read for its columns
    with_rows = {*pc.unique(rows["part"]).to_pylist()} or {next(part.number for part in parts if not part.moved)}
    files = group_by_stem([part for part in parts if part.number in with_rows])
    stem_of_part = {part.number: place for place, of in enumerate(files.values()) for part in of}
    lies_in = np.array([stem_of_part[part] for part in rows["part"].to_pylist()], np.uint16)
    in_force = rows[ROW_KEY].to_numpy()
    with KeyedWriter(payload, metadata) as out:
        for place, stem in enumerate(files):
            for table in _iter_tables(store.get_files(stem).payload):
                out.write(table.filter(pa.array(np.isin(table[ROW_KEY].to_numpy(), in_force[lies_in == place]))))
    rules, lines = _collect_findings(store, resolved, keys)
    with KeyedWriter(quarantine) as out:
        out.write(lines)
    if source in SERVICES:
        index = rows.select([ROW_KEY, "t_names", "last_key"]).append_column("lies_in", pa.array(lies_in))
        of_index = {**metadata, PARTS_KEY: json.dumps([*files])}
        with KeyedWriter(tokens, of_index, sealed.build_encryption(keys.get_public_key("tokens"))) as out:
            out.write(index)
    # a rejected row does not count if its record is in force from another part
    rejected = sum(part.rows_rejected for part in resolved.counting) - len(resolved.answered)
    forgotten = sum(part.rows_forgotten for part in resolved.counting)
    headings = {column: heading for part in parts for column, heading in part.headings.items()}
    return Staged(
        payload,
        tokens if source in SERVICES else None,
        quarantine,
        headings,
        len(in_force) + rejected,
        len(in_force),
        rules,
        {},
        rows_forgotten=forgotten,
    )


def describe(
    resolved: Resolved, sent_again: Iterable[tuple[Part, int]], files: Mapping[str, Sorted], withdrawn: Iterable[Part]
) -> FromParts:
    """Describe the parts for the sender. `files` are the sorted multi-cohort files by MAC."""
    rows: list[tuple[Part, dict[str, Any], int]] = [(part, {"replaced": part.rows_kept}, 0) for part in withdrawn]
    rows += [(part, {"replaced": part.rows_kept}, number) for part, number in sent_again]
    rows += [(part, resolved.tallies.get(part.number, {}), 0) for part in resolved.parts.parts]
    described = (
        PartRows(
            **{field.name: getattr(part, field.name) for field in fields(PartFile)},
            **tally,
            rows_read=part.rows_read + part.rows_deleted,
            rejected=part.rows_rejected,
            deletions=part.rows_deleted,
            sent_again=number,
            of_no_cohort=files[part.file_mac].rows_set_aside if part.file_mac in files else 0,
            first_of_no_cohort=files[part.file_mac].first_rows if part.file_mac in files else (),
        )
        for part, tally, number in rows
        if not part.moved
    )
    return FromParts(str(resolved.how), resolved.seen, resolved.parts.by, tuple(described))


def _iter_tables(path: Path) -> Iterator[pa.Table]:
    """Yield an empty table with a file's columns, then its row groups."""
    file = open_unsealed(path)
    yield sealed.read_schema(file).empty_table()
    yield from (file.read_row_group(group) for group in range(file.num_row_groups))


def _collect_findings(store: PartStore, resolved: Resolved, keys: KeyRing) -> tuple[tuple[RuleCount, ...], pa.Table]:
    """Return counts and quarantine lines of broken rules, for rows in force and rows set aside that still count."""
    of_extract = row_keys.derive_part_keys(keys, *store.extract.key)
    lines = [QUARANTINE.remove(0).insert(0, pa.field(ROW_KEY, pa.uint64())).empty_table()]
    for stem, parts in group_by_stem([part for part in resolved.parts.parts if not part.moved]).items():
        path = store.get_files(stem).quarantine
        if path.exists():  # a quarantine is removed when its retention ends
            found = pa.concat_tables(_iter_tables(path))
            of, _ = split_number(of_extract.find_rows(found[ROW_KEY].to_numpy()))
            lines.append(found.filter(pa.array(np.isin(of, [part.number for part in parts]))))
    together = pa.concat_tables(lines)
    row_keys_ = together[ROW_KEY].to_numpy()
    numbers = of_extract.find_rows(row_keys_)
    of, _ = split_number(numbers)
    still = np.where(
        together["row_kept"].to_numpy(),
        np.isin(row_keys_, resolved.rows[ROW_KEY].to_numpy()),
        np.isin(of, [part.number for part in resolved.counting]) & ~np.isin(row_keys_, resolved.answered),
    )
    counted = together.filter(pa.array(still))
    counts = Counter(counted["rule"].to_pylist())
    for part in resolved.counting:
        # a sender that delivers tokens keeps most lines, and forgotten rows have none
        there = Counter(together.filter(pa.array(of == part.number))["rule"].to_pylist())
        counts += Counter({rule.rule: rule.rows - there[rule.rule] for rule in part.rules})
    numbered = pa.table({"rule": counted["rule"], "number": numbers[still]})
    by_rule = numbered.group_by("rule").aggregate([("number", "list")]).to_pylist()
    first = {each["rule"]: tuple(sorted(each["number_list"])[:MAX_EXAMPLE_ROWS]) for each in by_rule}
    rules = {rule.rule: rule for part in resolved.parts.parts for rule in part.rules}
    named = (replace(rules[name], rows=counts[name], first_rows=first.get(name, ())) for name in sorted(counts))
    return tuple(named), counted
