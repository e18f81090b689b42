"""The release that a new one replaces: the newest older version of the same cohorts, as it was published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ndl_export.release_facts import ReleaseFacts, Version
from ndl_export.tables import TABLES


@dataclass(frozen=True)
class Previous:
    """Its version, the councils and missing sources it states, its privacy parameters, and its tables by name."""

    version: str
    councils: tuple[str, ...]
    missing: Mapping[str, tuple[str, ...]]
    privacy_parameters: Mapping[str, float]
    tables: Mapping[str, pa.Table]


def previous_release(bundles: list[Path], facts: ReleaseFacts) -> Previous | None:
    """The newest of `bundles` (folders named by version) that is older than the release and of its cohorts, if any."""
    older = [path for path in bundles if Version.parse(path.name) < Version.parse(facts.version)]
    for path in sorted(older, key=lambda path: Version.parse(path.name), reverse=True):
        package = _json(path / "datapackage.json")
        if sorted(package["cohorts"]) == sorted(facts.cohorts):
            return read_release(path)
    return None


def read_release(bundle: Path) -> Previous:
    """The release in the folder of a bundle; raises what reading its files raises."""
    package = _json(bundle / "datapackage.json")
    return Previous(
        version=package["version"],
        councils=tuple(package["councils"]),
        missing={source: tuple(absent) for source, absent in package.get("missing", {}).items()},
        privacy_parameters=_json(bundle / "privacy_statement.json")["privacy_parameters"],
        tables={name: pq.read_table(file) for name in TABLES if (file := bundle / f"{name}.parquet").is_file()},
    )


def _json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
