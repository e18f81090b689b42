"""Link one cohort's pseudonymised extracts and derive the tables that noise is added over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from assets.children import build_confidential_tables
from assets.home import Home, promote
from assets.sent import note_sent
from ndl_export.tables import FAMILIES
from privacy.linkage.link import link
from privacy.linkage.report import report
from privacy.linkage.rows import SERVICES
from sources.contracts import CONTRACTS


class NothingToLink(Exception):
    """No extract of the cohort has been taken in."""


def link_cohort(home: Home, cohort: str, councils: Sequence[str]) -> None:
    """Write `links.parquet` and the linkage report of a cohort; child ids of an earlier linkage are kept.

    Raises `NothingToLink`.
    """
    extracts = {source: extracts_of(home, source, cohort, councils) for source in SERVICES}
    if not any(extracts.values()):
        raise NothingToLink(f"no linked source of cohort {cohort} has been taken in")
    earlier = home.links(cohort)
    previous = pyarrow.parquet.read_table(earlier) if earlier.exists() else None
    result = link({source: paths for source, paths in extracts.items() if paths}, previous)
    with home.staging() as staging:
        _write(result.links, staging / "links.parquet")
        (staging / "linkage.json").write_text(json.dumps(report(result), indent=1), encoding="utf-8")
        promote(staging / "links.parquet", home.links(cohort))
        promote(staging / "linkage.json", home.linkage_report(cohort))


def derive_confidential_tables(home: Home, cohort: str, councils: Sequence[str]) -> None:
    """Write the confidential table of every family of a cohort, and then which councils are in them, by source."""
    extracts = {source: extracts_of(home, source, cohort, councils) for source in CONTRACTS}
    with home.staging() as staging:
        staged = {family: staging / f"{family}.parquet" for family in FAMILIES}
        build_confidential_tables(home.links(cohort), extracts, staged)
        home.sent(cohort).unlink(missing_ok=True)
        for family, path in staged.items():
            promote(path, home.confidential(family, cohort))
    note_sent(home, cohort, {source: [path.stem for path in paths] for source, paths in extracts.items()})


def extracts_of(home: Home, source: str, cohort: str, councils: Sequence[str]) -> list[Path]:
    """Pseudonymised extracts that are in, by council."""
    paths = (home.pseudonymised(source, cohort, council) for council in sorted(councils))
    return [path for path in paths if path.exists()]


def _write(table: pa.Table, path: Path) -> None:
    pyarrow.parquet.write_table(table, path, compression="zstd")
