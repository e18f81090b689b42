"""Homes with confidential tables drawn at random over the public domains, ready to be released by the real path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assets.home.paths import Home
from assets.linkage.taking_part import note_sent
from assets.release import measure
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
    note_sent(home, COHORT, dict.fromkeys(CONTRACTS, councils))
    return home


def released(home: Home, keys: KeyRing, councils: Sequence[str], version: str = VERSION) -> Path:
    """The bundle's folder, made as the assets make it."""
    for family in FAMILIES:
        measure.begin_release(home, COHORT, version, councils, allow_missing=False)
        measure.measure_family(home, keys, family, COHORT, version, councils)
    return measure.publish_bundle(home, keys, COHORT, version, councils)


def _table(family: str, rows: int, councils: Sequence[str], seed: int) -> pa.Table:
    """Row n depends on the seed and on n alone."""
    domains = {"council": tuple(councils)} | {a.name: a.categories for a in FAMILIES[family].attributes}
    chosen = np.random.default_rng(seed).random((rows, len(domains)))
    columns = {
        name: pa.array([domain[int(share * len(domain))] for share in chosen[:, number]], pa.string())
        for number, (name, domain) in enumerate(domains.items())
    }
    return pa.table({"child_id": pa.array([f"c{n}" for n in range(rows)], pa.string()), **columns})
