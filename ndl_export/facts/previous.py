"""The releases before a new one, as published: the one it replaces and, for each cohort, the newest that has it.

A release replaces the newest older release whose cohorts it all includes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ndl_export.facts.missing import MissingByCohort
from ndl_export.facts.on_request import Further, OnRequest, RequestedTable, merge_tables
from ndl_export.facts.release_facts import ReleaseFacts, Version
from ndl_export.facts.released import DATAPACKAGE_FILE, PRIVACY_RECORD_FILE


@dataclass(frozen=True)
class Previous:
    """An earlier release: its version, cohorts, councils, missing sources and tables.

    `epsilon` covers all tables together and `measured_in` is the release that the noisy counts were drawn for, both by
    cohort. `requested` lists the tables on request, and `further` the later measurements for them.
    """

    version: str
    cohorts: tuple[str, ...]
    councils: tuple[str, ...]
    missing: MissingByCohort
    epsilon: Mapping[str, float]
    measured_in: Mapping[str, str]
    tables: Mapping[str, pa.Table]
    requested: tuple[RequestedTable, ...] = ()
    further: frozenset[Further] = frozenset()

    def find_sharpened(self, measured_in: Mapping[str, str], further: Collection[Further]) -> frozenset[str]:
        """Return the cohorts in which this release and another share noisy counts and one of them has further ones.

        `measured_in` and `further` describe the other release.
        """
        return frozenset(
            cohort
            for cohort, release in measured_in.items()
            if self.measured_in.get(cohort) == release
            and (
                # If one has all counts of the other, the variance of a change is the difference of both variances.
                _select_cohort(cohort, self.further) < _select_cohort(cohort, further)
                or _select_cohort(cohort, self.further) > _select_cohort(cohort, further)
            )
        )


@dataclass(frozen=True)
class Earlier:
    """The releases before a new one.

    `replaced` is the version that it replaces (None if it is the first), and `of` has, for each cohort, the newest
    older release with that cohort.
    """

    replaced: str | None
    of: Mapping[str, Previous]


def read_previous_releases(bundles: list[Path], facts: ReleaseFacts) -> Earlier:
    """Return the releases before this one among `bundles` (folders named by version)."""
    older = [path for path in bundles if Version.parse(path.name) < Version.parse(facts.version)]
    replaced: str | None = None
    newest: dict[str, Path] = {}
    # Oldest first: the newest release that fits replaces the others.
    for path in sorted(older, key=lambda path: Version.parse(path.name)):
        cohorts = _read_json(path / DATAPACKAGE_FILE)["cohorts"]
        if set(cohorts) <= set(facts.cohorts):
            replaced = path.name
        newest |= dict.fromkeys(set(cohorts) & set(facts.cohorts), path)
    read = {path: read_release(path) for path in set(newest.values())}
    return Earlier(replaced, {cohort: read[newest[cohort]] for cohort in sorted(newest)})


def read_release(bundle: Path) -> Previous:
    """Read the release in a bundle's folder. Raises the errors of reading its files."""
    package, stated = (
        _read_json(bundle / DATAPACKAGE_FILE),
        index_cohort_entries(_read_json(bundle / PRIVACY_RECORD_FILE)),
    )
    on_request = OnRequest.of_bundle(bundle)
    defined = merge_tables(on_request.tables)
    return Previous(
        version=package["version"],
        cohorts=tuple(package["cohorts"]),
        councils=tuple(package["councils"]),
        missing=package["missing"],
        epsilon={cohort: entry["privacy_parameters"]["epsilon"] for cohort, entry in stated.items()},
        measured_in={cohort: entry["measured_in"] for cohort, entry in stated.items()},
        # A bundle of another schema may lack a table.
        tables={name: pq.read_table(file) for name in defined if (file := bundle / f"{name}.parquet").is_file()},
        requested=on_request.tables,
        further=frozenset(on_request.noisy_counts),
    )


def _select_cohort(cohort: str, further: Collection[Further]) -> set[Further]:
    return {each for each in further if each.cohort == cohort}


def index_cohort_entries(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the entries of a privacy record, by cohort."""
    return {entry["cohort"]: entry for entry in record["cohorts"]}


def _read_json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
