"""The covariances of the noise in the counts of `gld_headline`, from the noise plans alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pyarrow as pa

from assets.release.noise_workload import block_figures, is_measured
from ndl_export.facts.missing import MissingByCohort, not_sent
from ndl_export.facts.noisy_counts import COVARIANCE_COUNTS, COVARIANCE_SCHEMA, WITHIN
from ndl_export.tables import TABLES, Block
from ndl_export.tables.model import COUNCIL
from privacy.estimation.covariance import Covariances
from privacy.estimation.estimates import without_categories
from privacy.release.plan import Plan
from privacy.release.statement import MeasuredCohort
from privacy.release.workload import Cube, Selector

_TABLE, _FAMILY = TABLES["gld_headline"], "pupil"
_CHILDREN, _GLD = "children_count", "gld_children_count"
_DECIMALS = 6
"""Rounded, so that the numbers are the same on every machine."""


def noise_covariance(measured: Sequence[MeasuredCohort], missing: MissingByCohort) -> pa.Table:
    """The covariances of every cohort, with the columns of `ndl_export.facts.noisy_counts`.

    A council that is `missing` what the table counts is not measured, as in the tables themselves.
    """
    rows: list[tuple[str | float, ...]] = []
    for own in measured:
        whole, absent = own.plans[_FAMILY], not_sent(missing.get(own.cohort, {}), _FAMILY)
        if set(whole.family.attribute(COUNCIL).categories) <= set(absent):
            continue
        plan, _ = without_categories(whole, own.measurements[_FAMILY], COUNCIL, absent)
        rows += [(own.cohort, *row) for row in _of_plan(plan)]
    columns = zip(*rows, strict=True) if rows else [()] * len(COVARIANCE_SCHEMA.names)
    return pa.table(dict(zip(COVARIANCE_SCHEMA.names, map(list, columns), strict=True)), schema=COVARIANCE_SCHEMA)


def _of_plan(plan: Plan) -> Iterator[tuple[str | float, ...]]:
    """Region by region, block by block, pair by pair of rows."""
    nesting, covariances = plan.family.nesting, Covariances(plan)
    everyone = plan.family.attribute(COUNCIL).categories
    for region, councils in (nesting.members if nesting else {"": everyone}).items():
        for block in _TABLE.blocks:
            if _GLD in block.counts and is_measured(block, plan.family, {COUNCIL}):
                yield from ((region, *row) for row in _of_block(block, plan, covariances, councils))


def _of_block(
    block: Block, plan: Plan, covariances: Covariances, councils: Sequence[str]
) -> Iterator[tuple[str | float, ...]]:
    figures = block_figures(block, plan.family, plan.family.attribute(COUNCIL).categories)
    assert figures is not None
    children, gld = figures.counts[_CHILDREN], figures.counts[_GLD]
    pairs = ((children, children), (gld, children), (gld, gld))
    found = [covariances.covariance(_laid(one, councils, 0), _laid(other, councils, 1)) for one, other in pairs]
    values = np.round(np.stack(found), _DECIMALS) + 0.0  # (counts, same or apart, pairs of levels of each axis)
    if len(councils) == 1:
        values[:, 1] = 0.0
    by_pair = values.swapaxes(0, 1).reshape(len(WITHIN) * len(COVARIANCE_COUNTS), -1).T
    for names, numbers in zip(_pairs_of_rows(block), by_pair.tolist(), strict=True):
        yield (*names, *numbers)


def _laid(cube: Cube, councils: Sequence[str], side: int) -> Cube:
    """One side of all pairs of levels, axis by axis; of a council with itself, and of two councils."""
    attribute = cube.selectors[COUNCIL].attribute
    other = councils[min(side, len(councils) - 1)]
    place = Selector.of(attribute, {"same": (councils[0],), "apart": (other,)})
    return Cube({COUNCIL: place} | {n: _paired(s, side) for n, s in cube.selectors.items() if n != COUNCIL}, cube.where)


def _paired(selector: Selector, side: int) -> Selector:
    chosen = [pair[side] for pair in product(range(len(selector.rows)), repeat=2)]
    labels = tuple(f"pair {number}" for number in range(len(chosen)))
    return Selector(selector.attribute, labels, tuple(selector.rows[row] for row in chosen))


def _pairs_of_rows(block: Block) -> Iterator[tuple[str, ...]]:
    """Breakdown topic, breakdown and sex of the row, breakdown and sex of the other, in the order of the pairs."""
    for chosen in product(*(product(axis.selections, repeat=2) for axis in block.axes)):
        sides = [
            dict(block.constants)
            | {axis.filter: pair[side].label for axis, pair in zip(block.axes, chosen, strict=True)}
            for side in (0, 1)
        ]
        one, other = sides
        yield one["breakdown_topic"], one["breakdown"], one["sex"], other["breakdown"], other["sex"]
