"""The record of a release: what is fixed with it before its first charge, for each of its cohorts.

One file a release, written once and read by every later step, so that its bundle is the same however often it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

from assets.home.paths import Home
from ndl_export.facts.on_request import RequestedTable
from ndl_export.tables import FAMILIES
from privacy.doors import files
from privacy.release.policy import Policy, load_policy

WHOLE = 1.0
"""The whole of the policy's split. A cohort's cap leaves less for a revision than a whole release costs: a revision
spends a share, with wider noise."""


class NotBegun(Exception):
    """A release that this home folder holds no record of."""


@dataclass(frozen=True)
class CohortRecord:
    """What is fixed of one cohort of a release; of one measured for another release, which that was.

    `share` is of the policy's split; `missing` has councils without rows, by source; `measured_from` has the MAC of the
    delivery of each extract (`council/source`) that the confidential tables were made of.

    `requested` are the tables on request with rows of the cohort, as `RequestedTable.document` states each; `further`
    the releases that measured anything for them, or a clerical review, by which families.
    """

    measured_in: str
    share: float = WHOLE
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    measured_from: Mapping[str, str] = field(default_factory=dict)
    requested: tuple[dict[str, Any], ...] = ()
    further: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def measured_by(self, version: str) -> tuple[str, ...]:
        """The families that the release `version` measures itself, whole or for tables on request, and its review."""
        own = tuple(FAMILIES) if self.measured_in == version else ()
        return (*own, *self.further.get(version, ()))


ReleaseRecord = Mapping[str, CohortRecord]
"""By cohort."""
_RELEASE_RECORD: TypeAdapter[ReleaseRecord] = TypeAdapter(dict[str, CohortRecord])


def read_record(home: Home, version: str) -> ReleaseRecord:
    """What was fixed with a release; empty where it was not begun."""
    path = home.release_record(version)
    return _RELEASE_RECORD.validate_json(path.read_bytes()) if path.exists() else {}


def fixed_record(home: Home, version: str) -> ReleaseRecord:
    """The same; raises `NotBegun` where there is none."""
    if record := read_record(home, version):
        return record
    raise NotBegun(
        f"release {version} was not begun in {home.root}, or its record is lost: restore"
        f" {home.release_record(version)} from a backup"
    )


def write_record(home: Home, version: str, record: ReleaseRecord) -> None:
    files.write_json(home.release_record(version), {each: asdict(entry) for each, entry in record.items()})


def requested_tables(record: ReleaseRecord) -> tuple[RequestedTable, ...]:
    """The tables on request of all cohorts, in the order in which they were asked for."""
    found = {each["definition"]["name"]: each for entry in record.values() for each in entry.requested}
    return tuple(map(RequestedTable.of, found.values()))


def releases_of(record: ReleaseRecord, version: str) -> set[str]:
    """The release itself, and every one whose measurements it uses."""
    return {version, *(each for entry in record.values() for each in (entry.measured_in, *entry.further))}


def policy_of(record: ReleaseRecord, cohort: str) -> Policy:
    """The policy with the split that the release spends."""
    return load_policy().scaled(record[cohort].share if cohort in record else WHOLE)
