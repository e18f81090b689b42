"""What was wrong with the extracts that a release is made from, and where the operator expects other numbers.

Shares are in bands. The expected numbers are not: they show the sender's own numbers, on the page that people
read before they sign.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from assets.home.paths import CohortStore
from assets.intake import deliveries
from assets.linkage.inputs import read_record
from assets.release.record import CohortRecord
from privacy.release.canonical import hash_json
from sources.contracts import CONTRACTS
from sources.reference.places import get_place
from sources.reference.published_figures import find_published_rows
from sources.reference.source_titles import SOURCE_TITLES

BANDS = ((0.0, "none"), (0.01, "under 1%"), (0.05, "1% to 5%"), (1.0, "5% and more"))
"""Upper bounds of shares of rows, each with the words for its band."""


def iter_expected_rows(store: CohortStore) -> Iterator[dict[str, Any]]:
    """Yield, by source, the councils for which the operator expects a number of rows other than the published one."""
    by_source: dict[str, list[str]] = {}
    for source, council, expected, number in iter_expectations(store):
        published = "none published" if number is None else f"published {number:,}"
        by_source.setdefault(source, []).append(f"{get_place(council).la_name} {expected:,} ({published})")
    for source, councils in by_source.items():
        yield {"source": SOURCE_TITLES[source], "councils": councils}


def _iter_taken(store: CohortStore, entry: CohortRecord) -> Iterator[tuple[str, str, deliveries.ExtractQuality]]:
    """Yield the title of the source, the name of the council and the result of each extract that a cohort is made of.

    They are those of the record, so that the page stays the same when something else arrives.
    """
    for source, title in SOURCE_TITLES.items():
        for council in entry.councils:
            mac = entry.measured_from.get(f"{council}/{source}", "")
            if quality := deliveries.read_delivered(store.get_extract(source, council), mac):
                yield title, get_place(council).la_name, quality


def name_band(share: float) -> str:
    return next(words for most, words in BANDS if share <= most)


def iter_set_aside(store: CohortStore, entry: CohortRecord) -> Iterator[dict[str, Any]]:
    """Yield, by source, the councils with rows set aside at intake, grouped by the band of their share."""
    read = (each for each in _iter_taken(store, entry) if each[2].rows_read)
    for title, extracts in groupby(read, key=itemgetter(0)):
        bands: dict[str, list[str]] = {}
        for _, council, quality in extracts:
            if share := quality.rows_rejected / quality.rows_read:
                bands.setdefault(next(words for most, words in BANDS if share <= most), []).append(council)
        yield {"source": title, "bands": bands}


def collect_findings(taken: Sequence[tuple[CohortStore, CohortRecord]]) -> list[tuple[str, list[str]]]:
    """Return the findings of extract checks as sentences with the councils they apply to, commonest first."""
    found: dict[str, list[str]] = {}
    for title, council, quality in (each for store, entry in taken for each in _iter_taken(store, entry)):
        of_rows = {rule.rule for rule in quality.rules}
        for finding in quality.findings:
            if not finding.passed and finding.rule not in of_rows:
                found.setdefault(f"{title}: {finding.sentence}", []).append(council)
    return sorted(found.items(), key=lambda line: (-len(line[1]), line[0]))


def iter_expectations(store: CohortStore) -> Iterator[tuple[str, str, int, int | None]]:
    """Yield (source, council, expected, published or None) where the operator expects another number."""
    for source in CONTRACTS:
        for council in read_record(store).taking_part:
            quality = deliveries.read(store.get_extract(source, council).quality)
            published = find_published_rows(source, council)
            if quality and quality.rows_expected is not None and quality.rows_expected != published:
                yield source, council, quality.rows_expected, published


def hash_expectations(store: CohortStore) -> str | None:
    """Return the SHA-256 of the operator's expected numbers, for a request; None if all are the published numbers."""
    found = [
        {"name": f"{council}/{source}", "expected": expected, "published": published}
        for source, council, expected, published in iter_expectations(store)
    ]
    return hash_json(found) if found else None
