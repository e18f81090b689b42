"""Records which extracts links and confidential tables were made from, so that they are never joined to other rows.

Row keys join links to extracts and are valid for one delivery: in a corrected delivery, the same position may hold
another child. The record of a linkage holds names of councils and sources, and nothing about rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from assets.home.paths import Home
from assets.intake.deliveries import mac_of
from ndl_export.facts.missing import SOURCES
from privacy.doors import files
from sources.contracts import CONTRACTS

PROFILE = "eyfsp"


class NotLinked(Exception):
    """Raised if the cohort has no confidential tables, or if linkage was interrupted while writing them."""


@dataclass(frozen=True)
class Extract:
    """A pseudonymised extract.

    `file_mac` is the MAC of the delivery it was made from, empty if unknown. `sha256` is the hash of the payload, which
    also records how its tokens were made. Only the second changes when rows are removed or kept under other rules.
    """

    file_mac: str
    sha256: str


Extracts = Mapping[str, Extract]
"""Extracts by `council/source`."""


@dataclass(frozen=True)
class LinkageRecord:
    """The councils of a linkage, those whose rows it holds by source (`sent`), and the extracts of its tables.

    `sent` is empty while the tables are being written. `parameters` is the SHA-256 of the model's parameters,
    `children` the published number of children, and `program` the SHA-256 of the code. `files` has the SHA-256 of the
    links and of each table, by name.
    """

    taking_part: Sequence[str]
    sent: Mapping[str, Sequence[str]] = field(default_factory=dict)
    extracts: Extracts = field(default_factory=dict)
    parameters: str = ""
    children: int = 0
    program: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    def missing(self, councils: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return, by source, the given councils whose rows are not in the confidential tables."""
        absent = {source: tuple(sorted(set(councils) - set(self.sent[source]))) for source in SOURCES}
        return {source: names for source, names in absent.items() if names}


_LINKAGE_RECORD = TypeAdapter(LinkageRecord)


def write_record(home: Home, cohort: str, record: LinkageRecord) -> None:
    files.write_json(home.linkage_record(cohort), asdict(record))


def read_record(home: Home, cohort: str) -> LinkageRecord:
    """Return the latest record of a cohort's linkage. Raises `NotLinked` if there is none."""
    if not home.linkage_record(cohort).exists():
        raise NotLinked(f"cohort {cohort} has not been linked; run the linkage first")
    return _LINKAGE_RECORD.validate_json(home.linkage_record(cohort).read_bytes())


def record_of_tables(home: Home, cohort: str) -> LinkageRecord:
    """Return the record of complete confidential tables. Raises `NotLinked` if they are missing or incomplete."""
    record = read_record(home, cohort)
    if not record.sent:
        raise NotLinked(f"cohort {cohort} has not been linked; run the linkage first")
    return record


def extracts_of(home: Home, source: str, cohort: str, councils: Iterable[str]) -> list[Path]:
    """Return the pseudonymised extracts of a source, by council."""
    paths = (home.pseudonymised(source, cohort, council) for council in sorted(councils))
    return [path for path in paths if path.exists()]


def councils_in(home: Home, cohort: str, sources: Iterable[str] = tuple(CONTRACTS)) -> list[str]:
    """Return the councils with an extract of any of these sources."""
    folders = (home.pseudonymised(source, cohort, "any").parent for source in sources)
    return sorted({path.stem for folder in folders for path in folder.glob("*.parquet")})


def extracts_in(
    home: Home, cohort: str, councils: Sequence[str], sources: Iterable[str] = tuple(CONTRACTS)
) -> dict[str, Extract]:
    """Return the extracts of these councils and sources. Reads every file in full."""
    return {name: Extract(mac_of(path), sha256_of(path)) for name, path in _paths(home, cohort, councils, sources)}


def deliveries_in(home: Home, cohort: str, councils: Sequence[str]) -> dict[str, str]:
    """Return the MAC of the delivery behind each extract of these councils."""
    return {name: mac_of(path) for name, path in _paths(home, cohort, councils, CONTRACTS)}


def changed(before: Extracts, now: Extracts) -> list[str]:
    """Return the names of extracts that were added, removed or changed."""
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def delivered(extracts: Extracts) -> dict[str, str]:
    """Return the MAC of each delivery."""
    return {name: extract.file_mac for name, extract in extracts.items()}


def named(names: Sequence[str]) -> str:
    """Join the first few names, and say if there are more."""
    return f"{', '.join(names[:_NAMES_SHOWN])}{' and others' if len(names) > _NAMES_SHOWN else ''}"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_NAMES_SHOWN = 5


def _paths(home: Home, cohort: str, councils: Sequence[str], sources: Iterable[str]) -> Iterator[tuple[str, Path]]:
    for source in sources:
        for path in extracts_of(home, source, cohort, councils):
            yield f"{path.stem}/{source}", path
