"""The bundles of a release directory, as the database reads them: their facts, and the categories in their tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ndl_export.analyst_db.categories import filter_categories
from ndl_export.facts.directory_files import Withdrawal, withdrawals
from ndl_export.facts.missing import MissingByCohort
from ndl_export.facts.noisy_counts import NOISE_COVARIANCE_FILE
from ndl_export.facts.on_request import OnRequest, RequestedTable
from ndl_export.facts.release_facts import Version
from ndl_export.facts.released import DATAPACKAGE_FILE, PRIVACY_RECORD_FILE, versions
from ndl_export.tables import TABLES, Table
from ndl_export.tables.schema import columns


class Release(Protocol):
    """What the database is made from: a bundle that is published, or one that is being made."""

    @property
    def version(self) -> Version: ...
    @property
    def withdrawal(self) -> Withdrawal | None:
        """Why it was withdrawn, if it was."""

    @property
    def cohorts(self) -> tuple[str, ...]: ...
    @property
    def councils(self) -> tuple[str, ...]: ...
    @property
    def published_on(self) -> str: ...
    @property
    def notice(self) -> str:
        """What stands above everything, where there is something."""

    @property
    def missing(self) -> MissingByCohort: ...
    @property
    def privacy_record(self) -> Mapping[str, Any]: ...
    @property
    def requested(self) -> tuple[RequestedTable, ...]:
        """The tables that it has beside those of every release."""

    def rows(self, table: Table, names: Iterable[str] | None = None) -> pa.Table | None:
        """The columns `names` of a table, or all of today's definition.

        None where the release has no such table.
        """

    def noise_covariance(self) -> pa.Table:
        """Return what the noise of different figures has in common."""


@dataclass(frozen=True)
class Bundle:
    """A bundle's folder, and why it was withdrawn, if it was."""

    folder: Path
    version: Version
    withdrawal: Withdrawal | None

    @cached_property
    def package(self) -> dict[str, Any]:
        return _json(self.folder / DATAPACKAGE_FILE)

    @property
    def cohorts(self) -> tuple[str, ...]:
        return tuple(self.package["cohorts"])

    @property
    def councils(self) -> tuple[str, ...]:
        return tuple(self.package["councils"])

    @property
    def published_on(self) -> str:
        found: str = self.package["created"]
        return found[:10]

    @property
    def notice(self) -> str:
        found: str = self.package.get("notice", "")
        return found

    @property
    def missing(self) -> MissingByCohort:
        found: MissingByCohort = self.package["missing"]
        return found

    @cached_property
    def privacy_record(self) -> dict[str, Any]:
        return _json(self.folder / PRIVACY_RECORD_FILE)

    @cached_property
    def requested(self) -> tuple[RequestedTable, ...]:
        return OnRequest.of_bundle(self.folder).tables

    def rows(self, table: Table, names: Iterable[str] | None = None) -> pa.Table | None:
        path = self.folder / f"{table.name}.parquet"
        if not path.is_file():
            return None
        wanted = [column.name for column in columns(table)] if names is None else list(names)
        there = pq.read_schema(path).names
        return pq.read_table(path, columns=[name for name in wanted if name in there])

    def noise_covariance(self) -> pa.Table:
        return pq.read_table(self.folder / NOISE_COVARIANCE_FILE)


def releases(release_dir: Path) -> list[Release]:
    """Every release, oldest first. Raises `UnreadableWithdrawals`."""
    withdrawn = withdrawals(release_dir)
    return [
        Bundle(release_dir / str(version), version, withdrawn.get(str(version))) for version in versions(release_dir)
    ]


def all_categories(found: list[Release]) -> dict[str, tuple[str, ...]]:
    """Categories of each filter: those of the definitions, then those that only earlier releases have."""
    known = {name: list(categories) for name, categories in filter_categories().items()}
    for table in TABLES.values():
        names = [f.name for f in table.filters]
        for release in found:
            rows = release.rows(table, names)
            if rows is None:
                continue
            for name in rows.column_names:
                there = sorted(pc.unique(rows[name]).to_pylist())
                known[name] += [category for category in there if category not in known[name]]
    return {name: tuple(categories) for name, categories in known.items()}


def _json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
