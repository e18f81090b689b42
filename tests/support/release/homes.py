"""Homes with confidential tables drawn at random from the public domains, ready for release by the real path."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.intake import deliveries
from assets.intake.deliveries import ExtractQuality
from assets.intake.quality import Finding
from assets.intake.quality_report.profile import Profile
from assets.linkage.arrivals import LandingSeen
from assets.linkage.inputs import LinkageRecord, write_record
from assets.linkage.population_overlap import Overlap
from assets.release import measure
from assets.release.fix_release import ReleaseOptions
from assets.release.release import CohortRelease
from ndl_export.facts.missing import RECORDS
from ndl_export.tables import FAMILIES
from privacy.doors.files import write_json
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS
from tests.support.once import make_once

COHORT, VERSION = "202425", "2026.11.0"


def make_home(folder: Path, rows: int, councils: Sequence[str], **without: Sequence[str]) -> Home:
    """Create a home whose confidential tables have `rows` rows, the first rows of any longer table.

    `without` has, by source or kind of record, the councils that did not send it.
    """
    home = Home(folder)
    home.prepare()
    add_cohort(home, COHORT, rows, councils, **without)
    return home


def add_cohort(home: Home, cohort: str, rows: int, councils: Sequence[str], **without: Sequence[str]) -> None:
    for name, family in FAMILIES.items():
        path = home.get_cohort(cohort).get_confidential_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        table = _build_table(name, rows, councils)
        absent = pa.array(without.get(family.source, ()), pa.string())
        pq.write_table(table.filter(pc.invert(pc.is_in(table["council"], value_set=absent))), path)
    note_linked(home, cohort, councils, **without)


def note_linked(home: Home, cohort: str, councils: Sequence[str], **without: Sequence[str]) -> None:
    """Write the record of a linkage of these councils, in which nothing in landing was unread."""
    write_json(home.landing_seen, asdict(LandingSeen()))
    kinds = (*CONTRACTS, *RECORDS)
    sent = {kind: [name for name in councils if name not in without.get(kind, ())] for kind in kinds}
    write_record(home.get_cohort(cohort), LinkageRecord(councils, sent))


def note_taken(home: Home, quality: ExtractQuality) -> None:
    """Write the result of an intake and its line in the processing log."""
    store = home.get_extract(*quality.key)
    record(home, Processing.INTAKE, *quality.key, file_mac=quality.file_mac)
    earlier = deliveries.read(store.quality)
    if earlier and earlier.file_mac != quality.file_mac:
        deliveries.keep(store.history / f"{earlier.file_mac}.json", earlier)
    deliveries.keep(store.quality, quality)


def note_compared(home: Home, shared: float | None, mac: str, *names: str) -> None:
    """Write the linkage's comparison of deliveries (`council/source`) with this MAC with those that they replaced."""
    write_json(home.get_cohort(COHORT).overlaps, {name: asdict(Overlap(mac, "s", shared, "older")) for name in names})


def build_quality(
    council: str, source: str, rows: int = 1000, mac: str = "a", *rules: str, expected: int = 0, last: int = 0
) -> ExtractQuality:
    findings = tuple(Finding(rule, None, "hold", "") for rule in rules)
    counted = (rows, rows, 0, (), findings, Profile(rows, {}, {}), expected or None, last or None)
    about = (council, source, COHORT, f"{COHORT}.csv", "", mac, {}, "2026-11-01T00:00:00+00:00", {})
    return ExtractQuality(*about, *counted)


def make_release(
    home: Home, keys: KeyRing, councils: Sequence[str], version: str = VERSION, cohort: str = COHORT, **options: Any
) -> Path:
    """Make a release as the assets do, with these `ReleaseOptions`, and return the bundle's folder."""
    measure.measure_release(CohortRelease(home.get_cohort(cohort), version), keys, councils, ReleaseOptions(**options))
    return measure.publish_bundle(CohortRelease(home.get_cohort(cohort), version), keys)


def make_home_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Home:
    """Return a copy of the home called `name`, which `make` fills once per test run.

    A copy, because whoever reads the ledger writes beside it.
    """
    return copy_home(Home(make_once(factory, name, make)), factory.mktemp(name))


def copy_home(home: Home, to: Path) -> Home:
    return Home(Path(shutil.copytree(home.root, to / "home", symlinks=True)))


def list_charges(home: Home) -> list[tuple[str, str, str]]:
    return [(e.cohort, e.release, e.family) for e in home.open_ledger().list_entries() if e.kind == "RESERVE"]


def _build_table(family: str, rows: int, councils: Sequence[str]) -> pa.Table:
    """Return a confidential table in which row n depends only on n."""
    domains = {"council": tuple(councils)} | {a.name: a.categories for a in FAMILIES[family].attributes}
    chosen = np.random.default_rng(1).random((rows, len(domains)))
    columns = {
        name: pa.array([domain[int(share * len(domain))] for share in chosen[:, number]], pa.string())
        for number, (name, domain) in enumerate(domains.items())
    }
    return pa.table({"child_id": pa.array([f"c{n}" for n in range(rows)], pa.string()), **columns})
