"""Measures how well the bands of names in a token's last bits predict a surname, for docs/linkage.md.

    python -m bench.bands PUBLIC_SETS

Children get names of a public set, each name as common as in the set. The likeliest surname for every pair of bands is
learnt from half of the children, and guessed for the others.
"""

import argparse
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from privacy import normalise
from privacy.doors.sql import quote_parquet

CHILDREN, SEEDS = 60_000, range(5)
_SETS = {"febrl3": "first_name", "febrl1": "first_name", "clkhash_dirty": "first_name"}
_BANDS = """
SELECT n_surname AS surname, n_surname_band::VARCHAR || '/' || n_forename_band::VARCHAR AS bands FROM ({normal})
"""


def add_bands(con: duckdb.DuckDBPyConnection, names: pd.DataFrame) -> pd.DataFrame:
    """Return the normalised surname of each row, and its two bands."""
    con.register("named", names.assign(sex="F", date_of_birth=pd.Timestamp("2020-02-02").date(), postcode="L1 1AA"))
    columns = {"surname", "forename", "date_of_birth", "postcode"}
    return con.sql(_BANDS.format(normal=normalise.normalise_sql("named", columns))).df().dropna()


def measure_gain(children: pd.DataFrame, known: np.ndarray) -> tuple[float, float]:
    """Return the share of surnames guessed correctly with the bands, and by the most common surname alone."""
    learnt, asked = children[known], children[~known]
    likeliest = learnt.groupby("bands").surname.agg(lambda names: names.mode()[0])
    commonest = learnt.surname.mode()[0]
    guess = asked.bands.map(likeliest).fillna(commonest)
    return float((guess == asked.surname).mean()), float((asked.surname == commonest).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path)
    given = parser.parse_args()
    with duckdb.connect() as con:
        normalise.install(con)
        for name, forename in _SETS.items():
            table = quote_parquet(given.sets / f"{name}.parquet")
            names = con.sql(f"SELECT surname, {forename} AS forename FROM {table} WHERE surname > ''").df()
            for seed in SEEDS:
                rng = np.random.default_rng(seed)
                drawn = {part: rng.choice(names[part].dropna().to_numpy(str), CHILDREN) for part in names}
                found, blind = measure_gain(add_bands(con, pd.DataFrame(drawn)), rng.random(CHILDREN) < 0.5)
                print(f"{name:14} seed {seed}: {found:.2%} named, {blind:.2%} by the commonest surname alone")


if __name__ == "__main__":
    main()
