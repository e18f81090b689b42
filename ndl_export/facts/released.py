"""Releases as they were published: those in a release directory, and those that a new release is compared with.

A release replaces the newest older release whose cohorts it all includes.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ndl_export.facts.directory_files import Withdrawal, load_withdrawals
from ndl_export.facts.missing import MissingByCohort
from ndl_export.facts.noisy_counts import NOISE_COVARIANCE_FILE
from ndl_export.facts.on_request import Further, OnRequest, RequestedTable, merge_tables
from ndl_export.facts.release_facts import TITLE, ReleaseFacts, Version
from ndl_export.pages.number_format import day

DATAPACKAGE_FILE = "datapackage.json"
PRIVACY_RECORD_FILE = "privacy_statement.json"


def list_versions(release_dir: Path) -> list[Version]:
    """Return the versions that have a bundle in `release_dir`, oldest first."""
    # Temporary folders, `site` and `synthetic_children` are in the same folder as the bundles.
    found = (path.name for path in (release_dir.iterdir() if release_dir.is_dir() else ()) if path.is_dir())
    return sorted(Version.parse(name) for name in found if Version.is_valid(name))


@dataclass(frozen=True)
class Release:
    """A release: its facts, its Parquet files and its withdrawal, if any.

    `address` is the URL of its folder. `read` returns the given columns of a file, or all if None; it returns None if
    the release has no such file.
    """

    version: str
    published_on: str
    publisher: str
    address: str
    notice: str
    cohorts: tuple[str, ...]
    councils: tuple[str, ...]
    missing: MissingByCohort
    privacy_record: Mapping[str, Any]
    on_request: OnRequest
    read: Callable[[str, Sequence[str] | None], pa.Table | None]
    withdrawal: Withdrawal | None = None

    @property
    def citation(self) -> str:
        """How to cite it, in sentences."""
        published = f"{TITLE}. Release {self.version}, published on {day(self.published_on)}"
        return f"{self.publisher} ({self.published_on[:4]}). {published}. {self.address}"

    @property
    def requested(self) -> tuple[RequestedTable, ...]:
        """Its tables on request."""
        return self.on_request.tables

    @cached_property
    def tables(self) -> dict[str, pa.Table]:
        """The rows of its tables, by name; a bundle of another schema may lack a table."""
        found = {name: self.read(f"{name}.parquet", None) for name in merge_tables(self.requested)}
        return {name: data for name, data in found.items() if data is not None}

    @property
    def measured_in(self) -> dict[str, str]:
        """By cohort, the release that its noisy counts were drawn for."""
        return {cohort: entry["measured_in"] for cohort, entry in index_cohort_entries(self.privacy_record).items()}

    @property
    def epsilon(self) -> dict[str, float]:
        """By cohort, epsilon of a child for all tables together."""
        stated = index_cohort_entries(self.privacy_record)
        return {cohort: entry["privacy_parameters"]["epsilon"] for cohort, entry in stated.items()}

    def find_sharpened(self, measured_in: Mapping[str, str], further: Collection[Further]) -> frozenset[str]:
        """Return the cohorts in which this release and another share noisy counts and one of them has further ones.

        `measured_in` and `further` describe the other release.
        """
        found = set()
        for cohort, release in measured_in.items():
            own, others = (
                {each for each in measured if each.cohort == cohort}
                for measured in (self.on_request.noisy_counts, further)
            )
            # If one has all counts of the other, the variance of a change is the difference of both variances.
            if self.measured_in.get(cohort) == release and (own < others or own > others):
                found.add(cohort)
        return frozenset(found)


def read_bundle_facts(bundle: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the description of a bundle and its privacy record. Raises the errors of reading the files."""
    package, record = (json.loads((bundle / name).read_bytes()) for name in (DATAPACKAGE_FILE, PRIVACY_RECORD_FILE))
    return package, record


def read_release(bundle: Path, withdrawal: Withdrawal | None = None) -> Release:
    """Read the release in a bundle's folder. Raises the errors of reading its files."""
    package, record = read_bundle_facts(bundle)

    def read(file: str, wanted: Sequence[str] | None) -> pa.Table | None:
        path = bundle / file
        if not path.is_file():
            return None
        # An older release may lack a column that its table has today.
        there = None if wanted is None else [name for name in pq.read_schema(path).names if name in wanted]
        return pq.read_table(path, columns=there)

    return Release(
        package["version"],
        package["created"][:10],
        package["contributors"][0]["title"],
        package["homepage"],
        package.get("notice", ""),
        tuple(package["cohorts"]),
        tuple(package["councils"]),
        package["missing"],
        record,
        OnRequest.read_bundle(bundle),
        read,
        withdrawal,
    )


def read_releases(release_dir: Path) -> list[Release]:
    """Read every release of a release directory, oldest first. Raises `UnreadableWithdrawals`."""
    withdrawn = load_withdrawals(release_dir)
    return [read_release(release_dir / name, withdrawn.get(name)) for name in map(str, list_versions(release_dir))]


def build_release(facts: ReleaseFacts, tables: Mapping[str, pa.Table]) -> Release:
    """Return the release of these facts and tables, whose bundle is not written yet."""
    files = {f"{name}.parquet": data for name, data in tables.items()} | {NOISE_COVARIANCE_FILE: facts.noise_covariance}
    return Release(
        facts.version,
        facts.published_on,
        facts.publisher,
        facts.folder_address,
        facts.notice,
        tuple(sorted(facts.cohorts)),
        tuple(sorted(facts.councils)),
        facts.missing,
        facts.privacy_record,
        facts.on_request,
        lambda file, wanted: files[file] if wanted is None else files[file].select(wanted),
    )


@dataclass(frozen=True)
class Earlier:
    """The releases before a new one.

    `replaced` is the version that it replaces (None if it is the first), and `of` has, for each cohort, the newest
    older release with that cohort.
    """

    replaced: str | None
    of: Mapping[str, Release]


def read_previous_releases(bundles: list[Path], facts: ReleaseFacts) -> Earlier:
    """Return the releases before this one among `bundles` (folders named by version)."""
    older = [path for path in bundles if Version.parse(path.name) < Version.parse(facts.version)]
    replaced: str | None = None
    newest: dict[str, Path] = {}
    # Oldest first: the newest release that fits replaces the others.
    for path in sorted(older, key=lambda path: Version.parse(path.name)):
        cohorts = json.loads((path / DATAPACKAGE_FILE).read_bytes())["cohorts"]
        if set(cohorts) <= set(facts.cohorts):
            replaced = path.name
        newest |= dict.fromkeys(set(cohorts) & set(facts.cohorts), path)
    read = {path: read_release(path) for path in set(newest.values())}
    return Earlier(replaced, {cohort: read[newest[cohort]] for cohort in sorted(newest)})


def index_cohort_entries(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the entries of a privacy record, by cohort."""
    return {entry["cohort"]: entry for entry in record["cohorts"]}
