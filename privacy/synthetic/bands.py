"""Gives rows their number of parts from a published band: post-processing, which costs no privacy.

A model of the measured marginals ties parts, such as 17 goals, together only where all of them hold, so the numbers of
parts of its rows spread too little: a standard deviation of 4.1 goals among children who had 5.6. The band of a row is
in the model. Here the parts that fail are dealt out again among the rows of a stratum: as many to each row as its band
asks for, and of each part as many as fail already. So no count of a part by the attributes of the stratum changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from privacy.release.workload import MeasuredFamily
from privacy.synthetic.model import AllOf, Codes, Names

_Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Bands:
    """The attribute with the bands, numbers of parts by band, where bands are kept, and the attributes of a stratum."""

    name: str
    numbers: Mapping[str, range]
    kept_within: Names
    strata: Names


def deal_parts(family: MeasuredFamily, rows: Codes, all_of: AllOf, bands: Bands, seed: int) -> dict[str, _Rows]:
    """Return the rows with parts that fit their bands; the same for the same seed.

    A row in which the parts of the first whole hold keeps them. Bands of a stratum that contradict its parts are met
    as nearly as possible; the caller derives the band of a row from its parts.
    """
    generator = np.random.default_rng(seed)
    codes = np.stack([rows[name] for name in all_of.parts], axis=1)
    holds = np.array([family.get_attribute(name).categories.index(all_of.holds) for name in all_of.parts])
    fails, first = codes != holds, all_of.wholes[0].of_first
    is_open, is_whole = fails.any(axis=1), ~fails[:, :first].any(axis=1)
    least, most = _list_limits(family, bands)
    band = rows[bands.name].copy()
    for group in _group(family, rows, bands.kept_within, np.flatnonzero(is_open)):
        # whoever has the first whole has most parts, so the highest bands of the group are theirs
        order = generator.permutation(group)
        order = order[np.argsort(~is_whole[order], kind="stable")]
        own = is_whole[group].sum()
        pool = generator.permutation(band[group])
        pool = pool[np.argsort(-most[pool], kind="stable")]
        band[order] = [*pool[:own], *generator.permutation(pool[own:])]
    parts = len(all_of.parts)
    fewest = np.clip(parts - most[band], 1, np.where(is_whole, parts - first, parts))
    largest = np.clip(parts - least[band], fewest, np.where(is_whole, parts - first, parts))
    for group in _group(family, rows, bands.strata, np.flatnonzero(is_open)):
        needed = fails[group].sum(axis=0)
        wanted = _draw_numbers(fewest[group], largest[group], int(needed.sum()), generator)
        dealt = _deal(wanted, is_whole[group], needed, first)
        for part in range(parts):
            codes[group, part] = _place(codes[group, part], holds[part], dealt[:, part], generator)
    return {**rows, **dict(zip(all_of.parts, codes.T, strict=True))}


def _list_limits(family: MeasuredFamily, bands: Bands) -> tuple[_Rows, _Rows]:
    """Return the least and greatest number of parts of each category of the bands' attribute."""
    numbers = [bands.numbers[category] for category in family.get_attribute(bands.name).categories]
    return np.array([each[0] for each in numbers]), np.array([each[-1] for each in numbers])


def _group(family: MeasuredFamily, rows: Codes, names: Names, of: _Rows) -> Sequence[_Rows]:
    """Return the rows in `of` by their categories of the attributes."""
    keys = np.ravel_multi_index([rows[name][of] for name in names], family.get_shape(names))
    order = np.argsort(keys, kind="stable")
    return np.split(of[order], np.flatnonzero(np.diff(keys[order])) + 1) if len(of) else []


def _draw_numbers(fewest: _Rows, largest: _Rows, total: int, generator: np.random.Generator) -> _Rows:
    """Return a number for each row between its limits, so that they add up to the total if they can."""
    numbers = generator.integers(fewest, largest, endpoint=True)
    lacking = total - int(numbers.sum())
    room = largest - numbers if lacking > 0 else numbers - fewest
    chosen = generator.permutation(np.repeat(np.arange(len(numbers)), room))[: abs(lacking)]
    return np.asarray(numbers + np.sign(lacking) * np.bincount(chosen, minlength=len(numbers)))


def _deal(wanted: _Rows, is_whole: NDArray[np.bool_], needed: _Rows, first: int) -> NDArray[np.bool_]:
    """Return which parts fail, (rows, parts): as many in each row as `wanted`, in all rows together `needed`.

    Rows choose, the most wanting first, the parts that most others still lack: if both numbers can be met, this meets
    them (Gale 1957, Ryser 1957). A row with the first whole fails none of its parts, and any other row at least one.
    """
    left, dealt = needed.astype(np.float64), np.zeros((len(wanted), len(needed)), dtype=np.bool_)
    for row in np.lexsort([-wanted, ~is_whole]):
        open_to = np.where(np.arange(len(needed)) >= first, left, -np.inf) if is_whole[row] else left
        chosen = np.argsort(-open_to, kind="stable")[: wanted[row]]
        if not is_whole[row] and not (chosen < first).any():
            chosen[-1] = left[:first].argmax()
        dealt[row, chosen] = True
        left[chosen] -= 1
    _exchange(dealt, left, is_whole, first)
    return dealt


def _exchange(dealt: NDArray[np.bool_], left: NDArray[np.float64], is_whole: NDArray[np.bool_], first: int) -> None:
    """Move what was dealt too often to parts dealt too seldom, in rows that may have either, where numbers allow."""
    for over, under in product(np.flatnonzero(left < 0), np.flatnonzero(left > 0)):
        spare = dealt[:, :first].sum(axis=1) > 1 if over < first <= under else True
        allowed = ~is_whole if under < first else True
        rows = np.flatnonzero(dealt[:, over] & ~dealt[:, under] & spare & allowed)
        rows = rows[: int(min(-left[over], left[under]))]
        dealt[rows, over], dealt[rows, under] = False, True
        left[over] += len(rows)
        left[under] -= len(rows)


def _place(codes: _Rows, holds: int, fails: NDArray[np.bool_], generator: np.random.Generator) -> _Rows:
    """Return codes of one part that fail where they should, with the kinds of failing that there were."""
    kinds = generator.permutation(codes[codes != holds])
    placed = np.full(len(codes), holds)
    if len(kinds):
        placed[fails] = np.resize(kinds, int(fails.sum()))
    return placed
