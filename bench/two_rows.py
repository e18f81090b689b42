"""Counts the children who have two rows in the child table, for docs/privacy.md.

python -m bench.two_rows FOLDER --seeds 1 2 3
"""

import argparse
from pathlib import Path

import duckdb
import pyarrow.parquet

from assets.linkage.row_numbers import RowNumbers
from privacy.doors.sql import quote_parquet
from tests.support.returns.accuracy import ingest_synthetic
from tests.support.returns.pipeline import COHORT

_CHILDREN = """
WITH of_rows AS (
    SELECT DISTINCT child_id, person_id
      FROM links JOIN {truth} AS truth USING (source, council, source_row) WHERE source = 'eyfsp'
)
SELECT count(*), count(*) FILTER (rows > 1)
  FROM (SELECT count(*) AS rows FROM of_rows GROUP BY person_id)
"""
"""The child table has one row for each linked child with a row in the EYFS Profile."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    given = parser.parse_args()
    for seed in given.seeds:
        folder = given.folder / str(seed)
        folder.mkdir(parents=True)
        pipeline = ingest_synthetic(folder, seed, scale=1.0)
        links = pyarrow.parquet.read_table(pipeline.home.get_cohort(COHORT).links)
        with duckdb.connect() as con:
            con.register("links", RowNumbers(pipeline.home.get_cohort(COHORT), pipeline.keys).replace_keys(links))
            query = _CHILDREN.format(truth=quote_parquet(folder / "truth.parquet"))
            children, twice = con.execute(query).fetchall()[0]
        print(f"seed {seed}: {twice} of {children:,} children have two rows in the table")


if __name__ == "__main__":
    main()
