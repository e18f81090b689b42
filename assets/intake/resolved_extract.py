"""Builds one extract from its parts. Later steps read its files as if it had been delivered as one file."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from assets.intake.deliveries import PARTS_KEY, FromParts, PartRows
from assets.intake.parts import NUMBER, Part, PartStore, group_by_stem
from assets.intake.resolve_parts import Resolved, Tally
from assets.pseudonymise.findings import MAX_EXAMPLE_ROWS, QUARANTINE, RuleCount, Staged
from assets.pseudonymise.split_writer import KeyedWriter, RowState
from privacy import row_keys
from privacy.doors import sealed
from privacy.keys import KeyRing
from privacy.row_keys import ROW_KEY, RowKeys, split_number
from privacy.services import SERVICES
from sources.councils.dialect import Parts

_RESOLVED_UNDER = "1"
"""Version of the rules that resolve parts. Raise it if they change."""
_SAME_OF_A_PART = ("number", "file", "file_mac", "read_at", "sender_mac", "withdrawn", "sheet", "of_several")
"""Fields of a `Part` that its `PartRows` repeat."""


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
    rules, lines = _collect_findings(store, resolved, row_keys.derive_part_keys(keys, *store.extract.key))
    with KeyedWriter(quarantine) as out:
        out.write(lines)
    if source in SERVICES:
        index = rows.select([ROW_KEY, "t_names"]).append_column("lies_in", pa.array(lies_in))
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


def write_moved(
    store: PartStore, keys: KeyRing, part: Part, records: pa.Table, kept: Sequence[Part], staged: Path
) -> None:
    """Store, as a part, the records of an extract that now belong to other cohorts. Does nothing if there are none.

    `records` holds the marks of the rows that a multi-cohort file gives to other cohorts.
    """
    known = store.read_records(keys, kept)["record"].drop_null().combine_chunks()
    there = records.filter(pc.is_in(records["record"], value_set=known))
    there = there.filter(pc.is_valid(there["record"]))
    if not there.num_rows:
        return
    numbers = row_keys.number_rows(part.number, there[NUMBER].to_numpy())
    by_key = there.drop_columns([NUMBER, ROW_KEY, "state"])
    by_key = by_key.append_column("state", pa.repeat(str(RowState.DELETED), there.num_rows))
    by_key = by_key.add_column(
        0, ROW_KEY, pa.array(row_keys.derive_part_keys(keys, *store.extract.key).derive_keys(numbers), pa.uint64())
    )
    with KeyedWriter(staged, encryption=sealed.build_encryption(keys.get_public_key("intake"))) as out:
        out.write(by_key)
    store.keep([replace(part, rows_deleted=there.num_rows)], None, staged)


def describe(
    resolved: Resolved,
    sent_again: Iterable[tuple[Part, int]],
    aside: Mapping[str, tuple[int, tuple[int, ...]]],
    withdrawn: Iterable[Part],
) -> FromParts:
    """Describe the parts for the sender.

    `aside` gives, by MAC, the number of rows of a multi-cohort file without a cohort, and the first row numbers.
    """
    unused = (*((part, 0) for part in withdrawn), *sent_again)
    rows = [(part, Tally(0, 0, part.rows_kept), number) for part, number in unused]
    rows += [(part, resolved.tallies[part.number], 0) for part in resolved.parts.parts]
    described = (
        PartRows(
            **{name: getattr(part, name) for name in _SAME_OF_A_PART},
            **vars(tally),
            rows_read=part.rows_read + part.rows_deleted,
            rejected=part.rows_rejected,
            deletions=part.rows_deleted,
            sent_again=number,
            of_no_cohort=count,
            first_of_no_cohort=first,
        )
        for part, tally, number in rows
        if not part.moved
        for count, first in [aside.get(part.file_mac, (0, ()))]
    )
    return FromParts(str(resolved.how), resolved.seen, resolved.parts.by, tuple(described))


def _iter_tables(path: Path) -> Iterator[pa.Table]:
    """Yield an empty table with a file's columns, then its row groups."""
    file = pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)
    yield sealed.read_schema(file).empty_table()
    yield from (file.read_row_group(group) for group in range(file.num_row_groups))


def _collect_findings(
    store: PartStore, resolved: Resolved, of_extract: RowKeys
) -> tuple[tuple[RuleCount, ...], pa.Table]:
    """Return counts and quarantine lines of broken rules, for rows in force and rows set aside that still count."""
    in_force, counting = resolved.rows[ROW_KEY].to_numpy(), [part.number for part in resolved.counting]
    lines: list[pa.Table] = [_build_empty_lines()]
    counts: Counter[str] = Counter()
    for stem, parts in group_by_stem([part for part in resolved.parts.parts if not part.moved]).items():
        path = store.get_files(stem).quarantine
        # a quarantine is removed when its retention ends
        found = pa.concat_tables(_iter_tables(path)) if path.exists() else _build_empty_lines()
        keys, kept_rows = found[ROW_KEY].to_numpy(), found["row_kept"].to_numpy()
        of, _ = split_number(of_extract.find_rows(keys))
        still = np.isin(of, [part.number for part in parts]) & np.where(
            kept_rows, np.isin(keys, in_force), np.isin(of, counting) & ~np.isin(keys, resolved.answered)
        )
        lines.append(found.filter(pa.array(still)))
        counts += Counter(lines[-1]["rule"].to_pylist())
        counts += _count_without_lines([part for part in parts if part.number in counting], found, of)
    together = pa.concat_tables(lines)
    numbers = pa.table({"rule": together["rule"], "number": of_extract.find_rows(together[ROW_KEY].to_numpy())})
    by_rule = numbers.group_by("rule").aggregate([("number", "list")]).to_pylist()
    first = {each["rule"]: tuple(sorted(each["number_list"])[:MAX_EXAMPLE_ROWS]) for each in by_rule}
    rules: dict[str, RuleCount] = {}
    for part in resolved.parts.parts:
        rules |= {rule.rule: rule for rule in part.rules}
    named = (replace(rules[rule], rows=rows, first_rows=first.get(rule, ())) for rule, rows in counts.items() if rows)
    return tuple(sorted(named, key=lambda rule: rule.rule)), together


def _count_without_lines(parts: Iterable[Part], lines: pa.Table, of: np.ndarray) -> Counter[str]:
    """Count broken rules for rows without quarantine lines.

    A sender that delivers tokens keeps most lines, and forgotten rows have none.
    """
    counts: Counter[str] = Counter()
    for part in parts:
        there = Counter(lines.filter(pa.array(of == part.number))["rule"].to_pylist())
        counts += Counter({rule.rule: rule.rows - there[rule.rule] for rule in part.rules})
    return counts


def _build_empty_lines() -> pa.Table:
    plain = QUARANTINE.remove(0).insert(0, pa.field(ROW_KEY, pa.uint64()))
    return plain.empty_table()
