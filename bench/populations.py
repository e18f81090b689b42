"""Populations with known truth, as the four linked sources.

Frames use the contracts' column names, with `child` (the truth), `council` and `row_key`. Linkage errors differ between
kinds of population, so each one's errors have a different origin: the synthetic extracts, the tests' stress extracts,
children corrupted by gecko, the people of pseudopeople, names that one service transliterates differently, a council
whose records lack postcodes, and two generators whose rates of error are drawn anew for each seed.
"""

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from bench import redrawn, worlds
from bench.names import draw_public_names
from sources.reference.code_lists import MAJOR_GROUP
from sources.synthetic import generate
from tests.support import independent
from tests.support.linkage import stress
from tests.support.linkage.populations import Frames

COHORT = "202425"
SOURCES = ("eyfsp", "school_census", "early_years_census", "hv_reviews")
LARGEST = "leeds"
TRANSLITERATED = ("Asian", "Other")
"""Prefixes of the ethnic groups whose names health visitors transliterate differently from schools."""
_SOUNDS = (
    ("kh", "x"), ("sh", "s"), ("ch", "tj"), ("th", "t"), ("ee", "i"), ("oo", "u"), ("ou", "u"), ("mm", "m"),
    ("ss", "s"), ("q", "k"), ("w", "v"), ("y", "i"), ("j", "dz"), ("c", "k"), ("z", "s"), ("e", "i"), ("o", "u"),
    ("ph", "f"), ("g", "gh"), ("h", ""), ("b", "p"), ("d", "t"), ("a", "e"),
)  # fmt: skip
_WRITTEN_OTHERWISE = 0.6
"""Share of the children of these groups whose names are different in their reviews."""
_POSTCODES_MISSING = 0.1
_MOST_NUMBERED = 0.5
_FEW_NEITHER = 0.12
"""Share kept of the children known to no service, in the population in which these are few."""


def list_populations(children: int, folders: Mapping[str, Path]) -> Mapping[str, Callable[[int], Frames]]:
    """Return a function for each population that makes it from a seed.

    `folders` maps the name of a population to a folder with one subfolder per seed (`_read`). The name up to the first
    comma says whose hand the errors are.
    """
    names = draw_public_names()
    world, extracts = partial(worlds.draw_world, names, children), partial(redrawn.draw_extracts, names, children)
    hard_world, hard = partial(world, factor=worlds.HARD), partial(extracts, factor=redrawn.HARD)
    made: dict[str, Callable[[int], Frames]] = {
        "pilot": draw_synthetic,
        "pilot, few seen by neither": lambda seed: _remove_seen_by_neither(draw_synthetic(seed), seed),
        "pilot, names transliterated": lambda seed: _transliterate(draw_synthetic(seed), seed),
        "pilot, postcodes missing": lambda seed: _remove_postcodes(draw_synthetic(seed), seed),
        "stress": lambda seed: stress.draw_extracts(children, seed),
        "stress, three times the slips": lambda seed: stress.draw_extracts(children, seed, slips=3.0),
        "stress, three times the slips in Leeds": lambda seed: stress.draw_extracts(
            children, seed, slips_of={LARGEST: 3.0}
        ),
        "independent": lambda seed: _draw_independent(children, seed),
        "world": world,
        "world, hard": hard_world,
        "world, hard, some numbers": lambda seed: _add_numbers(hard_world(seed), seed),
        "world, errors go together": partial(world, together=worlds.TOGETHER),
        "redrawn": extracts,
        "redrawn, hard": hard,
        "redrawn, hard, some numbers": lambda seed: _add_numbers(hard(seed), seed),
        "redrawn, errors go together": partial(extracts, factor=1.5, together=redrawn.TOGETHER),
    }
    for name, folder in folders.items():
        made[name] = partial(_read, folder)
    return made


def draw_synthetic(seed: int) -> Frames:
    """Return the synthetic extracts at the pilot's size."""
    with tempfile.TemporaryDirectory() as folder:
        landing = Path(folder) / "landing"
        generate(landing, COHORT, seed=seed, councils="pilot", contract_names=True)
        return _read_landing(landing)


def _read(folder: Path, seed: int) -> Frames:
    """Read frames made by a script of `bench/linkage/rivals`, or the extracts of any generator and their truth."""
    made = folder / str(seed)
    if (made / "landing").exists():
        return _read_landing(made / "landing")
    return {source: pd.read_parquet(made / f"{source}.parquet") for source in SOURCES}


def _read_landing(landing: Path) -> Frames:
    """Read extracts in contract columns, with `truth.parquet` beside the folder.

    It has source, council, source_row (from 1) and the child's number: person_id or pid.
    """
    truth = pd.read_parquet(landing.parent / "truth.parquet").rename(columns={"pid": "person_id"})
    rows = zip(truth.source, truth.council, truth.source_row, strict=True)
    return _read_frames(landing, dict(zip(rows, truth.person_id, strict=True)))


def _draw_independent(children: int, seed: int) -> Frames:
    with tempfile.TemporaryDirectory() as folder:
        truth = independent.write_extracts(Path(folder), children, seed)
        return _read_frames(Path(folder), truth.child)


def _read_frames(landing: Path, child: Mapping[tuple[str, str, int], int]) -> Frames:
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


def _remove_seen_by_neither(frames: Frames, seed: int) -> Frames:
    """Remove most pupils seen by no service: the fewer there are, the more missed links weigh."""
    pupils = pd.unique(pd.concat([frames["eyfsp"].child, frames["school_census"].child]))
    seen = pd.concat([frames["early_years_census"].child, select_two_year_reviews(frames).child])
    unseen = pupils[~np.isin(pupils, seen)]
    gone = unseen[np.random.default_rng(seed).random(len(unseen)) >= _FEW_NEITHER]
    return {source: frame[~frame.child.isin(gone)].reset_index(drop=True) for source, frame in frames.items()}


def _transliterate(frames: Frames, seed: int) -> Frames:
    """Write names of two ethnic groups differently in most reviews: by sound, including the first letter."""
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


def _remove_postcodes(frames: Frames, seed: int) -> Frames:
    """Remove the postcode from one in ten rows of the largest council, in every source."""
    rng = np.random.default_rng(seed)
    return {
        source: frame.assign(
            postcode=frame.postcode.mask((frame.council == LARGEST) & (rng.random(len(frame)) < _POSTCODES_MISSING))
        )
        for source, frame in frames.items()
    }


def _add_numbers(frames: Frames, seed: int) -> Frames:
    """Give some records of settings the child's NHS number, as its review has it: a share drawn from 0 to a half."""
    settings, reviews = frames["early_years_census"], frames["hv_reviews"].dropna(subset="nhs_number")
    rng = np.random.default_rng(seed)
    numbered = rng.random(len(settings)) < rng.uniform(0.0, _MOST_NUMBERED)
    number = settings.child.map(reviews.drop_duplicates("child").set_index("child").nhs_number)
    return {**frames, "early_years_census": settings.assign(nhs_number=number.where(numbered))}


def select_two_year_reviews(frames: Frames) -> pd.DataFrame:
    """Return the reviews that count, or all reviews if the frame does not say."""
    reviews = frames["hv_reviews"]
    return reviews[reviews.review == "2-2.5Y"] if "review" in reviews else reviews
