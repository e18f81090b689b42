"""Deprivation by postcode is what a join with the directory would give."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from assets.pseudonymise.deprivation import HASH_SQL, Quintiles
from privacy import pseudonyms
from privacy.doors.database import fetch_rows, open_in_memory

DIRECTORY = """postcode,imd_decile
LS1 1AA,1
ls1 1ab,10
L1 1AA,no decile
L1 1AB,4
L11AB,2
,3
"""


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    made = open_in_memory()
    pseudonyms.prepare(made)
    return made


def looked_up(con: duckdb.DuckDBPyConnection, quintiles: Quintiles, postcodes: list[str | None]) -> list[int | None]:
    con.register("rows", pa.table({"place": range(len(postcodes)), "postcode": pa.array(postcodes, pa.string())}))
    hashes = fetch_rows(con, f"SELECT {HASH_SQL} AS hash FROM rows ORDER BY place")["hash"]
    found: list[int | None] = quintiles.look_up(hashes).to_pylist()
    return found


def test_the_quintile_of_a_postcode_however_it_is_written(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    (tmp_path / "directory.csv").write_text(DIRECTORY)
    quintiles = Quintiles.read(con, tmp_path / "directory.csv")
    wanted = ["LS11AA", "ls1 1aa", "LS1-1AB", "L1 1AA", "L1 1AB", "ZZ9 9ZZ", "", None]
    assert looked_up(con, quintiles, wanted) == [1, 1, 5, None, 1, None, None, None]


def test_without_a_directory_nothing_is_known(con: duckdb.DuckDBPyConnection) -> None:
    assert looked_up(con, Quintiles.empty(), ["LS1 1AA", None]) == [None, None]
    assert looked_up(con, Quintiles.empty(), []) == []
