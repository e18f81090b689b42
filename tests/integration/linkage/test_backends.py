"""One setting chooses where pairs are weighed; it must change nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from assets.catalogue.runs import Installation
from privacy.doors.environment import InvalidSettings
from privacy.linkage import backends
from privacy.linkage.link import link
from tests.support.linkage import stress

Frames = dict[str, pd.DataFrame]

needs_spark = pytest.mark.skipif(
    find_spec("pyspark") is None or shutil.which("java") is None,
    reason="needs Java and the extra `spark` (`make spark`); continuous integration has both",
)


@pytest.fixture
def local_spark() -> Iterator[None]:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.sql.shuffle.partitions", "2")
    session = builder.config("spark.log.level", "ERROR").getOrCreate()
    yield
    session.stop()


@pytest.mark.slow
@needs_spark
@pytest.mark.usefixtures("local_spark")
def test_spark_gives_the_same_links_row_for_row(tokenise: Callable[[Frames], dict[str, pa.Table]]) -> None:
    tables = tokenise(stress.extracts(1_500, seed=5))
    ours, sparks = link(tables), link(tables, backend=backends.backend("spark"))
    one, other = ours.links.to_pandas(), sparks.links.to_pandas()
    plain = ["source", "council", "row_key", "match_rule"]
    assert (one.match_rule == "probabilistic").sum() > 500
    assert one[plain].equals(other[plain])
    assert (pd.factorize(one.child_id)[0] == pd.factorize(other.child_id)[0]).all()
    assert one.match_probability.fillna(-1).round(9).equals(other.match_probability.fillna(-1).round(9))
    assert ours.steps == sparks.steps
    assert ours.review_patterns.num_rows == sparks.review_patterns.num_rows


def test_tokens_stay_apart_and_equal_as_signed_numbers() -> None:
    tokens = [0, 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1]
    con = duckdb.connect()
    con.register("t", pa.table({"token": pa.array([*tokens, None], pa.uint64())}))
    signed = [row for (row,) in con.execute(f"SELECT {backends._signed('token', 'UBIGINT')} FROM t").fetchall()]
    assert signed[-1] is None
    assert [value % 2**64 for value in signed[:-1]] == tokens


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(backends.BackendUnavailable, match="duckdb or spark, not dask"):
        backends.backend("dask")


def test_spark_is_refused_in_one_sentence_without_pyspark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    with pytest.raises(backends.BackendUnavailable, match="extra `spark`"):
        backends.backend("spark")


def test_spark_is_refused_in_one_sentence_without_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: object())
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(backends.BackendUnavailable, match="Java 17"):
        backends.backend("spark")


def test_a_run_stops_before_its_intake_where_the_environment_asks_for_a_backend_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("READINESS_LINKAGE_BACKEND", "dask")
    with pytest.raises(InvalidSettings, match="READINESS_LINKAGE_BACKEND must be duckdb or spark"):
        Installation.at(tmp_path / "landing", tmp_path / "home", tmp_path / "keys")
