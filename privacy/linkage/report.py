"""What a reviewer of a linkage needs to see. Restricted zone only: every number here is a true count.

A report is made while the linkage runs: give `Report().watchers` to `link`, and its result to `facts`. It holds counts
and agreement patterns, never a token nor a row number; weights come from the model alone. What to report follows the
GUILD guidance on linking data sets (Gilbert and others, Journal of Public Health 40, 2018).

Among it are the rows that say too little to be linked by what they say: even an exact copy of one would not be linked
to it. A row is weighed against itself as any pair is. Own numbers are left out: a number links within a service, or
where the other service holds it too. What a copy agrees on depends only on which tokens a row has and how common its
names are, so one row is weighed for each set of tokens and bands of names that occurs.
"""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privacy.doors.sql import quoted
from privacy.linkage import model
from privacy.linkage.control import CONFIDENCE, FOLDS, NegativeControl
from privacy.linkage.link import FURTHER_THRESHOLD, REVIEW_BAND, THRESHOLD, LinkResult, Scored, Watcher, chosen
from privacy.linkage.model import bits_of, examples, probability_of, waterfall_of_bits
from privacy.linkage.rows import OWN_NUMBERS

OTHER_THRESHOLDS = (0.3, 0.8)
_PARTS = {
    "has_surname": "surname",
    "has_forename": "forename",
    "has_dob": "date of birth",
    "has_postcode": "postcode",
}
_HAS_NUMBER = " OR ".join(f"{number} IS NOT NULL" for number in OWN_NUMBERS)
_LACKS = ", ".join(f"CASE WHEN NOT {flag} THEN {quoted(name)} END" for flag, name in _PARTS.items())


class Report:
    """The watchers of a linkage, and the facts that come of them."""

    def __init__(self) -> None:
        self.control = NegativeControl()
        self.comparable = Comparable()
        self.thresholds: list[dict[str, Any]] = []
        self._children = model.REFERENCE_RECORDS

    @property
    def watchers(self) -> tuple[Watcher, ...]:
        """What `link` is to be watched by."""
        return (self._watch, self.comparable, self.control)

    def _watch(self, con: duckdb.DuckDBPyConnection, step: Scored) -> None:
        self._children = step.children
        if step.one_to_one:
            self.thresholds += _sensitivity(step)

    def facts(self, result: LinkResult) -> dict[str, Any]:
        """JSON-ready: counts by step, source and rule; what other thresholds and the negative control say; rows with
        too little to compare; the review band by pattern; the model's weights and example waterfalls."""
        return {
            "model_version": model.parameters()["version"],
            "threshold": THRESHOLD,
            "review_band": list(REVIEW_BAND),
            "further_records_from": FURTHER_THRESHOLD,
            "steps": result.steps,
            "rows_by_source_and_rule": _rows_by_rule(result.links),
            "children": len(pc.unique(result.links["child_id"])),
            "thresholds": self.thresholds,
            "negative_control": {
                "confidence": CONFIDENCE,
                "parts": FOLDS,
                "steps": [control.report() for control in self.control.controls],
            },
            "rows_by_source": self.comparable.rows,
            "unlinkable": self.comparable.unlinkable,
            "upns_of_several": self.comparable.upns_of_several,
            "review_patterns": self._review(result.review_patterns),
            "weights": weights(),
            "examples": examples(self._children),
        }

    def _review(self, patterns: pa.Table) -> list[dict[str, Any]]:
        """Patterns of the review band, most pairs first, each with its waterfall."""
        ordered = patterns.sort_by(
            [("pairs", "descending"), *((name, "descending") for name in ("step", *model.LEVELS))]
        )
        return [
            {
                "step": row["step"],
                "pairs": row["pairs"],
                "posterior_low": probability_of(row["weight_low"]),
                "posterior_high": probability_of(row["weight_high"]),
                **waterfall_of_bits(row, self._children, row["weight_low"]),
            }
            for row in ordered.to_pylist()
        ]


def weights() -> list[dict[str, Any]]:
    """The match-weight table: comparison, level, m, u and log2(m / u), strongest first within a comparison."""
    return [
        {"comparison": comparison, "level": level, "m": m, "u": u, "weight": round(model.weight(comparison, level), 2)}
        for comparison, levels in model.parameters()["comparisons"].items()
        for level, (m, u) in levels.items()
    ]


def _rows_by_rule(links: pa.Table) -> list[dict[str, Any]]:
    counts = links.group_by(["source", "match_rule"]).aggregate([([], "count_all")])
    ordered = counts.sort_by([("source", "ascending"), ("match_rule", "ascending")])
    return ordered.rename_columns({"count_all": "rows"}).to_pylist()


def _sensitivity(step: Scored) -> list[dict[str, Any]]:
    """Links of a step at each threshold, and how many are gained and lost against the one in force."""
    now = np.zeros(step.pairs.num_rows, bool)
    now[step.decision.kept] = True
    lines = []
    for threshold in sorted((*OTHER_THRESHOLDS, THRESHOLD)):
        kept = chosen(step.pairs, step.decision.posterior, step.decision.vague, threshold)
        stay = int(now[kept].sum())
        counts = {"links": len(kept), "gained": len(kept) - stay, "lost": int(now.sum()) - stay}
        lines.append({"step": step.name, "threshold": threshold, **counts})
    return lines


class Comparable:
    """A watcher of `link`, which looks once. `rows` are counted by source; `unlinkable` has those that say too little
    by source and by what they lack; `upns_of_several` are the permanent UPNs whose pupils' records stay apart."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.unlinkable: list[dict[str, Any]] = []
        self.upns_of_several = 0

    def __call__(self, con: duckdb.DuckDBPyConnection, step: Scored) -> None:
        if self.rows:
            return
        self.rows = dict(con.execute("SELECT source, count(*) FROM rows GROUP BY source ORDER BY source").fetchall())
        counted = con.sql(
            f"""
            SELECT source, array_to_string([{_LACKS}], ', ') AS lacks, count(*) AS rows,
                   count(*) FILTER ({_HAS_NUMBER}) AS rows_with_own_number
              FROM rows JOIN patterns USING (pattern)
              JOIN (FROM said JOIN copies USING (said) WHERE NOT alike OR weight < {bits_of(THRESHOLD)}) USING (pattern)
             GROUP BY source, lacks ORDER BY source, rows DESC, lacks
            """
        )
        self.unlinkable = counted.to_arrow_table().to_pylist()
        (self.upns_of_several,) = con.execute(_UPNS_OF_SEVERAL).fetchall()[0]


_UPNS_OF_SEVERAL = """
SELECT count(*) FROM (SELECT t_upn FROM patterns JOIN entities USING (pattern)
                       WHERE service = 'education' AND t_upn IS NOT NULL
                       GROUP BY t_upn HAVING count(DISTINCT entity) > 1)
"""
