"""Compares the intake of one large extract with a bare DuckDB read and write of the same file; part of `make bench`.

Each way runs in its own process, for a separate peak: `python -m bench.pipeline.extract WAY FILE KEYS`.
"""

import sys
import tempfile
import time
from pathlib import Path

import duckdb
import pyarrow as pa

from assets.home.paths import Home
from assets.intake.ingest import Intake
from bench.linkage.measured import measure as measure_command
from privacy import normalise, pseudonyms
from privacy.keys import KeyRing
from sources.extract.landing import Landed
from sources.reference.code_lists import GOALS

COHORT = "202425"
WAYS = {
    "floor": "bare DuckDB: read the CSV as text, write Parquet (zstd)",
    "without-hashing": "intake without hashing: names are normalised, no token is made",
    "with-tokens": "intake, whole",
}


def write_extract(path: Path, rows: int) -> None:
    """Write an EYFS Profile extract in contract form, of synthetic children with valid UPNs."""
    goals = ", ".join(f"CASE WHEN random() < 0.75 THEN '2' ELSE '1' END AS {goal}" for goal in GOALS)
    digits = "lpad((800000000000 + i)::VARCHAR, 12, '0')"
    weights = " + ".join(f"{place + 2} * {digits}[{place + 1}]::INTEGER" for place in range(12))
    path.parent.mkdir(parents=True, exist_ok=True)
    duckdb.execute(
        f"""COPY (SELECT '383' AS la_code, '2001' AS estab, '100001' AS urn, '{COHORT}' AS academic_year,
            'ABCDEFGHJKLMNPQRTUVWXYZ'[1 + ({weights}) % 23] || {digits} AS upn,
            chr(65 + (hash(i) % 26)::INTEGER) || 'arnby' || chr(97 + (hash(i * 5) % 26)::INTEGER) AS surname,
            'Am' || chr(97 + (hash(i * 7) % 26)::INTEGER) || 'la' AS forename,
            CASE WHEN i % 2 = 0 THEN 'F' ELSE 'M' END AS sex,
            DATE '2019-09-01' + (hash(i * 3) % 366)::INTEGER AS date_of_birth,
            'LS' || (1 + hash(i) % 28) || ' ' || (hash(i) % 9) || 'AB' AS postcode, {goals}
            FROM range({rows}) AS rows(i)) TO '{path}' (HEADER)"""
    )


def measure(rows: int) -> list[tuple[str, float, float]]:
    """Return (way, seconds, peak GiB) of each way over an extract with this many rows."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        KeyRing.create(root / "keys")
        path = root / "leeds" / "eyfsp" / f"{COHORT}.csv"
        write_extract(path, rows)
        return [(title, *_time(way, path, root / "keys")) for way, title in WAYS.items()]


def _time(way: str, path: Path, keys: Path) -> tuple[float, float]:
    found = measure_command([sys.executable, "-m", "bench.pipeline.extract", way, str(path), str(keys)])
    return float(found.output.split()[-1]), found.peak_gib


def _run(way: str, path: Path, keys: Path) -> float:
    """Return the seconds of the work itself; libraries are loaded before."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        home = Path(scratch)
        if way == "floor":
            started = time.monotonic()
            reader = f"read_csv('{path}', all_varchar = true)"
            duckdb.execute(f"COPY (FROM {reader}) TO '{home / 'floor.parquet'}' (FORMAT parquet, COMPRESSION zstd)")
            return time.monotonic() - started
        if way == "without-hashing":
            pseudonyms.tokenise = _normalise_only
        import great_expectations  # noqa: F401

        intake = Intake(home, Home(home / "home"), KeyRing.load(keys))
        started = time.monotonic()
        intake.ingest(Landed("leeds", "eyfsp", COHORT, path))
        return time.monotonic() - started


def _normalise_only(
    con: duckdb.DuckDBPyConnection, relation: str, columns: set[str], passthrough: list[str], *_: object, **__: bool
) -> pa.Table:
    """Replace `tokenise` with one cheap number per row that still needs every normalised column."""
    normal = normalise.normalise_sql(relation, columns)
    forms = [name for name in con.sql(normal).columns if name.startswith("n_")]
    numbered = f"SELECT {', '.join(passthrough)}, hash({', '.join(forms)}) AS t_upn FROM ({normal})"
    return con.sql(numbered).to_arrow_table()


if __name__ == "__main__":
    print(_run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
