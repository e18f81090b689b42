"""Families of tables and synthetic child tables shared by tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from privacy.estimation.intervals import Moments, RatioTable, compute_published_ratios
from privacy.release.plan import Plan, make_plan
from privacy.release.policy import Reliability
from privacy.release.workload import Attribute, Batch, Family, Figures, Identity, Marginal, Term

COUNCIL_SIZES = (1305, 1770, 5062, 2709, 1889, 3209, 8985, 1203)

CHARACTERISTICS: Mapping[str, tuple[float, ...]] = {
    "fsm": (0.17, 0.80, 0.03),
    "ethnic_group": (0.72, 0.11, 0.06, 0.06, 0.02, 0.03),
    "sen": (0.85, 0.12, 0.025, 0.005),
    "language": (0.79, 0.20, 0.01),
    "term": (0.34, 0.33, 0.329, 0.001),
    "imd": (0.30, 0.20, 0.18, 0.16, 0.15, 0.01),
}

GOALS = tuple(f"e{goal:02d}" for goal in range(1, 18))

WEIGHTS = {"characteristic": 12.0, "by_sex": 0.5, "goal": 1.0, "linked": 1.0, "linkage": 0.5}
"""Weights with which the pilot's tables reach their accuracy; see `test_accuracy`."""


def attribute(name: str, size: int) -> Attribute:
    """Return an attribute whose categories are its name with a number."""
    return Attribute(name, tuple(f"{name} {i}" for i in range(size)))


def small_family() -> Family:
    """Return a family of GLD by FSM and by review in four councils, with two attributes that record the same fact."""
    return Family(
        name="small",
        unit="child",
        attributes=(
            attribute("council", 4),
            attribute("fsm", 3),
            attribute("gld", 2),
            attribute("asq", 3),
            attribute("dots", 4),
        ),
        marginals=(
            Marginal(("council", "fsm", "gld"), 1.0),
            Marginal(("council", "asq", "gld"), 1.0),
            Marginal(("council", "dots"), 2.0),
        ),
        identities=(
            Identity(
                Batch(("council",), (Term({"asq": ("asq 2",)}),)),
                Batch(("council",), (Term({"dots": ("dots 2", "dots 3")}),)),
                "no linked review",
            ),
        ),
    )


def small_plan(rho: float = 0.1) -> Plan:
    """Return a plan for the small family."""
    return make_plan(small_family(), rho, delta=1e-6)


def small_table(rows: int, seed: int = 0) -> pa.Table:
    """Return a child table that satisfies the small family's identity."""
    generator = np.random.default_rng(seed)
    columns = {a.name: generator.integers(0, a.size, rows) for a in small_family().attributes}
    columns["dots"] = np.where(columns["asq"] == 2, 2, 0) + generator.integers(0, 2, rows)
    texts = {name: pa.array([f"{name} {value}" for value in values], pa.string()) for name, values in columns.items()}
    return pa.table({"child_id": pa.array(range(rows), pa.int64()), **texts})


def pilot_family(councils: int = 8) -> Family:
    """Return the pupil family of the pilot, or of more councils, with its identities."""
    sizes = {"council": councils, "sex": 3} | {name: len(shares) for name, shares in CHARACTERISTICS.items()}
    sizes |= {"gld": 2, "asq": 5, "dots": 9, "entitlement": 3} | dict.fromkeys(GOALS, 2)
    marginals = [
        Marginal(("council", "sex", "gld"), WEIGHTS["characteristic"]),
        Marginal(("council", "gld"), WEIGHTS["characteristic"]),
        Marginal(("council", "asq", "fsm", "gld"), WEIGHTS["linked"]),
        Marginal(("council", "dots", "gld"), WEIGHTS["linked"]),
        Marginal(("council", "entitlement", "fsm", "gld"), WEIGHTS["linked"]),
    ]
    for name in CHARACTERISTICS:
        marginals.append(Marginal(("council", name, "gld"), WEIGHTS["characteristic"]))
        marginals.append(Marginal(("council", "sex", name, "gld"), WEIGHTS["by_sex"]))
    for goal in GOALS:
        marginals += [Marginal((by, goal), WEIGHTS["goal"]) for by in ("council", "sex", "fsm")]
    marginals += [Marginal(("council", "asq", by), WEIGHTS["linkage"]) for by in ("sex", "fsm", "ethnic_group", "imd")]
    return Family(
        name="pupil",
        unit="child",
        attributes=tuple(attribute(name, size) for name, size in sizes.items()),
        marginals=tuple(marginals),
        identities=(
            _same_fact("no linked review", "asq", (4,), "dots", (6, 7, 8)),
            _same_fact("linked review", "asq", (0, 1, 2, 3), "dots", (0, 1, 2, 3, 4, 5)),
            _same_fact("no linked setting", "entitlement", (2,), "dots", (4, 5, 8)),
        ),
    )


def pilot_table(seed: int = 0) -> pa.Table:
    """Return a child table with the pilot's size and shares."""
    generator = np.random.default_rng(seed)
    council = np.repeat(np.arange(8), COUNCIL_SIZES)
    rows = len(council)
    columns = {"council": council, "sex": generator.choice(3, rows, p=(0.51, 0.488, 0.002))}
    columns |= {name: generator.choice(len(p), rows, p=p) for name, p in CHARACTERISTICS.items()}
    columns["gld"] = (generator.random(rows) < 0.72 - 0.15 * (columns["fsm"] == 0)).astype(int)
    columns["dots"] = generator.integers(0, 9, rows)
    columns["asq"] = np.where(columns["dots"] >= 6, 4, generator.integers(0, 4, rows))
    columns["entitlement"] = np.where(np.isin(columns["dots"], (4, 5, 8)), 2, generator.integers(0, 2, rows))
    columns |= {goal: (generator.random(rows) < 0.8).astype(int) for goal in GOALS}
    texts = {name: pa.DictionaryArray.from_arrays(pa.array(values), _names(name)) for name, values in columns.items()}
    return pa.table({"child_id": pa.array(range(rows), pa.int64()), **texts})


def _same_fact(what: str, left: str, left_codes: tuple[int, ...], right: str, right_codes: tuple[int, ...]) -> Identity:
    over = ("council", "gld")
    return Identity(
        Batch(over, (Term({left: tuple(f"{left} {code}" for code in left_codes)}),)),
        Batch(over, (Term({right: tuple(f"{right} {code}" for code in right_codes)}),)),
        what,
    )


def _names(name: str) -> list[str]:
    return [f"{name} {i}" for i in range(9)]


def published_rates(moments: Moments, numerator: Figures, denominator: Figures, reliability: Reliability) -> RatioTable:
    """Return percentages within [0, 100]; both figures have the same shape."""
    return compute_published_ratios(moments, numerator, denominator, reliability, largest=1.0, unit=100.0)
