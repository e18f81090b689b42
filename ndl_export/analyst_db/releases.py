"""The releases that the database is built from: published bundles, or one that is being made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ndl_export.analyst_db.child_groups import filter_categories
from ndl_export.facts.directory_files import Withdrawal, load_withdrawals
from ndl_export.facts.missing import MissingByCohort
from ndl_export.facts.noisy_counts import NOISE_COVARIANCE_FILE
from ndl_export.facts.on_request import OnRequest, RequestedTable
from ndl_export.facts.release_facts import ReleaseFacts, Version
from ndl_export.facts.released import DATAPACKAGE_FILE, PRIVACY_RECORD_FILE, list_versions
from ndl_export.tables import TABLES, Table
from ndl_export.tables.schema import list_columns


@dataclass(frozen=True)
class Release:
    """A release: its facts, its withdrawal, if any, and its Parquet files.

    `read` returns the given columns of a file, or all if None; it returns None if the release has no such file.
    """

    version: Version
    cohorts: tuple[str, ...]
    councils: tuple[str, ...]
    published_on: str
    notice: str
    missing: MissingByCohort
    privacy_record: Mapping[str, Any]
    requested: tuple[RequestedTable, ...]
    read: Callable[[str, Sequence[str] | None], pa.Table | None]
    withdrawal: Withdrawal | None = None

    def rows(self, table: Table) -> pa.Table | None:
        """Return the rows of a table, or None if the release has no such table."""
        return self.read(get_file_name(table), [column.name for column in list_columns(table)])


def get_file_name(table: Table) -> str:
    return f"{table.name}.parquet"


def read_releases(release_dir: Path) -> list[Release]:
    """Return every release, oldest first. Raises `UnreadableWithdrawals`."""
    withdrawn = load_withdrawals(release_dir)
    return [
        _read_release(release_dir / str(version), version, withdrawn.get(str(version)))
        for version in list_versions(release_dir)
    ]


def _read_release(folder: Path, version: Version, withdrawal: Withdrawal | None) -> Release:
    """Read a release from its bundle."""

    def read(file: str, wanted: Sequence[str] | None) -> pa.Table | None:
        path = folder / file
        if not path.is_file():
            return None
        # An older release may lack a column that its table has today.
        there = None if wanted is None else [name for name in pq.read_schema(path).names if name in wanted]
        return pq.read_table(path, columns=there)

    package, record = (json.loads((folder / name).read_bytes()) for name in (DATAPACKAGE_FILE, PRIVACY_RECORD_FILE))
    return Release(
        version,
        tuple(package["cohorts"]),
        tuple(package["councils"]),
        package["created"][:10],
        package.get("notice", ""),
        package["missing"],
        record,
        OnRequest.of_bundle(folder).tables,
        read,
        withdrawal,
    )


def release_in_making(facts: ReleaseFacts, tables: Mapping[str, pa.Table]) -> Release:
    """Return the release of these facts and tables, whose bundle is not written yet."""
    files = {f"{name}.parquet": data for name, data in tables.items()} | {NOISE_COVARIANCE_FILE: facts.noise_covariance}
    return Release(
        Version.parse(facts.version),
        tuple(sorted(facts.cohorts)),
        tuple(sorted(facts.councils)),
        facts.published_on,
        facts.notice,
        facts.missing,
        facts.privacy_record,
        facts.on_request.tables,
        lambda file, wanted: files[file] if wanted is None else files[file].select(wanted),
    )


def collect_categories(found: list[Release]) -> dict[str, tuple[str, ...]]:
    """Return the categories of each filter: those of the definitions, then those that only earlier releases have."""
    known = {name: list(categories) for name, categories in filter_categories().items()}
    for table in TABLES.values():
        for release in found:
            rows = release.read(get_file_name(table), [f.name for f in table.filters])
            for name, levels in zip(rows.column_names, rows.columns, strict=True) if rows is not None else ():
                # Sorted, because the order of rows in a file says nothing about the order of categories.
                there = sorted(pc.unique(levels).to_pylist())
                known[name] += [category for category in there if category not in known[name]]
    return {name: tuple(categories) for name, categories in known.items()}
