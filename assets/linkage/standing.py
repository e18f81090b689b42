"""Whether what a linkage made stands: it is there, whole, and was made of the extracts that are in, by this program.

Everything that decides links and confidential tables is known by hashes: of the extracts, whose metadata say what their
tokens were made under, of the model's parameters, of the program and of what was made. Opens no token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow.parquet

from assets.home.errors import check_readable
from assets.home.paths import Home
from assets.linkage.inputs import (
    Extract,
    LinkageRecord,
    as_json,
    changed,
    extracts_in,
    extracts_of,
    from_json,
    read_record,
    sha256_of,
)
from ndl_export.tables import FAMILIES
from privacy.doors.program import program_sha256
from privacy.linkage.model import parameters_sha256
from privacy.services import SERVICES
from sources.contracts import CONTRACTS
from sources.reference.profile_results import council_size

EXTRACTS_LINKED = "extracts_linked"
"""Name, in the metadata of a cohort's links, of the extracts that were linked (JSON)."""
PARAMETERS, CHILDREN = "linkage_parameters", "published_children"
"""Names, there, of what `linked_with` gives."""
PROGRAM = "program"
"""Name, there, of what `program` gives."""
_CODE = ("assets/linkage", "ndl_export/tables", "privacy", "sources/contracts", "sources/reference")
_LIBRARIES = ("duckdb", "numpy", "scipy", "splink")


def links_stand(home: Home, cohort: str, councils: Sequence[str]) -> bool:
    """Whether the links of a cohort and what is made with them are there, of the extracts that are in, by this
    program: to link again would change nothing. Raises `Damaged` where the links are not whole."""
    return stand_as(home, cohort, said_of_links(extracts_in(home, cohort, councils, SERVICES), councils))


def stand_as(home: Home, cohort: str, made_from: Mapping[str, str]) -> bool:
    """The same, of what `said_of_links` gives."""
    report = home.linkage_report(cohort)
    made = (home.links(cohort), home.doubts(cohort), home.agreement(cohort), report, report.with_suffix(".html"))
    if not all(path.is_file() for path in made):
        return False
    check_readable(home, home.links(cohort))
    said = pyarrow.parquet.read_schema(home.links(cohort)).metadata or {}
    return all(said.get(name.encode(), b"").decode() == value for name, value in made_from.items())


def said_of_links(extracts: Mapping[str, Extract], councils: Sequence[str]) -> dict[str, str]:
    """What decides the links, as their metadata say it; what the tokens were made under is in the extracts' hashes."""
    return {EXTRACTS_LINKED: as_json(extracts), **said_of_weights(published_children(councils))}


def said_of_weights(children: int) -> dict[str, str]:
    """What decides which pairs of given tokens are looked at, and what each weighs; `children` as `link` has it."""
    return {
        PARAMETERS: parameters_sha256(),
        CHILDREN: str(children),
        PROGRAM: program(),
    }


def program() -> str:
    """SHA-256 of the code that makes links and confidential tables."""
    return program_sha256(_CODE, _LIBRARIES)


def published_children(councils: Sequence[str]) -> int:
    """The size of a cohort as the linkage is to know it: from published numbers, whatever rows there are."""
    return round(sum(map(council_size, councils)))


def tables_stand(home: Home, cohort: str, councils: Sequence[str]) -> bool:
    """Whether the confidential tables of a cohort are there, whole, of the links and extracts that are in, by this
    program."""
    if not home.linkage_record(cohort).exists() or not home.links(cohort).exists():
        return False
    return read_record(home, cohort) == record_now(home, cohort, councils)


def record_now(home: Home, cohort: str, councils: Sequence[str]) -> LinkageRecord:
    """The record of tables that were made of what is in now."""
    made_of = extracts_in(home, cohort, councils)
    sent = {source: [path.stem for path in extracts_of(home, source, cohort, councils)] for source in CONTRACTS}
    made = [home.links(cohort), home.agreement(cohort), *(home.confidential(family, cohort) for family in FAMILIES)]
    files = {path.name: sha256_of(path) for path in made if path.exists()}
    return LinkageRecord(sorted(councils), sent, made_of, *linked_with(home, cohort), program(), files)


def linked_extracts(home: Home, cohort: str) -> dict[str, Extract]:
    """The extracts (`council/source`) that the links of a cohort are of; none where it was not linked to the end.

    Raises `Damaged`.
    """
    if not home.links(cohort).exists() or not home.doubts(cohort).exists():
        return {}
    check_readable(home, home.links(cohort))
    metadata = pyarrow.parquet.read_schema(home.links(cohort)).metadata or {}
    return from_json(metadata.get(EXTRACTS_LINKED.encode(), b"{}"))


def linked_with(home: Home, cohort: str) -> tuple[str, int]:
    """SHA-256 of the parameters that the links of a cohort were made with, and the published number of children that
    the linkage was told; an empty one and 0 where there are no such links, or of an earlier version."""
    path = home.links(cohort)
    metadata = (pyarrow.parquet.read_schema(path).metadata if path.exists() else None) or {}
    return metadata.get(PARAMETERS.encode(), b"").decode(), int(metadata.get(CHILDREN.encode(), 0))


def not_as_linked(home: Home, cohort: str, councils: Sequence[str]) -> list[str]:
    """Names of extracts that came, went or changed since the cohort was linked: the links are not of their rows."""
    return changed(linked_extracts(home, cohort), extracts_in(home, cohort, councils, SERVICES))
