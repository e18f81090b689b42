"""Deprivation by postcode is what a join with the directory would give."""

from pathlib import Path

import pyarrow as pa

from assets.pseudonymise.stream_extract import HASH_SQL, Quintiles
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


def test_the_quintile_of_a_postcode_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "directory.csv").write_text(DIRECTORY)
    written = {
        "LS11AA": 1,
        "ls1 1aa": 1,
        "LS1-1AB": 5,
        "L1 1AA": None,
        "L1 1AB": 1,
        "ZZ9 9ZZ": None,
        "": None,
        None: None,
    }
    with open_in_memory() as con:
        pseudonyms.prepare(con)
        con.register("rows", pa.table({"place": range(len(written)), "postcode": pa.array(written, pa.string())}))
        hashes = fetch_rows(con, f"SELECT {HASH_SQL} AS hash FROM rows ORDER BY place")["hash"]
        found = Quintiles.read(con, tmp_path / "directory.csv").look_up(hashes).to_pylist()
        assert Quintiles.read(con, None).look_up(hashes).to_pylist() == [None] * len(written)
    assert dict(zip(written, found, strict=True)) == written
