"""Writes the links of a cohort by row number, as people refer to rows, and explains why two rows are linked or not.

An explanation repeats the linkage with a watcher that follows the two rows. Every figure comes from the linkage itself:
weights from `candidates.score_pairs`, decisions from `link.decide`, rules and children from the links. It identifies
other rows by number, and never shows their content.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from assets.home.errors import Refused, check_readable
from assets.home.home_lock import with_cohort_lock, with_removals_blocked
from assets.home.paths import CohortStore
from assets.home.processing_log import Processing, record
from assets.intake.deliveries import derive_row_keys
from assets.linkage import inputs
from assets.linkage.tokens import open_readers
from privacy.doors import files
from privacy.keys import KeyRing
from privacy.linkage import model
from privacy.linkage.candidates import score_pairs
from privacy.linkage.link import FURTHER_THRESHOLD, LINK_COLUMNS, THRESHOLD, Scored, link
from privacy.linkage.model import build_waterfall, convert_to_bits, convert_to_probability
from privacy.linkage.rows import Extract
from privacy.row_keys import ROW_KEY, format_row_number, parse_row_number, split_number
from privacy.services import SERVICES
from sources.contracts import CONTRACTS, Severity
from sources.extract.table import SOURCE_ROW


class NumberedRow(NamedTuple):
    """A row of an extract."""

    source: str
    council: str
    row_key: int


class RowNumbers:
    """Row numbers and keys of a cohort's extracts. Methods raise `KeyProblem`."""

    def __init__(self, store: CohortStore, keys: KeyRing) -> None:
        self._of = cache(lambda source, council: derive_row_keys(store.get_extract(source, council), keys))

    def find_row(self, source: str, council: str, number: int) -> NumberedRow:
        """Return the row with this number."""
        return NumberedRow(source, council, int(self._of(source, council).derive_keys(np.array([number]))[0]))

    def name(self, row: NumberedRow) -> str:
        """Return `SOURCE/COUNCIL/ROW`, where ROW is a number or `PART:ROW`."""
        (number,) = self._of(row.source, row.council).find_rows(np.array([row.row_key], np.uint64))
        return f"{row.source}/{row.council}/{format_row_number(int(number))}"

    def find_numbers(self, rows: pa.Table) -> pa.Array:
        """Return the number of each row (source, council, row_key)."""
        keys = rows[ROW_KEY].to_numpy()
        found = np.empty(len(keys), np.int64)
        extracts = pc.binary_join_element_wise(rows["source"], rows["council"], "/")
        for name in extracts.unique().to_pylist():
            its = pc.equal(extracts, name).to_numpy()
            found[its] = self._of(*name.split("/")).find_rows(keys[its])
        return pa.array(found)

    def replace_keys(self, links: pa.Table) -> pa.Table:
        """Return the table with `source_row` in place of `row_key`, sorted by source, council and number."""
        numbered = links.set_column(links.column_names.index(ROW_KEY), SOURCE_ROW, self.find_numbers(links))
        return numbered.sort_by([(name, "ascending") for name in ("source", "council", SOURCE_ROW)])


@with_removals_blocked
@with_cohort_lock
def write_linked_rows(store: CohortStore, out: Path, keys: KeyRing) -> int:
    """Write the links of a cohort by row number to `out`, and return the number of rows.

    `out` is CSV or Parquet, depending on its suffix. Only its owner can read it, and the processing log records it.
    Raises `Refused` if the links were made from other extracts than today's, `Damaged` and `KeyProblem`.
    """
    if not store.links.exists():
        raise Refused(f"cohort {store.cohort} has not been linked yet in {store.home.root}")
    if moved := inputs.find_changes_since_linkage(store, inputs.list_councils(store)):
        raise Refused(
            f"cohort {store.cohort}: {inputs.join_names(moved)} came in or changed since it was linked;"
            " link the cohort again first"
        )
    check_readable(store.root, store.links)
    rows = RowNumbers(store, keys).replace_keys(pyarrow.parquet.read_table(store.links))
    parts, numbers = split_number(rows[SOURCE_ROW].to_numpy())
    at = rows.column_names.index(SOURCE_ROW)
    rows = rows.replace_schema_metadata(None).set_column(at, SOURCE_ROW, pa.array(numbers))
    if parts.any():
        rows = rows.add_column(at, "part", pa.array(parts))
    # Logged before the file exists, so that there is never a file without its line in the log.
    record(store.home, Processing.AUDIT, cohort=store.cohort, note="rows of every child, by number")
    files.write(out, encode_table(rows, out.suffix))
    return rows.num_rows


def encode_table(rows: pa.Table, suffix: str) -> bytes:
    """Return a table as the content of a file: CSV for the suffix `.csv`, otherwise Parquet."""
    buffer = pa.BufferOutputStream()
    if suffix.lower() == ".csv":
        pyarrow.csv.write_csv(rows, buffer)
    else:
        pyarrow.parquet.write_table(rows, buffer, compression="zstd")
    content: bytes = buffer.getvalue().to_pybytes()
    return content


_ROW_AND_RULE_COLUMNS = ("source", "council", "row_key", "match_rule")


@dataclass(frozen=True)
class NamedRow:
    """A row of an extract as people refer to it: by its number in the file, or in a part (`privacy.row_keys`)."""

    source: str
    council: str
    source_row: int

    def __str__(self) -> str:
        return f"{self.source}/{self.council}/{format_row_number(self.source_row)}"


def parse_row(text: str) -> NamedRow:
    """Parse `SOURCE/COUNCIL/ROW`, where ROW is `12`, or `3:12` for row 12 of part 3. Raises `Refused`."""
    source, _, rest = text.partition("/")
    council, _, row = rest.partition("/")
    number = parse_row_number(row)
    if number is None or not council:
        raise Refused(f"{text!r} is not SOURCE/COUNCIL/ROW, such as hv_reviews/leeds/12, or 3:12 of part 3")
    if source not in CONTRACTS:
        raise Refused(f"there is no source {source!r}; linked are {', '.join(SERVICES)}")
    if source not in SERVICES:
        raise Refused(f"{source} is never linked to children; linked are {', '.join(SERVICES)}")
    return NamedRow(source, council, number)


def explain_link(store: CohortStore, first: NamedRow, second: NamedRow, keys: KeyRing) -> dict[str, Any]:
    """Return the facts of `explain` about two rows by linking again. Raises `Refused`."""
    if not store.links.exists():
        raise Refused(f"cohort {store.cohort} has not been linked yet in {store.home.root}")
    if first == second:
        raise Refused(f"{first} is one row; name two")
    links = pyarrow.parquet.read_table(store.links, columns=list(LINK_COLUMNS))
    councils = links["council"].unique().to_pylist()
    again = f"the links of cohort {store.cohort} are not those of the extracts that are in; link the cohort again first"
    if inputs.find_changes_since_linkage(store, councils):
        raise Refused(again)
    numbers = RowNumbers(store, keys)
    one, other = (_find_linked_row(store, links, row, numbers) for row in (first, second))
    extracts_named = " and ".join(f"{row.council}/{row.source}" for row in (first, second))
    record(store.home, Processing.EXPLANATION, cohort=store.cohort, note=extracts_named)
    extracts = {source: inputs.list_extract_paths(store, source, councils) for source in SERVICES}
    children = inputs.read_link_parameters(store)[1]
    facts, now = explain(open_readers(store, keys, extracts), one, other, numbers.name, children)
    # Links that differ from those on disk would explain other decisions than the ones that were made.
    if not now.select(_ROW_AND_RULE_COLUMNS).equals(links.select(_ROW_AND_RULE_COLUMNS)):
        raise Refused(again)
    return facts


def _find_linked_row(store: CohortStore, links: pa.Table, row: NamedRow, numbers: RowNumbers) -> NumberedRow:
    """Return a linked row. Raises `Refused`, with the reason as far as it is known, if the row is not linked."""
    extract = f"{row.council}/{row.source}"
    sent = links.filter((pc.field("source") == row.source) & (pc.field("council") == row.council))
    if not sent.num_rows:
        raise Refused(f"{extract} has no row among the links of cohort {store.cohort}: no such extract was linked")
    found = numbers.find_row(row.source, row.council, row.source_row)
    if found.row_key in sent[ROW_KEY].to_numpy():
        return found
    rules = _list_broken_rules(store, found)
    why = (
        f"it was set aside at intake ({', '.join(rules)})" if rules else "the file has no such row, or it was set aside"
    )
    raise Refused(f"row {format_row_number(row.source_row)} of {extract} is not linked: {why}")


def _list_broken_rules(store: CohortStore, row: NumberedRow) -> list[str]:
    path = store.get_extract(row.source, row.council).quarantine
    if not path.exists():
        return []
    own = (pc.field(ROW_KEY) == pa.scalar(row.row_key, pa.uint64())) & (pc.field("severity") == Severity.REJECT.value)
    found = pyarrow.parquet.read_table(path, columns=["rule"], filters=own, partitioning=None)
    return sorted({*found["rule"].to_pylist()})


def explain(
    extracts: Mapping[str, Extract],
    first: NumberedRow,
    second: NumberedRow,
    name: Callable[[NumberedRow], str],
    children: int,
) -> tuple[dict[str, Any], pa.Table]:
    """Link the extracts as `link` does. Return what happened to two rows, labelled by `name`, and the links."""
    follower = _Follower(first, second, name)
    links = link(extracts, watchers=[follower], children=children).links
    ends = [_find_link(links, row) for row in (first, second)]
    linked = ends[0]["child_id"] == ends[1]["child_id"]
    seen = follower.seen
    facts = {
        "rows": [
            {"row": name(row), "match_rule": end["match_rule"], "match_probability": end["match_probability"]}
            for row, end in zip((first, second), ends, strict=True)
        ],
        "linked": linked,
        "why": _explain_link(seen) if linked else _explain_no_link(seen),
        "threshold": THRESHOLD,
        "model_version": model.load_parameters()["version"],
        **seen,
    }
    return facts, links


# `pipelines/commands/link_reasons.yaml` has a sentence for each reason.


def _explain_link(seen: dict[str, Any]) -> str:
    if seen["same_content"]:
        return "identical"
    if seen["same_entity"]:
        return "own number or the same in every respect"
    if seen["decision"] is None:
        return "through other records"
    if seen["decision"]["kept"]:
        return "one to one"
    # The rows may have the same child although the step has no such pair.
    sure = seen["decision"].get("posterior", 0.0) >= FURTHER_THRESHOLD
    return "further record" if sure else "through other records"


def _explain_no_link(seen: dict[str, Any]) -> str:
    decision = seen["decision"]
    if decision is None:
        return "same service"
    # The step has no such pair: no block found it, or it was dropped as too light (`blocks.LEAST_BITS`).
    if decision["weight"] is None:
        return "below the threshold" if seen["pair"]["looked_at"] else "not looked at"
    if decision["posterior_alone"] < THRESHOLD:
        return "household rule" if decision["household"] else "below the threshold"
    if decision["tie"]:
        return "tie"
    if decision["rivals"]:
        return "rival"
    return "rivals too near" if decision["posterior"] < THRESHOLD else "not sure enough for a further record"


def _find_link(links: pa.Table, row: NumberedRow) -> dict[str, Any]:
    (found,) = links.filter(
        (pc.field("source") == row.source)
        & (pc.field("council") == row.council)
        # Row keys use all 64 bits, so the number is compared as unsigned.
        & (pc.field("row_key") == pa.scalar(row.row_key, pa.uint64()))
    ).to_pylist()
    return dict(found)


_PATTERN_OF_ROW = """
SELECT pattern, unit, service FROM rows JOIN patterns USING (pattern) JOIN units USING (pattern)
 WHERE source = ? AND council = ? AND row_key = ?
"""
# Three rows are enough to identify a rival, which may have more.
_ROWS_OF_UNIT = """
SELECT source, council, row_key FROM rows JOIN units USING (pattern) WHERE unit = ?
 ORDER BY source, council, row_key LIMIT 3
"""


class _Follower:
    """A watcher that follows two rows.

    `seen` holds whether the rows are identical, whether they are one entity of a service, the weight of the pair of
    records, and what the step that compares their services decided.
    """

    def __init__(self, first: NumberedRow, second: NumberedRow, name: Callable[[NumberedRow], str]) -> None:
        self._rows, self._name = (first, second), name
        self._patterns = (-1, -1)
        self.seen: dict[str, Any] = {}

    def __call__(self, con: duckdb.DuckDBPyConnection, step: Scored) -> None:
        # Units merge from the first step on, so the entities of the rows are looked up before it.
        if not self.seen:
            self._start(con, step)
        chosen = f"SELECT pattern, unit FROM patterns JOIN units USING (pattern) WHERE pattern IN {self._patterns} AND "
        sides = [con.sql(f"{chosen} ({side})").fetchall() for side in (step.left, step.right)]
        # Not the two sides of this step, or joined before any step.
        if self.seen["same_entity"] or any(len(side) != 1 for side in sides):
            return
        ((left, unit_l),), ((right, unit_r),) = sides
        self.seen["step"] = step.name
        self.seen["pair"] = _score_pair(con, left, right, step.children)
        ends = self._rows if left == self._patterns[0] else self._rows[::-1]
        self.seen["decision"] = self._build_decision(con, unit_l, unit_r, ends)

    def _start(self, con: duckdb.DuckDBPyConnection, step: Scored) -> None:
        found = [con.execute(_PATTERN_OF_ROW, list(row)).fetchall()[0] for row in self._rows]
        (a, unit_a, service), (b, unit_b, other) = found
        self._patterns = (a, b)
        self.seen = {
            "same_content": a == b,
            "same_entity": unit_a == unit_b,
            "same_service": service == other,
            "step": None,
            "pair": _score_pair(con, a, b, step.children) if service == other else None,
            "decision": None,
        }

    def _build_decision(
        self, con: duckdb.DuckDBPyConnection, left: int, right: int, ends: tuple[NumberedRow, ...]
    ) -> dict[str, Any]:
        """Return what a step decided about two units that contain the rows `ends`.

        Includes the weight of their strongest pair of records, the bits added if neither has another partner
        (`blocks.FREE_BITS`), and the rivals chosen instead.
        """
        # A rival was kept and shares exactly one end; the pair itself shares both.
        at = f"({left} = unit_l)::INT + ({right} = unit_r)::INT"
        taken = f"SELECT *, if(unit_l = {left}, unit_r, unit_l) AS taker FROM decided WHERE kept AND {at} = 1"
        rivals = [
            {
                "linked_to": self._name(ends[0] if each["unit_l"] == left else ends[1]),
                "weight": each["weight"],
                "posterior": convert_to_probability(each["odds"]),
                "rows": [
                    self._name(NumberedRow(*row)) for row in con.execute(_ROWS_OF_UNIT, [each["taker"]]).fetchall()
                ],
            }
            for each in con.sql(taken).to_arrow_table().to_pylist()
        ]
        found = con.sql(f"SELECT * FROM decided WHERE {at} = 2").to_arrow_table().to_pylist()
        if not found:
            return {"weight": None, "kept": False, "rivals": rivals}
        (pair,) = found
        return {
            "weight": pair["weight"],
            "bits_raised": pair["alone"] - pair["weight"],
            "posterior_alone": convert_to_probability(pair["alone"]),
            "posterior": convert_to_probability(pair["odds"]),
            "kept": pair["kept"],
            "of_those_left_over": pair["kept"] and pair["weight"] < convert_to_bits(THRESHOLD),
            "tie": pair["vague"],
            "household": pair["household"],
            "rivals": rivals,
        }


def _score_pair(con: duckdb.DuckDBPyConnection, left: int, right: int, children: int) -> dict[str, Any]:
    """Return the waterfall of two records."""
    (scored,) = score_pairs(con, [(left, right)], children).to_pylist()
    levels = model.name_levels({name: scored[f"gamma_{name}"] for name in model.LEVELS})
    return build_waterfall(levels, children, scored["weight"]) | {"looked_at": scored["same_number"] or scored["alike"]}
