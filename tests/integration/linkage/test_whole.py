"""The linkage of a whole small population: accuracy, order, identity, and what tokens give away."""

from collections.abc import Callable

import pandas as pd
import pyarrow as pa
import pytest

from bench.linkage.estimate import estimate
from privacy.linkage import model
from privacy.linkage.link import LINK_COLUMNS, LinkResult, link
from privacy.pseudonyms import TOKEN_COLUMNS
from tests.support.linkage import stress

pytestmark = pytest.mark.slow

Frames = dict[str, pd.DataFrame]
CHILDREN = 12_000
KEY = ["source", "council", "row_key"]


@pytest.fixture(scope="module")
def frames() -> Frames:
    return stress.draw_extracts(CHILDREN, seed=3)


@pytest.fixture(scope="module")
def tables(frames: Frames, tokenise: Callable[[Frames], dict[str, pa.Table]]) -> dict[str, pa.Table]:
    return tokenise(frames)


@pytest.fixture(scope="module")
def result(tables: dict[str, pa.Table]) -> LinkResult:
    return link(tables)


def _truth(frames: Frames, links: pa.Table) -> pd.DataFrame:
    truth = pd.concat([frame.assign(source=source) for source, frame in frames.items()])
    return links.to_pandas().merge(truth[[*KEY, "child", "twin"]], on=KEY)


def _pairs(linked: pd.DataFrame, source: str) -> pd.DataFrame:
    """Distinct (true child in eyfsp, true child in `source`) pairs that share a child_id."""
    left, right = linked[linked.source == "eyfsp"], linked[linked.source == source]
    pairs = left.merge(right, on="child_id", suffixes=("", "_other"))
    return pairs.drop_duplicates(["child", "child_other"])


def test_every_row_once(frames: Frames, result: LinkResult) -> None:
    assert tuple(result.links.column_names) == LINK_COLUMNS
    assert result.links.num_rows == sum(map(len, frames.values()))
    assert len(_truth(frames, result.links)) == result.links.num_rows
    rules = {"upn", "nhs_number", "scoped_id", "identical_demographics", "probabilistic", "none"}
    assert set(result.links["match_rule"].to_pylist()) <= rules
    assert all(len(child) == 32 for child in result.links["child_id"].to_pylist())


@pytest.mark.parametrize("source", ["hv_reviews", "early_years_census"])
def test_accuracy(frames: Frames, result: LinkResult, source: str) -> None:
    linked = _truth(frames, result.links)
    pairs = _pairs(linked, source)
    right = (pairs.child == pairs.child_other).sum()
    true = len(set(linked.child[linked.source == "eyfsp"]) & set(linked.child[linked.source == source]))
    precision, recall = right / len(pairs), right / true
    twins = pairs[pairs.twin | pairs.twin_other]
    assert precision >= 0.998
    assert 2 * precision * recall / (precision + recall) >= 0.992
    assert (twins.child == twins.child_other).mean() >= 0.99


def test_rows_in_another_order_give_the_same_links(tables: dict[str, pa.Table], result: LinkResult) -> None:
    turned = {}
    for source, table in reversed(tables.items()):
        turned[source] = table.take(pa.array(range(table.num_rows - 1, -1, -1)))
    first, second = result.links.to_pandas(), link(turned).links.to_pandas()
    assert first[[*KEY, "match_rule"]].equals(second[[*KEY, "match_rule"]])
    assert first.match_probability.fillna(-1).round(9).equals(second.match_probability.fillna(-1).round(9))
    assert (pd.factorize(first.child_id)[0] == pd.factorize(second.child_id)[0]).all()


def test_child_ids_are_random_and_kept(tables: dict[str, pa.Table], result: LinkResult) -> None:
    without_health = {source: table for source, table in tables.items() if source != "hv_reviews"}
    before = link(without_health).links
    after = link(tables, previous=before).links.to_pandas()
    kept = before.to_pandas().merge(after, on=KEY)
    assert (kept.child_id_x == kept.child_id_y).mean() > 0.998
    assert not set(after.child_id) & set(result.links["child_id"].to_pylist())


def test_missing_nhs_numbers_on_thousands(frames: Frames, tables: dict[str, pa.Table], result: LinkResult) -> None:
    health = tables["hv_reviews"]
    column = health.column_names.index("t_nhs")
    without = tables | {"hv_reviews": health.set_column(column, "t_nhs", pa.nulls(health.num_rows, pa.uint64()))}
    pairs, before = (_pairs(_truth(frames, links), "hv_reviews") for links in (link(without).links, result.links))
    assert (pairs.child == pairs.child_other).mean() >= 0.998
    assert len(pairs) >= 0.995 * len(before)


def test_ranking_tokens_by_frequency_gives_no_names_away(frames: Frames, tables: dict[str, pa.Table]) -> None:
    """The commonest token is taken for the commonest name, and so on down. Names themselves give 30% away; forms of
    names (sounds, starts) may be right by chance as often as two children share a name."""
    known = frames["eyfsp"].merge(tables["eyfsp"].to_pandas(), on=["council", "row_key"])
    for name in ("surname", "forename"):
        names = known[name].str.upper()
        for token in (token for token in TOKEN_COLUMNS if token.startswith(f"t_{name}") and token in known):
            guess = dict(zip(known[token].value_counts().index, names.value_counts().index, strict=False))
            limit = 0.001 if token in (f"t_{name}_dob", f"t_{name}_postcode") else 0.002
            assert (known[token].map(guess) == names).mean() < limit, token
    both = (known.surname + " " + known.forename).str.upper()
    for token in ("t_names", "t_names_outward", "t_names_day", "t_names_month"):
        guess = dict(zip(known[token].value_counts().index, both.value_counts().index, strict=False))
        assert (known[token].map(guess) == both).mean() < 0.002, token


def test_the_parameters_in_force_are_the_estimated_ones() -> None:
    assert estimate() == model.load_parameters()["comparisons"]
