"""Copies of one cohort linked side by side.

    python -m bench.side_by_side HOME KEYS COHORT [--copies 3] [--sources eyfsp hv_reviews]

The extracts that are in are read `--copies` times, each time with other councils and tokens of its own, so that no two
copies have anything in common. Printed are the rows, the seconds and the peak of resident memory of the linkage alone,
with everything that watches it.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from assets.home.paths import Home
from assets.linkage import tokens
from assets.linkage.inputs import councils_in, extracts_of
from assets.linkage.standing import published_children
from privacy.keys import LINKAGE, KeyRing
from privacy.linkage.link import link
from privacy.linkage.report import Report
from privacy.returns.facts import Doubts
from privacy.services import SERVICES

_FIRST_BIT = 56
"""Tokens of a copy differ from here on: their last bits say how common names are."""


def main() -> None:
    options = _options()
    home, keys = Home(options.home), KeyRing.load(options.keys, LINKAGE)
    councils = councils_in(home, options.cohort, options.sources)
    paths = {source: extracts_of(home, source, options.cohort, councils) for source in options.sources}
    read = [tokens.readers(home, keys, options.cohort, paths) for _ in range(options.copies)]
    copies = {source: _side_by_side([each[source] for each in read]) for source in read[0]}
    report, started = Report(), time.monotonic()
    children = options.copies * published_children(councils)
    found = link(copies, watchers=[*report.watchers, Doubts()], children=children)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"{found.links.num_rows:,} rows: {time.monotonic() - started:.0f} s, {peak:.2f} GiB")


def _side_by_side(readers: list[pa.RecordBatchReader]) -> pa.RecordBatchReader:
    """The rows of all, one copy after another."""
    return pa.RecordBatchReader.from_batches(readers[0].schema, _batches(readers))


def _batches(readers: list[pa.RecordBatchReader]) -> Iterator[pa.RecordBatch]:
    for copy, reader in enumerate(readers):
        for batch in reader:
            yield pa.RecordBatch.from_arrays(
                [_of_copy(name, batch[name], copy) for name in batch.schema.names], schema=batch.schema
            )


def _of_copy(name: str, column: pa.Array, copy: int) -> pa.Array:
    if name == "council":
        return pc.binary_join_element_wise(column, str(copy), "-")
    if name.startswith("t_"):
        return pc.bit_wise_xor(column, pa.scalar(copy << _FIRST_BIT, pa.uint64()))
    return column


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("keys", type=Path)
    parser.add_argument("cohort")
    parser.add_argument("--copies", type=int, default=3)
    parser.add_argument("--sources", nargs="+", choices=SERVICES, default=list(SERVICES))
    return parser.parse_args()


if __name__ == "__main__":
    main()
