"""The record of a release: what was frozen before its first charge.

One file per release, written once and read by every later step, so that its bundle is the same however often it is
made. Nothing here sees a true count.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from pydantic import TypeAdapter

from ndl_export.facts.on_request import RequestedTable
from ndl_export.tables import FAMILIES
from privacy.release.policy import Policy

WHOLE = 1.0
"""The whole of the policy's split.

After a whole release, a cohort's cap leaves too little for another: a revision spends a share, and its noise is wider.
"""


@dataclass(frozen=True)
class CohortRecord:
    """Everything frozen for one cohort of a release; `measured_in` is the release it was measured for.

    `share` is the share of the policy's split; `councils` are those that take part; `missing` has councils without
    rows, by source; `measured_from` has the MAC of the delivery of each extract (`council/source`) that the
    confidential tables were made from.

    `requested` are the requested tables with rows of the cohort, as `RequestedTable.build_document` states each;
    `on_request` are the releases that measured something for them, or a clerical review, with the families measured.
    """

    measured_in: str
    share: float = WHOLE
    councils: tuple[str, ...] = ()
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    measured_from: Mapping[str, str] = field(default_factory=dict)
    requested: tuple[dict[str, Any], ...] = ()
    on_request: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def list_measured_families(self, version: str) -> tuple[str, ...]:
        """Return the families that release `version` measures itself, whole or for requested tables, and its review."""
        own = tuple(FAMILIES) if self.measured_in == version else ()
        return (*own, *self.on_request.get(version, ()))


class ReleaseRecord(dict[str, CohortRecord]):
    """The record of release `version`: what is frozen for each of its cohorts."""

    def __init__(self, version: str, cohorts: Mapping[str, CohortRecord] = MappingProxyType({})) -> None:
        super().__init__(cohorts)
        self.version = version

    @property
    def measured(self) -> list[str]:
        """Cohorts that the release measures itself."""
        return [cohort for cohort, entry in self.items() if entry.measured_in == self.version]

    @property
    def requested(self) -> tuple[RequestedTable, ...]:
        """Requested tables of all cohorts, in the order in which they were requested."""
        found = {each["definition"]["name"]: each for entry in self.values() for each in entry.requested}
        return tuple(map(RequestedTable.from_document, found.values()))

    @property
    def answers(self) -> list[RequestedTable]:
        """Requested tables that this release is the first to publish."""
        return [table for table in self.requested if table.release == self.version]

    @property
    def releases(self) -> set[str]:
        """The release itself, and every one whose measurements it uses."""
        used = (each for entry in self.values() for each in (entry.measured_in, *entry.on_request))
        return {self.version, *used}

    @classmethod
    def read(cls, path: Path, version: str) -> Self:
        """Return the record in a file; empty if the release was not begun."""
        return cls(version, _COHORT_RECORDS.validate_json(path.read_bytes()) if path.exists() else {})

    def scale_policy(self, policy: Policy, cohort: str) -> Policy:
        """Return the policy with the split that the release spends."""
        return policy.scale(self[cohort].share if cohort in self else WHOLE)


_COHORT_RECORDS = TypeAdapter(dict[str, CohortRecord])
