"""Populations of which the truth is known, as the four linked sources: frames under the contracts' column names, with
`child` (the truth), `council` and `row_key`.

Errors of linkage differ from one kind of population to another, so no two of them come from one kind of slips: the
synthetic extracts, the stress extracts of the tests, children corrupted by gecko, the people of pseudopeople, names
that one service transliterates otherwise, and a council whose records lack postcodes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from sources.reference.ethnicity import MAJOR_GROUP
from sources.synthetic import generate
from tests.support import independent
from tests.support.linkage import stress
from tests.support.linkage.populations import Frames

COHORT = "202425"
SOURCES = ("eyfsp", "school_census", "early_years_census", "hv_reviews")
LARGEST = "leeds"
TRANSLITERATED = ("Asian", "Other")
"""Beginnings of the ethnic groups whose names the health visitors transliterate otherwise than schools do."""
_SOUNDS = (
    ("kh", "x"), ("sh", "s"), ("ch", "tj"), ("th", "t"), ("ee", "i"), ("oo", "u"), ("ou", "u"), ("mm", "m"),
    ("ss", "s"), ("q", "k"), ("w", "v"), ("y", "i"), ("j", "dz"), ("c", "k"), ("z", "s"), ("e", "i"), ("o", "u"),
    ("ph", "f"), ("g", "gh"), ("h", ""), ("b", "p"), ("d", "t"), ("a", "e"),
)  # fmt: skip
_WRITTEN_OTHERWISE = 0.6
"""Share of the children of these groups whose review has other names."""
_POSTCODES_MISSING = 0.1
_FEW_NEITHER = 0.12
"""Share of the children known to no service who stay where these are few."""


def populations(children: int, folders: Mapping[str, Path]) -> Mapping[str, Callable[[int], Frames]]:
    """How each is made from a seed. `folders`, by name of a population, hold a folder for each seed: what a script of
    `bench/linkage/rivals` has made."""
    made: dict[str, Callable[[int], Frames]] = {
        "pilot": synthetic,
        "pilot, few seen by neither": lambda seed: _few_seen_by_neither(synthetic(seed), seed),
        "pilot, names transliterated": lambda seed: _transliterated(synthetic(seed), seed),
        "pilot, postcodes missing": lambda seed: _without_postcodes(synthetic(seed), seed),
        "stress": lambda seed: stress.extracts(children, seed),
        "stress, three times the slips": lambda seed: stress.extracts(children, seed, slips=3.0),
        "stress, three times the slips in Leeds": lambda seed: stress.extracts(children, seed, slips_of={LARGEST: 3.0}),
        "independent": lambda seed: _independent(children, seed),
    }
    for name, folder in folders.items():
        made[name] = partial(_read, folder)
    return made


def synthetic(seed: int) -> Frames:
    """The synthetic extracts, at the pilot's size."""
    with tempfile.TemporaryDirectory() as folder:
        landing = Path(folder) / "landing"
        generate(landing, COHORT, seed=seed, councils="pilot", contract_names=True)
        truth = pd.read_parquet(Path(folder) / "truth.parquet")
        child = {(row.source, row.council, row.source_row): row.person_id for row in truth.itertuples()}
        return _frames(landing, child)


def _read(folder: Path, seed: int) -> Frames:
    return {source: pd.read_parquet(folder / str(seed) / f"{source}.parquet") for source in SOURCES}


def _independent(children: int, seed: int) -> Frames:
    with tempfile.TemporaryDirectory() as folder:
        truth = independent.write_extracts(Path(folder), children, seed)
        return _frames(Path(folder), truth.child)


def _frames(landing: Path, child: Mapping[tuple[str, str, int], int]) -> Frames:
    frames = {}
    for source in SOURCES:
        parts = []
        for path in sorted(landing.glob(f"*/{source}/{COHORT}*")):
            part = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)
            council, rows = path.parent.parent.name, range(1, len(part) + 1)
            known = [child[source, council, row] for row in rows]
            parts.append(part.assign(council=council, row_key=list(rows), child=known))
        frames[source] = pd.concat(parts, ignore_index=True)
    return frames


def _few_seen_by_neither(frames: Frames, seed: int) -> Frames:
    """Without most pupils whom no service has seen: where these are few, missed links weigh most."""
    pupils = pd.unique(pd.concat([frames["eyfsp"].child, frames["school_census"].child]))
    seen = pd.concat([frames["early_years_census"].child, two_year_reviews(frames).child])
    unseen = pupils[~np.isin(pupils, seen)]
    gone = unseen[np.random.default_rng(seed).random(len(unseen)) >= _FEW_NEITHER]
    return {source: frame[~frame.child.isin(gone)].reset_index(drop=True) for source, frame in frames.items()}


def _transliterated(frames: Frames, seed: int) -> Frames:
    """Names of two ethnic groups are written otherwise in most reviews: by sound, the first letter too."""
    group = frames["school_census"].drop_duplicates("child").set_index("child").ethnicity.map(MAJOR_GROUP)
    reviews = frames["hv_reviews"].copy()
    known = reviews.child.unique()
    otherwise = known[np.random.default_rng(seed).random(len(known)) < _WRITTEN_OTHERWISE]
    other = reviews.child.map(group).fillna("").str.startswith(TRANSLITERATED) & reviews.child.isin(otherwise)
    for column in ("surname", "forename"):
        written = reviews.loc[other, column].str.lower()
        for sound, letters in _SOUNDS:
            written = written.str.replace(sound, letters)
        reviews.loc[other, column] = written.str.capitalize()
    return {**frames, "hv_reviews": reviews}


def _without_postcodes(frames: Frames, seed: int) -> Frames:
    """One in ten rows of the largest council lacks its postcode, in every source."""
    rng = np.random.default_rng(seed)
    return {
        source: frame.assign(
            postcode=frame.postcode.mask((frame.council == LARGEST) & (rng.random(len(frame)) < _POSTCODES_MISSING))
        )
        for source, frame in frames.items()
    }


def two_year_reviews(frames: Frames) -> pd.DataFrame:
    """Rows of reviews that count; where the frame does not say, all."""
    reviews = frames["hv_reviews"]
    return reviews[reviews.review == "2-2.5Y"] if "review" in reviews else reviews
