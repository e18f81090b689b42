"""What a reviewer of a linkage needs to see. Restricted zone only: every number here is a true count.

The counts come from `link`; the weights from the model alone, so that a weight can be explained without a record.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from privacy.linkage import model
from privacy.linkage.link import FURTHER, REVIEW_BAND, THRESHOLD, LinkResult


def report(result: LinkResult) -> dict[str, Any]:
    """Counts by step, by source and rule, in the review band and at other thresholds, and the model's weights."""
    return {
        "model_version": model.parameters()["version"],
        "threshold": THRESHOLD,
        "review_band": list(REVIEW_BAND),
        "further_records_from": FURTHER,
        "steps": result.steps,
        "review_patterns": result.review_patterns.to_pylist(),
        "rows_by_source_and_rule": _rows_by_rule(result.links),
        "children": len(pc.unique(result.links["child_id"])),
        "weights": weights(),
    }


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
