"""Clear text in, links out: the pseudonymisation and the linkage as the pipeline runs them."""

import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from privacy import pseudonyms
from privacy.keys import KeyRing
from privacy.linkage import LinkResult, link

sys.path.insert(0, str(Path(__file__).parent))

Frames = dict[str, pd.DataFrame]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.create(tmp_path_factory.mktemp("keys") / "set")


@pytest.fixture(scope="session")
def tokenise(keys: KeyRing) -> Callable[[Frames], dict[str, pa.Table]]:
    """Contract-named frames by source -> token tables by source."""

    def run(frames: Frames) -> dict[str, pa.Table]:
        con = duckdb.connect()
        pseudonyms.prepare(con, keys)
        tables = {}
        for source, frame in frames.items():
            con.register("frame", pa.Table.from_pandas(frame, preserve_index=False))
            con.execute(
                "CREATE OR REPLACE TABLE sent AS SELECT * REPLACE (date_of_birth::DATE AS date_of_birth) FROM frame"
            ).fetchall()
            columns = set(frame.columns) & pseudonyms.SOURCE_COLUMNS
            parts = []
            for council in sorted(frame.council.unique()):
                con.execute(f"CREATE OR REPLACE TEMP VIEW one AS FROM sent WHERE council = '{council}'").fetchall()
                sql = pseudonyms.tokenise_sql("one", columns, council, ["council", "source_row", "sex"])
                parts.append(con.sql(sql).to_arrow_table())
            tables[source] = pa.concat_tables(parts)
        return tables

    return run


@pytest.fixture(scope="session")
def linked(tokenise: Callable[[Frames], dict[str, pa.Table]]) -> Callable[[Frames], LinkResult]:
    """Contract-named frames by source -> the result of linking them."""
    return lambda frames: link(tokenise(frames))
