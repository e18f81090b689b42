"""Finds pairs of patterns that share tokens, by sorting.

The tokens that two patterns must share are combined into one 64-bit number. The numbers of both sides are sorted
together, and equal neighbours are compared. The time grows with the number of patterns and of matching pairs. Only the
sorted numbers are copied: tokens stay in the table of patterns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import duckdb
import numpy as np
import pyarrow as pa

from privacy.linkage.blocks import ONE_HOME, ONE_NUMBER, Block

_BLOCKS_AT_ONCE, _PAIRS_AT_ONCE = 2, 500_000
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2 ** 64 over the golden ratio
"""An odd multiplier, so that combining tokens loses no bits."""
_FAR_MORE = 8
"""If one side has at least this many times the other's patterns, patterns without a match are dropped before
sorting."""
_OF_END = re.compile(r"\b([lr])\.(\w+)")
_NAMED = re.compile(r"\b\w+_[lr]\b")

Pairs: TypeAlias = tuple[np.ndarray, np.ndarray]
"""The left and the right of each pair."""


class Patterns:
    """The table `patterns` created by `rows.load`; a pattern's number is its position."""

    def __init__(self, table: pa.Table) -> None:
        # One batch, because `get_tokens` reads a column's only buffer. A table without rows has no batch.
        (batch,) = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
        self._columns = dict(zip(table.column_names, batch.columns, strict=True))
        self._has: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._columns["pattern"])

    def has(self, token: str, at: np.ndarray) -> np.ndarray:
        """Return a mask of those of the given patterns that have the token."""
        if token not in self._has:
            self._has[token] = self._columns[f"t_{token}"].is_valid().to_numpy(zero_copy_only=False)
        return self._has[token][at]

    def get_tokens(self, token: str, at: np.ndarray) -> np.ndarray:
        """Return the token of each given pattern; the value is arbitrary for patterns without it."""
        column = self._columns[f"t_{token}"]
        # The buffer is read in place: converting a column with missing values gives floats, which lose bits of a token.
        found: np.ndarray = np.frombuffer(column.buffers()[1], np.uint64, len(column), column.offset * 8)[at]
        return found

    def share(self, tokens: tuple[str, str], left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return a mask of the pairs in which the left pattern's first token equals the right pattern's second
        token."""
        # Values first: few pairs are equal, and only these are checked for missing tokens.
        same = self.get_tokens(tokens[0], left) == self.get_tokens(tokens[1], right)
        at = np.flatnonzero(same)
        same[at] = self.has(tokens[0], left[at]) & self.has(tokens[1], right[at])
        return same

    def join_sides(self, sql: str, pairs: Pairs) -> pa.Table:
        """Return the columns named in the SQL, with suffixes `_l` and `_r` for the two patterns of a pair."""
        ends = {"l": pa.array(pairs[0]), "r": pa.array(pairs[1])}
        named = dict.fromkeys(_NAMED.findall(sql))
        return pa.table({name: self._columns[name[:-2]].take(ends[name[-1]]) for name in named})


def read_by_pattern(con: duckdb.DuckDBPyConnection, table: str, column: str, count: int) -> np.ndarray:
    """Return a number for each of `count` patterns, from a table with a `pattern` column."""
    found = con.sql(f"SELECT pattern, {column} FROM {table}").to_arrow_table()
    numbers = np.empty(count, np.int64)
    numbers[found["pattern"].to_numpy()] = found[column].to_numpy()
    return numbers


def look_up(
    con: duckdb.DuckDBPyConnection, patterns: Patterns, sides: Sequence[Pairs], blocks: Sequence[Block]
) -> Pairs:
    """Return the pairs of patterns that share a home or an NHS number, or are found by a block, sorted and unique.

    Each element of `sides` is a set of left and a set of right patterns, which are compared with each other.
    """

    def look_up_block(block: Block) -> np.ndarray:
        with con.cursor() as own:
            found = [pairs for left, right in sides for pairs in _iter_block_pairs(own, patterns, block, left, right)]
        # A pair as one number, so that one sort removes the pairs that several blocks find.
        return _sort_unique([a * len(patterns) + b for a, b in found])

    with ThreadPoolExecutor(_BLOCKS_AT_ONCE) as threads:
        codes = _sort_unique(list(threads.map(look_up_block, (ONE_HOME, ONE_NUMBER, *blocks))))
    left, right = np.divmod(codes, max(len(patterns), 1))
    return left, right


def _sort_unique(codes: Sequence[np.ndarray]) -> np.ndarray:
    """Sort and deduplicate. (`numpy.unique` hashes first, which takes several times as long.)"""
    together = np.sort(np.concatenate([np.zeros(0, np.int64), *codes]))
    return together[np.diff(together, prepend=-1) != 0]


def _iter_block_pairs(
    con: duckdb.DuckDBPyConnection, patterns: Patterns, block: Block, left: np.ndarray, right: np.ndarray
) -> Iterator[Pairs]:
    """Yield a block's pairs in batches, without pairs that share a home unless that is the block."""
    of_left, of_right = zip(*block.equal, strict=True)
    left, right = _select_with_tokens(patterns, left, of_left), _select_with_tokens(patterns, right, of_right)
    if block.of_left:
        left = left[evaluate_condition(con, patterns, block.of_left, (left, left))]
    if block.of_right:
        right = right[evaluate_condition(con, patterns, block.of_right, (right, right))]
    for at_left, at_right in iter_matches(
        _combine_tokens(patterns, left, of_left), _combine_tokens(patterns, right, of_right)
    ):
        a, b = left[at_left], right[at_right]
        # `ONE_HOME` finds these already.
        if block is not ONE_HOME:
            apart = ~patterns.share(ONE_HOME.equal[0], a, b)
            a, b = a[apart], b[apart]
        if block.also and len(a):
            also = evaluate_condition(con, patterns, block.also, (a, b))
            a, b = a[also], b[also]
        yield a, b


def _select_with_tokens(patterns: Patterns, side: np.ndarray, tokens: Sequence[str]) -> np.ndarray:
    """Return the patterns of a side that have all these tokens."""
    for token in dict.fromkeys(tokens):
        side = side[patterns.has(token, side)]
    return side


def _combine_tokens(patterns: Patterns, side: np.ndarray, tokens: Sequence[str]) -> np.ndarray:
    """Return one number that combines each pattern's tokens."""
    # Overflow wraps round. Tokens are keyed hashes, so others give the same number only by a chance of 2 ** -64.
    first, *others = (patterns.get_tokens(token, side) for token in tokens)
    for other in others:
        first = first * _FACTOR + other
    return first


def evaluate_condition(con: duckdb.DuckDBPyConnection, patterns: Patterns, condition: str, pairs: Pairs) -> np.ndarray:
    """Return a mask of the pairs for which a condition over l and r holds."""
    sql = _OF_END.sub(r"\2_\1", condition)
    con.register("beside", patterns.join_sides(sql, pairs))
    found = con.execute(f"SELECT coalesce({sql}, false) AS holds FROM beside").fetchnumpy()["holds"]
    con.unregister("beside")
    return np.asarray(found)


def iter_matches(left: np.ndarray, right: np.ndarray) -> Iterator[Pairs]:
    """Yield the positions of numbers that occur in both arrays, in batches."""
    if not len(left) or not len(right):
        return
    left, right = left.astype(np.uint64) * _FACTOR, right.astype(np.uint64) * _FACTOR  # spreads small numbers too
    at_left, at_right = _find_possible_matches(left, right), _find_possible_matches(right, left)
    together = np.concatenate([left[at_left], right[at_right]])
    # The position replaces the last bits of each number, so that one sort of plain integers in place is enough.
    places = np.uint64((1 << len(together).bit_length()) - 1)
    together &= ~places
    together |= np.arange(len(together), dtype=np.uint64)
    together.sort()
    place = (together & places).astype(np.int64)
    is_right = place >= len(at_left)
    as_before = np.r_[False, together[1:] ^ together[:-1] <= places, False]
    first_right = np.flatnonzero(as_before[1:-1] & is_right[1:] & ~is_right[:-1]) + 1
    for start, middle, end in _iter_runs(as_before, first_right):
        a, b = _pair_within_runs(start, middle, end)
        a, b = at_left[place[a]], at_right[place[b] - len(at_left)]
        equal = left[a] == right[b]  # the sort compared leading bits only
        yield a[equal], b[equal]


def _iter_runs(as_before: np.ndarray, middle: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the start, middle and end of runs of equal numbers in batches: runs of two first, then longer ones.

    `middle` holds the first position of the right side in each run.
    """
    longer = as_before[middle - 1] | as_before[middle + 1]
    of_two, middle = middle[~longer], middle[longer]
    for start in range(0, len(of_two), _PAIRS_AT_ONCE):
        some = of_two[start : start + _PAIRS_AT_ONCE]
        yield some - 1, some, some + 1
    if len(middle):
        starts = np.flatnonzero(~as_before)
        after = np.searchsorted(starts, middle)
        first, end = starts[after - 1], starts[after]
        # A run of n left and m right patterns gives n x m pairs, so batches are cut by pairs and not by runs.
        so_far = np.cumsum((middle - first) * (end - middle))
        cuts = np.flatnonzero(np.diff(so_far // _PAIRS_AT_ONCE)) + 1
        yield from zip(*(np.split(each, cuts) for each in (first, middle, end)), strict=True)


def _pair_within_runs(start: np.ndarray, middle: np.ndarray, end: np.ndarray) -> Pairs:
    """Return all pairs, within each run, of a position before the middle with one from the middle on."""
    before, behind = middle - start, end - middle
    pairs = before * behind
    run = np.repeat(np.arange(len(pairs)), pairs)
    nth = np.arange(len(run)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    i, j = np.divmod(nth, behind[run])
    return start[run] + i, middle[run] + j


def _find_possible_matches(numbers: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the positions of numbers that may be among the others.

    All positions are returned unless the numbers far outnumber the others (`_FAR_MORE`).
    """
    if len(numbers) < _FAR_MORE * len(others):
        return np.arange(len(numbers))
    shift = np.uint64(64 - (_FAR_MORE * len(others)).bit_length())
    # At least `_FAR_MORE` places for each of the others, so at most one in eight numbers without a match stays.
    seen = np.zeros(1 << (64 - int(shift)), bool)
    seen[others >> shift] = True
    return np.flatnonzero(seen[numbers >> shift])
