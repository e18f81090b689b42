"""Deprivation quintiles by postcode.

The postcodes of the directory are kept as sorted hashes: a look-up costs what its rows cost, while a join would go
through the whole directory for every extract. Two postcodes share a hash with chance 2**-64.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from privacy.doors.database import rows_of
from privacy.doors.sql import csv
from sources.errors import ExtractStopped
from sources.reference.deprivation import EDITION

HASH_SQL = "CASE WHEN postcode IS NOT NULL THEN hash(letters_and_digits(postcode)) END"
"""What is looked up, over rows with a postcode as it is written. Needs the normaliser's functions."""


class OtherEdition(ExtractStopped):
    """A directory whose deciles are of another edition of the index than releases publish.

    No extract whose rows have quintiles is ingested with it.
    """


@dataclass(frozen=True)
class Quintiles:
    """`hashes` (uint64, rising) of postcodes and the quintile (int32) of each, 1 being the most deprived."""

    hashes: np.ndarray
    quintiles: np.ndarray

    @classmethod
    def read(cls, con: duckdb.DuckDBPyConnection, directory: Path) -> Quintiles:
        """Read a file with the columns `postcode` and `imd_decile`, of the published edition.

        Raises `duckdb.Error` for another file, and `OtherEdition` if its column `imd_edition` differs.
        """
        _check_edition(con, directory)
        rows = f"SELECT {HASH_SQL} AS postcode, (try_cast(imd_decile AS INTEGER) + 1) // 2 AS quintile"
        found = rows_of(
            con,
            f"SELECT postcode, min(quintile) AS quintile FROM ({rows} FROM {csv(directory, all_varchar=True)})"
            " WHERE postcode IS NOT NULL AND quintile IS NOT NULL GROUP BY postcode ORDER BY postcode",
        )
        return cls(found["postcode"].to_numpy(), found["quintile"].to_numpy())

    @classmethod
    def empty(cls) -> Quintiles:
        """Return the look-up without a directory."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.int32))

    def look_up(self, hashes: pa.ChunkedArray) -> pa.Array:
        """Return the quintile of each hash (Int32Array), NULL if the directory has none."""
        wanted = hashes.fill_null(0).to_numpy()
        places = np.searchsorted(self.hashes, wanted)
        known = hashes.is_valid().to_numpy() & (places < len(self.hashes))
        known[known] = self.hashes[places[known]] == wanted[known]
        quintiles = np.zeros(len(wanted), np.int32)
        quintiles[known] = self.quintiles[places[known]]
        return pa.array(quintiles, mask=~known)


def _check_edition(con: duckdb.DuckDBPyConnection, directory: Path) -> None:
    """Check the edition of a directory; without the column it is taken to be the published one."""
    file = csv(directory, all_varchar=True)
    if "imd_edition" not in (name.lower() for name in con.sql(f"FROM {file} LIMIT 0").columns):
        return
    said = con.sql(f"SELECT DISTINCT trim(imd_edition) FROM {file} WHERE imd_edition IS NOT NULL").fetchall()
    if others := sorted(edition for (edition,) in said if edition != EDITION):
        raise OtherEdition(
            f"{directory.name}: imd_edition is not {EDITION} in every row (there are {len(others)} other values);"
            f" releases say that quintiles are of the Indices of Deprivation {EDITION}, so make it from those"
        )
