"""Pairs of patterns: those that any block finds, each weighed as Splink weighs it alone."""

from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from privacy.doors.database import open_in_memory
from privacy.linkage import blocks, candidates, rows
from privacy.linkage.blocks import ONE_HOME, ONE_NUMBER
from privacy.linkage.link import LinkResult, link
from privacy.pseudonyms import TOKEN_COLUMNS
from tests.support.daily import mark_slow_after
from tests.support.linkage import stress

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


@pytest.mark.parametrize("children", [26_000, 60_000, 600_000])
def test_every_pair_of_a_block_is_found(con: duckdb.DuckDBPyConnection, children: int) -> None:
    """Of the two sides, without pairs of which an earlier linkage knew both."""
    table = patterns_at_random(np.random.default_rng(children))
    number = np.arange(_PATTERNS)
    flags = {"left_1": number < 60, "right_1": number >= 60, "fresh": (number >= 40) & (number < 60) | (number >= 65)}
    con.register("compared", pa.table({**dict(zip(table.column_names, table.columns, strict=True)), **flags}))
    blocks_ = (ONE_HOME, ONE_NUMBER, *blocks.build_blocks(children))
    for chosen in (blocks_, *((ONE_HOME, each) for each in blocks_)):
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
