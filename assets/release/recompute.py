"""Every published figure made again from the noisy counts in its bundle: the proof that nothing else went in.

Reads the bundle alone: plans, noisy counts, the facts of the release and the thresholds of the privacy statement.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from assets.release.tabulate import tabulate
from ndl_export.bundle.make import DATAPACKAGE_FILE, PRIVACY_RECORD_FILE
from ndl_export.facts.noisy_counts import NOISY_COUNTS_FILE, NoisyCounts, plan_files
from ndl_export.tables import TABLES
from privacy.release.intervals import Reliability
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.statement import MeasuredCohort


def recomputed(bundle: Path) -> dict[str, pa.Table]:
    """The tables of the bundle in the folder `bundle`, by name, from its noisy counts."""
    package, record = (json.loads((bundle / name).read_bytes()) for name in (DATAPACKAGE_FILE, PRIVACY_RECORD_FILE))
    cells = pq.read_table(bundle / NOISY_COUNTS_FILE)
    names = plan_files(package["cohorts"])
    measured = [_measured(bundle, cells, entry, record["families"], names) for entry in record["cohorts"]]
    return tabulate(measured, package["councils"], Reliability(**record["reliability"]), package["missing"])


def differing(bundle: Path) -> list[str]:
    """Names of the tables of the bundle that its noisy counts do not give, to the last bit; none where all is well."""
    again = recomputed(bundle)
    published = {name: pq.read_table(io.BytesIO((bundle / f"{name}.parquet").read_bytes())) for name in TABLES}
    return [name for name, table in published.items() if not table.equals(again[name])]


def _measured(
    bundle: Path,
    cells: pa.Table,
    entry: dict[str, str],
    families: list[dict[str, str]],
    names: dict[tuple[str, str], str],
) -> MeasuredCohort:
    """A cohort as the privacy record states it, with the plans and noisy counts in the bundle."""
    plans, measurements = {}, {}
    for stated in (family for family in families if family["cohort"] == entry["cohort"]):
        family = stated["family"]
        document = (bundle / names[entry["cohort"], family]).read_bytes()
        plans[family] = plan = Plan.from_json(document)
        noisy = NoisyCounts.read(document, cells, entry["cohort"], family)
        measurements[family] = Measurement(
            plan.sha256, stated["noise_source"], stated["opendp_version"], float(stated["rho"]), noisy.counts
        )
    return MeasuredCohort(entry["cohort"], entry["measured_in"], plans, measurements)
