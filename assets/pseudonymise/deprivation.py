"""Looks up deprivation quintiles by postcode.

The directory's postcodes are kept as sorted hashes. The cost of a look-up depends only on its own rows, while a join
would read the whole directory for every extract. Two postcodes share a hash with probability 2**-64.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from privacy.doors.database import fetch_rows
from privacy.doors.sql import csv
from sources.errors import ExtractStopped
from sources.reference.code_lists import IMD_EDITION

HASH_SQL = "CASE WHEN postcode IS NOT NULL THEN hash(letters_and_digits(postcode)) END"
"""SQL of the hash to look up, for rows with a postcode as written. Needs the normaliser's functions."""


class OtherEdition(ExtractStopped):
    """Raised for a directory with another edition of the index than the one releases publish.

    It stops every extract whose rows get quintiles.
    """


@dataclass(frozen=True)
class Quintiles:
    """Sorted `hashes` (uint64) of postcodes, and the quintile (int32) of each; 1 is the most deprived."""

    hashes: np.ndarray
    quintiles: np.ndarray

    @classmethod
    def read(cls, con: duckdb.DuckDBPyConnection, directory: Path) -> Quintiles:
        """Read a CSV file with the columns `postcode` and `imd_decile`.

        Raises `duckdb.Error` if it cannot be read as such, and `OtherEdition` if its column `imd_edition` differs from
        the published edition.
        """
        _check_edition(con, directory)
        # deciles 1 and 2 are quintile 1
        rows = f"SELECT {HASH_SQL} AS postcode, (try_cast(imd_decile AS INTEGER) + 1) // 2 AS quintile"
        # min, because a postcode that is listed twice must get the same quintile in whatever order rows are read
        found = fetch_rows(
            con,
            f"SELECT postcode, min(quintile) AS quintile FROM ({rows} FROM {csv(directory, all_varchar=True)})"
            " WHERE postcode IS NOT NULL AND quintile IS NOT NULL GROUP BY postcode ORDER BY postcode",
        )
        return cls(found["postcode"].to_numpy(), found["quintile"].to_numpy())

    @classmethod
    def empty(cls) -> Quintiles:
        """Return a look-up that knows no postcodes, for use without a directory."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.int32))

    def look_up(self, hashes: pa.ChunkedArray) -> pa.Array:
        """Return the quintile (int32) of each hash, or NULL if the directory does not have it."""
        wanted = hashes.fill_null(0).to_numpy()
        places = np.searchsorted(self.hashes, wanted)
        # a hash above all others gets a place past the end
        known = hashes.is_valid().to_numpy() & (places < len(self.hashes))
        known[known] = self.hashes[places[known]] == wanted[known]
        quintiles = np.zeros(len(wanted), np.int32)
        quintiles[known] = self.quintiles[places[known]]
        return pa.array(quintiles, mask=~known)


def _check_edition(con: duckdb.DuckDBPyConnection, directory: Path) -> None:
    """Raise `OtherEdition` if a directory states another edition. Without the column, assume the published one."""
    file = csv(directory, all_varchar=True)
    if "imd_edition" not in (name.lower() for name in con.sql(f"FROM {file} LIMIT 0").columns):
        return
    editions = con.sql(f"SELECT DISTINCT trim(imd_edition) FROM {file} WHERE imd_edition IS NOT NULL").fetchall()
    if others := {edition for (edition,) in editions} - {IMD_EDITION}:
        raise OtherEdition(
            f"{directory.name}: imd_edition is not {IMD_EDITION} in every row (there are {len(others)} other values);"
            f" releases say that quintiles are of the Indices of Deprivation {IMD_EDITION}, so make it from those"
        )
