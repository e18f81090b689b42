"""The tests' stress extracts as a set of two files: the EYFS Profile, and each child's first health review.

Eight councils, with the errors typical of children's records, moves, and 2.9% twins, who are marked.
"""

from __future__ import annotations

import pandas as pd

from bench.linkage.sets import COLUMNS, TwoFiles
from tests.support.linkage import stress

SEED = 1


def stress_set(children: int) -> TwoFiles:
    frames = stress.extracts(children, seed=SEED)
    return TwoFiles("stress", _frame(frames["eyfsp"]), _frame(frames["hv_reviews"]))


def _frame(extract: pd.DataFrame) -> pd.DataFrame:
    first = extract.drop_duplicates("child")
    born = first.date_of_birth.dt.strftime("%Y-%m-%d")
    return first.assign(date_of_birth=born, truth=first.child)[[*COLUMNS, "twin"]]
