"""An extract put together from its parts: the files that everything after the intake reads, as of one file."""

from __future__ import annotations

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

from assets.home.paths import Home
from assets.intake.composing import Composed
from assets.intake.deliveries import PARTS_KEY, FromParts, PartRows
from assets.intake.one_pass import MAX_EXAMPLE_ROWS, QUARANTINE, RuleCount, Staged
from assets.intake.parts import Key, Part, kept
from assets.intake.rows_apart import KeyedWriter
from privacy.doors import sealed
from privacy.keys import KeyRing
from privacy.row_keys import ROW_KEY, RowKeys, numbers_of
from privacy.services import SERVICES
from sources.councils.dialect import Parts

_COMPOSED_UNDER = "1"
"""Of the rules by which parts are put together; to be raised where they change."""


def identity(parts: Sequence[Part], stated: Parts | None) -> str:
    """SHA-256 of all that an extract in parts is made of."""
    said = [[part.number, part.file_mac, part.file, part.arrived, part.stem] for part in parts]
    return hashlib.sha256(json.dumps([_COMPOSED_UNDER, stated, said]).encode()).hexdigest()


def marks_of(home: Home, keys: KeyRing, key: Key, parts: Iterable[Part]) -> dict[int, pa.Table]:
    """The marks of the rows of parts, by number."""
    opens = keys.opens("intake")
    return {part.number: sealed.opened(kept(home, key, part).marks, opens).read() for part in parts}


def write(
    folder: Path, home: Home, key: Key, composed: Composed, keys: KeyRing, row_keys: RowKeys, said: Mapping[str, str]
) -> Staged:
    """Payload, quarantine and, for a linked source, which tokens are in force, in `folder`; `said` is their metadata.

    The tokens themselves stay where they are: the intake cannot read them.
    """
    folder.mkdir()
    source, parts = key[0], composed.parts.parts
    payload, quarantine, tokens = (folder / f"{name}.parquet" for name in ("payload", "quarantine", "tokens"))
    in_force = composed.rows[ROW_KEY].to_numpy()
    with KeyedWriter(payload, said) as out:
        for table in _tables([kept(home, key, part).payload for part in parts]):
            out.write(table.filter(pa.array(np.isin(table[ROW_KEY].to_numpy(), in_force))))
    rules, lines = _findings(home, key, composed, row_keys)
    with KeyedWriter(quarantine) as out:
        out.write(lines)
    if source in SERVICES:
        stems = json.dumps([part.stem for part in parts])
        with KeyedWriter(tokens, {**said, PARTS_KEY: stems}, sealed.sealed_to(keys.seals_to("tokens"))) as out:
            out.write(composed.rows)
    rejected = sum(part.rows_rejected for part in composed.counting) - len(composed.answered)
    forgotten = sum(part.rows_forgotten for part in composed.counting)
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


def described(composed: Composed, sent_again: Iterable[tuple[Part, int]]) -> FromParts:
    """What is told of the parts."""
    parts = [_described(part, composed, 0) for part in composed.parts.parts]
    before = [_described(part, None, number) for part, number in sent_again]
    return FromParts(str(composed.how), composed.seen, composed.parts.by, (*before, *parts))


def _described(part: Part, composed: Composed | None, sent_again: int) -> PartRows:
    tally = composed.tallies[part.number] if composed else None
    return PartRows(
        number=part.number,
        file=part.file,
        file_sha256=part.file_sha256,
        file_mac=part.file_mac,
        read_at=part.read_at,
        rows_read=part.rows_read + part.rows_deleted,
        in_force=tally.in_force if tally else 0,
        repeated=tally.repeated if tally else 0,
        replaced=tally.replaced if tally else part.rows_kept,
        rejected=part.rows_rejected,
        deletions=part.rows_deleted,
        of_nothing=tally.deletions_of_nothing if tally else 0,
        sent_again=sent_again,
    )


def _tables(paths: Sequence[Path]) -> Iterator[pa.Table]:
    """The rows of files, a row group at a time; the columns of each where it has no rows."""
    for path in paths:
        file = pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)
        yield sealed.schema(file).empty_table()
        yield from (file.read_row_group(group) for group in range(file.num_row_groups))


def _findings(home: Home, key: Key, composed: Composed, row_keys: RowKeys) -> tuple[tuple[RuleCount, ...], pa.Table]:
    """Counts of broken rules, and their lines: of rows in force, and of those set aside that still count."""
    in_force, counting = composed.rows[ROW_KEY].to_numpy(), {part.number for part in composed.counting}
    lines: list[pa.Table] = [_no_lines()]
    rules: dict[str, RuleCount] = {}
    counts: Counter[str] = Counter()
    for part in composed.parts.parts:
        of_part = pa.concat_tables(_tables([kept(home, key, part).quarantine]))
        still = np.where(
            of_part["row_kept"].to_numpy(),
            np.isin(of_part[ROW_KEY].to_numpy(), in_force),
            (part.number in counting) & ~np.isin(of_part[ROW_KEY].to_numpy(), composed.answered),
        )
        gone = of_part.filter(pa.array(~still))["rule"].value_counts().to_pylist()
        lines.append(of_part.filter(pa.array(still)))
        rules |= {rule.rule: rule for rule in part.rules}
        counts += Counter({rule.rule: rule.rows for rule in part.rules if part.number in counting or _in_lines(rule)})
        counts -= Counter({entry["values"]: entry["counts"] for entry in gone})
    together = pa.concat_tables(lines)
    first = _first_rows(together, row_keys)
    found = (replace(rules[rule], rows=rows, first_rows=first.get(rule, ())) for rule, rows in counts.items() if rows)
    return tuple(sorted(found, key=lambda rule: rule.rule)), together


def _in_lines(rule: RuleCount) -> bool:
    """Whether each of its rows has a line of the quarantine, from which it can be seen whether it counts."""
    return bool(rule.first_rows)


def _first_rows(lines: pa.Table, row_keys: RowKeys) -> dict[str, tuple[int, ...]]:
    """The first rows of each rule, by their numbers in the extract."""
    numbers = pa.table({"rule": lines["rule"], "number": pa.array(row_keys.rows(lines[ROW_KEY].to_numpy()))})
    numbers = numbers.sort_by("number")
    rules = pc.unique(numbers["rule"]).to_pylist()
    return {
        rule: tuple(numbers.filter(pc.equal(numbers["rule"], rule))["number"][:MAX_EXAMPLE_ROWS].to_pylist())
        for rule in rules
    }


def _no_lines() -> pa.Table:
    plain = QUARANTINE.remove(0).insert(0, pa.field(ROW_KEY, pa.uint64()))
    return plain.empty_table()
