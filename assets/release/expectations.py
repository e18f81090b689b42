"""Numbers of rows that the operator expects in place of the published ones, which decide what a release is held for.

They are on the decision sheet and in what is signed: whoever changes one afterwards needs new signatures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from assets.home.paths import Home
from assets.intake import deliveries
from assets.linkage.inputs import read_record
from privacy.release.canonical import canonical_json, sha256_hex
from sources.contracts import CONTRACTS
from sources.reference.expected_rows import published_rows


@dataclass(frozen=True)
class Expectation:
    """The number of rows of an extract (`council/source`) that the operator expects, and the published one, if any."""

    name: str
    expected: int
    published: int | None


def expectations(home: Home, cohort: str) -> Iterator[Expectation]:
    """Those by which the extracts that are in were judged. Raises `NotLinked`."""
    for source in CONTRACTS:
        for council in read_record(home, cohort).taking_part:
            quality, published = deliveries.read(home.quality(source, cohort, council)), published_rows(source, council)
            if quality and quality.rows_expected is not None and quality.rows_expected != published:
                yield Expectation(f"{council}/{source}", quality.rows_expected, published)


def expectations_sha256(home: Home, cohort: str) -> str | None:
    """SHA-256 of them all, for a request; None where every extract was judged by published numbers."""
    found = [asdict(each) for each in expectations(home, cohort)]
    return sha256_hex(canonical_json(found)) if found else None
