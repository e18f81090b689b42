"""Pairs of patterns: those that any block finds, weighed as Splink weighs each alone, and kept to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from privacy.doors.database import open_in_memory
from privacy.linkage import blocks, candidates, rows
from privacy.linkage.link import LinkResult, link
from privacy.linkage.rows import CROWD_CHILDREN
from privacy.pseudonyms import TOKEN_COLUMNS
from privacy.services import MAX_CHILDREN_A_NUMBER
from tests.support.daily import mark_slow_after
from tests.support.linkage import stress

Tables = dict[str, pa.Table]
Extracts = dict[tuple[str, str], pa.Table]
"""The rows by source and council."""


class Remembered(candidates.PairCache):
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
        columns = [name for name in candidates.PAIR.names if name != "pattern"]
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


_PATTERNS = 120
Tokenise = Callable[[dict[str, pd.DataFrame]], dict[str, pa.Table]]


def patterns_at_random(rng: np.random.Generator) -> pa.Table:
    """Patterns of which many share tokens of every kind, and many lack one."""

    def some(values: int, kind: pa.DataType, missing: float) -> pa.Array:
        return pa.array(rng.integers(0, values, _PATTERNS), mask=rng.random(_PATTERNS) < missing).cast(kind)

    return pa.table(
        {
            "pattern": np.arange(_PATTERNS),
            "sex": some(2, pa.string(), 0.2),
            **{f"has_{name}": rng.random(_PATTERNS) < 0.8 for name in ("dob", "postcode", "surname", "forename")},
            "crowded": rng.random(_PATTERNS) < 0.2,
            "surname_band": some(6, pa.uint8(), 0.1),
            "forename_band": some(6, pa.uint8(), 0.1),
            **{token: some(3, pa.uint64(), 0.3) for token in TOKEN_COLUMNS},
        }
    )


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with open_in_memory() as made:
        yield made


@pytest.mark.parametrize("children", mark_slow_after(1, [26_000, 60_000, 600_000]))
def test_every_pair_of_a_block_is_found(con: duckdb.DuckDBPyConnection, children: int) -> None:
    """Of the two sides, without pairs of which an earlier linkage knew both."""
    table = patterns_at_random(np.random.default_rng(children))
    number = np.arange(_PATTERNS)
    flags = {"left_1": number < 60, "right_1": number >= 60, "fresh": (number >= 40) & (number < 60) | (number >= 65)}
    con.register("compared", pa.table({**dict(zip(table.column_names, table.columns, strict=True)), **flags}))
    blocks_ = (blocks.ONE_HOME, blocks.ONE_NUMBER, *blocks.build_blocks(children))
    for chosen in (blocks_, *((blocks.ONE_HOME, each) for each in blocks_)):
        con.execute("CREATE OR REPLACE TABLE found (step BIGINT, l BIGINT, r BIGINT)").fetchall()
        candidates.find_pairs(con, 1, chosen)
        either = " OR ".join(f"({each})" for each in chosen)
        joined = con.execute(
            f"""
            SELECT l.pattern, r.pattern FROM compared l JOIN compared r ON {either}
             WHERE r.pattern >= 60 AND (l.pattern < 40 AND r.pattern >= 65 OR l.pattern >= 40 AND l.pattern < 60)
             ORDER BY ALL
            """
        ).fetchall()
        assert con.execute("SELECT DISTINCT l, r FROM found ORDER BY ALL").fetchall() == joined


def test_a_pair_weighs_what_its_kind_does(con: duckdb.DuckDBPyConnection, tokenise: Tokenise) -> None:
    """All pairs of some patterns: Splink on each, against Splink on one of each kind."""
    table = rows.load(con, tokenise(stress.draw_extracts(12, seed=1)))
    left, right = (ends.ravel() for ends in np.meshgrid(np.arange(len(table)), np.arange(len(table))))
    alone = candidates.score_pairs(con, list(zip(left.tolist(), right.tolist(), strict=True)), 60_000)
    kinds = candidates.weigh(con, table, pa.table({"l": left, "r": right}), 60_000)
    con.register("pairs_of_kinds", pa.table({"left": left, "right": right, "kind": kinds}))
    by_kind = con.sql(
        'SELECT "left", "right", weight, household FROM pairs_of_kinds JOIN weights USING (kind) ORDER BY ALL'
    ).to_arrow_table()
    assert by_kind.equals(alone.select(by_kind.column_names).cast(by_kind.schema))
    assert len(kinds.unique()) < len(kinds)


def test_who_has_the_same_name_sounds_the_same(tokenise: Tokenise) -> None:
    """So that two names are looked at by their sounds alone (`blocks`), wherever they have one."""
    sent = pd.concat([table.to_pandas() for table in tokenise(stress.draw_extracts(400, seed=3)).values()])
    names = sent.dropna(subset="t_surname_dob").groupby("t_surname_dob").t_surname_sound_dob
    assert (names.nunique(dropna=False) == 1).all()


@pytest.mark.parametrize("children", mark_slow_after(1, [60_000, 600_000]))
def test_no_pair_that_counts_is_passed_over(tokenise: Tokenise, monkeypatch: pytest.MonkeyPatch, children: int) -> None:
    _, surnames, girls, boys, _ = stress._GROUPS[0]
    names = (surnames[:12], girls[:10], boys[:10])
    monkeypatch.setattr(stress, "_GROUPS", ((1.0, *names, 0.0),))
    tokens = tokenise(stress.draw_extracts(3_000, seed=4))
    fewer, looked_at = _linked(tokens, children, monkeypatch)
    monkeypatch.setattr(blocks, "_list_common_bands", lambda *_: [])
    all_pairs, all_looked_at = _linked(tokens, children, monkeypatch)
    assert _without_ids(fewer) == _without_ids(all_pairs)
    assert fewer.steps == all_pairs.steps
    assert fewer.review_patterns.equals(all_pairs.review_patterns)
    assert (looked_at < all_looked_at) == (children < blocks.LARGE_SERVICE_CHILDREN)


def _linked(tokens: dict[str, pa.Table], children: int, monkeypatch: pytest.MonkeyPatch) -> tuple[LinkResult, int]:
    """The result, and how many pairs were looked at."""
    looked_at, plain = [], candidates.weigh

    def weigh(*arguments: Any) -> pa.Array:
        looked_at.append(arguments[2].num_rows)
        return plain(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(candidates, "weigh", weigh)
        return link(tokens, children=children), sum(looked_at)


def _without_ids(result: LinkResult) -> dict[str, list[Any]]:
    links = result.links.to_pandas().fillna({"match_probability": -1})
    return links.assign(child_id=pd.factorize(links.child_id)[0]).to_dict("list")
