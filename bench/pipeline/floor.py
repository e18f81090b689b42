"""The floor: DuckDB reads every extract of a landing folder as text and writes the same rows as Parquet.

`python -m bench.pipeline.floor LANDING OUT`; prints the number of rows.
"""

import sys
from pathlib import Path

import duckdb


def main(landing: Path, out: Path) -> None:
    rows = 0
    for number, path in enumerate(sorted(landing.glob("*/*/*.*"))):
        reader = f"read_parquet('{path}')" if path.suffix == ".parquet" else f"read_csv('{path}', all_varchar = true)"
        copy = f"COPY (FROM {reader}) TO '{out / str(number)}.parquet' (FORMAT parquet, COMPRESSION zstd)"
        rows += duckdb.execute(copy).fetchall()[0][0]
    print(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
