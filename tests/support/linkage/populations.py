"""Small populations with known true links, some hard to link, and fixtures that tokenise and link them."""

from collections.abc import Callable

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from privacy import normalise, pseudonyms
from privacy.keys import KeyRing
from privacy.linkage.link import LinkResult, link
from tests.support.linkage import stress

Frames = dict[str, pd.DataFrame]
RIGHT_SOURCE = {"settings to education": "early_years_census", "health to children": "hv_reviews"}
EDUCATION = ("eyfsp", "school_census")


def draw_plain(children: int, seed: int) -> Frames:
    return stress.draw_extracts(children, seed)


def draw_without_postcodes(children: int, seed: int) -> Frames:
    return {source: frame.assign(postcode=None) for source, frame in draw_plain(children, seed).items()}


def draw_few_surnames(children: int, seed: int) -> Frames:
    frames = draw_plain(children, seed)
    return {source: frame.assign(surname=frame.surname.str.upper().str[:1] + "ABC") for source, frame in frames.items()}


def draw_partners_absent(children: int, seed: int, frames: Frames | None = None) -> Frames:
    """Return a population in which half of the children reviewed by health visitors are in no other service."""
    frames = dict(frames or draw_plain(children, seed))
    there = np.random.default_rng(seed).random(children) < 0.5
    for source in (*EDUCATION, "early_years_census"):
        frames[source] = frames[source][there[frames[source].child]].reset_index(drop=True)
    return frames


def draw_all_at_once(children: int, seed: int) -> Frames:
    """Return a population with few surnames, no postcodes, and half of the children in no other service."""
    frames = {source: frame.assign(postcode=None) for source, frame in draw_few_surnames(children, seed).items()}
    return draw_partners_absent(children, seed, frames)


KINDS: tuple[Callable[[int, int], Frames], ...] = (
    draw_plain,
    draw_partners_absent,
    draw_without_postcodes,
    draw_few_surnames,
    draw_all_at_once,
)


def tokenise_frames(frames: Frames, keys: KeyRing) -> dict[str, pa.Table]:
    con = duckdb.connect()
    pseudonyms.prepare(con)
    return {source: _build_tokens(con, frame, keys) for source, frame in frames.items()}


def _build_tokens(con: duckdb.DuckDBPyConnection, frame: pd.DataFrame, keys: KeyRing) -> pa.Table:
    con.register("frame", pa.Table.from_pandas(frame, preserve_index=False))
    sent = "(SELECT '202425' AS cohort, * REPLACE (date_of_birth::DATE AS date_of_birth) FROM frame)"
    columns = set(frame.columns) & {*normalise.INPUTS, "local_patient_id"}
    return pseudonyms.tokenise(con, sent, columns, ["council", "row_key", "sex"], keys)


def count_false_links(frames: Frames, links: pa.Table, source: str) -> tuple[int, int]:
    """Count the children of `source` that are linked to another service, and those without a true record there."""
    columns = ["source", "council", "row_key", "child"]
    truth = pd.concat([frame.assign(source=name)[columns] for name, frame in frames.items()])
    linked = links.to_pandas().merge(truth, on=columns[:3])
    others = EDUCATION if source == "early_years_census" else (*EDUCATION, "early_years_census")
    left, right = linked[linked.source.isin(others)], linked[linked.source == source]
    pairs = right.merge(left, on="child_id", suffixes=("", "_left"))
    right_child_there = (pairs.child == pairs.child_left).groupby([pairs.child_id, pairs.child]).any()
    return int((~right_child_there).sum()), len(right_child_there)


@pytest.fixture(scope="session")
def tokenise(keys: KeyRing) -> Callable[[Frames], dict[str, pa.Table]]:
    """Return a function: contract-named frames by source -> token tables by source."""

    return lambda frames: tokenise_frames(frames, keys)


@pytest.fixture(scope="session")
def linked(tokenise: Callable[[Frames], dict[str, pa.Table]]) -> Callable[[Frames], LinkResult]:
    """Return a function: contract-named frames by source -> the result of linking them."""
    return lambda frames: link(tokenise(frames))
