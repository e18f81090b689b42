"""Families of tables and synthetic child tables shared by tests."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assets.release.planning import plan_family
from privacy.estimation.intervals import Moments, PublishedFigures, compute_published_ratios
from privacy.release import mechanism, policy, session
from privacy.release.ledger import Ledger
from privacy.release.plan import Plan, make_plan
from privacy.release.workload import Attribute, Batch, Figures, Identity, Marginal, MeasuredFamily, Term
from sources.reference.places import PILOT


def build_attribute(name: str, size: int) -> Attribute:
    """Return an attribute whose categories are its name with a number."""
    return Attribute(name, tuple(f"{name} {i}" for i in range(size)))


def build_attributes(**sizes: int) -> tuple[Attribute, ...]:
    return tuple(build_attribute(name, size) for name, size in sizes.items())


def build_identity(over: tuple[str, ...], left: Mapping[str, Any], right: Mapping[str, Any]) -> Identity:
    """Return the fact that two sums of one category each, or of some, are the same."""
    return Identity(Batch(over, (Term(left),)), Batch(over, (Term(right),)), "the same fact")


def build_small_family() -> MeasuredFamily:
    """Return a family of GLD by FSM and by review in four councils, with two attributes that record the same fact."""
    return MeasuredFamily(
        name="small",
        unit="child",
        attributes=build_attributes(council=4, fsm=3, gld=2, asq=3, dots=4),
        marginals=(
            Marginal(("council", "fsm", "gld"), 1.0),
            Marginal(("council", "asq", "gld"), 1.0),
            Marginal(("council", "dots"), 2.0),
        ),
        identities=(build_identity(("council",), {"asq": ("asq 2",)}, {"dots": ("dots 2", "dots 3")}),),
    )


def make_small_plan(rho: float = 0.1) -> Plan:
    return make_plan(build_small_family(), rho, delta=1e-6)


def draw_small_table(rows: int, seed: int = 0) -> pa.Table:
    """Return a child table that satisfies the small family's identity."""
    generator = np.random.default_rng(seed)
    columns = {a.name: generator.integers(0, a.size, rows) for a in build_small_family().attributes}
    columns["dots"] = np.where(columns["asq"] == 2, 2, 0) + generator.integers(0, 2, rows)
    texts = {name: pa.array([f"{name} {value}" for value in values], pa.string()) for name, values in columns.items()}
    return pa.table({"child_id": pa.array(range(rows), pa.int64()), **texts})


def measure_small(ledger: Ledger, restricted: Path, **changes: Any) -> mechanism.Measurement:
    """Measure the small family with 7 children in every cell; `changes` are arguments of `measure_once`."""
    plan: Plan = changes.get("plan") or make_small_plan()
    counts = {names: np.full(plan.family.get_shape(names), 7, dtype=np.int64) for names in plan.sigmas}
    usual = {"cohort": "202425", "release": "2026.11.0", "plan": plan, "input_mac": "a" * 64, "count": lambda: counts}
    return session.measure_once(ledger, restricted, **usual | {"published": tuple} | changes)


def build_pilot_family(councils: int = len(PILOT)) -> MeasuredFamily:
    """Return the family that the pupil tables are measured as, for this many councils."""
    family = plan_family("pupil", PILOT, policy.load_policy()).family
    return replace(family, attributes=(build_attribute("council", councils), *family.attributes[1:]))


def compute_published_rates(
    moments: Moments, numerator: Figures, denominator: Figures, reliability: policy.Reliability
) -> PublishedFigures:
    """Return percentages within [0, 100]; both figures have the same shape."""
    return compute_published_ratios(moments, numerator, denominator, reliability, largest=1.0, unit=100.0)
