"""Links that are made with what an earlier linkage kept are those that are made from scratch, to the bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from privacy.doors.database import open_in_memory
from privacy.linkage import rows
from privacy.linkage.candidates import PAIR, PairCache
from privacy.linkage.link import LinkResult, link
from privacy.linkage.rows import CROWD_CHILDREN
from privacy.pseudonyms import TOKEN_COLUMNS
from privacy.services import MAX_CHILDREN_A_NUMBER
from tests.support.linkage import stress

Tables = dict[str, pa.Table]
Extracts = dict[tuple[str, str], pa.Table]
"""The rows by source and council."""


class Remembered(PairCache):
    """What one linkage kept, for the next."""

    def __init__(self, before: Remembered | None = None) -> None:
        self._before, self._parts = before, dict[int, pa.Table]()

    def read(self, part: int) -> pa.RecordBatchReader | None:
        return self._before._parts[part].to_reader() if self._before else None

    def keep(self, part: int, rows: pa.RecordBatchReader) -> None:
        assert part not in self._parts
        self._parts[part] = rows.read_all()

    def pairs(self) -> list[list[object]]:
        """All that was kept, sorted."""
        columns = [name for name in PAIR.names if name != "pattern"]
        return [
            table.select(columns).to_pandas().sort_values(columns, ignore_index=True).astype(str).values.tolist()
            for _, table in sorted(self._parts.items())
        ]


def concatenate(extracts: Extracts) -> Tables:
    by_source: dict[str, list[pa.Table]] = {}
    for (source, _), table in extracts.items():
        by_source.setdefault(source, []).append(table)
    return {source: pa.concat_tables(tables) for source, tables in by_source.items()}


def the_same(scratch: LinkResult, again: LinkResult, previous: pa.Table | None) -> None:
    """All but ids that are new, which are random: those stand for the same children."""
    columns = ["source", "council", "row_key", "match_rule", "match_probability"]
    assert again.links.select(columns).equals(scratch.links.select(columns))
    ids, others = (result.links["child_id"].to_numpy(zero_copy_only=False) for result in (scratch, again))
    assert (pd.factorize(ids)[0] == pd.factorize(others)[0]).all()
    old = np.isin(ids, previous["child_id"].to_numpy(zero_copy_only=False)) if previous is not None else []
    assert (ids[old] == others[old]).all()
    assert again.steps == scratch.steps
    assert again.review_patterns.equals(scratch.review_patterns)


def corrected(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """Another delivery of an extract: other keys, a few rows gone, a few sent twice, a few with somebody else's name,
    date or number, or without one, and now and then a number or a postcode that was typed for want of a better."""
    kept = table.take(pa.array(np.flatnonzero(rng.random(len(table)) > 0.02)))
    frame = pa.concat_tables([kept, kept.slice(0, int(rng.integers(0, 4)))]).to_pandas(types_mapper=pd.ArrowDtype)
    for column in (name for name in frame.columns if name.startswith("t_") or name == "sex"):
        moved = np.flatnonzero(rng.random(len(frame)) < 0.01)
        frame.loc[moved, column] = frame[column].to_numpy()[rng.permutation(len(frame))[: len(moved)]]
        frame.loc[np.flatnonzero(rng.random(len(frame)) < 0.005), column] = pd.NA
    for number in ("t_upn", "t_nhs"):
        if number in frame and frame[number].notna().any() and rng.random() < 0.3:
            some = rng.permutation(len(frame))[: MAX_CHILDREN_A_NUMBER + int(rng.integers(-2, 3))]
            frame.loc[some, number] = frame[number].dropna().iloc[0]
    if rng.random() < 0.3:
        some = rng.permutation(len(frame))[: CROWD_CHILDREN + int(rng.integers(-1, 9))]
        frame.loc[some, "t_month_postcode"] = frame.t_month_postcode.dropna().iloc[0]
    frame["row_key"] = rng.permutation(1 << 20)[: len(frame)].astype(np.uint64)
    return pa.Table.from_pandas(frame, schema=table.schema, preserve_index=False)


def changed(sent: Extracts, all_sent: Extracts, rng: np.random.Generator) -> Extracts:
    """After one delivery, correction or removal."""
    name = list(all_sent)[rng.integers(len(all_sent))]
    if name in sent and len(sent) > 2 and rng.random() < 0.3:
        return {other: table for other, table in sent.items() if other != name}
    return sent | {name: corrected(all_sent[name], rng)}


def test_a_mark_holds_all_that_a_pattern_says(tokenise: Callable[[dict[str, pd.DataFrame]], Tables]) -> None:
    """A column that is neither hashed into the tie, nor follows from those that are, nor is in the mark, would let
    pairs be recalled that weigh otherwise today."""
    with open_in_memory() as con:
        rows.load(con, tokenise(stress.draw_extracts(20, seed=1)))
        columns = {name for name, *_ in con.execute("DESCRIBE patterns").fetchall()}
    hashed = {"service", "sex", *TOKEN_COLUMNS}
    follow = {"pattern", "tie", "has_dob", "has_postcode", "has_surname", "has_forename"}
    assert columns - hashed - follow == {"crowded", "surname_band", "forename_band"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_after_many_changes(tokenise: Callable[[dict[str, pd.DataFrame]], Tables], seed: int) -> None:
    """Links after each change from scratch, and with what the linkage before kept."""
    tables, rng = tokenise(stress.draw_extracts(600, seed=seed)), np.random.default_rng(seed)
    all_sent: Extracts = {
        (source, council): table.filter(pa.compute.equal(table["council"], council))
        for source, table in tables.items()
        for council in table["council"].unique().to_pylist()
    }
    sent, previous, memory = all_sent, None, None
    for _ in range(8):
        fresh, memory = Remembered(), Remembered(memory)
        scratch = link(concatenate(sent), previous, children=5_000, cache=fresh)
        again = link(concatenate(sent), previous, children=5_000, cache=memory)
        the_same(scratch, again, previous)
        assert memory.pairs() == fresh.pairs()
        previous, sent = again.links, changed(sent, all_sent, rng)
