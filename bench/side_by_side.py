"""Links copies of one cohort side by side, to measure how a linkage's needs grow with its rows.

    python -m bench.side_by_side HOME KEYS COHORT [--copies 0.25 1 2 3 4 5] [--sources eyfsp hv_reviews]

The extracts are read this many times, each time with different councils and tokens, so that no two copies have anything
in common; 0.25 is every fourth council, once. Each size is linked in its own process, with everything that a run
watches and keeps, and then made into the confidential tables and the facts of the report. Prints for each the published
number of children, the rows linked, seconds of processor time, and the peak of resident memory during linking and at
the end; and the line through these peaks.
"""

import argparse
import resource
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.home.paths import Home
from assets.linkage import tokens
from assets.linkage.children import build_confidential_tables
from assets.linkage.inputs import list_councils, list_extract_paths, sum_published_children
from assets.linkage.tokens import StoredPairs
from ndl_export.tables import FAMILIES
from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_parquet, quote_text
from privacy.keys import LINKAGE, KeyRing
from privacy.linkage.agreement import RecordAgreement
from privacy.linkage.link import LinkResult, link
from privacy.linkage.report import LinkageReport
from privacy.services import SERVICES
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort

_FIRST_BIT = 56
"""Tokens of different copies differ from this bit upwards: their last bits record how common names are."""


@dataclass(frozen=True)
class Needed:
    """The needs of a linkage with this many rows and children.

    `seconds` is the processor time of everything. `linking` is the peak memory, in GiB, until rows were linked, and
    `peak` that of everything.
    """

    children: int
    rows: int
    seconds: float
    linking: float
    peak: float


@dataclass(frozen=True)
class Copies:
    """This many copies of the extracts of a cohort, or a share of its councils."""

    home: Home
    keys: KeyRing
    cohort: str
    sources: Sequence[str]
    number: float

    def list_councils(self) -> list[str]:
        found = list_councils(self.home.get_cohort(self.cohort), self.sources)
        return found[:: round(1 / self.number)] if self.number < 1 else found

    def list_extracts(self, sources: Sequence[str]) -> dict[str, list[Path]]:
        return {
            source: list_extract_paths(self.home.get_cohort(self.cohort), source, self.list_councils())
            for source in sources
        }

    def count_times(self) -> range:
        return range(max(1, round(self.number)))


def main() -> None:
    options = _read_options()
    print("| copies | children | rows | processor seconds | GiB while linking | GiB in all |")
    print("|---|---|---|---|---|---|", flush=True)
    found = []
    for number in options.copies:
        with get_context("spawn").Pool(1) as process:
            each = process.apply(measure_needed, (options.home, options.keys, options.cohort, options.sources, number))
        found.append(each)
        figures = f"{each.children:,} | {each.rows:,} | {each.seconds:.0f} | {each.linking:.2f} | {each.peak:.2f}"
        print(f"| {number:g} | {figures} |", flush=True)
    if len(found) > 1:
        slope, base = np.polyfit([each.rows / 1e6 for each in found], [each.peak for each in found], 1)
        print(f"\n{base:.2f} GiB, and {slope:.2f} GiB for a million rows")


def measure_needed(home: Path, keys: Path, cohort: str, sources: Sequence[str], number: float) -> Needed:
    """Link this many copies in the current process, which must be fresh."""
    copies = Copies(Home(home), KeyRing.load(keys, LINKAGE), cohort, sources, number)
    children = len(copies.count_times()) * sum_published_children(copies.list_councils())
    report, agreement = LinkageReport(), RecordAgreement()
    with tempfile.TemporaryDirectory() as scratch:
        kept = Path(scratch) / "weighed.parquet"
        with StoredPairs(copies.home.get_cohort(cohort), kept, copies.keys, {"copies": f"{number:g}"}) as cache:
            result = link(_read_tokens(copies), watchers=[report, agreement], children=children, cache=cache)
        linking = _measure_peak()
        _write_tables(copies, result, agreement, Path(scratch))
        report.collect_facts(result)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Needed(children, result.links.num_rows, used.ru_utime + used.ru_stime, linking, _measure_peak())


def _measure_peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def _write_tables(copies: Copies, result: LinkResult, agreement: RecordAgreement, scratch: Path) -> None:
    """Write the confidential tables of all copies into `scratch`."""
    links, agrees = scratch / "links.parquet", scratch / "agreement.parquet"
    pq.write_table(result.links, links, compression="zstd")
    pq.write_table(agreement.count_children(result.links), agrees, compression="zstd")
    payload = {
        source: _write_payload(copies, source, paths, scratch)
        for source, paths in copies.list_extracts(CONTRACTS).items()
    }
    out = {family: scratch / f"{family}.parquet" for family in FAMILIES}
    build_confidential_tables(Cohort(copies.cohort), links, agrees, payload, out)


def _write_payload(copies: Copies, source: str, paths: Sequence[Path], scratch: Path) -> list[Path]:
    """Write the payload of a source, one file per copy."""
    written = [scratch / f"{source}-{copy}.parquet" for copy in copies.count_times() if paths]
    for copy, path in enumerate(written):
        rows = (
            f"SELECT * REPLACE (council || '-{copy}' AS council) FROM {quote_parquet(paths, hive_partitioning=False)}"
        )
        with open_in_memory() as con:
            con.execute(f"COPY ({rows}) TO {quote_text(path)} (FORMAT parquet)")
    return written


def _read_tokens(copies: Copies) -> dict[str, pa.RecordBatchReader]:
    """Return the tokens of each source, one copy after another."""
    extracts = copies.list_extracts(copies.sources)
    read = [
        tokens.open_readers(copies.home.get_cohort(copies.cohort), copies.keys, extracts) for _ in copies.count_times()
    ]
    readers = {source: [each[source] for each in read] for source in read[0]}
    return {
        source: pa.RecordBatchReader.from_batches(each[0].schema, _iter_batches(each))
        for source, each in readers.items()
    }


def _iter_batches(readers: list[pa.RecordBatchReader]) -> Iterator[pa.RecordBatch]:
    for copy, reader in enumerate(readers):
        for batch in reader:
            yield pa.RecordBatch.from_arrays(
                [_rename_column(name, batch[name], copy) for name in batch.schema.names], schema=batch.schema
            )


def _rename_column(name: str, column: pa.Array, copy: int) -> pa.Array:
    if name == "council":
        return pc.binary_join_element_wise(column, str(copy), "-")
    if name.startswith("t_"):
        return pc.bit_wise_xor(column, pa.scalar(copy << _FIRST_BIT, pa.uint64()))
    return column


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("keys", type=Path)
    parser.add_argument("cohort")
    parser.add_argument("--copies", type=_parse_copies, nargs="+", default=[0.25, 1, 2, 3])
    parser.add_argument("--sources", nargs="+", choices=SERVICES, default=list(SERVICES))
    return parser.parse_args()


def _parse_copies(text: str) -> float:
    number = float(text)
    if number <= 0 or (number if number >= 1 else 1 / number) % 1:
        raise argparse.ArgumentTypeError("so many copies, or one part of the councils, such as 0.25")
    return number


if __name__ == "__main__":
    main()
