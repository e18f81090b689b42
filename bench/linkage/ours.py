"""Our method: the frames become extracts of two services in a landing folder, and go through intake and linkage."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from assets.home.paths import Home
from assets.intake.ingest import Intake
from assets.linkage.inputs import list_extract_paths, sum_published_children
from assets.linkage.row_numbers import RowNumbers
from assets.linkage.tokens import open_readers
from privacy.keys import KeyRing
from privacy.linkage.link import link
from sources.contracts import CONTRACTS, Kind
from sources.extract.landed import Landed

COHORT = "202425"
_PEOPLE = ("surname", "forename", "sex", "date_of_birth", "postcode")
_ALPHABET = "ABCDEFGHJKLMNPQRTUVWXYZ"


@dataclass(frozen=True)
class Timed:
    """Linked pairs (left, right: positions), and seconds of intake and of linkage."""

    pairs: pd.DataFrame
    intake: float
    linkage: float


def our_pairs(
    left: pd.DataFrame,
    right: pd.DataFrame,
    left_source: str = "eyfsp",
    right_source: str = "hv_reviews",
    councils: tuple[str, str] = ("leeds", "leeds"),
) -> Timed:
    """Return pairs of rows that share a child. A left row has a UPN if its source requires one."""
    with tempfile.TemporaryDirectory() as folder:
        landing, home = Path(folder) / "landing", Home(Path(folder) / "home")
        landed = [
            _write(landing, councils[0], left_source, left),
            _write(landing, councils[1], right_source, right),
        ]
        keys = KeyRing.create(Path(folder) / "keys")
        began = time.perf_counter()
        intake = Intake(landing, home, keys)
        outcomes = [outcome for extract in landed for outcome in intake.ingest_all([extract])]
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        taken = time.perf_counter()
        extracts = {
            s: list_extract_paths(home.cohort(COHORT), s, sorted(set(councils))) for s in (left_source, right_source)
        }
        found = link(open_readers(home.cohort(COHORT), keys, extracts), children=_children(left, right, councils)).links
        links = RowNumbers(home.cohort(COHORT), keys).numbered(found).to_pandas()
        done = time.perf_counter()
    a, b = (links[links.source == source] for source in (left_source, right_source))
    pairs = a.merge(b, on="child_id")
    pairs = pd.DataFrame({"left": pairs.source_row_x - _FIRST_ROW, "right": pairs.source_row_y - _FIRST_ROW})
    return Timed(pairs, taken - began, done - taken)


def _children(left: pd.DataFrame, right: pd.DataFrame, councils: tuple[str, str]) -> int:
    """Return the size given to the linkage: that of the councils, or of the set if it is larger."""
    return max(sum_published_children(sorted(set(councils))), len(left), len(right))


_FIRST_ROW = 1


def _write(landing: Path, council: str, source: str, frame: pd.DataFrame) -> Landed:
    """Write a CSV in contract columns; payload columns hold an arbitrary valid code."""
    rows = {}
    for column in CONTRACTS[source].columns:
        if column.name in _PEOPLE:
            rows[column.name] = frame[column.name].to_numpy() if column.name in frame else None
        elif column.name == "upn":
            rows["upn"] = _upns(len(frame))
        elif column.required:
            codes = list(column.codes or ())
            rows[column.name] = codes[-1] if codes else ("2022-05-05" if column.kind is Kind.DATE else "1")
    path = landing / council / source / f"{COHORT}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, index=range(len(frame))).to_csv(path, index=False)
    return Landed(council, source, COHORT, path)


def _upns(count: int) -> list[str]:
    digits = np.char.zfill(np.arange(count).astype(str), 12)
    columns = np.array([list(d) for d in digits]).astype(int)
    return [
        _ALPHABET[total % 23] + number
        for total, number in zip((columns * np.arange(2, 14)).sum(axis=1), digits, strict=True)
    ]
