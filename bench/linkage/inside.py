"""Runs the methods that use the product's environment, each in its own process.

python -m bench.linkage.inside METHOD LEFT.parquet RIGHT.parquet PAIRS.parquet
"""

from __future__ import annotations

import sys

import pandas as pd

from bench.linkage.clear_text import clear_text_pairs
from bench.linkage.ours import our_pairs


def _tokens(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    return our_pairs(left, right).pairs


METHODS = {"tokens": _tokens, "clear_text": clear_text_pairs}

if __name__ == "__main__":
    method, left_path, right_path, pairs_path = sys.argv[1:]
    METHODS[method](pd.read_parquet(left_path), pd.read_parquet(right_path)).to_parquet(pairs_path)
