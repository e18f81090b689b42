"""python -m tests.bench_linkage FOLDER [SET ...]: precision, recall and F1 of tokens and of clear text, set by set."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pandas as pd

from tests.bench_linkage.clear_text import clear_text_pairs
from tests.bench_linkage.ours import our_pairs
from tests.bench_linkage.sets import TwoFiles, load_all


def scores(two: TwoFiles, pairs: pd.DataFrame) -> tuple[float, float, float]:
    """Precision, recall, F1 of pairs of positions."""
    truth_left, truth_right = two.left.truth.to_numpy(), two.right.truth.to_numpy()
    right = (truth_left[pairs.left.to_numpy(int)] == truth_right[pairs.right.to_numpy(int)]).sum()
    precision, recall = right / max(len(pairs), 1), right / two.true_pairs
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def main(folder: str, *names: str) -> None:
    print(f"{'set':34} {'':6} precision  recall      F1  seconds")
    for two in load_all(Path(folder)):
        if names and two.name not in names:
            continue
        timed = our_pairs(two.left, two.right)
        print(_line(two, "tokens", timed.pairs, timed.intake + timed.linkage), flush=True)
        began = time.perf_counter()
        pairs = clear_text_pairs(two.left, two.right)
        print(_line(two, "clear", pairs, time.perf_counter() - began), flush=True)


def _line(two: TwoFiles, who: str, pairs: pd.DataFrame, seconds: float) -> str:
    precision, recall, f1 = scores(two, pairs)
    return f"{two.name:34} {who:6} {precision:9.4f} {recall:7.4f} {f1:7.4f} {seconds:8.1f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
