"""Changes as few rows as possible until every requested rate is in its interval.

Rows drawn from a model miss some rates: a number of rows is whole and never negative, and a noisy count need not be. A
change gives a row new values for one set of attributes tied together by impossible pairs (`find_tied_sets`). The
values are copied from another row, so that impossible combinations stay impossible. The gradient of the loss (the
squared number of rows by which rates are outside) shows which changes bring the rates closest. The best are made
together; if that overshoots, half as many are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from privacy.release.workload import Array, Cube, Figures, MeasuredFamily, list_terms
from privacy.synthetic.model import FIRST, Codes, Names, SynthesisProblem

MARGIN = 2.0
"""How far inside its interval a rate should be, in rows, if the interval is wide enough."""
_MARGIN_SHARE = 0.2
"""The margin is at most this share of the interval."""
_SAMPLED, _CANDIDATES = 20_000, 64
"""Rows examined in one step, and the number of most frequent values of tied attributes tried for each."""
_FUTILE = 8
"""Consecutive steps without improvement after which the search ends."""

Tables = dict[Names, Array]


@dataclass(frozen=True, eq=False)
class Rates:
    """Rates of one cube of counts over another of the same shape, 0 to 1, and their intervals, NaN if there is none."""

    part: Cube
    whole: Cube
    lower: Array
    upper: Array


def find_tied_sets(problems: Iterable[SynthesisProblem]) -> list[Names]:
    """Return the sets of attributes that impossible pairs tie together; every other attribute is its own set."""
    sets: list[set[str]] = []
    for problem in problems:
        for names in ({each.name} for each in problem.attributes):
            sets = _merge_sets(sets, names)
        for pair in problem.impossible:
            sets = _merge_sets(sets, set(pair))
    return [tuple(sorted(names - {FIRST})) for names in sets]


def _merge_sets(sets: list[set[str]], names: set[str]) -> list[set[str]]:
    apart = [each for each in sets if not each & names]
    return [*apart, names.union(*(each for each in sets if each & names))]


def compute_ratios(family: MeasuredFamily, rows: Codes, part: Figures, whole: Figures) -> Array:
    """Return the ratios of the rows' own counts; NaN if there is nothing to count."""
    values = [
        sum(
            (
                coefficient * _compute_values(family, _count_tables(family, rows, [cube]), cube)
                for coefficient, cube in list_terms(figures)
            ),
            np.zeros(()),
        )
        for figures in (part, whole)
    ]
    return np.asarray(values[0] / np.where(values[1] > 0, values[1], np.nan))


def repair_rows(
    family: MeasuredFamily, rows: Codes, wanted: Sequence[Rates], movable: Sequence[Names], seed: int
) -> tuple[Codes, int]:
    """Change as few rows as possible, only in `movable` sets; return rows and number changed, the same for one seed."""
    generator, futile = np.random.default_rng(seed), 0
    now = {name: codes.copy() for name, codes in rows.items()}
    tables = _count_tables(family, now, [cube for rates in wanted for cube in (rates.part, rates.whole)])
    loss, slopes = _compute_loss(family, tables, wanted)
    candidates = [_list_candidates(now, names) for names in movable]
    number = len(next(iter(now.values()), ()))
    while loss > 0 and number and futile < _FUTILE:
        sample = np.sort(generator.choice(number, min(number, _SAMPLED), replace=False))
        moves = _choose_moves(now, slopes, candidates, sample)
        # The loss is a sum of squared rows, so its root is about the number of rows that are wrong.
        many = min(moves.shape[1], ceil(np.sqrt(loss)))
        futile += 1
        while many:
            after, chosen = _apply_moves(now, moves[:, :many], candidates), moves[0, :many]
            before = {name: codes[chosen] for name, codes in now.items()}
            trial = {
                names: table + count_rows(family, after, names) - count_rows(family, before, names)
                for names, table in tables.items()
            }
            reached, there = _compute_loss(family, trial, wanted)
            if reached < loss:
                for name, codes in after.items():
                    now[name][chosen] = codes
                tables, loss, slopes, futile = trial, reached, there, 0
                break
            many //= 2
    differs = np.zeros(number, dtype=np.bool_)
    for name, codes in now.items():
        differs |= codes != rows[name]
    return now, int(differs.sum())


def _list_candidates(rows: Codes, names: Names) -> Mapping[str, NDArray[np.int64]]:
    """Return the values of tied attributes that rows have, most frequent first."""
    found, counts = np.unique(np.stack([rows[name] for name in names]), axis=1, return_counts=True)
    chosen = np.argsort(-counts, kind="stable")[:_CANDIDATES]
    return dict(zip(names, found[:, chosen], strict=True))


def _choose_moves(
    rows: Codes,
    slopes: Tables,
    candidates: Sequence[Mapping[str, NDArray[np.int64]]],
    sample: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the changes of rows that reduce the loss, best first: number of row, set of attributes and candidate."""
    gains = np.zeros(len(sample))
    sets, values = np.zeros((2, len(sample)), dtype=np.int64)
    for number, changed in enumerate(candidates):
        if (gain := _compute_gains(rows, slopes, changed, sample)) is None:
            continue
        most = gain.argmax(axis=1)
        best = gain[np.arange(len(sample)), most]
        better = best > gains
        gains[better], sets[better], values[better] = best[better], number, most[better]
    # Stable, so that equal gains keep their order and a seed gives the same rows everywhere.
    order = np.argsort(-gains, kind="stable")
    order = order[gains[order] > 0]
    return np.stack([sample[order], sets[order], values[order]])


def _compute_gains(
    rows: Codes, slopes: Tables, changed: Mapping[str, NDArray[np.int64]], sample: NDArray[np.int64]
) -> Array | None:
    """Return by how much the loss falls for each row and candidate, to first order; None if it depends on none."""
    total: Array | None = None
    for names, slope in slopes.items():
        if not set(names) & set(changed):
            continue
        # Cells by which each attribute moves in the flattened table.
        steps = dict(zip(names, np.array(slope.strides) // slope.itemsize, strict=True))
        stays = sum((rows[name][sample] * step for name, step in steps.items() if name not in changed), np.int64(0))
        goes = sum((rows[name][sample] * step for name, step in steps.items() if name in changed), np.int64(0))
        comes = sum((codes * steps[name] for name, codes in changed.items() if name in steps), np.int64(0))
        flat = slope.ravel()
        gain = flat[stays + goes][:, None] - flat[np.add.outer(np.broadcast_to(stays, sample.shape), comes)]
        total = gain if total is None else total + gain
    return total


def _apply_moves(
    rows: Codes, moves: NDArray[np.int64], candidates: Sequence[Mapping[str, NDArray[np.int64]]]
) -> dict[str, NDArray[np.int64]]:
    """Return the values of the rows of these moves after the change, by attribute."""
    chosen, sets, values = moves
    after = {name: codes[chosen] for name, codes in rows.items()}
    for number, changed in enumerate(candidates):
        own = sets == number
        for name, codes in changed.items():
            after[name][own] = codes[values[own]]
    return after


def _compute_loss(family: MeasuredFamily, tables: Tables, wanted: Sequence[Rates]) -> tuple[float, Tables]:
    """Return the squared number of rows by which rates miss their intervals, and its slope for each cell."""
    loss, slopes = 0.0, dict[Names, Array]()
    for rates in wanted:
        part, whole = _compute_values(family, tables, rates.part), _compute_values(family, tables, rates.whole)
        margin = np.minimum(MARGIN, _MARGIN_SHARE * (rates.upper - rates.lower) * whole)
        # No rate is below 0 or above 1, so an interval that ends there needs no margin. Comparisons with NaN are false,
        # so a rate without an interval adds no loss.
        below = np.where(rates.lower > 0, np.maximum(rates.lower * whole - part + margin, 0.0), 0.0)
        above = np.where(rates.upper < 1, np.maximum(part - rates.upper * whole + margin, 0.0), 0.0)
        if not (below.any() or above.any()):
            continue
        loss += float((below**2).sum() + (above**2).sum())
        _add(slopes, family, rates.part, 2 * (above - below))
        _add(slopes, family, rates.whole, 2 * np.nan_to_num(below * rates.lower - above * rates.upper))
    return loss, slopes


def _add(slopes: Tables, family: MeasuredFamily, cube: Cube, by_figure: Array) -> None:
    """Add a cube's slope per figure to the slopes per cell."""
    names, table = _list_names(family, cube), by_figure
    matrices = {name: selector.matrix for name, selector in cube.selectors.items()}
    for axis, matrix in enumerate(matrices.values()):
        table = np.moveaxis(np.tensordot(matrix.T, table, (1, axis)), 0, axis)
    for selector in cube.where.values():
        table = np.multiply.outer(table, selector.matrix[0])
    order = [*cube.selectors, *cube.where]
    laid = np.ascontiguousarray(table.transpose([order.index(name) for name in names]))
    slopes[names] = slopes[names] + laid if names in slopes else laid


def _compute_values(family: MeasuredFamily, tables: Tables, cube: Cube) -> Array:
    names = _list_names(family, cube)
    order = [*cube.selectors, *cube.where]
    table = tables[names].transpose([names.index(name) for name in order])
    for selector in reversed(list(cube.where.values())):
        table = table @ selector.matrix[0]
    for axis, selector in enumerate(cube.selectors.values()):
        table = np.moveaxis(np.tensordot(selector.matrix, table, (1, axis)), 0, axis)
    return table


def _list_names(family: MeasuredFamily, cube: Cube) -> Names:
    return family.sort_names((*cube.selectors, *cube.where))


def _count_tables(family: MeasuredFamily, rows: Codes, cubes: Iterable[Cube]) -> Tables:
    needed = dict.fromkeys(_list_names(family, cube) for cube in cubes)
    return {names: count_rows(family, rows, names) for names in needed}


def count_rows(family: MeasuredFamily, rows: Codes, names: Names) -> Array:
    """Count rows by the attributes, in the shape of their domains."""
    shape = family.get_shape(names)
    cells = np.ravel_multi_index([rows[name] for name in names], shape)
    return np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)
