"""Every published figure made again from the noisy counts in its bundle: the proof that nothing else went in.

Reads the bundle alone: plans, noisy counts, the facts of the release and the thresholds of the privacy statement.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from assets.tabulate import tabulate
from ndl_export.bundle import DATAPACKAGE_FILE, PRIVACY_RECORD_FILE
from ndl_export.noisy_counts import NOISY_COUNTS_FILE, PLAN_FILES, NoisyCounts
from ndl_export.tables import TABLES
from privacy.release import Measurement, Plan, Reliability


def recomputed(bundle: Path) -> dict[str, pa.Table]:
    """The tables of the bundle in the folder `bundle`, by name, from its noisy counts."""
    package, record = (json.loads((bundle / name).read_bytes()) for name in (DATAPACKAGE_FILE, PRIVACY_RECORD_FILE))
    cells = pq.read_table(bundle / NOISY_COUNTS_FILE)
    measured = {family["family"]: _measurement(bundle, cells, family) for family in record["families"]}
    (cohort,) = package["cohorts"]
    reliability = Reliability(**record["reliability"])
    return tabulate(measured, package["councils"], cohort, reliability, package["missing"])


def differing(bundle: Path) -> list[str]:
    """Names of the tables of the bundle that its noisy counts do not give, to the last bit; none where all is well."""
    again = recomputed(bundle)
    published = {name: pq.read_table(io.BytesIO((bundle / f"{name}.parquet").read_bytes())) for name in TABLES}
    return [name for name, table in published.items() if not table.equals(again[name])]


def _measurement(bundle: Path, cells: pa.Table, stated: dict[str, str]) -> tuple[Plan, Measurement]:
    document = (bundle / PLAN_FILES[stated["family"]]).read_bytes()
    noisy, plan = NoisyCounts.read(document, cells, stated["family"]), Plan.from_json(document)
    return plan, Measurement(
        plan.sha256, stated["noise_source"], stated["opendp_version"], float(stated["rho"]), noisy.counts
    )
