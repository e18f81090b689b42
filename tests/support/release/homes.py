"""Homes with confidential tables drawn at random over the public domains, ready to be released by the real path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assets.home.paths import Home
from assets.linkage.inputs import LinkageRecord, write_record
from assets.release import measure
from assets.release.begin import Asked, begin_release
from ndl_export.tables import FAMILIES
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS

COHORT, VERSION = "202425", "2026.11.0"


def home_of(folder: Path, rows: int, councils: Sequence[str], seed: int = 1) -> Home:
    """A home whose confidential tables have that many rows; tables of fewer rows are the first rows of longer ones."""
    home = Home(folder)
    home.prepare()
    for family in FAMILIES:
        path = home.confidential(family, COHORT)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(_table(family, rows, councils, seed), path)
    note_linked(home, COHORT, councils)
    return home


def note_linked(
    home: Home, cohort: str, councils: Sequence[str], without: Mapping[str, str] = MappingProxyType({})
) -> None:
    """The record of a linkage of these councils, `without` one of them by source."""
    sent = {source: [name for name in councils if name != without.get(source)] for source in CONTRACTS}
    write_record(home, cohort, LinkageRecord(councils, sent))


def released(home: Home, keys: KeyRing, councils: Sequence[str], version: str = VERSION) -> Path:
    """The bundle's folder, made as the assets make it."""
    for family in FAMILIES:
        begin_release(home, COHORT, version, councils, Asked(allow_missing=False))
        measure.measure_family(home, COHORT, keys, family, version, councils)
    return measure.publish_bundle(home, COHORT, keys, version, councils)


def _table(family: str, rows: int, councils: Sequence[str], seed: int) -> pa.Table:
    """Row n depends on the seed and on n alone."""
    domains = {"council": tuple(councils)} | {a.name: a.categories for a in FAMILIES[family].attributes}
    chosen = np.random.default_rng(seed).random((rows, len(domains)))
    columns = {
        name: pa.array([domain[int(share * len(domain))] for share in chosen[:, number]], pa.string())
        for number, (name, domain) in enumerate(domains.items())
    }
    return pa.table({"child_id": pa.array([f"c{n}" for n in range(rows)], pa.string()), **columns})
