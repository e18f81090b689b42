"""The methods compared, and a run of one of them on one set.

Methods that use the product's environment run as `python -m bench.linkage.methods METHOD LEFT RIGHT PAIRS`, each in its
own process.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench.linkage.clear_text import clear_text_pairs
from bench.linkage.measured import Measured, measure
from bench.linkage.ours import find_pairs
from bench.linkage.sets import COLUMNS, TwoFiles
from privacy.linkage.assignment import match_one_to_one

_RIVALS = Path(__file__).parent / "rivals"
_IDENTIFIERS = [column for column in COLUMNS if column != "truth"]


@dataclass(frozen=True)
class Method:
    """A linkage method.

    `command(environments)` takes left, right and pairs as further arguments; `environments` is the folder of the
    rivals' environments. If `assign`, its pairs are weighted and still many to many.
    """

    title: str
    command: Callable[[Path], list[str]]
    assign: bool


def _run_inside(name: str) -> Callable[[Path], list[str]]:
    return lambda environments: [sys.executable, "-m", "bench.linkage.methods", name]


def _run_rival(environment: str, script: str) -> Callable[[Path], list[str]]:
    return lambda environments: [
        str(environments.absolute() / environment / "bin" / "python"), str(_RIVALS / script)
    ]  # fmt: skip


METHODS = {
    "tokens": Method("this pipeline, tokens", _run_inside("tokens"), assign=False),
    "splink": Method("Splink, clear text", _run_inside("clear_text"), assign=False),
    "ecm": Method("recordlinkage ECM, clear text", _run_rival("recordlinkage", "recordlinkage_ecm.py"), assign=True),
    "bloom": Method("clkhash + anonlink, Bloom filters", _run_rival("anonlink", "bloom_filters.py"), assign=True),
}


@dataclass(frozen=True)
class Result:
    """Shares between 0 and 1; `twins_precision` is None if the set does not mark twins, or no twin is linked."""

    precision: float
    recall: float
    f1: float
    twins_precision: float | None
    measured: Measured


def run(method: Method, two: TwoFiles, environments: Path, scratch: Path) -> Result:
    """Run one method on one set. The method sees the identifiers but not the truth."""
    paths = [scratch / name for name in ("left.parquet", "right.parquet", "pairs.parquet")]
    for frame, path in zip((two.left, two.right), paths, strict=False):
        frame[_IDENTIFIERS].astype("string").reset_index(drop=True).to_parquet(path)
    measured = measure([*method.command(environments), *map(str, paths)])
    pairs = pd.read_parquet(paths[-1])
    left, right = (pairs[side].to_numpy(np.int64) for side in ("left", "right"))
    if method.assign:
        tie = (left * 1_000_003 + right).astype(np.uint64)
        kept = match_one_to_one(left, right, pairs.weight.to_numpy(float), tie)
        left, right = left[kept], right[kept]
    return _score(two, left, right, measured)


def _score(two: TwoFiles, left: np.ndarray, right: np.ndarray, measured: Measured) -> Result:
    correct = two.left.truth.to_numpy()[left] == two.right.truth.to_numpy()[right]
    precision, recall = correct.sum() / max(len(left), 1), correct.sum() / two.true_pairs
    of_twins = None
    if "twin" in two.left:
        twins = two.left.twin.to_numpy(bool)[left] | two.right.twin.to_numpy(bool)[right]
        of_twins = float(correct[twins].mean()) if twins.any() else None
    return Result(precision, recall, 2 * precision * recall / max(precision + recall, 1e-9), of_twins, measured)


if __name__ == "__main__":
    method, left_path, right_path, pairs_path = sys.argv[1:]
    link_pairs = {"tokens": find_pairs, "clear_text": clear_text_pairs}[method]
    link_pairs(pd.read_parquet(left_path), pd.read_parquet(right_path)).to_parquet(pairs_path)
