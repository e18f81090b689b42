"""Collects figures for the reviewer of a linkage. Restricted zone only: every number here is a true count.

A report is made while the linkage runs: give a `LinkageReport` to `link` as a watcher, and the result of `link` to
`collect_facts`. It contains counts and agreement patterns, never tokens or row numbers; weights come from the model
alone. The content follows the GUILD guidance on linking data sets (Gilbert and others, Journal of Public Health 40,
2018).

It includes the rows that contain too little to be linked on content: even an exact copy would not be linked to them.
Each row is scored against itself like any pair. Its own identifiers are left out, because they link only within a
service, or if the other service holds them too. The fields on which a copy agrees depend only on which tokens a row has
and how common its names are, so one row is scored for each set of tokens and name bands.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy

from privacy.doors.sql import quote_text
from privacy.linkage import assignment, link, model
from privacy.linkage.rows import OWN_NUMBERS

OTHER_THRESHOLDS = (0.3, 0.8)
_PARTS = {
    "has_surname": "surname",
    "has_forename": "forename",
    "has_dob": "date of birth",
    "has_postcode": "postcode",
}
_HAS_NUMBER = " OR ".join(f"{number} IS NOT NULL" for number in OWN_NUMBERS)
_LACKS = ", ".join(f"CASE WHEN NOT {flag} THEN {quote_text(name)} END" for flag, name in _PARTS.items())


class LinkageReport:
    """A watcher of `link`, with its negative control, and the facts it collects."""

    def __init__(self) -> None:
        self.control = NegativeControl()
        self.counted: dict[str, Any] = {}
        self.thresholds: list[dict[str, Any]] = []
        self._children = model.REFERENCE_RECORDS

    def __call__(self, con: duckdb.DuckDBPyConnection, step: link.Scored) -> None:
        self.control(con, step)
        self._children = step.children
        self.counted = self.counted or _count_rows(con)
        if step.one_to_one:
            self.thresholds += _compute_sensitivity(step)

    def collect_facts(self, result: link.LinkResult) -> dict[str, Any]:
        """Return the facts, JSON-ready.

        Includes counts by step, source and rule; other thresholds and the negative control; rows with too little to
        compare; the review band by pattern; the model's weights and example waterfalls.
        """
        by_rule = result.links.group_by(["source", "match_rule"]).aggregate([([], "count_all")])
        by_rule = by_rule.sort_by([("source", "ascending"), ("match_rule", "ascending")])
        patterns = [
            {
                **{name: pattern[name] for name in ("step", "pairs")},
                "posterior_low": model.convert_to_probability(pattern["weight_low"]),
                "posterior_high": model.convert_to_probability(pattern["weight_high"]),
                **model.build_waterfall(model.name_levels(pattern), self._children, pattern["weight_low"]),
            }
            for pattern in result.review_patterns.to_pylist()
        ]
        controls = [control.report() for control in self.control.controls]
        weights = [
            {"comparison": name, "level": level, "m": m, "u": u, "weight": round(model.compute_weight(name, level), 2)}
            for name, levels in model.load_parameters()["comparisons"].items()
            for level, (m, u) in levels.items()
        ]
        return {
            "model_version": model.load_parameters()["version"],
            "threshold": link.THRESHOLD,
            "review_band": list(link.REVIEW_BAND),
            "further_records_from": link.FURTHER_THRESHOLD,
            "steps": result.steps,
            "rows_by_source_and_rule": by_rule.rename_columns({"count_all": "rows"}).to_pylist(),
            "children": len(pc.unique(result.links["child_id"])),
            "thresholds": self.thresholds,
            "negative_control": {"confidence": CONFIDENCE, "parts": FOLDS, "steps": controls},
            **self.counted,
            "review_patterns": patterns,
            "weights": weights,
            "examples": model.build_examples(self._children),
        }


def _compute_sensitivity(step: link.Scored) -> list[dict[str, Any]]:
    """Return the links of a step at each threshold, and how many are gained and lost compared with the current one."""
    now, posterior, vague = _get_columns(step.pairs, "kept", "posterior", "vague")
    lines = []
    for threshold in sorted((*OTHER_THRESHOLDS, link.THRESHOLD)):
        # This uses the linkage's own posterior: weighing every pair again, here and in the control, would take half as
        # long as the linkage for England.
        kept = link.choose_pairs(step.pairs, posterior, vague, threshold)
        stay = int(now[kept].sum())
        counts = {"links": len(kept), "gained": len(kept) - stay, "lost": int(now.sum()) - stay}
        lines.append({"step": step.name, "threshold": threshold, **counts})
    return lines


def _count_rows(con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Return counts that are the same in every step.

    `rows_by_source`; `unlinkable`, the rows with too little content, by source and missing fields; and `shared_upns`,
    the number of permanent UPNs whose pupil records stay apart.
    """
    rows = con.execute("SELECT source, count(*) FROM rows GROUP BY source ORDER BY source").fetchall()
    unlinkable = con.sql(
        f"""
        SELECT source, array_to_string([{_LACKS}], ', ') AS lacks, count(*) AS rows,
               count(*) FILTER ({_HAS_NUMBER}) AS rows_with_own_number
          FROM rows JOIN patterns USING (pattern) JOIN shapes USING (pattern) JOIN copies USING (shape)
         WHERE NOT alike OR weight < {model.convert_to_bits(link.THRESHOLD)}
         GROUP BY source, lacks ORDER BY source, rows DESC, lacks
        """
    )
    (shared,) = con.execute(
        """
        SELECT count(*) FROM (SELECT t_upn FROM patterns JOIN entities USING (pattern)
                               WHERE service = 'education' AND t_upn IS NOT NULL
                               GROUP BY t_upn HAVING count(DISTINCT entity) > 1)
        """
    ).fetchall()[0]
    return {"rows_by_source": dict(rows), "unlinkable": unlinkable.to_arrow_table().to_pylist(), "shared_upns": shared}


FOLDS = 10
ENOUGH_SUBJECTS = 20_000
"""Number of subjects after which no further part is left out: more would hardly lower the limits."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Control:
    """The outcome of the negative control for one step.

    `subjects` are right units whose partner was left out. `linked_to_somebody_else` of them were then linked to another
    unit, and `outdoing_a_partner` of those links weigh at least as much as another subject's partner, on average over
    all subjects. The step has `right_units` units on the right and `links` links.
    """

    step: str
    subjects: int
    linked_to_somebody_else: int
    outdoing_a_partner: int
    right_units: int
    links: int

    def report(self) -> dict[str, Any]:
        """Return the counts, and upper limits for the number and the share of false links."""
        cautious, close = min(self.compute_cautious_limit(), self.links), min(self.compute_close_limit(), self.links)
        return {
            **asdict(self),
            "false_links_at_most": close,
            "share_of_links_at_most": close / self.links,
            "false_links_at_most_cautious": cautious,
            "share_of_links_at_most_cautious": cautious / self.links,
        }

    def compute_cautious_limit(self) -> float:
        """Return an upper limit for false links that assumes nothing about the agreement with partners."""
        return _compute_chance(self.linked_to_somebody_else, self.subjects, CONFIDENCE) * self.right_units

    def compute_close_limit(self) -> float:
        """Return the closer upper limit F, which solves F = without x (right units - links + F) + outdone x links."""
        # Both chances have to hold, so each gets half of the risk.
        confidence = 1 - (1 - CONFIDENCE) / 2
        without = _compute_chance(self.linked_to_somebody_else, self.subjects, confidence)
        outdone = _compute_chance(self.outdoing_a_partner, self.subjects, confidence)
        if without >= 1:
            return float(self.links)
        return (without * (self.right_units - self.links) + outdone * self.links) / (1 - without)


def compute_upper_limit(events: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper limit of a binomial probability (Clopper and Pearson); 1 if there were no trials."""
    return 1.0 if events >= trials else float(scipy.special.betaincinv(events + 1, trials - events, confidence))


def _compute_chance(events: int, trials: int, confidence: float) -> float:
    # A subject meets only the strangers of the other parts, one part in `FOLDS` fewer.
    return compute_upper_limit(events, trials, confidence) / (1 - 1 / FOLDS)


class NegativeControl:
    """A watcher of `link` that counts how often a record is linked to somebody else when its own partner is missing.

    The left units of a step are divided into `FOLDS` parts, and each in turn is left out, with all its pairs. A right
    unit that was linked to one of them now has no partner, so whatever it is linked to is a false link, with real
    names, real twins and real rivals around it. `docs/linkage-report.md` explains both limits. If a link was false, or
    a child has two units on the left, a correct link counts as false, so the control errs upwards.

    `controls` has the outcome of each step with links.
    """

    def __init__(self) -> None:
        self.controls: list[Control] = []

    def __call__(self, con: duckdb.DuckDBPyConnection, step: link.Scored) -> None:
        chosen = step.pairs["kept"].to_numpy() if step.one_to_one else _find_further(step.pairs)
        linked = np.flatnonzero(chosen)
        if not len(linked):
            return
        left, right, weight = _get_columns(step.pairs, "unit_l", "unit_r", "weight")
        part_of_pair, connected = _assign_parts(step.pairs), assignment.label_pairs(left, right)
        partners, strangers = [], []
        subjects = 0
        for part in range(FOLDS):
            mine = linked[part_of_pair[linked] == part]
            near = np.isin(connected, connected[mine])  # no other pair can affect these links
            remaining = step.pairs.filter(pa.array(near & (part_of_pair != part)))
            partners.append(weight[mine])
            strangers.append(_find_heaviest(right[mine], *_find_linked(remaining, step)))
            subjects += len(mine)
            if subjects >= ENOUGH_SUBJECTS:
                break
        found = np.concatenate(strangers)
        found = found[np.isfinite(found)]
        # Strangers that weigh at least as much as another subject's partner: the mean over all ways to pair them.
        lighter = np.searchsorted(np.sort(np.concatenate(partners)), found, side="right")
        # Rounded up, so that the limit is never too low.
        outdoing = math.ceil(lighter.sum() / subjects)
        self.controls.append(Control(step.name, subjects, len(found), outdoing, step.right_units, len(linked)))


def _assign_parts(pairs: pa.Table) -> np.ndarray:
    """Return, for each pair, the part that its left unit is in, chosen by content and not by the order of rows."""
    left, tie = _get_columns(pairs, "unit_l", "tie")
    least = np.full(int(left.max()) + 1, np.iinfo(tie.dtype).max)
    np.minimum.at(least, left, tie)
    parts: np.ndarray = least[left] % FOLDS
    return parts


def _find_linked(pairs: pa.Table, step: link.Scored) -> tuple[np.ndarray, np.ndarray]:
    """Return the right units that the step would link among these pairs, and the weights."""
    decided = link.decide(pairs, step.one_to_one).filter(pc.field("kept"))
    further = pairs.filter(pa.array(_find_further(pairs)))
    both = (_get_columns(table, "unit_r", "weight") for table in (decided, further))
    unit, weight = (np.concatenate(column) for column in zip(*both, strict=True))
    return unit, weight


def _find_heaviest(units: np.ndarray, linked: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the greatest weight at which each of `units` is linked, or minus infinity if it is not."""
    heaviest = np.full(int(np.max(np.r_[units, linked], initial=-1)) + 1, -np.inf)
    np.maximum.at(heaviest, linked, weight)
    found: np.ndarray = heaviest[units]
    return found


def _find_further(pairs: pa.Table) -> np.ndarray:
    """Return a mask of the pairs that could add a further record to a child, ignoring NHS numbers."""
    weight, forename = _get_columns(pairs, "weight", "forename")
    sure: np.ndarray = (weight >= model.convert_to_bits(link.FURTHER_THRESHOLD)) & (
        forename >= link.find_least_forename_bits()
    )
    return sure


def _get_columns(table: pa.Table, *names: str) -> list[np.ndarray]:
    return [table.column(name).to_numpy() for name in names]
