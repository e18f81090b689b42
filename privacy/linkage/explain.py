"""Explains why two rows are linked or not, by repeating the linkage with a watcher that follows them.

Every figure comes from the linkage itself: weights from `candidates.score_pairs`, decisions from `link.decide`, rules
and children from the links. An explanation identifies other rows by source, council and row key, and never shows their
content.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from privacy.linkage import model, rows
from privacy.linkage.candidates import score_pairs
from privacy.linkage.link import FURTHER_THRESHOLD, THRESHOLD, Scored, link
from privacy.linkage.model import build_waterfall, convert_to_bits, convert_to_probability

_PATTERN_OF_ROW = """
SELECT pattern, unit, service FROM rows JOIN patterns USING (pattern) JOIN units USING (pattern)
 WHERE source = ? AND council = ? AND row_key = ?
"""
# Three rows are enough to identify a rival, which may have more.
_ROWS_OF_UNIT = """
SELECT source, council, row_key FROM rows JOIN units USING (pattern) WHERE unit = ?
 ORDER BY source, council, row_key LIMIT 3
"""


class Row(NamedTuple):
    """A row of an extract."""

    source: str
    council: str
    row_key: int


def explain(
    extracts: Mapping[str, rows.Extract], first: Row, second: Row, name: Callable[[Row], str], children: int
) -> tuple[dict[str, Any], pa.Table]:
    """Link the extracts as `link` does; return what happened to two of their rows, and the links.

    Each row is labelled by `name`.
    """
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
    # The step may have no such pair, and its rows the same child all the same.
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


def _find_link(links: pa.Table, row: Row) -> dict[str, Any]:
    (found,) = links.filter(
        (pc.field("source") == row.source)
        & (pc.field("council") == row.council)
        # Row keys use all 64 bits, so the number is compared as unsigned.
        & (pc.field("row_key") == pa.scalar(row.row_key, pa.uint64()))
    ).to_pylist()
    return dict(found)


class _Follower:
    """A watcher that follows two rows.

    `seen` holds whether the rows are identical, whether they are one entity of a service, the weight of the pair of
    records, and what was decided by the step that compares their services.
    """

    def __init__(self, first: Row, second: Row, name: Callable[[Row], str]) -> None:
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
        self, con: duckdb.DuckDBPyConnection, left: int, right: int, ends: tuple[Row, ...]
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
                "rows": [self._name(Row(*row)) for row in con.execute(_ROWS_OF_UNIT, [each["taker"]]).fetchall()],
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
    levels = {name: model.get_level_name(name, scored[f"gamma_{name}"]) for name in model.LEVELS}
    return build_waterfall(levels, children, scored["weight"]) | {"looked_at": scored["same_number"] or scored["alike"]}
