"""Where few names are about, pairs that are not looked at are those that would be let go once they were weighed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from privacy.linkage import blocks, candidates, lookup
from privacy.linkage.link import LinkResult, link
from tests.support.daily import first
from tests.support.linkage import stress


@pytest.mark.parametrize("children", first(1, [60_000, 600_000]))
def test_no_pair_that_counts_is_passed_over(
    tokenise: Callable[[dict[str, pd.DataFrame]], dict[str, pa.Table]], monkeypatch: pytest.MonkeyPatch, children: int
) -> None:
    names = (stress._BRITISH_SURNAMES[:12], stress._BRITISH_GIRLS[:10], stress._BRITISH_BOYS[:10])
    monkeypatch.setattr(stress, "_GROUPS", ((1.0, *names, 0.0),))
    tokens = tokenise(stress.extracts(3_000, seed=4))
    fewer, looked_at = _linked(tokens, children, monkeypatch)
    monkeypatch.setattr(blocks, "_let_go", lambda *_: [])
    all_pairs, all_looked_at = _linked(tokens, children, monkeypatch)
    assert _without_ids(fewer) == _without_ids(all_pairs)
    assert fewer.steps == all_pairs.steps
    assert fewer.review_patterns.equals(all_pairs.review_patterns)
    assert (looked_at < all_looked_at) == (children < blocks.LARGE_SERVICE_CHILDREN)


def _linked(tokens: dict[str, pa.Table], children: int, monkeypatch: pytest.MonkeyPatch) -> tuple[LinkResult, int]:
    """The result, and how many pairs were looked at."""
    looked_at = []

    def look_up(*of: Any) -> lookup.Pairs:
        found = lookup.look_up(*of)
        looked_at.append(len(found[0]))
        return found

    monkeypatch.setattr(candidates, "look_up", look_up)
    return link(tokens, children=children), sum(looked_at)


def _without_ids(result: LinkResult) -> dict[str, list[Any]]:
    links = result.links.to_pandas().fillna({"match_probability": -1})
    return links.assign(child_id=pd.factorize(links.child_id)[0]).to_dict("list")
