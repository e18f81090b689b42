"""Records what links and confidential tables were made from, and checks that they are current.

Row keys join links to extracts and are valid for one delivery: in a corrected delivery, the same position may hold
another child. So links and tables are only joined to the extracts that they were made from. Everything that affects
them is compared by hash: the extracts (whose metadata record how their tokens were made), the parameters of the model,
the code, and the output files. No tokens are opened. A record holds names of councils and sources, and nothing about
rows. In the same way, the sample of a clerical review is valid only for the links that it was drawn from.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import pyarrow.parquet
from pydantic import TypeAdapter

from assets.home.errors import Refused, check_readable
from assets.home.paths import CohortStore
from assets.intake.deliveries import read_mac
from ndl_export.facts.missing import RECORDS
from ndl_export.tables import FAMILIES
from privacy.doors import files
from privacy.doors.program import compute_program_sha256
from privacy.linkage.cells import REVIEW
from privacy.linkage.model import hash_parameters
from privacy.services import SERVICES
from sources.contracts import CONTRACTS
from sources.councils.council_file import InvalidCouncilFile, load_council_file
from sources.reference.published_figures import estimate_council_size
from sources.reference.source_titles import SOURCE_TITLES

PROFILE = "eyfsp"


class NotLinked(Exception):
    """Raised if the cohort has no current confidential tables, or if linkage was interrupted while writing them."""


@dataclass(frozen=True)
class Extract:
    """A pseudonymised extract.

    `file_mac` is the MAC of the delivery it was made from, empty if unknown. `sha256` is the hash of the payload, which
    also records how its tokens were made. Only `sha256` changes when rows are removed or kept under other rules.
    """

    file_mac: str
    sha256: str


Extracts = Mapping[str, Extract]
"""Extracts by `council/source`."""


@dataclass(frozen=True)
class LinkageRecord:
    """The councils in a linkage, those whose rows it holds by source (`sent`), and the extracts its tables come from.

    `sent` also has, by kind of record, the councils whose file does not leave it out, whatever their extracts hold.
    `sent` is empty while the tables are being written. `files` has the SHA-256, by file name, of the links (whose
    metadata record parameters and code), of their agreement and of each table.
    """

    taking_part: Sequence[str]
    sent: Mapping[str, Sequence[str]] = field(default_factory=dict)
    extracts: Extracts = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def has_sent(self, council: str, kind: str) -> bool:
        """Return whether a council sends a kind of record."""
        # a record of an earlier version has sources alone
        return council in self.sent.get(kind, self.sent[kind.partition("/")[0]])

    def list_missing(self, councils: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return the given councils whose rows are not in the confidential tables, by source.

        Those whose rows are in, but which do not send a kind of record, are listed by that kind.
        """
        absent = {source: tuple(sorted(set(councils) - set(self.sent[source]))) for source in SOURCE_TITLES}
        for kind in RECORDS:
            senders = set(self.sent[kind.partition("/")[0]]) & set(councils)
            absent[kind] = tuple(sorted(each for each in senders if not self.has_sent(each, kind)))
        return {source: names for source, names in absent.items() if names}


_LINKAGE_RECORD = TypeAdapter(LinkageRecord)


def write_record(store: CohortStore, record: LinkageRecord) -> None:
    files.write_json(store.linkage_record, asdict(record))


def read_record(store: CohortStore) -> LinkageRecord:
    """Return the latest record of a cohort's linkage. Raises `NotLinked` if there is none."""
    if not store.linkage_record.exists():
        raise NotLinked(f"cohort {store.cohort} has not been linked; run the linkage first")
    return _LINKAGE_RECORD.validate_json(store.linkage_record.read_bytes())


def read_complete_record(store: CohortStore) -> LinkageRecord:
    """Return the record of complete confidential tables. Raises `NotLinked` if they are missing or incomplete."""
    record = read_record(store)
    if not record.sent:
        raise NotLinked(f"cohort {store.cohort} has not been linked; run the linkage first")
    return record


def list_extract_paths(store: CohortStore, source: str, councils: Iterable[str]) -> list[Path]:
    """Return the pseudonymised extracts of a source, by council."""
    paths = (store.get_extract(source, council).pseudonymised for council in sorted(councils))
    return [path for path in paths if path.exists()]


def list_councils(store: CohortStore, sources: Iterable[str] = tuple(CONTRACTS)) -> list[str]:
    """Return the councils with an extract of any of these sources."""
    # The folder is the same for every council.
    folders = (store.get_extract(source, "any").pseudonymised.parent for source in sources)
    return sorted({path.stem for folder in folders for path in folder.glob("*.parquet")})


def read_extracts(
    store: CohortStore, councils: Sequence[str], sources: Iterable[str] = tuple(CONTRACTS)
) -> dict[str, Extract]:
    """Return the extracts of these councils and sources. Reads every file in full."""
    return {name: Extract(read_mac(path), hash_file(path)) for name, path in _iter_paths(store, councils, sources)}


def read_delivery_macs(store: CohortStore, councils: Sequence[str]) -> dict[str, str]:
    """Return the MAC of the delivery behind each extract of these councils, without reading their rows."""
    return {name: read_mac(path) for name, path in _iter_paths(store, councils, CONTRACTS)}


def find_changes(before: Extracts, now: Extracts) -> list[str]:
    """Return the names of extracts that were added, removed or changed."""
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def get_delivery_macs(extracts: Extracts) -> dict[str, str]:
    """Return the MAC of each delivery."""
    return {name: extract.file_mac for name, extract in extracts.items()}


def join_names(names: Sequence[str]) -> str:
    """Join the first five names, and say if there are more."""
    return f"{', '.join(names[:5])}{' and others' if len(names) > 5 else ''}"


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _iter_paths(store: CohortStore, councils: Sequence[str], sources: Iterable[str]) -> Iterator[tuple[str, Path]]:
    for source in sources:
        for path in list_extract_paths(store, source, councils):
            yield f"{path.stem}/{source}", path


EXTRACTS_LINKED, PARAMETERS = "extracts_linked", "linkage_parameters"
CHILDREN, PROGRAM = "published_children", "program"
"""Metadata keys, in a cohort's links, of the inputs that determined them: see `build_fingerprint`."""
_CODE = ("assets/linkage", "ndl_export/tables", "privacy", "sources/contracts", "sources/reference")
# Other versions of these may score, match or round differently.
_LIBRARIES = ("duckdb", "numpy", "scipy", "splink")
_EXTRACTS = TypeAdapter(dict[str, Extract])


def build_fingerprint(children: int, extracts: Extracts | None = None) -> dict[str, str]:
    """Return what determines the links, as their metadata records it: extracts, parameters, children and code.

    Without `extracts`, return only the inputs that decide which pairs of given tokens are compared, and their weights.
    """
    linked = {name: asdict(extract) for name, extract in (extracts or {}).items()}
    inputs = {} if extracts is None else {EXTRACTS_LINKED: json.dumps(linked)}
    return {**inputs, PARAMETERS: hash_parameters(), CHILDREN: str(children), PROGRAM: hash_program()}


def build_current_fingerprint(store: CohortStore, councils: Sequence[str]) -> dict[str, str]:
    """Return the fingerprint that links made now would have. Reads every extract in full."""
    return build_fingerprint(sum_published_children(councils), read_extracts(store, councils, SERVICES))


def is_current(store: CohortStore, councils: Sequence[str]) -> bool:
    """Return whether linking a cohort again would change nothing. Raises `Damaged` if the links are incomplete."""
    made_from = build_current_fingerprint(store, councils)
    return are_links_current(store, made_from) and are_tables_current(store, councils)


def are_links_current(store: CohortStore, made_from: Mapping[str, str]) -> bool:
    """Return whether the links, and the files written with them, exist and have this fingerprint."""
    report = store.linkage_report
    made = (store.links, store.agreement, report, report.with_suffix(".html"))
    if not all(path.is_file() for path in made):
        return False
    check_readable(store.root, store.links)
    return made_from.items() <= _read_metadata(store).items()


def are_tables_current(store: CohortStore, councils: Sequence[str]) -> bool:
    """Return whether the confidential tables are complete and made from the current links and extracts."""
    there = store.linkage_record.exists() and store.links.exists()
    return there and read_record(store) == build_current_record(store, councils)


def hash_program() -> str:
    """Return the SHA-256 of the code that makes links and confidential tables."""
    return compute_program_sha256(_CODE, _LIBRARIES)


def sum_published_children(councils: Sequence[str]) -> int:
    """Return the size of a cohort for the linkage, from published numbers and never from the rows."""
    return round(sum(map(estimate_council_size, councils)))


def build_current_record(store: CohortStore, councils: Sequence[str]) -> LinkageRecord:
    """Return the record of tables made from the current extracts and links."""
    made_of = read_extracts(store, councils)
    sent = {source: [path.stem for path in list_extract_paths(store, source, councils)] for source in CONTRACTS}
    for kind in RECORDS:
        source, _, code = kind.partition("/")
        stated = {council: read_stated_reviews(council) for council in sent[source]}
        sent[kind] = [council for council, codes in stated.items() if codes is None or code in codes]
    made = [store.links, store.agreement, *(store.get_confidential_path(family) for family in FAMILIES)]
    files = {path.name: hash_file(path) for path in made if path.exists()}
    return LinkageRecord(sorted(councils), sent, made_of, files)


def read_stated_reviews(council: str) -> Sequence[str] | None:
    """Return the codes of the reviews that a council's file says are sent, or None. Raises `Refused`."""
    try:
        return load_council_file(council).reviews
    except InvalidCouncilFile as stopped:
        raise Refused(f"nobody can say which reviews {council} sends: {stopped}") from None


def read_linked_extracts(store: CohortStore) -> dict[str, Extract]:
    """Return the extracts (`council/source`) in the links; none if the linkage did not finish. Raises `Damaged`."""
    if not store.links.exists() or not store.agreement.exists():
        return {}
    check_readable(store.root, store.links)
    return _EXTRACTS.validate_json(_read_metadata(store).get(EXTRACTS_LINKED, "{}"))


def read_link_parameters(store: CohortStore) -> tuple[str, int]:
    """Return the SHA-256 of the parameters, and the published number of children, of the links; "" and 0 if none."""
    metadata = _read_metadata(store)
    return metadata.get(PARAMETERS, ""), int(metadata.get(CHILDREN, 0))


def find_changes_since_linkage(store: CohortStore, councils: Sequence[str]) -> list[str]:
    """Return the names of extracts added, removed or changed since the cohort was linked."""
    return find_changes(read_linked_extracts(store), read_extracts(store, councils, SERVICES))


def _read_metadata(store: CohortStore) -> dict[str, str]:
    path = store.links
    found = (pyarrow.parquet.read_schema(path).metadata if path.exists() else None) or {}
    return {name.decode(): value.decode() for name, value in found.items()}


@dataclass(frozen=True)
class Sample:
    """A sample: its number in the cohort, and the deliveries, parameters and published children it was drawn from."""

    number: int
    deliveries: Mapping[str, str]
    parameters: str
    children: int

    @classmethod
    def read(cls, store: CohortStore) -> Self | None:
        """Return the latest sample of a cohort, or None."""
        path = store.review / "sample.json"
        return cls(**json.loads(path.read_bytes())) if path.exists() else None

    def is_of_links(self, store: CohortStore) -> bool:
        """Return whether the cohort's links have the deliveries and parameters that the sample was drawn from."""
        now = get_delivery_macs(read_linked_extracts(store)), read_link_parameters(store)[0]
        return now == (self.deliveries, self.parameters)


def list_measured_reviews(store: CohortStore) -> list[str]:
    """Return the releases that measured a sample of the cohort, in order; none if there is no ledger."""
    if not store.home.has_ledger:
        return []
    found = [each for each in store.home.open_ledger().list_charges() if each.is_committed]
    return [each.entry.release for each in found if (each.entry.cohort, each.entry.family) == (store.cohort, REVIEW)]


def find_measuring_release(store: CohortStore) -> str | None:
    """Return the release that measured the cohort's newest sample, or None."""
    sample, measured = Sample.read(store), list_measured_reviews(store)
    return measured[sample.number - 1] if sample and sample.number <= len(measured) else None
