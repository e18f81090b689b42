"""recordlinkage: blocking, similarities of the clear text, and its unsupervised ECM classifier.

    python recordlinkage_ecm.py LEFT.parquet RIGHT.parquet PAIRS.parquet

Writes left, right (positions) and weight (bits above an even posterior, not below 0).

The classifier takes yes-or-no features and estimates m, u and the prior by expectation maximisation on the candidate
pairs. Pooling the pairs of several blocking rules misleads it: the pairs' agreements depend on the rules, and it finds
households instead of people. Each rule is therefore a separate pass with its own classifier over the other columns, and
a pair takes the best weight of its passes. A pass needs three columns to tell matches from non-matches; if no rule
leaves that many, the rules make one pass over all columns.
"""

import sys

import numpy as np
import pandas as pd
import recordlinkage
from frames import list_filled_in_both, prepare

SIMILAR = 0.85
"""Similarity from which two values agree: Jaro-Winkler for names and postcodes, Levenshtein for dates (one digit in
ten may differ)."""
RULES = (("date_of_birth",), ("postcode",), ("surname", "forename"))
FEWEST_COLUMNS = 3


def main(left_path: str, right_path: str, pairs_path: str) -> None:
    left, right = prepare(left_path), prepare(right_path)
    present = list_filled_in_both(left, right)
    rules = [rule for rule in RULES if set(rule) <= set(present)]
    passes = [([rule], [column for column in present if column not in rule]) for rule in rules]
    passes = [(blocks, columns) for blocks, columns in passes if len(columns) >= FEWEST_COLUMNS]
    weighed = [_weigh(left, right, *each) for each in passes or [(rules, present)]]
    pairs = pd.concat(weighed).groupby(["left", "right"], as_index=False).weight.max()
    pairs.to_parquet(pairs_path)


def _weigh(left: pd.DataFrame, right: pd.DataFrame, blocks: list[tuple[str, ...]], columns: list[str]) -> pd.DataFrame:
    indexer = recordlinkage.Index()
    for block in blocks:
        indexer.block(list(block))
    candidates = indexer.index(left, right)
    features = _compare_features(candidates, left, right, columns)
    classifier = recordlinkage.ECMClassifier(init="jaro")
    classifier.fit(features)
    posterior = classifier.prob(features).to_numpy().clip(1e-12, 1 - 1e-12)
    weight = np.log2(posterior / (1 - posterior))
    at, to = (candidates.get_level_values(side).to_numpy() for side in (0, 1))
    pairs = pd.DataFrame({"left": at, "right": to, "weight": weight})
    return pairs[pairs.weight >= 0]


def _compare_features(
    candidates: pd.MultiIndex, left: pd.DataFrame, right: pd.DataFrame, columns: list[str]
) -> pd.DataFrame:
    compare = recordlinkage.Compare()
    for column in columns:
        if column == "sex":
            compare.exact(column, column, label=column)
        else:
            method = "levenshtein" if column == "date_of_birth" else "jarowinkler"
            compare.string(column, column, method=method, threshold=SIMILAR, label=column)
    return compare.compute(candidates, left, right).astype(np.int8)


if __name__ == "__main__":
    main(*sys.argv[1:])
