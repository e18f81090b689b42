"""Checks whether links and confidential tables are complete and up to date with extracts, code and settings.

Everything that affects them is compared by hash: the extracts (whose metadata record how their tokens were made), the
model's parameters, the code, and the output files. No tokens are opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pyarrow.parquet
from pydantic import TypeAdapter

from assets.home.errors import check_readable
from assets.home.paths import Home
from assets.linkage.inputs import (
    Extract,
    Extracts,
    LinkageRecord,
    changed,
    extracts_in,
    extracts_of,
    read_record,
    sha256_of,
)
from ndl_export.tables import FAMILIES
from privacy.doors.program import program_sha256
from privacy.linkage.model import parameters_sha256
from privacy.services import SERVICES
from sources.contracts import CONTRACTS
from sources.reference.published_figures import council_size

EXTRACTS_LINKED, PARAMETERS, CHILDREN, PROGRAM = (
    "extracts_linked",
    "linkage_parameters",
    "published_children",
    "program",
)
"""Metadata keys, in a cohort's links, of the inputs that determined them: see `fingerprint`."""
_CODE = ("assets/linkage", "ndl_export/tables", "privacy", "sources/contracts", "sources/reference")
_LIBRARIES = ("duckdb", "numpy", "scipy", "splink")
_EXTRACTS = TypeAdapter(dict[str, Extract])


def fingerprint(children: int, extracts: Extracts | None = None) -> dict[str, str]:
    """Return the inputs that determine the links, as their metadata records them: extracts, parameters, children and
    code.

    Without `extracts`, return only the inputs that decide which pairs of given tokens are compared, and their weights.
    """
    linked = {name: asdict(extract) for name, extract in (extracts or {}).items()}
    inputs = {} if extracts is None else {EXTRACTS_LINKED: json.dumps(linked)}
    return {**inputs, PARAMETERS: parameters_sha256(), CHILDREN: str(children), PROGRAM: program()}


def fingerprint_now(home: Home, cohort: str, councils: Sequence[str]) -> dict[str, str]:
    """Return the fingerprint that links made now would have. Reads every extract in full."""
    return fingerprint(published_children(councils), extracts_in(home, cohort, councils, SERVICES))


def is_current(home: Home, cohort: str, councils: Sequence[str]) -> bool:
    """Return whether linking a cohort again would change nothing. Raises `Damaged` if the links are incomplete."""
    made_from = fingerprint_now(home, cohort, councils)
    return links_are_current(home, cohort, made_from) and tables_are_current(home, cohort, councils)


def links_are_current(home: Home, cohort: str, made_from: Mapping[str, str]) -> bool:
    """Return whether the links, and the files written with them, exist and have this `fingerprint`."""
    report = home.linkage_report(cohort)
    made = (home.links(cohort), home.doubts(cohort), home.agreement(cohort), report, report.with_suffix(".html"))
    if not all(path.is_file() for path in made):
        return False
    check_readable(home, home.links(cohort))
    return made_from.items() <= _metadata(home, cohort).items()


def tables_are_current(home: Home, cohort: str, councils: Sequence[str]) -> bool:
    """Return whether the confidential tables are complete and made from the current links, extracts and code."""
    if not home.linkage_record(cohort).exists() or not home.links(cohort).exists():
        return False
    return read_record(home, cohort) == record_now(home, cohort, councils)


def program() -> str:
    """Return the SHA-256 of the code that makes links and confidential tables."""
    return program_sha256(_CODE, _LIBRARIES)


def published_children(councils: Sequence[str]) -> int:
    """Return the size of a cohort for the linkage, from published numbers and never from the rows."""
    return round(sum(map(council_size, councils)))


def record_now(home: Home, cohort: str, councils: Sequence[str]) -> LinkageRecord:
    """Return the record of tables made from the current extracts and links."""
    made_of = extracts_in(home, cohort, councils)
    sent = {source: [path.stem for path in extracts_of(home, source, cohort, councils)] for source in CONTRACTS}
    made = [home.links(cohort), home.agreement(cohort), *(home.confidential(family, cohort) for family in FAMILIES)]
    files = {path.name: sha256_of(path) for path in made if path.exists()}
    return LinkageRecord(sorted(councils), sent, made_of, *linked_with(home, cohort), program(), files)


def linked_extracts(home: Home, cohort: str) -> dict[str, Extract]:
    """Return the extracts (`council/source`) whose rows are in the links; none if the linkage did not finish.

    Raises `Damaged`.
    """
    if not home.links(cohort).exists() or not home.doubts(cohort).exists():
        return {}
    check_readable(home, home.links(cohort))
    return _EXTRACTS.validate_json(_metadata(home, cohort).get(EXTRACTS_LINKED, "{}"))


def linked_with(home: Home, cohort: str) -> tuple[str, int]:
    """Return the SHA-256 of the parameters and the published number of children that a cohort was linked with.

    These are empty and 0 if there are no links.
    """
    metadata = _metadata(home, cohort)
    return metadata.get(PARAMETERS, ""), int(metadata.get(CHILDREN, 0))


def changed_since_linked(home: Home, cohort: str, councils: Sequence[str]) -> list[str]:
    """Return the names of extracts added, removed or changed since the cohort was linked."""
    return changed(linked_extracts(home, cohort), extracts_in(home, cohort, councils, SERVICES))


def _metadata(home: Home, cohort: str) -> dict[str, str]:
    path = home.links(cohort)
    found = (pyarrow.parquet.read_schema(path).metadata if path.exists() else None) or {}
    return {name.decode(): value.decode() for name, value in found.items()}
